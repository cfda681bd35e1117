// HEIC and AVIF by the system's libheif, which is opened at run time.
#ifndef WINNOW_HEIF_H
#define WINNOW_HEIF_H

#include <stddef.h>
#include <stdint.h>

enum {
  WINNOW_HEIF_OK,
  WINNOW_HEIF_TRUNCATED,
  WINNOW_HEIF_CORRUPT,
  WINNOW_HEIF_UNSUPPORTED,
  WINNOW_HEIF_TOO_LARGE, // by libheif's own limits
  WINNOW_HEIF_MEMORY,
};

typedef struct {
  int32_t width, height, alpha, premultiplied; // as shown: turned and cropped as the file says
  char message[256];                           // of a fault
} winnow_heif_info;

// Opens the library, once. Returns its version, or NULL and why in *fault. Both
// stay.
const char *winnow_heif_version(const char **fault);

// Whether the library has a decoder for a heif_compression_format: 1 HEVC, 4 AV1.
int winnow_heif_decodes(int format);

// Reads the size of the primary image. Returns a WINNOW_HEIF_ code.
int winnow_heif_header(const uint8_t *data, size_t size, int64_t max_pixels, winnow_heif_info *info);

// Decodes the primary image to pixels of 4 bytes, stride bytes apart. A file whose
// pixels are not width × height is refused. chroma, where it is not 0, is the
// heif_chroma of YCbCr of 8 bits that avif.c turns into RGB instead of libheif. Returns a WINNOW_HEIF_ code.
int winnow_heif_decode(const uint8_t *data, size_t size, int64_t max_pixels, int32_t width, int32_t height,
                       int chroma, uint8_t *rows, size_t stride, winnow_heif_info *info);

#endif
