#include "webp.h"

static uint8_t clip(int v) {
  v >>= 6;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void pixel(int y, int u, int v, uint8_t *out) {
  y = y * 19077 >> 8;
  out[0] = clip(y + (v * 26149 >> 8) - 14234);
  out[1] = clip(y - (u * 6419 >> 8) - (v * 13320 >> 8) + 8708);
  out[2] = clip(y + (u * 33050 >> 8) - 17685);
  out[3] = 255;
}

// At the sides there is no neighbour along x.
static int at_side(uint8_t near, uint8_t far) { return (3 * near + far + 2) >> 2; }

// 9/16 of the nearest sample p, 3/16 of its neighbours q and r, 1/16 of the one
// diagonal to it, in libwebp's two steps of rounding: all four are averaged, then
// along the diagonal that p is not on.
static int blend(int p, int q, int r, int s) {
  int diagonal = (p + q + r + s + 8 + 2 * (q + r)) >> 3;
  return (diagonal + p) >> 1;
}

void winnow_webp_row(const uint8_t *y, const uint8_t *u0, const uint8_t *u1, const uint8_t *v0,
                     const uint8_t *v1, int width, uint8_t *out) {
  const int last = (width - 1) / 2;
  pixel(y[0], at_side(u0[0], u1[0]), at_side(v0[0], v1[0]), out);
  // Two pixels lie between the samples i and i + 1.
  for (int i = 0; i < last; i++) {
    const int x = 2 * i + 1, j = i + 1;
    pixel(y[x], blend(u0[i], u1[i], u0[j], u1[j]), blend(v0[i], v1[i], v0[j], v1[j]), out + x * 4);
    pixel(y[x + 1], blend(u0[j], u1[j], u0[i], u1[i]), blend(v0[j], v1[j], v0[i], v1[i]), out + (x + 1) * 4);
  }
  if (width % 2 == 0)
    pixel(y[width - 1], at_side(u0[last], u1[last]), at_side(v0[last], v1[last]), out + (width - 1) * 4);
}
