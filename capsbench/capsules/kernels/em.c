/* EM routing's passes over the votes, which are made in the first-level cache and never stored.

Compiled for one layer: P types of parents, I children in the window of each place. Parents are side
by side in lanes, V vectors of them for each of the sixteen numbers of a pose ("rows"), zero beyond
the last. Places are independent but for the weights' gradient, which is summed in pieces of places;
neither pieces nor the order of any sum depend on the number of threads. */

#include "lanes.h"
#include <string.h>

#define V ((P + LANES - 1) / LANES)
#define ROW (V * LANES)
#define NONE ((REAL)-INFINITY) /* the log of a weight beyond the last parent */

typedef lanes rows[16][V];

/* P numbers as lanes, `rest` beyond the last; and back. */
static inline void load(lanes *to, const REAL *from, REAL rest) {
    for (int p = P; p < ROW; p++) to[V - 1][p % LANES] = rest;
    memcpy(to, from, P * sizeof(REAL));
}

static inline void store(REAL *to, const lanes *from) { memcpy(to, from, P * sizeof(REAL)); }

static inline REAL total(lanes x) {
    REAL sum = 0;
    for (int l = 0; l < LANES; l++) sum += x[l];
    return sum;
}

/* Votes of one child, less those around which they are looked at: pose weights + offset - around. */
static inline void vote(rows votes, const REAL *pose, const rows weights, const REAL *offset,
                        const rows around) {
    for (int e = 0; e < 4; e++)
        for (int v = 0; v < V; v++)
            for (int r = 0; r < 4; r++) {
                lanes sum = offset[r * 4 + e] - around[r * 4 + e][v];
                for (int k = 0; k < 4; k++) sum += pose[r * 4 + k] * weights[k * 4 + e][v];
                votes[r * 4 + e][v] = sum;
            }
}

/* Gradients of pose and weights, from that of the votes. */
static inline void pull_back(REAL *dpose, rows dweights, const REAL *pose, const rows weights,
                             const rows dvotes) {
    lanes sums[16] = {0};
    for (int e = 0; e < 4; e++)
        for (int v = 0; v < V; v++)
            for (int k = 0; k < 4; k++) {
                lanes sum = dweights[k * 4 + e][v];
                for (int r = 0; r < 4; r++) {
                    sum += pose[r * 4 + k] * dvotes[r * 4 + e][v];
                    sums[r * 4 + k] += weights[k * 4 + e][v] * dvotes[r * 4 + e][v];
                }
                dweights[k * 4 + e][v] = sum;
            }
    for (int h = 0; h < 16; h++) dpose[h] = total(sums[h]);
}

/* How a child is assigned to the parents: exp(log_weights - log_total). */
static inline void assign(lanes *shares, const REAL *log_weights, REAL log_total) {
    static const REAL zeros[P];
    load(shares, log_weights ? log_weights : zeros, NONE);
    for (int v = 0; v < V; v++) shares[v] = exp_of(shares[v] - log_total);
}

/* patches (N, I, 16), weights (I rows), offsets (I, 16), centre (N rows), log_weights (N, I, P) or
   NULL, log_totals and presences (N, I); mass (N, P), mean and square (N rows). */
void moments(int places, REAL least, const REAL *patches, const rows *weights, const REAL *offsets,
             const rows *centre, const REAL *log_weights, const REAL *log_totals,
             const REAL *presences, REAL *mass, rows *mean, rows *square) {
#pragma omp parallel for schedule(static)
    for (int n = 0; n < places; n++) {
        lanes sum[V] = {0}, shares[V];
        rows first = {0}, second = {0}, votes;
        for (int i = 0; i < I; i++) {
            long at = (long)n * I + i;
            vote(votes, patches + at * 16, weights[i], offsets + i * 16, centre[n]);
            assign(shares, log_weights ? log_weights + at * P : NULL, log_totals[at]);
            for (int v = 0; v < V; v++) sum[v] += shares[v] *= presences[at];
            for (int h = 0; h < 16; h++)
                for (int v = 0; v < V; v++) {
                    lanes weighted = shares[v] * votes[h][v];
                    first[h][v] += weighted;
                    second[h][v] += weighted * votes[h][v];
                }
        }
        store(mass + (long)n * P, sum);
        for (int v = 0; v < V; v++) {
            lanes inverse = 1 / larger(sum[v], sum[v] * 0 + least);
            for (int h = 0; h < 16; h++) {
                mean[n][h][v] = first[h][v] * inverse;
                square[n][h][v] = second[h][v] * inverse;
            }
        }
    }
}

/* As above; dmass (N, P), dmean and dsquare (N rows); dpatches (N, I, 16), dweights (pieces, I rows),
   dlog_weights (N, I, P), dlog_totals and dpresences (N, I). */
void moments_gradient(int places, int pieces, REAL least, const REAL *patches, const rows *weights,
                      const REAL *offsets, const rows *centre, const REAL *log_weights,
                      const REAL *log_totals, const REAL *presences, const REAL *mass,
                      const rows *mean, const rows *square, const REAL *dmass, const rows *dmean,
                      const rows *dsquare, REAL *dpatches, rows *dweights, REAL *dlog_weights,
                      REAL *dlog_totals, REAL *dpresences) {
#pragma omp parallel for schedule(static)
    for (int piece = 0; piece < pieces; piece++) {
        memset(dweights + (long)piece * I, 0, I * sizeof(rows));
        for (int n = (long)places * piece / pieces; n < (long)places * (piece + 1) / pieces; n++) {
            lanes rest[V], sum[V];
            rows slope, curvature, votes, dvotes;
            load(rest, dmass + (long)n * P, 0);
            load(sum, mass + (long)n * P, 0);
            for (int v = 0; v < V; v++) {
                lanes inverse = 1 / larger(sum[v], sum[v] * 0 + least), moved = {0};
                for (int h = 0; h < 16; h++) {
                    slope[h][v] = dmean[n][h][v] * inverse;
                    curvature[h][v] = dsquare[n][h][v] * inverse;
                    moved += slope[h][v] * mean[n][h][v] + curvature[h][v] * square[n][h][v];
                }
                /* Where the mass is what is divided by, it moves mean and square, too. */
                rest[v] -= (lanes)((whole)moved & (whole)(sum[v] >= least));
            }
            for (int i = 0; i < I; i++) {
                long at = (long)n * I + i;
                lanes shares[V], along[V], dlog_total = {0}, dpresence = {0};
                memcpy(along, rest, sizeof along);
                vote(votes, patches + at * 16, weights[i], offsets + i * 16, centre[n]);
                assign(shares, log_weights ? log_weights + at * P : NULL, log_totals[at]);
                for (int h = 0; h < 16; h++)
                    for (int v = 0; v < V; v++) {
                        lanes bent = curvature[h][v] * votes[h][v];
                        along[v] += (bent + slope[h][v]) * votes[h][v];
                        dvotes[h][v] = (2 * bent + slope[h][v]) * (shares[v] * presences[at]);
                    }
                for (int v = 0; v < V; v++) {
                    along[v] *= shares[v];
                    dpresence += along[v];
                    along[v] *= presences[at];
                    dlog_total -= along[v];
                }
                store(dlog_weights + at * P, along);
                dlog_totals[at] = total(dlog_total);
                dpresences[at] = total(dpresence);
                pull_back(dpatches + at * 16, dweights[(long)piece * I + i], patches + at * 16,
                          weights[i], dvotes);
            }
        }
    }
}

/* around (N rows): centre and mean together; precision (N rows), base (N, P);
   log_weights (N, I, P), log_sums (N, I). */
void log_densities(int places, const REAL *patches, const rows *weights, const REAL *offsets,
                   const rows *around, const rows *precision, const REAL *base, REAL *log_weights,
                   REAL *log_sums) {
#pragma omp parallel for schedule(static)
    for (int n = 0; n < places; n++) {
        lanes start[V];
        rows votes;
        load(start, base + (long)n * P, NONE);
        for (int i = 0; i < I; i++) {
            long at = (long)n * I + i;
            lanes found[V], sum = {0};
            vote(votes, patches + at * 16, weights[i], offsets + i * 16, around[n]);
            for (int v = 0; v < V; v++) {
                lanes distance = {0};
                for (int h = 0; h < 16; h++)
                    distance += precision[n][h][v] * votes[h][v] * votes[h][v];
                found[v] = start[v] - (REAL)0.5 * distance;
            }
            store(log_weights + at * P, found);
            lanes best = found[0];
            for (int v = 1; v < V; v++) best = larger(best, found[v]);
            REAL largest = best[0];
            for (int l = 1; l < LANES; l++) largest = best[l] > largest ? best[l] : largest;
            for (int v = 0; v < V; v++) sum += exp_of(found[v] - largest);
            log_sums[at] = largest + (REAL)log(total(sum));
        }
    }
}

/* As above; dlog_weights (N, I, P), dlog_sums (N, I); dpatches (N, I, 16), dweights (pieces, I rows),
   dmean and dlog_precision (N rows), dbase (N, P). */
void log_densities_gradient(int places, int pieces, const REAL *patches, const rows *weights,
                            const REAL *offsets, const rows *around, const rows *precision,
                            const REAL *log_weights, const REAL *log_sums,
                            const REAL *dlog_weights, const REAL *dlog_sums, REAL *dpatches,
                            rows *dweights, rows *dmean, rows *dlog_precision, REAL *dbase) {
#pragma omp parallel for schedule(static)
    for (int piece = 0; piece < pieces; piece++) {
        memset(dweights + (long)piece * I, 0, I * sizeof(rows));
        for (int n = (long)places * piece / pieces; n < (long)places * (piece + 1) / pieces; n++) {
            lanes sum[V] = {0};
            rows first = {0}, second = {0}, votes, dvotes;
            for (int i = 0; i < I; i++) {
                long at = (long)n * I + i;
                lanes shares[V], slope[V];
                vote(votes, patches + at * 16, weights[i], offsets + i * 16, around[n]);
                assign(shares, log_weights + at * P, log_sums[at]);
                load(slope, dlog_weights + at * P, 0);
                for (int v = 0; v < V; v++) sum[v] += slope[v] += dlog_sums[at] * shares[v];
                for (int h = 0; h < 16; h++)
                    for (int v = 0; v < V; v++) {
                        lanes pull = slope[v] * (precision[n][h][v] * votes[h][v]);
                        first[h][v] += pull;
                        second[h][v] += pull * votes[h][v];
                        dvotes[h][v] = -pull;
                    }
                pull_back(dpatches + at * 16, dweights[(long)piece * I + i], patches + at * 16,
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
