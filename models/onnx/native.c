#include "native.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

// Places in the table OrtApi of onnxruntime_c_api.h.
enum {
  get_error_message = 2,
  get_tensor_mutable_data = 51,
  get_tensor_element_type = 60,
  get_dimensions_count = 61,
  get_dimensions = 62,
  get_tensor_shape_element_count = 64,
  get_tensor_type_and_shape = 65,
  create_memory_info = 68,
  allocator_alloc = 75,
  allocator_free = 76,
  get_allocator_with_default_options = 78,
  release_status = 93,
  release_memory_info = 94,
  release_value = 96,
  release_tensor_type_and_shape_info = 99,
  get_available_providers = 125,
  release_available_providers = 126,
  create_allocator = 131,
  release_allocator = 132,
  run_with_binding = 133,
  bind_output_to_device = 138,
  get_bound_output_values = 140,
  set_deterministic_compute = 273,
  session_get_ep_graph_assignment_info = 407,
  ep_assigned_subgraph_get_ep_name = 408,
  ep_assigned_subgraph_get_nodes = 409,
  ep_assigned_node_get_operator_type = 412,
};

enum { device_allocator = 0, arena_allocator = 1, memory_default = 0, memory_host = -1 };

typedef void *status;
static void *const *api;

#define CALL(place, ...) ((status(*)(__VA_ARGS__))api[place])
#define RELEASE(place, x) ((void (*)(void *))api[place])(x)

static int set(char *text, const char *message) {
  snprintf(text, WINNOW_TEXT, "%s", message ? message : "unknown error");
  return 1;
}

// failed turns a status into a message and frees it.
static int failed(status s, char *text) {
  if (!s) return 0;
  set(text, ((const char *(*)(status))api[get_error_message])(s));
  RELEASE(release_status, s);
  return 1;
}

int winnow_api_open(const char *path, uint32_t version, char *text) {
  void *library = dlopen(path, RTLD_LAZY);
  if (!library) return set(text, dlerror());
  const winnow_api_base *(*base)(void) = (const winnow_api_base *(*)(void))dlsym(library, "OrtGetApiBase");
  if (!base) return set(text, "it has no OrtGetApiBase");
  api = (void *const *)base()->get_api(version);
  return api ? 0 : set(text, "it is too old");
}

int winnow_providers(char *names, size_t room, char *text) {
  char **list = NULL;
  int n = 0;
  if (failed(CALL(get_available_providers, char ***, int *)(&list, &n), text)) return 1;
  size_t used = 0;
  names[0] = 0;
  for (int i = 0; i < n && used < room; i++) used += (size_t)snprintf(names + used, room - used, "%s\n", list[i]);
  return failed(CALL(release_available_providers, char **, int)(list, n), text);
}

int winnow_deterministic(void *session_options, char *text) {
  return failed(CALL(set_deterministic_compute, void *, _Bool)(session_options, 1), text);
}

int winnow_run_binding(void *session, void *run_options, void *binding, char *text) {
  return failed(CALL(run_with_binding, void *, const void *, const void *)(session, run_options, binding), text);
}

static int memory_info(const char *name, int allocator, int device, int kind, void **info, char *text) {
  return failed(CALL(create_memory_info, const char *, int, int, int, void **)(name, allocator, device, kind, info), text);
}

int winnow_bind_output_host(void *binding, const char *name, char *text) {
  void *info = NULL;
  if (memory_info("Cpu", device_allocator, 0, memory_default, &info, text)) return 1;
  int rc = failed(CALL(bind_output_to_device, void *, const char *, const void *)(binding, name, info), text);
  RELEASE(release_memory_info, info);
  return rc;
}

static int describe(winnow_output *out, char *text) {
  void *info = NULL;
  if (failed(CALL(get_tensor_type_and_shape, const void *, void **)(out->value, &info), text)) return 1;
  int rc = failed(CALL(get_tensor_element_type, const void *, int *)(info, &out->type), text) ||
           failed(CALL(get_dimensions_count, const void *, size_t *)(info, &out->rank), text);
  if (!rc && out->rank > 8) rc = set(text, "the output has more than 8 dimensions");
  rc = rc || failed(CALL(get_dimensions, const void *, int64_t *, size_t)(info, out->dims, out->rank), text) ||
       failed(CALL(get_tensor_shape_element_count, const void *, size_t *)(info, &out->count), text) ||
       failed(CALL(get_tensor_mutable_data, void *, void **)(out->value, &out->data), text);
  RELEASE(release_tensor_type_and_shape_info, info);
  return rc;
}

int winnow_bound_output(void *binding, winnow_output *out, char *text) {
  void *allocator = NULL, **values = NULL;
  size_t n = 0;
  if (failed(CALL(get_allocator_with_default_options, void **)(&allocator), text)) return 1;
  if (failed(CALL(get_bound_output_values, const void *, void *, void ***, size_t *)(binding, allocator, &values, &n), text)) return 1;
  if (n == 0) return set(text, "no output");
  out->value = values[0];
  for (size_t i = 1; i < n; i++) RELEASE(release_value, values[i]);
  winnow_free(allocator, values);
  if (!describe(out, text)) return 0;
  RELEASE(release_value, out->value);
  out->value = NULL;
  return 1;
}

void winnow_release_value(void *value) { RELEASE(release_value, value); }

int winnow_allocator(void *session, int device, void **allocator, char *text) {
  void *info = NULL;
  int rc = device < 0 ? memory_info("Cpu", arena_allocator, 0, memory_default, &info, text)
                      : memory_info("CudaPinned", device_allocator, device, memory_host, &info, text);
  if (rc) return 1;
  rc = failed(CALL(create_allocator, const void *, const void *, void **)(session, info, allocator), text);
  RELEASE(release_memory_info, info);
  return rc;
}

int winnow_allocate(void *allocator, size_t bytes, void **memory, char *text) {
  if (failed(CALL(allocator_alloc, void *, size_t, void **)(allocator, bytes, memory), text)) return 1;
  return *memory ? 0 : set(text, "no memory");
}

void winnow_free(void *allocator, void *memory) {
  char text[WINNOW_TEXT];
  (void)failed(CALL(allocator_free, void *, void *)(allocator, memory), text);
}

void winnow_release_allocator(void *allocator) { RELEASE(release_allocator, allocator); }

extern void winnowNode(uintptr_t handle, char *provider, char *operator_type);

int winnow_assignment(void *session, uintptr_t handle, char *text) {
  const void *const *graphs = NULL;
  size_t n = 0;
  if (failed(CALL(session_get_ep_graph_assignment_info, const void *, const void *const **, size_t *)(session, &graphs, &n), text)) return 1;
  for (size_t i = 0; i < n; i++) {
    const char *provider = NULL, *operator_type = NULL;
    const void *const *nodes = NULL;
    size_t count = 0;
    if (failed(CALL(ep_assigned_subgraph_get_ep_name, const void *, const char **)(graphs[i], &provider), text)) return 1;
    if (failed(CALL(ep_assigned_subgraph_get_nodes, const void *, const void *const **, size_t *)(graphs[i], &nodes, &count), text)) return 1;
    for (size_t k = 0; k < count; k++) {
      if (failed(CALL(ep_assigned_node_get_operator_type, const void *, const char **)(nodes[k], &operator_type), text)) return 1;
      winnowNode(handle, (char *)provider, (char *)operator_type);
    }
  }
  return 0;
}

// The driver's functions, by the names of its stable binary interface.
static struct {
  void *library;
  int (*get)(int *device, int ordinal);
  int (*name)(char *name, int length, int device);
  int (*memory)(size_t *bytes, int device);
  int (*attribute)(int *value, int attribute, int device);
  int (*error)(int code, const char **text);
} cuda;

enum { attribute_major = 75, attribute_minor = 76 };

static int cuda_failed(int code, const char *what, char *text) {
  if (code == 0) return 0;
  const char *message = NULL;
  if (!cuda.error || cuda.error(code, &message) != 0 || !message) message = "unknown error";
  snprintf(text, WINNOW_TEXT, "%s: %s (%d)", what, message, code);
  return code;
}

int winnow_cuda(const char *library, int *loaded, int *version, int *count, char *text) {
  *loaded = *version = *count = 0;
  cuda.library = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (!cuda.library) return set(text, dlerror());
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(cuda.library, "cuInit");
  int (*driver)(int *) = (int (*)(int *))dlsym(cuda.library, "cuDriverGetVersion");
  int (*number)(int *) = (int (*)(int *))dlsym(cuda.library, "cuDeviceGetCount");
  cuda.get = (int (*)(int *, int))dlsym(cuda.library, "cuDeviceGet");
  cuda.name = (int (*)(char *, int, int))dlsym(cuda.library, "cuDeviceGetName");
  cuda.memory = (int (*)(size_t *, int))dlsym(cuda.library, "cuDeviceTotalMem_v2");
  cuda.attribute = (int (*)(int *, int, int))dlsym(cuda.library, "cuDeviceGetAttribute");
  cuda.error = (int (*)(int, const char **))dlsym(cuda.library, "cuGetErrorString");
  if (!init || !driver || !number || !cuda.get || !cuda.name || !cuda.memory || !cuda.attribute) return set(text, "it is no NVIDIA driver");
  *loaded = 1;
  (void)driver(version); // may be asked before cuInit, and of a driver that does not start
  int rc = cuda_failed(init(0), "cuInit", text);
  return rc ? rc : cuda_failed(number(count), "cuDeviceGetCount", text);
}

int winnow_cuda_gpu(int index, winnow_gpu *gpu, char *text) {
  int device = 0, rc = 0;
  size_t bytes = 0;
  memset(gpu, 0, sizeof *gpu);
  if ((rc = cuda_failed(cuda.get(&device, index), "cuDeviceGet", text))) return rc;
  if ((rc = cuda_failed(cuda.name(gpu->name, sizeof gpu->name - 1, device), "cuDeviceGetName", text))) return rc;
  if ((rc = cuda_failed(cuda.memory(&bytes, device), "cuDeviceTotalMem", text))) return rc;
  gpu->memory = bytes;
  if ((rc = cuda_failed(cuda.attribute(&gpu->major, attribute_major, device), "cuDeviceGetAttribute", text))) return rc;
  return cuda_failed(cuda.attribute(&gpu->minor, attribute_minor, device), "cuDeviceGetAttribute", text);
}

long winnow_library_version(const char *library, const char *function, int returns_size, char *text) {
  void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (!handle) return set(text, dlerror()), 0;
  void *f = dlsym(handle, function);
  if (!f) return set(text, dlerror()), 0;
  if (returns_size) return (long)((size_t(*)(void))f)();
  int version = 0;
  return ((int (*)(int *))f)(&version) == 0 ? version : (set(text, "it does not tell its version"), 0);
}

int winnow_preload(const char *library, char *text) {
  return dlopen(library, RTLD_LAZY | RTLD_GLOBAL) ? 0 : set(text, dlerror());
}
