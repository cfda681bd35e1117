// A driver's library for TestDriver: its answers, and faults by -D.
#include <stddef.h>
#include <stdio.h>

#ifndef COUNT
#define COUNT 1
#endif
#ifndef INIT
#define INIT 0
#endif
#ifndef NAME
#define NAME 0
#endif
#ifndef MEMORY
#define MEMORY 0
#endif

int cuInit(unsigned flags) { return flags == 0 ? INIT : 1; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = COUNT, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = 40 + ordinal, 0; }
int cuDeviceGetName(char *name, int length, int device) { return snprintf(name, (size_t)length, "Card %d", device - 40), NAME; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = device >= 40 ? 80ull << 30 : 0, MEMORY; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = device < 40 ? 0 : attribute == 75 ? 9 : 0, 0; }
int cuGetErrorString(int code, const char **text) {
  static char words[64];
  snprintf(words, sizeof words, "words of %d", code);
  return *text = words, 0;
}
