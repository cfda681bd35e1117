#include "jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

#define JMAKE_ENUM_LIST
#include <jerror.h>

// One decode. libjpeg calls back with the address of a member.
typedef struct {
  struct jpeg_decompress_struct c;
  struct jpeg_error_mgr error;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  int fault;
  char *message; // 256 bytes
  const winnow_jpeg_limits *limits;
  uint8_t *block; // rows between libjpeg and the resize
} decoder;

int64_t winnow_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int32_t winnow_jpeg_scaled(int32_t side, int32_t eighths) {
  return (int32_t)(((int64_t)side * eighths + 7) / 8);
}

static void stop(decoder *d, int fault, const char *message) {
  d->fault = fault;
  snprintf(d->message, 256, "%s", message);
  longjmp(d->jump, 1);
}

static decoder *of(j_common_ptr c) { return (decoder *)c->client_data; }

static int fault_of(int code) {
  switch (code) {
  case JERR_EMPTY_IMAGE:
    return WINNOW_JPEG_NO_PIXELS;
  case JERR_INPUT_EMPTY:
  case JERR_INPUT_EOF:
    return WINNOW_JPEG_TRUNCATED;
  case JERR_OUT_OF_MEMORY:
  case JERR_NO_BACKING_STORE:
    return WINNOW_JPEG_MEMORY;
  case JERR_NO_SOI:
  case JERR_SOF_UNSUPPORTED:
  case JERR_BAD_PRECISION:
  case JERR_CONVERSION_NOTIMPL:
  case JERR_ARITH_NOTIMPL:
  case JERR_CCIR601_NOTIMPL:
  case JERR_FRACT_SAMPLE_NOTIMPL:
    return WINNOW_JPEG_UNSUPPORTED;
  }
  return WINNOW_JPEG_CORRUPT;
}

static void on_error(j_common_ptr c) {
  char text[JMSG_LENGTH_MAX];
  c->err->format_message(c, text);
  stop(of(c), fault_of(c->err->msg_code), text);
}

// libjpeg goes on after a warning with made-up pixels. Those that mean lost
// image data end the decode; those about odd but harmless files do not.
static void on_message(j_common_ptr c, int level) {
  if (level >= 0) return;
  int fault = WINNOW_JPEG_CORRUPT;
  switch (c->err->msg_code) {
  case JWRN_JPEG_EOF:
    fault = WINNOW_JPEG_TRUNCATED;
    break;
  case JWRN_ADOBE_XFORM:
  case JWRN_EXTRANEOUS_DATA:
  case JWRN_JFIF_MAJOR:
  case JWRN_NOT_SEQUENTIAL:
  case JWRN_TOO_MUCH_DATA:
    return;
  }
  char text[JMSG_LENGTH_MAX];
  c->err->format_message(c, text);
  stop(of(c), fault, text);
}

static void on_output(j_common_ptr c) { (void)c; }

static void on_progress(j_common_ptr c) {
  decoder *d = of(c);
  if (d->c.input_scan_number > d->limits->max_scans)
    stop(d, WINNOW_JPEG_CORRUPT, "it has more scans than any honest file");
  if (winnow_now_ns() > d->limits->deadline_ns)
    stop(d, WINNOW_JPEG_TIMEOUT, "decoding took too long");
}

// Opens and reads the header. Faults jump.
static void open_decoder(decoder *d, const uint8_t *data, size_t size) {
  d->c.err = jpeg_std_error(&d->error);
  d->error.error_exit = on_error;
  d->error.emit_message = on_message;
  d->error.output_message = on_output;
  d->c.client_data = d;
  jpeg_create_decompress(&d->c);
  d->c.client_data = d;
  jpeg_mem_src(&d->c, data, size);
  jpeg_read_header(&d->c, TRUE);
}

// The colours of the output: R, G, B and a filler, or C, M, Y, K.
static void choose_colours(decoder *d) {
  switch (d->c.num_components) {
  case 1:
  case 3:
    d->c.out_color_space = JCS_EXT_RGBX;
    return;
  case 4:
    d->c.out_color_space = JCS_CMYK;
    return;
  }
  stop(d, WINNOW_JPEG_UNSUPPORTED, "it has neither 1, 3 nor 4 colour components");
}

static uint8_t div255(uint32_t a) {
  a += 128;
  return (uint8_t)((a + (a >> 8)) >> 8);
}

// Inks as JPEG stores them, inverted: 255 is none. A colour is what the black
// leaves of what the ink leaves.
static void cmyk_to_rgb(uint8_t *p, int n) {
  for (int i = 0; i < n; i++, p += 4) {
    uint8_t left = p[3];
    for (int q = 0; q < 3; q++) p[q] = (uint8_t)(left - div255((uint32_t)(255 - p[q]) * left));
    p[3] = 255;
  }
}

enum { BLOCK_ROWS = 8 };

static void decode_rows(decoder *d, const winnow_resize *r, uint8_t *rows, size_t stride) {
  const int width = (int)d->c.output_width, height = (int)d->c.output_height;
  uint8_t *block = rows;
  size_t step = stride;
  if (r) {
    step = ((size_t)width * 4 + 63) / 64 * 64;
    block = d->block = malloc(step * BLOCK_ROWS);
    if (!block) stop(d, WINNOW_JPEG_MEMORY, "no memory for its rows");
  }
  for (int y = 0; y < height;) {
    int want = height - y < BLOCK_ROWS ? height - y : BLOCK_ROWS;
    if (!r) block = rows + (size_t)y * step;
    for (int got = 0; got < want;) {
      JSAMPROW line[BLOCK_ROWS];
      for (int i = got; i < want; i++) line[i - got] = block + (size_t)i * step;
      got += (int)jpeg_read_scanlines(&d->c, line, (JDIMENSION)(want - got));
    }
    if (d->c.out_color_space == JCS_CMYK)
      for (int i = 0; i < want; i++) cmyk_to_rgb(block + (size_t)i * step, width);
    if (r) winnow_resize_rows(r, block, step, y, want);
    y += want;
  }
}

int winnow_jpeg_header(const uint8_t *data, size_t size, winnow_jpeg_info *info) {
  decoder d;
  memset(&d, 0, sizeof d);
  memset(info, 0, sizeof *info);
  d.message = info->message;
  if (setjmp(d.jump) == 0) {
    open_decoder(&d, data, size);
    info->width = (int32_t)d.c.image_width;
    info->height = (int32_t)d.c.image_height;
    info->components = d.c.num_components;
    info->progressive = d.c.progressive_mode;
  }
  jpeg_destroy_decompress(&d.c);
  return d.fault;
}

int winnow_jpeg_decode(const uint8_t *data, size_t size, const winnow_jpeg_limits *limits,
                       int32_t width, int32_t height, const winnow_resize *r, uint8_t *rows,
                       size_t stride, winnow_jpeg_info *info) {
  decoder d;
  memset(&d, 0, sizeof d);
  memset(info, 0, sizeof *info);
  d.message = info->message;
  d.limits = limits;
  if (setjmp(d.jump) == 0) {
    open_decoder(&d, data, size);
    d.c.mem->max_memory_to_use = (long)limits->max_memory;
    d.progress.progress_monitor = on_progress;
    d.c.progress = &d.progress;
    d.c.dct_method = JDCT_ISLOW;
    d.c.scale_num = (unsigned)limits->eighths;
    d.c.scale_denom = 8;
    choose_colours(&d);
    jpeg_start_decompress(&d.c);
    if ((int64_t)d.c.output_width != width || (int64_t)d.c.output_height != height)
      stop(&d, WINNOW_JPEG_CORRUPT, "its size is not the header's");
    decode_rows(&d, r, rows, stride);
    jpeg_finish_decompress(&d.c);
  }
  free(d.block);
  jpeg_destroy_decompress(&d.c);
  return d.fault;
}
