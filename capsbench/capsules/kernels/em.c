/* EM routing's passes over the votes, which stay in the first-level cache and are never stored.

Compiled for one layer: P types of parents, I children in the window of each position. Parents are the
elements of vectors, V vectors for each of the sixteen numbers of a pose ("rows"), padded with zeros.
Positions are independent except for the weights' gradient, which is summed over pieces of the
positions. Pieces and the order of sums do not depend on the number of threads. */

#include "simd.h"
#include <string.h>

#define V ((P + SIMD_WIDTH - 1) / SIMD_WIDTH)
#define ROW (V * SIMD_WIDTH)
#define NONE ((REAL)-INFINITY) /* log weight of the padding */

typedef simd rows[16][V];

/* P numbers as vectors, padded with `rest`; and back. */
static inline void load(simd *to, const REAL *from, REAL rest) {
    for (int p = P; p < ROW; p++) to[V - 1][p % SIMD_WIDTH] = rest;
    memcpy(to, from, P * sizeof(REAL));
}

static inline void store(REAL *to, const simd *from) { memcpy(to, from, P * sizeof(REAL)); }

static inline REAL total(simd x) {
    REAL sum = 0;
    for (int l = 0; l < SIMD_WIDTH; l++) sum += x[l];
    return sum;
}

/* Votes of one child relative to a centre: pose weights + offset - around. */
static inline void vote(rows votes, const REAL *pose, const rows weights, const REAL *offset,
                        const rows around) {
    for (int e = 0; e < 4; e++)
        for (int v = 0; v < V; v++)
            for (int r = 0; r < 4; r++) {
                simd sum = offset[r * 4 + e] - around[r * 4 + e][v];
                for (int k = 0; k < 4; k++) sum += pose[r * 4 + k] * weights[k * 4 + e][v];
                votes[r * 4 + e][v] = sum;
            }
}

/* Gradients of pose and weights, from that of the votes. */
static inline void backward_votes(REAL *dpose, rows dweights, const REAL *pose, const rows weights,
                                  const rows dvotes) {
    simd sums[16] = {0};
    for (int e = 0; e < 4; e++)
        for (int v = 0; v < V; v++)
            for (int k = 0; k < 4; k++) {
                simd sum = dweights[k * 4 + e][v];
                for (int r = 0; r < 4; r++) {
                    sum += pose[r * 4 + k] * dvotes[r * 4 + e][v];
                    sums[r * 4 + k] += weights[k * 4 + e][v] * dvotes[r * 4 + e][v];
                }
                dweights[k * 4 + e][v] = sum;
            }
    for (int h = 0; h < 16; h++) dpose[h] = total(sums[h]);
}

/* Assignment of a child to the parents: exp(log_weights - log_total). */
static inline void assign(simd *shares, const REAL *log_weights, REAL log_total) {
    static const REAL zeros[P];
    load(shares, log_weights ? log_weights : zeros, NONE);
    for (int v = 0; v < V; v++) shares[v] = simd_exp(shares[v] - log_total);
}

/* prior is added to each assignment; patches (N, I, 16), weights (I rows), offsets (I, 16), centre
   (N rows), log_weights (N, I, P) or NULL, log_totals and presences (N, I); mass (N, P), mean and
   square (N rows). */
void moments(int positions, REAL prior, const REAL *patches, const rows *weights, const REAL *offsets,
             const rows *centre, const REAL *log_weights, const REAL *log_totals,
             const REAL *presences, REAL *mass, rows *mean, rows *square) {
#pragma omp parallel for schedule(static)
    for (int n = 0; n < positions; n++) {
        simd sum[V] = {0}, shares[V];
        rows first = {0}, second = {0}, votes;
        for (int i = 0; i < I; i++) {
            long at = (long)n * I + i;
            vote(votes, patches + at * 16, weights[i], offsets + i * 16, centre[n]);
            assign(shares, log_weights ? log_weights + at * P : NULL, log_totals[at]);
            for (int v = 0; v < V; v++) sum[v] += shares[v] = (shares[v] + prior) * presences[at];
            for (int h = 0; h < 16; h++)
                for (int v = 0; v < V; v++) {
                    simd weighted = shares[v] * votes[h][v];
                    first[h][v] += weighted;
                    second[h][v] += weighted * votes[h][v];
                }
        }
        store(mass + (long)n * P, sum);
        for (int v = 0; v < V; v++) {
            simd inverse = 1 / sum[v];
            for (int h = 0; h < 16; h++) {
                mean[n][h][v] = first[h][v] * inverse;
                square[n][h][v] = second[h][v] * inverse;
            }
        }
    }
}

/* As above; dmass (N, P), dmean and dsquare (N rows); dpatches (N, I, 16), dweights (pieces, I rows),
   dlog_weights (N, I, P), dlog_totals and dpresences (N, I). */
void moments_gradient(int positions, int pieces, REAL prior, const REAL *patches, const rows *weights,
                      const REAL *offsets, const rows *centre, const REAL *log_weights,
                      const REAL *log_totals, const REAL *presences, const REAL *mass,
                      const rows *mean, const rows *square, const REAL *dmass, const rows *dmean,
                      const rows *dsquare, REAL *dpatches, rows *dweights, REAL *dlog_weights,
                      REAL *dlog_totals, REAL *dpresences) {
#pragma omp parallel for schedule(static)
    for (int piece = 0; piece < pieces; piece++) {
        memset(dweights + (long)piece * I, 0, I * sizeof(rows));
        for (int n = (long)positions * piece / pieces; n < (long)positions * (piece + 1) / pieces; n++) {
            simd rest[V], sum[V];
            rows slope, curvature, votes, dvotes;
            load(rest, dmass + (long)n * P, 0);
            load(sum, mass + (long)n * P, 1);
            for (int v = 0; v < V; v++) {
                simd inverse = 1 / sum[v];
                for (int h = 0; h < 16; h++) {
                    slope[h][v] = dmean[n][h][v] * inverse;
                    curvature[h][v] = dsquare[n][h][v] * inverse;
                    rest[v] -= slope[h][v] * mean[n][h][v] + curvature[h][v] * square[n][h][v];
                }
            }
            for (int i = 0; i < I; i++) {
                long at = (long)n * I + i;
                simd shares[V], along[V], dlog_total = {0}, dpresence = {0};
                memcpy(along, rest, sizeof along);
                vote(votes, patches + at * 16, weights[i], offsets + i * 16, centre[n]);
                assign(shares, log_weights ? log_weights + at * P : NULL, log_totals[at]);
                for (int h = 0; h < 16; h++)
                    for (int v = 0; v < V; v++) {
                        simd curved = curvature[h][v] * votes[h][v];
                        along[v] += (curved + slope[h][v]) * votes[h][v];
                        dvotes[h][v] = (2 * curved + slope[h][v]) * ((shares[v] + prior) * presences[at]);
                    }
                for (int v = 0; v < V; v++) {
                    dpresence += along[v] * (shares[v] + prior);
                    along[v] *= shares[v] * presences[at];
                    dlog_total -= along[v];
                }
                store(dlog_weights + at * P, along);
                dlog_totals[at] = total(dlog_total);
                dpresences[at] = total(dpresence);
                backward_votes(dpatches + at * 16, dweights[(long)piece * I + i], patches + at * 16,
                               weights[i], dvotes);
            }
        }
    }
}

/* around (N rows): centre and mean together; precision (N rows), base (N, P);
   log_weights (N, I, P), log_sums (N, I). */
void log_densities(int positions, const REAL *patches, const rows *weights, const REAL *offsets,
                   const rows *around, const rows *precision, const REAL *base, REAL *log_weights,
                   REAL *log_sums) {
#pragma omp parallel for schedule(static)
    for (int n = 0; n < positions; n++) {
        simd start[V];
        rows votes;
        load(start, base + (long)n * P, NONE);
        for (int i = 0; i < I; i++) {
            long at = (long)n * I + i;
            simd logs[V], sum = {0};
            vote(votes, patches + at * 16, weights[i], offsets + i * 16, around[n]);
            for (int v = 0; v < V; v++) {
                simd distance = {0};
                for (int h = 0; h < 16; h++)
                    distance += precision[n][h][v] * votes[h][v] * votes[h][v];
                logs[v] = start[v] - (REAL)0.5 * distance;
            }
            store(log_weights + at * P, logs);
            simd best = logs[0];
            for (int v = 1; v < V; v++) best = simd_max(best, logs[v]);
            REAL largest = best[0];
            for (int l = 1; l < SIMD_WIDTH; l++) largest = best[l] > largest ? best[l] : largest;
            for (int v = 0; v < V; v++) sum += simd_exp(logs[v] - largest);
            log_sums[at] = largest + (REAL)log(total(sum));
        }
    }
}

/* As above; dlog_weights (N, I, P), dlog_sums (N, I); dpatches (N, I, 16), dweights (pieces, I rows),
   dmean and dlog_precision (N rows), dbase (N, P). */
void log_densities_gradient(int positions, int pieces, const REAL *patches, const rows *weights,
                            const REAL *offsets, const rows *around, const rows *precision,
                            const REAL *log_weights, const REAL *log_sums,
                            const REAL *dlog_weights, const REAL *dlog_sums, REAL *dpatches,
                            rows *dweights, rows *dmean, rows *dlog_precision, REAL *dbase) {
#pragma omp parallel for schedule(static)
    for (int piece = 0; piece < pieces; piece++) {
        memset(dweights + (long)piece * I, 0, I * sizeof(rows));
        for (int n = (long)positions * piece / pieces; n < (long)positions * (piece + 1) / pieces; n++) {
            simd sum[V] = {0};
            rows first = {0}, second = {0}, votes, dvotes;
            for (int i = 0; i < I; i++) {
                long at = (long)n * I + i;
                simd shares[V], slope[V];
                vote(votes, patches + at * 16, weights[i], offsets + i * 16, around[n]);
                assign(shares, log_weights + at * P, log_sums[at]);
                load(slope, dlog_weights + at * P, 0);
                for (int v = 0; v < V; v++) sum[v] += slope[v] += dlog_sums[at] * shares[v];
                for (int h = 0; h < 16; h++)
                    for (int v = 0; v < V; v++) {
                        simd pull = slope[v] * (precision[n][h][v] * votes[h][v]);
                        first[h][v] += pull;
                        second[h][v] += pull * votes[h][v];
                        dvotes[h][v] = -pull;
                    }
                backward_votes(dpatches + at * 16, dweights[(long)piece * I + i], patches + at * 16,
                               weights[i], dvotes);
            }
            store(dbase + (long)n * P, sum);
            for (int h = 0; h < 16; h++)
                for (int v = 0; v < V; v++) {
                    dmean[n][h][v] = first[h][v];
                    dlog_precision[n][h][v] = (REAL)-0.5 * second[h][v];
                }
        }
    }
}
