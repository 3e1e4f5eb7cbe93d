/* Bilinear interpolation of images under affine maps, each row of pixels without a branch.

An image is copied once into a frame of zeros. Coordinates are clamped to the frame, so that pixels
outside of the image are zero without a branch. */

#include <stdint.h>
#include <stdlib.h>

static inline REAL between(REAL x, REAL low, REAL high) {
    x = x > low ? x : low; /* NaN becomes low */
    return x < high ? x : high;
}

/* images (N, C, H, W) of type PIXEL -> output (N, C, U, V), divided by SCALE. back: (N, 6), rows
(a, b, c) and (d, e, f): output pixel (x, y) shows the image at (ax + by + c, dx + ey + f). margin:
largest distance of a coordinate from the centres of the border pixels, 1 (the image fades into
zeros) or 0 (its border is extended). Returns 0, or -1 if memory cannot be allocated. */
int warp(const PIXEL *images, const REAL *back, REAL *output, int N, int C, int H, int W, int U,
         int V, int margin) {
    const int stride = W + 3; /* one zero before, two after: column W reads its neighbour too */
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
                    /* Plus one, since the frame begins one pixel before the image. */
                    const REAL c = m[1] * y + m[2] + 1, f = m[4] * y + m[5] + 1;
                    const REAL a = m[0], d = m[3];
                    REAL *row = output + (plane * U + y) * V;
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
