// The colours of lossy WebP, as libwebp computes them.
#ifndef WINNOW_WEBP_H
#define WINNOW_WEBP_H

#include <stdint.h>

// Writes one row as pixels of 4 bytes. u[0] and v[0] are the chroma rows nearest to
// the row of y, u[1] and v[1] the next nearest, each of (width + 1) / 2 samples.
void winnow_webp_row(const uint8_t *y, const uint8_t *u0, const uint8_t *u1, const uint8_t *v0,
                     const uint8_t *v1, int width, uint8_t *out);

#endif
