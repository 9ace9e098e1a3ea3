/* A libcuda that does nothing but tell, line by line, what it was called with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef int R;
typedef unsigned long long u64;
typedef unsigned u32;
#define TELL(...) do { printf(__VA_ARGS__); putchar('\n'); fflush(stdout); } while (0)
#define GIVE(pointer, value) (*(pointer) = (void *)(value), 0)

R cuInit(u32 flags) { return flags; }
R cuDriverGetVersion(int *v) { *v = 13000; return 0; }
R cuDeviceGetCount(int *n) { *n = 1; return 0; }
R cuDeviceGet(int *d, int ordinal) { *d = ordinal; return 0; }
R cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Stub", n); return 0; }
R cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? 0 : a; return 0; }
R cuDeviceTotalMem_v2(size_t *v, int d) { *v = 1ull << 33; return 0; }
R cuDevicePrimaryCtxRetain(void **c, int d) { return GIVE(c, 0xc0); }
static __thread int has_context;
R cuCtxSetCurrent(void *c) { TELL("CtxSetCurrent %p", c); has_context = 1; return 0; }
R cuCtxSynchronize(void) { TELL("CtxSynchronize"); return 0; }

R cuModuleLoadData(void **m, const void *p) { TELL("ModuleLoadData %.4s", (char *)p + 1); return GIVE(m, 0x30); }
R cuModuleUnload(void *m) { TELL("ModuleUnload %p", m); return 0; }
R cuModuleGetFunction(void **f, void *m, const char *n) { TELL("ModuleGetFunction %p %s", m, n); return GIVE(f, 0x40); }
R cuFuncGetAttribute(int *v, int a, void *f) { TELL("FuncGetAttribute %d %p", a, f); *v = 7; return 0; }
R cuFuncSetAttribute(void *f, int a, int v) { TELL("FuncSetAttribute %p %d %d", f, a, v); return 0; }
R cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *f, int b, size_t s) { TELL("Occupancy %p %d %zu", f, b, s); *n = 3; return 0; }
R cuLaunchKernel(void *f, u32 a, u32 b, u32 c, u32 x, u32 y, u32 z, u32 shared, void *s, void **p, void **e) {
  TELL("LaunchKernel %p %u %u %u %u %u %u %u %p %d", f, a, b, c, x, y, z, shared, s, e == 0);
  TELL("with %#llx %#llx %d %g %#llx %#llx", *(u64 *)p[0], *(u64 *)p[1], *(int *)p[2], *(float *)p[3], *(u64 *)p[4], *(u64 *)p[5]);
  return a == 77 ? 700 : 0;
}
R cuTensorMapEncodeTiled(void *d, int t, u32 r, void *a, const u64 *n, const u64 *s, const u32 *b, const u32 *e, int i, int w, int l, int o) {
  TELL("TensorMapEncodeTiled %d %d %u %p %llu %llu %llu %u %u %u %u %d %d %d %d", (int)((u64)d % 64), t, r, a, n[0], n[1], s[0], b[0], b[1], e[0], e[1], i, w, l, o);
  memset(d, 7, 128);
  return 0;
}

R cuMemGetInfo_v2(size_t *f, size_t *t) { *f = 5; *t = 9; return 0; }
R cuMemAlloc_v2(u64 *p, size_t n) { TELL("MemAlloc %zu", n); *p = 0x7f0000000000ull; return n > 1u << 30 ? 2 : 0; }
R cuMemFree_v2(u64 p) { TELL("MemFree %#llx", p); return 0; }
R cuMemHostAlloc(void **p, size_t n, u32 f) { TELL("MemHostAlloc %zu %u", n, f); return GIVE(p, 0x9000); }
R cuMemFreeHost(void *p) { TELL("MemFreeHost %p", p); return 0; }
R cuMemcpyHtoDAsync_v2(u64 d, const void *h, size_t n, void *s) { TELL("MemcpyHtoDAsync %#llx %p %zu %p", d, h, n, s); return 0; }
R cuMemcpyDtoHAsync_v2(void *h, u64 d, size_t n, void *s) { TELL("MemcpyDtoHAsync %p %#llx %zu %p", h, d, n, s); return 0; }
R cuMemcpyDtoDAsync_v2(u64 a, u64 b, size_t n, void *s) { TELL("MemcpyDtoDAsync %#llx %#llx %zu %p", a, b, n, s); return 0; }
R cuMemsetD8Async(u64 a, unsigned char v, size_t n, void *s) { if (!has_context) return 201; TELL("MemsetD8Async %#llx %u %zu %p", a, v, n, s); return 0; }
R cuMemsetD16Async(u64 a, unsigned short v, size_t n, void *s) { TELL("MemsetD16Async %#llx %u %zu %p", a, v, n, s); return 0; }
R cuMemsetD32Async(u64 a, u32 v, size_t n, void *s) { TELL("MemsetD32Async %#llx %u %zu %p", a, v, n, s); return 0; }

R cuStreamCreateWithPriority(void **s, u32 f, int p) { TELL("StreamCreateWithPriority %u %d", f, p); return GIVE(s, 0x51); }
R cuStreamDestroy_v2(void *s) { TELL("StreamDestroy %p", s); return 0; }
R cuStreamSynchronize(void *s) { TELL("StreamSynchronize %p", s); return 0; }
R cuStreamQuery(void *s) { return has_context ? 600 : 201; }
R cuStreamWaitEvent(void *s, void *e, u32 f) { TELL("StreamWaitEvent %p %p %u", s, e, f); return 0; }
R cuEventCreate(void **e, u32 f) { TELL("EventCreate %u", f); return GIVE(e, 0x61); }
R cuEventDestroy_v2(void *e) { TELL("EventDestroy %p", e); return 0; }
R cuEventRecord(void *e, void *s) { TELL("EventRecord %p %p", e, s); return 0; }
R cuEventQuery(void *e) { return has_context ? 0 : 201; }
R cuEventSynchronize(void *e) { TELL("EventSynchronize %p", e); return 0; }
R cuEventElapsedTime(float *t, void *a, void *b) { TELL("EventElapsedTime %p %p", a, b); *t = 1.5f; return 0; }

R cuStreamBeginCapture_v2(void *s, int m) { TELL("StreamBeginCapture %p %d", s, m); return 0; }
R cuStreamEndCapture(void *s, void **g) { TELL("StreamEndCapture %p", s); return GIVE(g, 0x71); }
R cuGraphInstantiateWithFlags(void **e, void *g, u64 f) { TELL("GraphInstantiate %p %llu", g, f); return GIVE(e, 0x81); }
R cuGraphUpload(void *e, void *s) { TELL("GraphUpload %p %p", e, s); return 0; }
R cuGraphLaunch(void *e, void *s) { TELL("GraphLaunch %p %p", e, s); return 0; }
R cuGraphExecDestroy(void *e) { TELL("GraphExecDestroy %p", e); return 0; }
R cuGraphDestroy(void *g) { TELL("GraphDestroy %p", g); return 0; }
R cuGetErrorName(int e, const char **s) { *s = e == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OUT_OF_MEMORY"; return 0; }
R cuGetErrorString(int e, const char **s) { *s = "explained"; return 0; }

/* How the bindings find everything: the newest version of the name, as the real one gives. */
R cuPointerGetAttribute(void *data, int attribute, u64 p) { TELL("PointerGetAttribute %d %#llx", attribute, p); *(int *)data = 1; return 0; }
R cuGetProcAddress_v2(const char *name, void **p, int version, u64 flags, int *status) {
  static const char *forms[] = {"%s_v2", "%sWithFlags", "%s"};
  char full[200];
  Dl_info self;
  dladdr((void *)cuInit, &self);
  void *library = dlopen(self.dli_fname, RTLD_LAZY);
  *p = 0;
  for (int i = 0; i < 3 && !*p; i++) {
    snprintf(full, sizeof full, forms[i], name);
    *p = dlsym(library, full);
  }
  if (status) *status = *p ? 0 : 1;
  return *p ? 0 : 500;
}
R cuGetProcAddress(const char *name, void **p, int version, u64 flags) {
  return cuGetProcAddress_v2(name, p, version, flags, 0);
}
