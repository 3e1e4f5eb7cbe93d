/* Vectors of numbers of type REAL that the compiler turns into the machine's. Every innermost
operation of the kernels is one on such a vector. */

#include <math.h>
#include <stdint.h>

#ifdef __AVX512F__
#define BYTES 64
#else
#define BYTES 32
#endif
#define LANES ((int)(BYTES / sizeof(REAL)))

#ifdef DOUBLE
typedef int64_t whole __attribute__((vector_size(BYTES)));
#else
typedef int32_t whole __attribute__((vector_size(BYTES)));
#endif
typedef REAL lanes __attribute__((vector_size(BYTES)));

static inline lanes larger(lanes x, lanes y) {
    whole first = x > y;
    return (lanes)(((whole)x & first) | ((whole)y & ~first));
}

/* e^x for x <= 0 to two units in the last place, lane by lane. */
static inline lanes exp_of(lanes x) {
#ifdef DOUBLE
    for (int l = 0; l < LANES; l++) x[l] = exp(x[l]);
    return x;
#else
    whole tiny = x < -87.0f; /* e^-87 is the smallest normal number: below it, zero */
    x = (lanes)((whole)x & ~tiny);
    whole n = __builtin_convertvector(x * 1.44269504f - 0.5f, whole);
    lanes r = x - __builtin_convertvector(n, lanes) * 0.693359375f;
    r += __builtin_convertvector(n, lanes) * 2.12194440e-4f;
    lanes p = r * 1.9875691e-4f + 1.3981999e-3f; /* the Cephes library's polynomial */
    p = p * r + 8.3334519e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 1.6666665e-1f;
    p = p * r + 5.0000001e-1f;
    p = p * r * r + r + 1.0f;
    return (lanes)(((whole)p + (n << 23)) & ~tiny);
#endif
}
