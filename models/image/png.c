#include "png.h"

#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>

int winnow_png_inflate(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size) {
  struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
  if (!d) return 1;
  size_t got = 0;
  enum libdeflate_result res = libdeflate_zlib_decompress(d, in, in_size, out, out_size, &got);
  libdeflate_free_decompressor(d);
  switch (res) {
  case LIBDEFLATE_SUCCESS:
    return got == out_size ? 0 : 2;
  case LIBDEFLATE_INSUFFICIENT_SPACE:
    return 3;
  default:
    return 1;
  }
}

static inline uint8_t paeth(int a, int b, int c) {
  int pa = b - c, pb = a - c, pc = pa + pb;
  pa = abs(pa), pb = abs(pb), pc = abs(pc);
  return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

// The filters with a dependency on the left pixel. bpp is a constant wherever
// these are inlined, which lets the compiler keep the left pixel in registers.
static inline void unfilter_left(uint8_t type, uint8_t *p, const uint8_t *up, size_t n, const int bpp) {
  uint8_t left[8] = {0}, corner[8] = {0};
  for (size_t i = 0; i + bpp <= n; i += bpp) {
    for (int q = 0; q < bpp; q++) {
      uint8_t v = p[i + q];
      if (type == 1)
        v += left[q];
      else if (type == 3)
        v += (uint8_t)((left[q] + up[i + q]) >> 1);
      else
        v += paeth(left[q], up[i + q], corner[q]);
      corner[q] = up[i + q];
      p[i + q] = left[q] = v;
    }
  }
}

#if defined(__SSE2__)
#include <emmintrin.h>

static inline __m128i load4(const uint8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm_cvtsi32_si128(v);
}

// One pixel of 3 or 4 bytes. Of 3, a fourth is loaded where the row has one.
static inline __m128i load_pixel(const uint8_t *p, const int bpp, int more) {
  if (bpp == 4 || more) return load4(p);
  int32_t v = p[0] | p[1] << 8 | p[2] << 16;
  return _mm_cvtsi32_si128(v);
}

static inline void store_pixel(uint8_t *p, __m128i v, const int bpp) {
  int32_t t = _mm_cvtsi128_si32(v);
  memcpy(p, &t, (size_t)bpp);
}

static inline __m128i abs16(__m128i v) { return _mm_max_epi16(v, _mm_sub_epi16(_mm_setzero_si128(), v)); }

static inline __m128i choose(__m128i mask, __m128i a, __m128i b) {
  return _mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b));
}

// Paeth: the channels of a pixel at once.
static inline void paeth_pixels(uint8_t *p, const uint8_t *up, size_t n, const int bpp) {
  const __m128i zero = _mm_setzero_si128();
  __m128i a = zero, c = zero;
  for (size_t i = 0; i + bpp <= n; i += bpp) {
    const int more = i + 4 <= n;
    __m128i b = _mm_unpacklo_epi8(load_pixel(up + i, bpp, more), zero), x = load_pixel(p + i, bpp, more);
    __m128i pa = _mm_sub_epi16(b, c), pb = _mm_sub_epi16(a, c), pc = _mm_add_epi16(pa, pb);
    pa = abs16(pa), pb = abs16(pb), pc = abs16(pc);
    __m128i least = _mm_min_epi16(pc, _mm_min_epi16(pa, pb));
    __m128i pred = choose(_mm_cmpeq_epi16(least, pa), a, choose(_mm_cmpeq_epi16(least, pb), b, c));
    x = _mm_add_epi8(x, _mm_packus_epi16(pred, pred));
    store_pixel(p + i, x, bpp);
    a = _mm_unpacklo_epi8(x, zero);
    c = b;
  }
}

static inline void sub_pixels(uint8_t *p, size_t n, const int bpp) {
  __m128i a = _mm_setzero_si128();
  for (size_t i = 0; i + bpp <= n; i += bpp)
    store_pixel(p + i, a = _mm_add_epi8(a, load_pixel(p + i, bpp, i + 4 <= n)), bpp);
}

static inline void average_pixels(uint8_t *p, const uint8_t *up, size_t n, const int bpp) {
  const __m128i one = _mm_set1_epi8(1);
  __m128i a = _mm_setzero_si128();
  for (size_t i = 0; i + bpp <= n; i += bpp) {
    const int more = i + 4 <= n;
    __m128i b = load_pixel(up + i, bpp, more);
    __m128i mean = _mm_sub_epi8(_mm_avg_epu8(a, b), _mm_and_si128(_mm_xor_si128(a, b), one)); // rounded down
    store_pixel(p + i, a = _mm_add_epi8(load_pixel(p + i, bpp, more), mean), bpp);
  }
}

static inline void unfilter_pixels(uint8_t type, uint8_t *p, const uint8_t *up, size_t n, const int bpp) {
  if (type == 1)
    sub_pixels(p, n, bpp);
  else if (type == 3)
    average_pixels(p, up, n, bpp);
  else
    paeth_pixels(p, up, n, bpp);
}
#else
static inline void unfilter_pixels(uint8_t type, uint8_t *p, const uint8_t *up, size_t n, const int bpp) {
  unfilter_left(type, p, up, n, bpp);
}
#endif

static int unfilter_row(uint8_t type, uint8_t *p, const uint8_t *up, size_t n, int bpp) {
  switch (type) {
  case 0:
    return 1;
  case 2:
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(p[i] + up[i]);
    return 1;
  case 1:
  case 3:
  case 4:
    switch (bpp) {
    case 1:
      unfilter_left(type, p, up, n, 1);
      break;
    case 2:
      unfilter_left(type, p, up, n, 2);
      break;
    case 3:
      unfilter_pixels(type, p, up, n, 3);
      break;
    case 4:
      unfilter_pixels(type, p, up, n, 4);
      break;
    case 6:
      unfilter_left(type, p, up, n, 6);
      break;
    default:
      unfilter_left(type, p, up, n, 8);
    }
    return 1;
  }
  return 0;
}

int winnow_png_unfilter(uint8_t *raw, int rows, size_t row_bytes, int bpp) {
  uint8_t *none = calloc(1, row_bytes + 1); // the row above the first
  if (!none) return 0;
  const uint8_t *up = none;
  int ok = 1;
  for (int y = 0; y < rows && ok; y++) {
    uint8_t *row = raw + (size_t)y * (row_bytes + 1);
    ok = unfilter_row(row[0], row + 1, up, row_bytes, bpp);
    up = row + 1;
  }
  free(none);
  return ok;
}

// What is left of a channel of opacity a over white, as Pillow rounds it.
static inline uint8_t on_white(uint32_t v, uint32_t a) {
  uint32_t t = ((v * a + 255 * (255 - a)) << 7) + (128 << 7);
  return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

static inline void put(uint8_t *o, uint8_t r, uint8_t g, uint8_t b, uint8_t a, int drop) {
  if (a != 255 && !drop) {
    if (a == 0)
      r = g = b = 255;
    else
      r = on_white(r, a), g = on_white(g, a), b = on_white(b, a);
  }
  o[0] = r, o[1] = g, o[2] = b, o[3] = 255;
}

void winnow_png_expand(const winnow_png *png, const uint8_t *row, int n, uint8_t *out, int step) {
  const int depth = png->depth, drop = png->drop_alpha, wide = depth == 16 ? 2 : 1;
  step *= 4;
  switch (png->colour) {
  case 0: // grey; of 16 bits the high byte
    if (depth >= 8) {
      for (int i = 0; i < n; i++, row += wide, out += step) put(out, row[0], row[0], row[0], 255, 1);
      return;
    }
    for (int i = 0; i < n; i++, out += step) {
      int v = (row[i * depth >> 3] >> (8 - depth - (i * depth & 7))) & ((1 << depth) - 1);
      v = v * 255 / ((1 << depth) - 1);
      put(out, (uint8_t)v, (uint8_t)v, (uint8_t)v, 255, 1);
    }
    return;
  case 2: // colour
    for (int i = 0; i < n; i++, row += 3 * wide, out += step)
      put(out, row[0], row[wide], row[2 * wide], 255, 1);
    return;
  case 3: // palette
    for (int i = 0; i < n; i++, out += step) {
      int v = depth == 8 ? row[i] : (row[i * depth >> 3] >> (8 - depth - (i * depth & 7))) & ((1 << depth) - 1);
      memcpy(out, png->palette + v * 4, 4);
    }
    return;
  case 4: // grey and alpha
    for (int i = 0; i < n; i++, row += 2 * wide, out += step)
      put(out, row[0], row[0], row[0], row[wide], drop);
    return;
  default: // colour and alpha
    for (int i = 0; i < n; i++, row += 4 * wide, out += step)
      put(out, row[0], row[wide], row[2 * wide], row[3 * wide], drop);
  }
}

int winnow_png_rows(const winnow_png *png, uint8_t *raw, size_t row_bytes, int bpp,
                    const winnow_resize *r, uint8_t *block, uint8_t *rows, size_t stride) {
  enum { BLOCK_ROWS = 8 };
  if (!winnow_png_unfilter(raw, png->height, row_bytes, bpp)) return 0;
  const size_t step = (size_t)png->width * 4;
  for (int y = 0; y < png->height; y += BLOCK_ROWS) {
    int n = png->height - y < BLOCK_ROWS ? png->height - y : BLOCK_ROWS;
    for (int i = 0; i < n; i++) {
      const uint8_t *row = raw + (size_t)(y + i) * (row_bytes + 1) + 1;
      winnow_png_expand(png, row, png->width, r ? block + i * step : rows + (size_t)(y + i) * stride, 1);
    }
    if (r) winnow_resize_rows(r, block, step, y, n);
  }
  return 1;
}
