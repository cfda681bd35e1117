#include "avif.h"

// Fixed-point factors of 6 fractional bits; y of 16 more.
typedef struct {
  int y, bias, ub, ug, vg, vr;
} factors;

// libyuv has the same numbers; a factor of 8 bits ends at 128.
static int find(int matrix, int full, factors *f) {
  static const factors limited[] = {{18997, -1160, 128, 25, 52, 102}, {18997, -1160, 128, 14, 34, 115}, {19003, -1160, 128, 12, 42, 107}};
  static const factors whole[] = {{16320, 32, 113, 22, 46, 90}, {16320, 32, 119, 12, 30, 101}, {16320, 32, 120, 11, 37, 94}};
  int i;
  switch (matrix) {
  case 2: // unspecified
  case 5:
  case 6:
    i = 0;
    break;
  case 1:
    i = 1;
    break;
  case 9:
    i = 2;
    break;
  default:
    return 0;
  }
  *f = full ? whole[i] : limited[i];
  return 1;
}

int winnow_yuv_known(int matrix) {
  factors f;
  return find(matrix, 1, &f);
}

static uint8_t clip(int v) {
  v >>= 6;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// One chroma sample at pixel x of row y: 9, 3, 3 and 1 sixteenths of the four
// nearest, at the borders of those that are there.
static inline int chroma(const winnow_yuv *p, const uint8_t *near, const uint8_t *far, int x) {
  if (!p->halved_x) return (3 * near[x] + far[x] + 2) >> 2;
  int i = x >> 1, j = i + (x & 1 ? 1 : -1), last = (p->width - 1) >> 1;
  if (j < 0 || j > last) j = i;
  return (9 * near[i] + 3 * near[j] + 3 * far[i] + far[j] + 8) >> 4;
}

void winnow_yuv_row(const winnow_yuv *p, int y, uint8_t *out) {
  factors f = {0};
  find(p->matrix, p->full_range, &f);
  int near = y, far = y;
  if (p->halved_y) {
    int last = (p->height - 1) >> 1;
    near = y >> 1, far = near + (y & 1 ? 1 : -1);
    if (far < 0 || far > last) far = near;
  }
  const uint8_t *luma = p->y + (int64_t)y * p->y_stride;
  const uint8_t *u0 = p->u + (int64_t)near * p->u_stride, *u1 = p->u + (int64_t)far * p->u_stride;
  const uint8_t *v0 = p->v + (int64_t)near * p->v_stride, *v1 = p->v + (int64_t)far * p->v_stride;
  const uint8_t *alpha = p->alpha ? p->alpha + (int64_t)y * p->alpha_stride : 0;
  for (int x = 0; x < p->width; x++, out += 4) {
    int u = chroma(p, u0, u1, x) - 128, v = chroma(p, v0, v1, x) - 128;
    int l = (int)((uint32_t)(luma[x] * 0x0101 * f.y) >> 16) + f.bias;
    out[0] = clip(l + v * f.vr);
    out[1] = clip(l - u * f.ug - v * f.vg);
    out[2] = clip(l + u * f.ub);
    out[3] = alpha ? alpha[x] : 255;
  }
}
