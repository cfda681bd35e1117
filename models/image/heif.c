#include "heif.h"

#include "avif.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// The part of libheif's interface that is used, as it has been since 1.11; its
// headers need not be there to compile.
typedef struct {
  int code, subcode;
  const char *message;
} heif_error;

typedef struct {
  uint8_t version, ignore_transformations;
  void (*start_progress)(int, int, void *);
  void (*on_progress)(int, int, void *);
  void (*end_progress)(int, void *);
  void *user;
  uint8_t convert_hdr_to_8bit; // version 2
  uint8_t strict_decoding;     // version 3
} heif_options;

typedef struct { // since 1.19
  uint8_t version;
  uint64_t max_image_size_pixels;
} heif_limits;

typedef struct { // the first fields
  uint8_t version;
  int primaries, transfer, matrix;
  uint8_t full_range;
} heif_nclx;

enum { YCBCR = 0, CHROMA_420 = 1, CHROMA_422 = 2, CHROMA_444 = 3 };
enum { CHANNEL_Y = 0, CHANNEL_CB = 1, CHANNEL_CR = 2, CHANNEL_ALPHA = 6 };
enum { RGB = 1, INTERLEAVED_RGB = 10, INTERLEAVED_RGBA = 11, INTERLEAVED = 10 };
enum { INVALID_INPUT = 2, UNSUPPORTED_FILE = 3, UNSUPPORTED_FEATURE = 4, OUT_OF_MEMORY = 6 };
enum { END_OF_DATA = 100, SECURITY_LIMIT = 1000 };

static struct {
  const char *(*get_version)(void);
  int (*have_decoder_for_format)(int);
  void *(*context_alloc)(void);
  void (*context_free)(void *);
  heif_error (*context_read_from_memory_without_copy)(void *, const void *, size_t, const void *);
  heif_error (*context_get_primary_image_handle)(void *, void **);
  void (*image_handle_release)(void *);
  int (*image_handle_get_width)(void *);
  int (*image_handle_get_height)(void *);
  int (*image_handle_has_alpha_channel)(void *);
  heif_options *(*decoding_options_alloc)(void);
  void (*decoding_options_free)(heif_options *);
  heif_error (*decode_image)(void *, void **, int, int, const heif_options *);
  int (*image_get_width)(void *, int);
  int (*image_get_height)(void *, int);
  const uint8_t *(*image_get_plane_readonly)(void *, int, int *);
  void (*image_release)(void *);
  int (*image_get_colorspace)(void *);
  int (*image_get_chroma_format)(void *);
  int (*image_get_bits_per_pixel_range)(void *, int);
  heif_error (*image_get_nclx_color_profile)(void *, heif_nclx **);
  void (*nclx_color_profile_free)(heif_nclx *);
  // Not in every version:
  void (*context_set_max_decoding_threads)(void *, int);
  int (*image_handle_is_premultiplied_alpha)(void *);
  heif_limits *(*context_get_security_limits)(void *);
} heif;

static const char *version, *fault;

static void load(void) {
  void *lib = dlopen("libheif.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    fault = dlerror();
    return;
  }
#define FIND(name) *(void **)&heif.name = dlsym(lib, "heif_" #name)
#define NEED(name) \
  if (!(FIND(name))) { \
    fault = "it lacks heif_" #name; \
    return; \
  }
  NEED(get_version)
  NEED(have_decoder_for_format)
  NEED(context_alloc)
  NEED(context_free)
  NEED(context_read_from_memory_without_copy)
  NEED(context_get_primary_image_handle)
  NEED(image_handle_release)
  NEED(image_handle_get_width)
  NEED(image_handle_get_height)
  NEED(image_handle_has_alpha_channel)
  NEED(decoding_options_alloc)
  NEED(decoding_options_free)
  NEED(decode_image)
  NEED(image_get_width)
  NEED(image_get_height)
  NEED(image_get_plane_readonly)
  NEED(image_release)
  NEED(image_get_colorspace)
  NEED(image_get_chroma_format)
  NEED(image_get_bits_per_pixel_range)
  NEED(image_get_nclx_color_profile)
  NEED(nclx_color_profile_free)
  FIND(context_set_max_decoding_threads);
  FIND(image_handle_is_premultiplied_alpha);
  FIND(context_get_security_limits);
  version = heif.get_version();
}

const char *winnow_heif_version(const char **why) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  *why = fault;
  return version;
}

int winnow_heif_decodes(int format) { return version && heif.have_decoder_for_format(format); }

static int fault_of(heif_error e, winnow_heif_info *info) {
  if (e.code == 0) return WINNOW_HEIF_OK;
  snprintf(info->message, sizeof info->message, "%s", e.message ? e.message : "no message");
  if (e.subcode == SECURITY_LIMIT) return WINNOW_HEIF_TOO_LARGE;
  switch (e.code) {
  case INVALID_INPUT:
    return e.subcode == END_OF_DATA ? WINNOW_HEIF_TRUNCATED : WINNOW_HEIF_CORRUPT;
  case UNSUPPORTED_FILE:
  case UNSUPPORTED_FEATURE:
    return WINNOW_HEIF_UNSUPPORTED;
  case OUT_OF_MEMORY:
    return WINNOW_HEIF_MEMORY;
  }
  return WINNOW_HEIF_CORRUPT;
}

typedef struct {
  void *context, *handle, *image;
  heif_options *options;
} decoder;

static int open_decoder(decoder *d, const uint8_t *data, size_t size, int64_t max_pixels, winnow_heif_info *info) {
  d->context = heif.context_alloc();
  if (!d->context) return WINNOW_HEIF_MEMORY;
  // The files of a run are decoded side by side already.
  if (heif.context_set_max_decoding_threads) heif.context_set_max_decoding_threads(d->context, 0);
  if (heif.context_get_security_limits) {
    heif_limits *limits = heif.context_get_security_limits(d->context);
    if (limits && limits->version >= 1) limits->max_image_size_pixels = (uint64_t)max_pixels;
  }
  int code = fault_of(heif.context_read_from_memory_without_copy(d->context, data, size, NULL), info);
  if (code) return code;
  if ((code = fault_of(heif.context_get_primary_image_handle(d->context, &d->handle), info))) return code;
  info->width = heif.image_handle_get_width(d->handle);
  info->height = heif.image_handle_get_height(d->handle);
  info->alpha = heif.image_handle_has_alpha_channel(d->handle);
  if (info->alpha && heif.image_handle_is_premultiplied_alpha)
    info->premultiplied = heif.image_handle_is_premultiplied_alpha(d->handle);
  return WINNOW_HEIF_OK;
}

static void close_decoder(decoder *d) {
  if (d->image) heif.image_release(d->image);
  if (d->options) heif.decoding_options_free(d->options);
  if (d->handle) heif.image_handle_release(d->handle);
  if (d->context) heif.context_free(d->context);
}

int winnow_heif_header(const uint8_t *data, size_t size, int64_t max_pixels, winnow_heif_info *info) {
  decoder d = {0};
  memset(info, 0, sizeof *info);
  int code = open_decoder(&d, data, size, max_pixels, info);
  close_decoder(&d);
  return code;
}

// The planes of a decoded YCbCr image of 8 bits. Returns 0 where it is something
// else.
static int get_planes(void *image, int32_t width, int32_t height, int has_alpha, winnow_yuv *p) {
  const int format = heif.image_get_chroma_format(image);
  if (heif.image_get_colorspace(image) != YCBCR || format < CHROMA_420 || format > CHROMA_444) return 0;
  *p = (winnow_yuv){.width = width, .height = height, .halved_x = format != CHROMA_444, .halved_y = format == CHROMA_420,
                    .matrix = 2, .full_range = 1};
  heif_nclx *nclx = NULL;
  if (heif.image_get_nclx_color_profile(image, &nclx).code == 0 && nclx) {
    p->matrix = nclx->matrix, p->full_range = nclx->full_range;
    heif.nclx_color_profile_free(nclx);
  }
  if (!winnow_yuv_known(p->matrix)) return 0;
  const int w = (width + p->halved_x) >> p->halved_x, h = (height + p->halved_y) >> p->halved_y;
  struct {
    int channel, width, height;
    const uint8_t **plane;
    int32_t *stride;
  } want[] = {{CHANNEL_Y, width, height, &p->y, &p->y_stride},
              {CHANNEL_CB, w, h, &p->u, &p->u_stride},
              {CHANNEL_CR, w, h, &p->v, &p->v_stride},
              {CHANNEL_ALPHA, width, height, &p->alpha, &p->alpha_stride}};
  for (int i = 0; i < (has_alpha ? 4 : 3); i++) {
    int stride = 0;
    if (heif.image_get_bits_per_pixel_range(image, want[i].channel) != 8 ||
        heif.image_get_width(image, want[i].channel) != want[i].width ||
        heif.image_get_height(image, want[i].channel) != want[i].height)
      return 0;
    *want[i].plane = heif.image_get_plane_readonly(image, want[i].channel, &stride);
    *want[i].stride = stride;
    if (!*want[i].plane || stride < want[i].width) return 0;
  }
  return 1;
}

// Decodes by libheif alone.
static int decode(decoder *d, int32_t width, int32_t height, uint8_t *rows, size_t stride, winnow_heif_info *info) {
  const int channels = info->alpha ? 4 : 3;
  int code = fault_of(heif.decode_image(d->handle, &d->image, RGB, info->alpha ? INTERLEAVED_RGBA : INTERLEAVED_RGB, d->options), info);
  if (code) return code;
  int step = 0;
  const uint8_t *from = heif.image_get_plane_readonly(d->image, INTERLEAVED, &step);
  if (!from || heif.image_get_width(d->image, INTERLEAVED) != width ||
      heif.image_get_height(d->image, INTERLEAVED) != height || step < width * channels) {
    snprintf(info->message, sizeof info->message, "its size is not the header's");
    return WINNOW_HEIF_CORRUPT;
  }
  for (int y = 0; y < height; y++, from += step, rows += stride) {
    if (channels == 4) {
      memcpy(rows, from, (size_t)width * 4);
      continue;
    }
    for (int x = 0; x < width; x++) {
      memcpy(rows + (size_t)x * 4, from + (size_t)x * 3, 3);
      rows[(size_t)x * 4 + 3] = 255;
    }
  }
  return WINNOW_HEIF_OK;
}

int winnow_heif_decode(const uint8_t *data, size_t size, int64_t max_pixels, int32_t width, int32_t height,
                       int chroma, uint8_t *rows, size_t stride, winnow_heif_info *info) {
  decoder d = {0};
  memset(info, 0, sizeof *info);
  int code = open_decoder(&d, data, size, max_pixels, info);
  if (!code && !(d.options = heif.decoding_options_alloc())) code = WINNOW_HEIF_MEMORY;
  if (!code && chroma) {
    code = fault_of(heif.decode_image(d.handle, &d.image, YCBCR, chroma, d.options), info);
    winnow_yuv planes;
    if (!code && get_planes(d.image, width, height, info->alpha, &planes))
      for (int y = 0; y < height; y++) winnow_yuv_row(&planes, y, rows + (size_t)y * stride);
    else if (!code)
      chroma = 0;
    if (d.image) heif.image_release(d.image), d.image = NULL;
  }
  if (!code && !chroma) {
    if (d.options->version >= 2) d.options->convert_hdr_to_8bit = 1;
    code = decode(&d, width, height, rows, stride, info);
  }
  close_decoder(&d);
  return code;
}
