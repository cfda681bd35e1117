// The colours of AVIF as libavif and libyuv compute them, which Pillow shows.
#ifndef WINNOW_AVIF_H
#define WINNOW_AVIF_H

#include <stdint.h>

// Planes of 8 bits a sample.
typedef struct {
  int32_t width, height;
  int32_t halved_x, halved_y;         // of the chroma: 1 where a sample stands for two pixels
  int32_t matrix, full_range;         // as in the nclx colour box (ITU-T H.273)
  const uint8_t *y, *u, *v, *alpha;   // alpha may be NULL
  int32_t y_stride, u_stride, v_stride, alpha_stride;
} winnow_yuv;

// Whether winnow_yuv_row knows the matrix.
int winnow_yuv_known(int matrix);

// Writes row y as pixels of 4 bytes.
void winnow_yuv_row(const winnow_yuv *p, int y, uint8_t *out);

#endif
