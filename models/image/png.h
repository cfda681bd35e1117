// PNG: from filtered rows to pixels.
#ifndef WINNOW_PNG_H
#define WINNOW_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "resample.h"

typedef struct {
  int32_t width, height;
  int32_t depth, colour; // bits a sample, colour type, as in IHDR
  int32_t drop_alpha;    // keep the colours of transparent pixels instead of compositing on white
  const uint8_t *palette; // 256 × 4 bytes, ready to copy; colour type 3 only
} winnow_png;

// Inflates a zlib stream into exactly out_size bytes. Returns 0, or 1 for bad
// data, 2 when there is less, 3 when there is more.
int winnow_png_inflate(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size);

// Undoes the filters of rows × (1 + row_bytes) bytes in place. Returns 0 where a
// filter is unknown.
int winnow_png_unfilter(uint8_t *raw, int rows, size_t row_bytes, int bytes_per_pixel);

// Turns filtered rows of an image that is not interlaced into 4-byte pixels:
// through r where it is not NULL, else into rows, stride bytes apart. Returns 0
// where a filter is unknown. block holds 8 rows of 4 × width bytes.
int winnow_png_rows(const winnow_png *png, uint8_t *raw, size_t row_bytes, int bytes_per_pixel,
                    const winnow_resize *r, uint8_t *block, uint8_t *rows, size_t stride);

// Turns one unfiltered row of n samples into 4-byte pixels, step pixels apart.
void winnow_png_expand(const winnow_png *png, const uint8_t *row, int n, uint8_t *out, int step);

#endif
