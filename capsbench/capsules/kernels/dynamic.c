/* Dynamic routing's passes over the votes, which are made in the first-level cache and never stored.

Compiled for one layer: J parents of length E from I children of length D. A tile is LANES images
side by side, so that a weight is read once for all of them; the batch is a whole number of tiles.
Neither tiles and slices nor the order of any sum depend on the number of threads. */

#include "lanes.h"
#include <string.h>

/* Whose votes' gradients are kept at a time: in the second-level cache, and on the stack. */
#define MOST (1 << 17) / (J * E * BYTES)
#define TILES (MOST < 1 ? 1 : MOST > 16 ? 16 : MOST)
#define BEGIN(slice) ((int)(I * (long)(slice) / slices))

/* A row of `count` numbers for each image of a tile, `stride` apart, as lanes; and back. */
static void load(lanes *to, const REAL *from, long stride, int count) {
    for (int k = 0; k < count; k++)
        for (int l = 0; l < LANES; l++) to[k][l] = from[l * stride + k];
}

static void store(REAL *to, const lanes *from, long stride, int count) {
    for (int l = 0; l < LANES; l++)
        for (int k = 0; k < count; k++) to[l * stride + k] = from[k][l];
}

/* votes_je = sum_d children_d weights_jde */
static void vote(lanes *restrict votes, const lanes *restrict children, const REAL *restrict weights) {
    for (int j = 0; j < J; j++)
        for (int e = 0; e < E; e++) {
            lanes sum = {0};
            for (int d = 0; d < D; d++) sum += weights[(j * D + d) * E + e] * children[d];
            votes[j * E + e] = sum;
        }
}

/* products_j = sum_e votes_je others_je */
static void dot(lanes *restrict products, const lanes *restrict votes, const lanes *restrict others) {
    for (int j = 0; j < J; j++) {
        lanes sum = {0};
        for (int e = j * E; e < (j + 1) * E; e++) sum += votes[e] * others[e];
        products[j] = sum;
    }
}

/* sum_je += factors_j votes_je */
static void accumulate(lanes *restrict sum, const lanes *restrict factors, const lanes *restrict votes) {
    for (int j = 0; j < J; j++)
        for (int e = j * E; e < (j + 1) * E; e++) sum[e] += factors[j] * votes[e];
}

/* Couplings: the softmax over the parents of the agreement of votes with them. */
static void couple(lanes *couplings, const lanes *votes, const lanes *agreed) {
    dot(couplings, votes, agreed);
    lanes largest = couplings[0], total = {0};
    for (int j = 1; j < J; j++) largest = larger(largest, couplings[j]);
    for (int j = 0; j < J; j++) total += couplings[j] = exp_of(couplings[j] - largest);
    total = 1 / total;
    for (int j = 0; j < J; j++) couplings[j] *= total;
}

/* Gradients of the logits, from those of the sums and, unless NULL, those of the couplings. */
static void uncouple(lanes *gradients, const lanes *votes, const lanes *couplings,
                     const lanes *sums_gradient, const REAL *couplings_gradient) {
    dot(gradients, votes, sums_gradient);
    if (couplings_gradient) {
        lanes more[J];
        load(more, couplings_gradient, (long)I * J, J);
        for (int j = 0; j < J; j++) gradients[j] += more[j];
    }
    lanes mean = {0};
    for (int j = 0; j < J; j++) mean += couplings[j] * gradients[j];
    for (int j = 0; j < J; j++) gradients[j] = couplings[j] * (gradients[j] - mean);
}

/* children (batch, I, D), weights (I, J, D, E), agreed (batch, J, E);
   sums (slices, batch, J, E), couplings (batch, I, J) or NULL if they are not wanted. */
void weighted_sum(int batch, int slices, const REAL *children, const REAL *weights,
                  const REAL *agreed, REAL *sums, REAL *couplings) {
#pragma omp parallel for schedule(static)
    for (int item = 0; item < batch / LANES * slices; item++) {
        int slice = item % slices, first = item / slices * LANES;
        lanes u[D], votes[J * E], agree[J * E], sum[J * E] = {0}, c[J];
        load(agree, agreed + (long)first * J * E, J * E, J * E);
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
   agreed_gradient (slices, batch, J, E). */
void agreement_gradient(int batch, int slices, const REAL *children, const REAL *weights,
                        const REAL *agreed, const REAL *sums_gradient,
                        const REAL *couplings_gradient, REAL *agreed_gradient) {
#pragma omp parallel for schedule(static)
    for (int item = 0; item < batch / LANES * slices; item++) {
        int slice = item % slices, first = item / slices * LANES;
        lanes u[D], votes[J * E], agree[J * E], gradient[J * E], sum[J * E] = {0}, c[J], db[J];
        load(agree, agreed + (long)first * J * E, J * E, J * E);
        load(gradient, sums_gradient + (long)first * J * E, J * E, J * E);
        for (int i = BEGIN(slice); i < BEGIN(slice + 1); i++) {
            const REAL *more = couplings_gradient;
            if (more) more += ((long)first * I + i) * J;
            load(u, children + ((long)first * I + i) * D, I * D, D);
            vote(votes, u, weights + (long)i * J * D * E);
            couple(c, votes, agree);
            uncouple(db, votes, c, gradient, more);
            accumulate(sum, db, votes);
        }
        store(agreed_gradient + ((long)slice * batch + first) * J * E, sum, J * E, J * E);
    }
}

/* agreed, sums_gradients (tiles, iterations, J, E, LANES), couplings_gradient (batch, I, J) or NULL,
   of the last iteration; children_gradient (batch, I, D), weights_gradient (I, J, D, E). A child's
   weights belong to one thread, which adds up their gradient over the images. */
void vote_gradients(int batch, int iterations, const REAL *children, const REAL *weights,
                    const lanes *agreed, const lanes *sums_gradients,
                    const REAL *couplings_gradient, REAL *children_gradient,
                    REAL *weights_gradient) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < I; i++) {
        const REAL *w = weights + (long)i * J * D * E;
        REAL *dw = weights_gradient + (long)i * J * D * E;
        memset(dw, 0, J * D * E * sizeof(REAL));
        for (int begin = 0; begin < batch / LANES; begin += TILES) {
            int tiles = batch / LANES - begin < TILES ? batch / LANES - begin : TILES;
            lanes u[TILES][D], dvotes[TILES][J * E];
            memset(dvotes, 0, sizeof dvotes);
            for (int tile = 0; tile < tiles; tile++) {
                lanes votes[J * E], c[J], db[J], du[D] = {0};
                long first = (long)(begin + tile) * LANES;
                load(u[tile], children + (first * I + i) * D, I * D, D);
                vote(votes, u[tile], w);
                for (int t = 0; t < iterations; t++) {
                    long at = ((long)(begin + tile) * iterations + t) * J * E;
                    const REAL *more = t + 1 < iterations ? NULL : couplings_gradient;
                    if (more) more += (first * I + i) * J;
                    couple(c, votes, agreed + at);
                    uncouple(db, votes, c, sums_gradients + at, more);
                    accumulate(dvotes[tile], c, sums_gradients + at);
                    accumulate(dvotes[tile], db, agreed + at);
                }
                for (int j = 0; j < J; j++)
                    for (int e = 0; e < E; e++)
                        for (int d = 0; d < D; d++)
                            du[d] += w[(j * D + d) * E + e] * dvotes[tile][j * E + e];
                store(children_gradient + (first * I + i) * D, du, I * D, D);
            }
            for (int j = 0; j < J; j++)
                for (int e = 0; e < E; e++) {
                    lanes sum[D] = {0};
                    for (int tile = 0; tile < tiles; tile++)
                        for (int d = 0; d < D; d++) sum[d] += u[tile][d] * dvotes[tile][j * E + e];
                    for (int d = 0; d < D; d++)
                        for (int l = 0; l < LANES; l++) dw[(j * D + d) * E + e] += sum[d][l];
                }
        }
    }
}
