// Pillow's 8-bit resample, bit for bit: weights of 22 fractional bits, 32-bit
// sums, rounded and clipped to a byte after each pass.
//
// The vector code multiplies 16-bit numbers, twice as many at a time as 32-bit
// ones: a weight k is (k >> 8)·256 + (k & 255), both halves are summed apart,
// and put together at the end. All of it is exact, as sums wrap modulo 2³².

#include "resample.h"

#include <string.h>

#define FRACTION 22

static inline uint8_t clip8(int32_t v) {
  v >>= FRACTION;
  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

static void hpass_plain(const winnow_axis *a, const uint8_t *src, uint8_t *dst) {
  for (int x = 0; x < a->out; x++) {
    const int32_t *k = a->k + (size_t)x * a->ksize;
    const uint8_t *p = src + (size_t)a->start[x] * 4;
    int32_t s0 = 1 << (FRACTION - 1), s1 = s0, s2 = s0;
    for (int i = 0; i < a->count[x]; i++) {
      s0 += p[i * 4] * k[i];
      s1 += p[i * 4 + 1] * k[i];
      s2 += p[i * 4 + 2] * k[i];
    }
    uint8_t *o = dst + (size_t)x * 4;
    o[0] = clip8(s0);
    o[1] = clip8(s1);
    o[2] = clip8(s2);
    o[3] = 255;
  }
}

// Sums bytes [from, to) of the rows of output y, a block at a time so that the
// sums stay in the cache and the compiler vectorises the inner loop.
static void vpass_plain(const winnow_axis *a, int y, const uint8_t *src, size_t stride, size_t from,
                        size_t to, uint8_t *dst) {
  enum { BLOCK = 256 };
  int32_t sum[BLOCK];
  const int32_t *k = a->k + (size_t)y * a->ksize;
  const uint8_t *rows = src + (size_t)a->start[y] * stride;
  for (size_t at = from; at < to; at += BLOCK) {
    size_t n = to - at < BLOCK ? to - at : BLOCK;
    for (size_t j = 0; j < n; j++) sum[j] = 1 << (FRACTION - 1);
    for (int i = 0; i < a->count[y]; i++) {
      const uint8_t *p = rows + (size_t)i * stride + at;
      int32_t w = k[i];
      for (size_t j = 0; j < n; j++) sum[j] += p[j] * w;
    }
    for (size_t j = 0; j < n; j++) dst[at + j] = clip8(sum[j]);
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

int winnow_resample_simd(void) { return __builtin_cpu_supports("avx2"); }

AVX2 static inline __m256i load_taps(const int16_t *t) { return _mm256_loadu_si256((const void *)t); }

// Joins the halves of four sums, rounds, clips: four bytes.
AVX2 static inline uint32_t finish_pixel(__m256i high, __m256i low) {
  __m256i s = _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
  __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  t = _mm_srai_epi32(_mm_add_epi32(t, _mm_set1_epi32(1 << (FRACTION - 1))), FRACTION);
  t = _mm_packs_epi32(t, t);
  return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(t, t));
}

// Up to 4 rows at once share the loads of the weights.
AVX2 static inline void hpass_rows(const winnow_axis *a, const uint8_t *src, size_t stride,
                                   const int rows, uint8_t *dst, size_t dst_stride) {
  // 4 pixels → 16-bit pairs: pixels 0 and 1 in the lower half, 2 and 3 in the upper.
  const __m256i pairs = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,
                                         8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
  for (int x = 0; x < a->out; x++) {
    const int16_t *t = a->taps + (size_t)x * a->groups * 32;
    const uint8_t *p = src + (size_t)a->tap_start[x] * 4;
    __m256i high[4], low[4];
    for (int r = 0; r < rows; r++) high[r] = low[r] = _mm256_setzero_si256();
    for (int g = 0; g < a->groups; g++) {
      __m256i wh = load_taps(t + g * 32), wl = load_taps(t + g * 32 + 16);
      for (int r = 0; r < rows; r++) {
        __m128i px = _mm_loadu_si128((const void *)(p + r * stride + g * 16));
        __m256i v = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(px), pairs);
        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(v, wh));
        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(v, wl));
      }
    }
    for (int r = 0; r < rows; r++) {
      uint32_t px = finish_pixel(high[r], low[r]);
      memcpy(dst + r * dst_stride + (size_t)x * 4, &px, 4);
    }
  }
}

AVX2 static void hpass_avx2(const winnow_axis *a, const uint8_t *src, size_t stride, int rows,
                            uint8_t *dst, size_t dst_stride) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) hpass_rows(a, src + r * stride, stride, 4, dst + r * dst_stride, dst_stride);
  for (; r < rows; r++) hpass_rows(a, src + r * stride, stride, 1, dst + r * dst_stride, dst_stride);
}

AVX2 static inline __m256i finish_sums(__m256i high, __m256i low) {
  __m256i s = _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
  return _mm256_srai_epi32(_mm256_add_epi32(s, _mm256_set1_epi32(1 << (FRACTION - 1))), FRACTION);
}

// Two rows at a time, 32 bytes at a time. Returns how many bytes were done.
AVX2 static size_t vpass_avx2(const winnow_axis *a, int y, const uint8_t *src, size_t stride,
                              size_t bytes, uint8_t *dst) {
  const int32_t *k = a->k + (size_t)y * a->ksize;
  const uint8_t *rows = src + (size_t)a->start[y] * stride;
  const int n = a->count[y];
  const __m256i zero = _mm256_setzero_si256();
  size_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    __m256i high[4], low[4];
    for (int q = 0; q < 4; q++) high[q] = low[q] = zero;
    for (int i = 0; i < n; i += 2) {
      int two = i + 1 < n;
      uint32_t k0 = (uint32_t)k[i], k1 = two ? (uint32_t)k[i + 1] : 0;
      __m256i wh = _mm256_set1_epi32((int)(((k0 >> 8) & 0xffff) | (k1 >> 8) << 16));
      __m256i wl = _mm256_set1_epi32((int)((k0 & 255) | (k1 & 255) << 16));
      const uint8_t *p = rows + (size_t)i * stride + at;
      __m256i r0 = _mm256_loadu_si256((const void *)p);
      __m256i r1 = two ? _mm256_loadu_si256((const void *)(p + stride)) : zero;
      __m256i l = _mm256_unpacklo_epi8(r0, r1), h = _mm256_unpackhi_epi8(r0, r1);
      __m256i v[4] = {_mm256_unpacklo_epi8(l, zero), _mm256_unpackhi_epi8(l, zero),
                      _mm256_unpacklo_epi8(h, zero), _mm256_unpackhi_epi8(h, zero)};
      for (int q = 0; q < 4; q++) {
        high[q] = _mm256_add_epi32(high[q], _mm256_madd_epi16(v[q], wh));
        low[q] = _mm256_add_epi32(low[q], _mm256_madd_epi16(v[q], wl));
      }
    }
    __m256i w0 = _mm256_packs_epi32(finish_sums(high[0], low[0]), finish_sums(high[1], low[1]));
    __m256i w1 = _mm256_packs_epi32(finish_sums(high[2], low[2]), finish_sums(high[3], low[3]));
    _mm256_storeu_si256((void *)(dst + at), _mm256_packus_epi16(w0, w1));
  }
  return at;
}
// Drops the fourth byte of 4 pixels at a time; a store writes 4 bytes more than
// that, which the next one overwrites. Returns how many pixels were done.
__attribute__((target("ssse3"))) static int pack_rgb_ssse3(const uint8_t *src, int n, uint8_t *dst) {
  const __m128i keep = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  int i = 0;
  for (; n - i >= 6; i += 4)
    _mm_storeu_si128((void *)(dst + i * 3), _mm_shuffle_epi8(_mm_loadu_si128((const void *)(src + i * 4)), keep));
  return i;
}

static int pack_rgb_simd(const uint8_t *src, int n, uint8_t *dst) {
  return __builtin_cpu_supports("ssse3") ? pack_rgb_ssse3(src, n, dst) : 0;
}
#else
int winnow_resample_simd(void) { return 0; }

static int pack_rgb_simd(const uint8_t *src, int n, uint8_t *dst) {
  (void)src, (void)n, (void)dst;
  return 0;
}

static void hpass_avx2(const winnow_axis *a, const uint8_t *src, size_t stride, int rows,
                       uint8_t *dst, size_t dst_stride) {
  for (int r = 0; r < rows; r++) hpass_plain(a, src + r * stride, dst + r * dst_stride);
}

static size_t vpass_avx2(const winnow_axis *a, int y, const uint8_t *src, size_t stride,
                         size_t bytes, uint8_t *dst) {
  (void)a, (void)y, (void)src, (void)stride, (void)bytes, (void)dst;
  return 0;
}
#endif

static void hpass(const winnow_axis *a, const uint8_t *src, size_t src_stride, int rows,
                  uint8_t *dst, size_t dst_stride) {
  if (a->simd && a->taps) {
    hpass_avx2(a, src, src_stride, rows, dst, dst_stride);
    return;
  }
  for (int r = 0; r < rows; r++) hpass_plain(a, src + r * src_stride, dst + r * dst_stride);
}

static void vpass(const winnow_axis *a, int y, const uint8_t *src, size_t stride, size_t bytes,
                  uint8_t *dst) {
  size_t done = a->simd ? vpass_avx2(a, y, src, stride, bytes, dst) : 0;
  vpass_plain(a, y, src, stride, done, bytes, dst);
}

void winnow_resize_rows(const winnow_resize *r, const uint8_t *src, size_t src_stride, int row, int rows) {
  if (row < r->first) {
    int skip = r->first - row < rows ? r->first - row : rows;
    src += skip * src_stride, row += skip, rows -= skip;
  }
  if (row + rows > r->last) rows = r->last - row;
  if (rows <= 0) return;
  uint8_t *dst = r->middle + (size_t)(row - r->first) * r->middle_stride;
  if (r->x) {
    hpass(r->x, src, src_stride, rows, dst, r->middle_stride);
    return;
  }
  for (int i = 0; i < rows; i++)
    memcpy(dst + i * r->middle_stride, src + i * src_stride + (size_t)r->x0 * 4, (size_t)r->width * 4);
}

static void pack_rgb(const uint8_t *src, int n, uint8_t *dst) {
  for (int i = pack_rgb_simd(src, n, dst); i < n; i++) {
    dst[i * 3] = src[i * 4];
    dst[i * 3 + 1] = src[i * 4 + 1];
    dst[i * 3 + 2] = src[i * 4 + 2];
  }
}

void winnow_resize_y_first(const winnow_resize *r, const uint8_t *src, size_t src_stride, int src_width,
                           uint8_t *line) {
  for (int y = 0; y < r->height; y++) {
    vpass(r->y, y, src, src_stride, (size_t)src_width * 4, r->middle);
    hpass(r->x, r->middle, 0, 1, line, 0);
    pack_rgb(line, r->width, r->out + (size_t)y * r->out_stride);
  }
}

void winnow_resize_finish(const winnow_resize *r, uint8_t *line) {
  for (int y = 0; y < r->height; y++) {
    const uint8_t *from = line;
    if (r->y)
      vpass(r->y, y, r->middle, r->middle_stride, (size_t)r->width * 4, line);
    else
      from = r->middle + (size_t)(y + r->y0 - r->first) * r->middle_stride;
    pack_rgb(from, r->width, r->out + (size_t)y * r->out_stride);
  }
}
