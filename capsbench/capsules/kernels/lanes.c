/* How many numbers a vector holds; also what shows that this machine's compiler will do. */

#include "lanes.h"

int lane_count(void) {
    lanes ones = exp_of((lanes){0});
    int count = 0;
#pragma omp parallel for reduction(+ : count)
    for (int l = 0; l < LANES; l++) count += (int)ones[l];
    return count;
}
