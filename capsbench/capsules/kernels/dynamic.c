/* Dynamic routing's passes over the votes, which stay in the first-level cache and are never stored.

Compiled for one layer: J parents of length E from I children of length D. A tile is SIMD_WIDTH
adjacent images, so that a weight is read once for all of them; the batch is a whole number of tiles.
Tiles, slices and the order of sums do not depend on the number of threads. */

#include "simd.h"
#include <string.h>

/* Tiles whose vote gradients are kept at a time: in the second-level cache, and on the stack. */
#define FITTING (1 << 17) / (J * E * SIMD_BYTES)
#define TILES (FITTING < 1 ? 1 : FITTING > 16 ? 16 : FITTING)
#define BEGIN(slice) ((int)(I * (long)(slice) / slices))

/* Rows of `count` numbers, one for each image of a tile, `stride` apart, as vectors; and back. */
static void load(simd *to, const REAL *from, long stride, int count) {
    for (int k = 0; k < count; k++)
        for (int l = 0; l < SIMD_WIDTH; l++) to[k][l] = from[l * stride + k];
}

static void store(REAL *to, const simd *from, long stride, int count) {
    for (int l = 0; l < SIMD_WIDTH; l++)
        for (int k = 0; k < count; k++) to[l * stride + k] = from[k][l];
}

/* votes_je = sum_d children_d weights_jde */
static void vote(simd *restrict votes, const simd *restrict children, const REAL *restrict weights) {
    for (int j = 0; j < J; j++)
        for (int e = 0; e < E; e++) {
            simd sum = {0};
            for (int d = 0; d < D; d++) sum += weights[(j * D + d) * E + e] * children[d];
            votes[j * E + e] = sum;
        }
}

/* products_j = sum_e votes_je others_je */
static void dot(simd *restrict products, const simd *restrict votes, const simd *restrict others) {
    for (int j = 0; j < J; j++) {
        simd sum = {0};
        for (int e = j * E; e < (j + 1) * E; e++) sum += votes[e] * others[e];
        products[j] = sum;
    }
}

/* sum_je += factors_j votes_je */
static void accumulate(simd *restrict sum, const simd *restrict factors, const simd *restrict votes) {
    for (int j = 0; j < J; j++)
        for (int e = j * E; e < (j + 1) * E; e++) sum[e] += factors[j] * votes[e];
}

/* Couplings: softmax over the parents of the agreement with the votes. */
static void couple(simd *couplings, const simd *votes, const simd *parent_sum) {
    dot(couplings, votes, parent_sum);
    simd largest = couplings[0], total = {0};
    for (int j = 1; j < J; j++) largest = simd_max(largest, couplings[j]);
    for (int j = 0; j < J; j++) total += couplings[j] = simd_exp(couplings[j] - largest);
    total = 1 / total;
    for (int j = 0; j < J; j++) couplings[j] *= total;
}

/* Gradients of the logits, from those of the sums and, unless NULL, of the couplings. */
static void uncouple(simd *gradients, const simd *votes, const simd *couplings,
                     const simd *sums_gradient, const REAL *couplings_gradient) {
    dot(gradients, votes, sums_gradient);
    if (couplings_gradient) {
        simd direct[J];
        load(direct, couplings_gradient, (long)I * J, J);
        for (int j = 0; j < J; j++) gradients[j] += direct[j];
    }
    simd mean = {0};
    for (int j = 0; j < J; j++) mean += couplings[j] * gradients[j];
    for (int j = 0; j < J; j++) gradients[j] = couplings[j] * (gradients[j] - mean);
}

/* children (batch, I, D), weights (I, J, D, E), parent_sum (batch, J, E);
   sums (slices, batch, J, E), couplings (batch, I, J) or NULL. */
void weighted_sum(int batch, int slices, const REAL *children, const REAL *weights,
                  const REAL *parent_sum, REAL *sums, REAL *couplings) {
#pragma omp parallel for schedule(static)
    for (int item = 0; item < batch / SIMD_WIDTH * slices; item++) {
        int slice = item % slices, first = item / slices * SIMD_WIDTH;
        simd u[D], votes[J * E], agree[J * E], sum[J * E] = {0}, c[J];
        load(agree, parent_sum + (long)first * J * E, J * E, J * E);
        for (int i = BEGIN(slice); i < BEGIN(slice + 1); i++) {
            load(u, children + ((long)first * I + i) * D, I * D, D);
            vote(votes, u, weights + (long)i * J * D * E);
            couple(c, votes, agree);
            accumulate(sum, c, votes);
            if (couplings) store(couplings + ((long)first * I + i) * J, c, I * J, J);
        }
        store(sums + ((long)slice * batch + first) * J * E, sum, J * E, J * E);
    }
}

/* sums_gradient (batch, J, E), couplings_gradient (batch, I, J) or NULL;
   parent_sum_gradient (slices, batch, J, E). */
void agreement_gradient(int batch, int slices, const REAL *children, const REAL *weights,
                        const REAL *parent_sum, const REAL *sums_gradient,
                        const REAL *couplings_gradient, REAL *parent_sum_gradient) {
#pragma omp parallel for schedule(static)
    for (int item = 0; item < batch / SIMD_WIDTH * slices; item++) {
        int slice = item % slices, first = item / slices * SIMD_WIDTH;
        simd u[D], votes[J * E], agree[J * E], gradient[J * E], sum[J * E] = {0}, c[J], db[J];
        load(agree, parent_sum + (long)first * J * E, J * E, J * E);
        load(gradient, sums_gradient + (long)first * J * E, J * E, J * E);
        for (int i = BEGIN(slice); i < BEGIN(slice + 1); i++) {
            const REAL *direct = couplings_gradient;
            if (direct) direct += ((long)first * I + i) * J;
            load(u, children + ((long)first * I + i) * D, I * D, D);
            vote(votes, u, weights + (long)i * J * D * E);
            couple(c, votes, agree);
            uncouple(db, votes, c, gradient, direct);
            accumulate(sum, db, votes);
        }
        store(parent_sum_gradient + ((long)slice * batch + first) * J * E, sum, J * E, J * E);
    }
}

/* parent_sum and sums_gradients (tiles, iterations, J, E, SIMD_WIDTH), couplings_gradient (batch, I, J) of the
   last iteration, or NULL; children_gradient (batch, I, D), weights_gradient (I, J, D, E). One thread
   sums the gradient of a child's weights over all images. */
void vote_gradients(int batch, int iterations, const REAL *children, const REAL *weights,
                    const simd *parent_sum, const simd *sums_gradients,
                    const REAL *couplings_gradient, REAL *children_gradient,
                    REAL *weights_gradient) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < I; i++) {
        const REAL *w = weights + (long)i * J * D * E;
        REAL *dw = weights_gradient + (long)i * J * D * E;
        memset(dw, 0, J * D * E * sizeof(REAL));
        for (int begin = 0; begin < batch / SIMD_WIDTH; begin += TILES) {
            int tiles = batch / SIMD_WIDTH - begin < TILES ? batch / SIMD_WIDTH - begin : TILES;
            simd u[TILES][D], dvotes[TILES][J * E];
            memset(dvotes, 0, sizeof dvotes);
            for (int tile = 0; tile < tiles; tile++) {
                simd votes[J * E], c[J], db[J], du[D] = {0};
                long first = (long)(begin + tile) * SIMD_WIDTH;
                load(u[tile], children + (first * I + i) * D, I * D, D);
                vote(votes, u[tile], w);
                for (int t = 0; t < iterations; t++) {
                    long at = ((long)(begin + tile) * iterations + t) * J * E;
                    const REAL *direct = t + 1 < iterations ? NULL : couplings_gradient;
                    if (direct) direct += (first * I + i) * J;
                    couple(c, votes, parent_sum + at);
                    uncouple(db, votes, c, sums_gradients + at, direct);
                    accumulate(dvotes[tile], c, sums_gradients + at);
                    accumulate(dvotes[tile], db, parent_sum + at);
                }
                for (int j = 0; j < J; j++)
                    for (int e = 0; e < E; e++)
                        for (int d = 0; d < D; d++)
                            du[d] += w[(j * D + d) * E + e] * dvotes[tile][j * E + e];
                store(children_gradient + (first * I + i) * D, du, I * D, D);
            }
            for (int j = 0; j < J; j++)
                for (int e = 0; e < E; e++) {
                    simd sum[D] = {0};
                    for (int tile = 0; tile < tiles; tile++)
                        for (int d = 0; d < D; d++) sum[d] += u[tile][d] * dvotes[tile][j * E + e];
                    for (int d = 0; d < D; d++)
                        for (int l = 0; l < SIMD_WIDTH; l++) dw[(j * D + d) * E + e] += sum[d][l];
                }
        }
    }
}
