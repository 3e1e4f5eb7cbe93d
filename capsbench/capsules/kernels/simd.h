/* Vectors of type REAL, which the compiler maps to the SIMD registers of the machine. Every innermost
operation of the kernels is an operation on such vectors. */

#include <math.h>
#include <stdint.h>

#ifdef __AVX512F__
#define SIMD_BYTES 64
#else
#define SIMD_BYTES 32
#endif
#define SIMD_WIDTH ((int)(SIMD_BYTES / sizeof(REAL)))

#ifdef DOUBLE
typedef int64_t simd_int __attribute__((vector_size(SIMD_BYTES)));
#else
typedef int32_t simd_int __attribute__((vector_size(SIMD_BYTES)));
#endif
typedef REAL simd __attribute__((vector_size(SIMD_BYTES)));

static inline simd simd_max(simd x, simd y) {
    simd_int first = x > y;
    return (simd)(((simd_int)x & first) | ((simd_int)y & ~first));
}

/* Elementwise e^x for x <= 0, accurate to two units in the last place. */
static inline simd simd_exp(simd x) {
#ifdef DOUBLE
    for (int l = 0; l < SIMD_WIDTH; l++) x[l] = exp(x[l]);
    return x;
#else
    simd_int tiny = x < -87.0f; /* e^-87 is the smallest normal number: below it, zero */
    x = (simd)((simd_int)x & ~tiny);
    simd_int n = __builtin_convertvector(x * 1.44269504f - 0.5f, simd_int);
    simd r = x - __builtin_convertvector(n, simd) * 0.693359375f;
    r += __builtin_convertvector(n, simd) * 2.12194440e-4f;
    simd p = r * 1.9875691e-4f + 1.3981999e-3f; /* the Cephes library's polynomial */
    p = p * r + 8.3334519e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 1.6666665e-1f;
    p = p * r + 5.0000001e-1f;
    p = p * r * r + r + 1.0f;
    return (simd)(((simd_int)p + (n << 23)) & ~tiny);
#endif
}
