// JPEG by libjpeg-turbo: header, and decode with the resize along x on the way,
// so that a photo is never whole in memory.
#ifndef WINNOW_JPEG_H
#define WINNOW_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "resample.h"

enum {
  WINNOW_JPEG_OK,
  WINNOW_JPEG_NO_PIXELS,
  WINNOW_JPEG_TRUNCATED,
  WINNOW_JPEG_CORRUPT,
  WINNOW_JPEG_UNSUPPORTED,
  WINNOW_JPEG_TIMEOUT,
  WINNOW_JPEG_MEMORY,
};

typedef struct {
  int32_t width, height, components, progressive;
  char message[256]; // of a fault
} winnow_jpeg_info;

typedef struct {
  int32_t eighths;     // DCT scale: 1, 2, 4 or 8
  int32_t max_scans;   // a progressive file with more is refused
  int64_t deadline_ns; // on CLOCK_MONOTONIC
  int64_t max_memory;  // bytes that libjpeg may take
} winnow_jpeg_limits;

// Reads the header. Returns a WINNOW_JPEG_ code.
int winnow_jpeg_header(const uint8_t *data, size_t size, winnow_jpeg_info *info);

// The size that decoding with a DCT scale gives.
int32_t winnow_jpeg_scaled(int32_t side, int32_t eighths);

int64_t winnow_now_ns(void);

// Decodes to pixels of 4 bytes: through r where it is not NULL, else into rows,
// stride bytes apart. width and height are what the caller has made room for: a
// file that decodes to another size is refused. Returns a WINNOW_JPEG_ code.
int winnow_jpeg_decode(const uint8_t *data, size_t size, const winnow_jpeg_limits *limits,
                       int32_t width, int32_t height, const winnow_resize *r, uint8_t *rows,
                       size_t stride, winnow_jpeg_info *info);

#endif
