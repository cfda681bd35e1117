// The two passes of the resize, on pixels of 4 bytes (R, G, B, unused).
#ifndef WINNOW_RESAMPLE_H
#define WINNOW_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

// One axis of a resize: output i is the sum of count[i] inputs from start[i],
// weighted by k[i*ksize…], numbers of 22 fractional bits.
// simd says that the vector code may be used: every |k| is below 2²³. For x it
// also needs taps: the same weights in groups of 4 inputs from tap_start[i], each
// weight split in a high half (k >> 8) and a low byte. Groups never reach past the
// input.
typedef struct {
  int32_t out, ksize, groups, simd;
  const int32_t *start, *count, *k;
  const int32_t *tap_start;
  const int16_t *taps;
} winnow_axis;

// 1 where the vector code runs.
int winnow_resample_simd(void);

// Where a resize of w × h pixels puts its results. Outputs are a window of the
// resized image, so that a crop costs only what it keeps. x or y is NULL where
// the size does not change; then the window starts at x0 or y0.
typedef struct {
  const winnow_axis *x, *y;
  int32_t x0, y0;
  int32_t width, height;    // of the output
  int32_t first, last;      // rows of the input that are needed
  uint8_t *middle;          // last - first rows of the output's width
  size_t middle_stride;     // in bytes, at least 4 × width
  uint8_t *out;             // height × width × 3, R, G, B
  size_t out_stride;        // in bytes, at least 3 × width
} winnow_resize;

// Resizes rows of the input along x into r->middle. row is the first one's number.
void winnow_resize_rows(const winnow_resize *r, const uint8_t *src, size_t src_stride, int row, int rows);

// The whole resize along y first, of all rows of an input of src_width pixels. r->x
// and r->y must be there; r->middle holds one row of the input, line one of the
// output; y counts inputs from 0.
void winnow_resize_y_first(const winnow_resize *r, const uint8_t *src, size_t src_stride, int src_width,
                           uint8_t *line);

// Resizes r->middle along y into r->out. line holds 4 × width bytes.
void winnow_resize_finish(const winnow_resize *r, uint8_t *line);

#endif
