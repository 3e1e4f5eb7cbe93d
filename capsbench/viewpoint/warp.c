/* Bilinear interpolation of images under affine maps, each row of pixels without a branch.

An image is copied once into a frame of zeros; coordinates are kept inside the frame, where what
lies outside of the image is found to be zero, without being asked for. */

#include <stdint.h>
#include <stdlib.h>

static inline REAL between(REAL x, REAL low, REAL high) {
    x = x > low ? x : low; /* so that what is no number is low */
    return x < high ? x : high;
}

/* images (N, C, H, W) of type PIXEL -> shown (N, C, U, V), divided by SCALE. back: (N, 6), rows (a, b, c) and (d, e, f): pixel
(x, y) of what is shown lies at (ax + by + c, dx + ey + f) of the image. margin: how far outside of
the outermost pixels' centres a coordinate may lie, 1 (the image fades into zeros there) or 0 (its
border goes on). Returns 0, or -1 where there is no memory. */
int warp(const PIXEL *images, const REAL *back, REAL *shown, int N, int C, int H, int W, int U,
         int V, int margin) {
    const int stride = W + 3; /* one zero before, two after: of the pixel at W its neighbour too */
    int failed = 0;
#pragma omp parallel
    {
        REAL *frame = calloc((size_t)(H + 3) * stride, sizeof(REAL));
        if (!frame) {
#pragma omp atomic write
            failed = -1;
        }
#pragma omp for collapse(2)
        for (int n = 0; n < N; n++) {
            for (int channel = 0; channel < C; channel++) {
                if (!frame) continue;
                const size_t plane = (size_t)n * C + channel;
                const PIXEL *image = images + plane * H * W;
                for (int y = 0; y < H; y++) {
                    REAL *line = frame + (y + 1) * stride + 1;
                    for (int x = 0; x < W; x++) line[x] = image[y * W + x] / (REAL)SCALE;
                }
                const REAL *m = back + 6 * n;
                const REAL least = 1 - margin, right = W + margin, bottom = H + margin;
                for (int y = 0; y < U; y++) {
                    /* One more than the coordinate, since the frame begins one pixel before. */
                    const REAL c = m[1] * y + m[2] + 1, f = m[4] * y + m[5] + 1;
                    const REAL a = m[0], d = m[3];
                    REAL *row = shown + (plane * U + y) * V;
#pragma omp simd
                    for (int x = 0; x < V; x++) {
                        const REAL u = between(a * x + c, least, right);
                        const REAL v = between(d * x + f, least, bottom);
                        const int i = (int)u, j = (int)v; /* none is negative */
                        const REAL p = u - i, q = v - j;
                        const int at = j * stride + i;
                        const REAL upper = frame[at] + p * (frame[at + 1] - frame[at]);
                        const REAL lower = frame[at + stride] +
                                           p * (frame[at + stride + 1] - frame[at + stride]);
                        row[x] = upper + q * (lower - upper);
                    }
                }
            }
        }
        free(frame);
    }
    return failed;
}
