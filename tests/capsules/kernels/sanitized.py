"""Run every pass of the C kernels on odd sizes, compiled with the sanitizers of gcc or clang.

Run by ``test_sanitizers.py`` in a process that has the library of AddressSanitizer preloaded. torch
then allocates its tensors with it, so that one element outside of a tensor ends the process. Not
with ThreadSanitizer: gcc's OpenMP library is not instrumented, so that every parallel loop counts
as a race. ``test_bits_of_native_do_not_depend_on_the_number_of_threads`` stands in for it.
"""

import sys
from pathlib import Path

import torch

from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.kernels import native

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Below and above the number of lanes; one child, one parent, no image. A library is compiled for
# each combination of sizes except the batch.
DYNAMIC = [(0, 1, 1, 1, 1), (1, 1, 1, 1, 1), (5, 7, 3, 5, 9), (17, 7, 3, 5, 9)]
EM = [  # batch, map, kernel, child types, parent types
    (0, 2, 1, 1, 1),
    (1, 1, 1, 1, 1),
    (2, 4, 2, 1, 3),
    (3, 6, 2, 1, 17),
]


def tensor(*shape, dtype):
    """Return random numbers that end where their memory ends, and begin after its start."""
    return torch.randn(torch.Size(shape).numel() + 1, dtype=dtype)[1:].view(shape).requires_grad_()


def run(dtype):
    """Route and differentiate tensors of every size; return the number of routings."""
    for batch, num_children, num_parents, dim, parent_dim in DYNAMIC:
        for iterations in (1, 3):
            inputs = [
                tensor(batch, num_children, dim, dtype=dtype),
                tensor(num_children, num_parents, dim, parent_dim, dtype=dtype),
            ]
            parents, couplings = dynamic_routing(*inputs, iterations=iterations, backend="native")
            torch.autograd.grad(parents.sum() + couplings.square().sum(), inputs)
    for batch, size, kernel, types, num_parents in EM:
        for iterations in (1, 3):
            inputs = [
                tensor(batch, size, size, types, 4, 4, dtype=dtype),
                tensor(batch, size, size, types, dtype=dtype),
                tensor(kernel, kernel, types, num_parents, 4, 4, dtype=dtype),
                tensor(num_parents, dtype=dtype),
                tensor(num_parents, dtype=dtype),
            ]
            poses, presences, assignments, _ = em_routing(
                inputs[0],
                inputs[1].sigmoid(),
                inputs[2],
                beta_u=inputs[3],
                beta_a=inputs[4],
                inverse_temperature=0.5,
                iterations=iterations,
                backend="native",
            )
            torch.autograd.grad(poses.sum() + presences.sum() + assignments.sum(), inputs)
    return 2 * (len(DYNAMIC) + len(EM))


if __name__ == "__main__":
    native.FOLDER = Path(sys.argv[1])
    native.FLAGS = (*(x for x in native.FLAGS if x != "-O3"), "-O1", "-g", *SANITIZERS)
    native.unavailable_reason.cache_clear()
    print(run(torch.float32) + run(torch.float64), "routings")
