/* Number of elements in a vector; also a test of this machine's compiler. */

#include "simd.h"

int simd_width(void) {
    simd ones = simd_exp((simd){0});
    int count = 0;
#pragma omp parallel for reduction(+ : count)
    for (int l = 0; l < SIMD_WIDTH; l++) count += (int)ones[l];
    return count;
}
