// What onnxruntime_go does not wrap: entries of ONNX Runtime's table of functions,
// and NVIDIA's driver, both found at run time. The table only ever grows, so that an
// entry's place is the same in every version that has it.
#ifndef WINNOW_NATIVE_H
#define WINNOW_NATIVE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  const void *(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} winnow_api_base;

// Room for a message of an error, with its end.
#define WINNOW_TEXT 1024

// Opens the table of the library at path, which is loaded already. Returns 0, or 1
// and a message.
int winnow_api_open(const char *path, uint32_t version, char *text);

// All below return 0, or 1 and a message in text.
int winnow_providers(char *names, size_t room, char *text);
int winnow_deterministic(void *session_options, char *text);
int winnow_run_binding(void *session, void *run_options, void *binding, char *text);
int winnow_bind_output_host(void *binding, const char *name, char *text);

// The first output of a binding. value is to be released.
typedef struct {
  void *value;
  void *data;
  int type; // ONNXTensorElementDataType
  size_t rank, count;
  int64_t dims[8];
} winnow_output;
int winnow_bound_output(void *binding, winnow_output *out, char *text);
void winnow_release_value(void *value);

// An allocator of page-locked memory (device >= 0) or of plain memory (-1).
int winnow_allocator(void *session, int device, void **allocator, char *text);
int winnow_allocate(void *allocator, size_t bytes, void **memory, char *text);
void winnow_free(void *allocator, void *memory);
void winnow_release_allocator(void *allocator);

// Calls back for every node of the model with its provider and its operator.
int winnow_assignment(void *session, uintptr_t handle, char *text);

// NVIDIA's driver. version is CUDA's as 1000 × major + 10 × minor; loaded is 0 where
// there is no driver. Returns 0, or the driver's error and a message.
typedef struct {
  char name[256];
  uint64_t memory;
  int major, minor; // compute capability
} winnow_gpu;
int winnow_cuda(const char *library, int *loaded, int *version, int *count, char *text);
int winnow_cuda_gpu(int index, winnow_gpu *gpu, char *text);

// The version that a function without arguments (returns_size 1: as its result; 0:
// through a pointer) of a library tells, and the library's file. 0 where it cannot be
// loaded.
long winnow_library_version(const char *library, const char *function, int returns_size, char *text);
int winnow_preload(const char *library, char *text);

#endif
