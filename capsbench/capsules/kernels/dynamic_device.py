# mypy: ignore-errors
# (Triton compiles the decorated functions; mypy does not know its types.)
"""Triton programs of dynamic routing's passes over the votes; launched by `dynamic_triton`."""

from __future__ import annotations

import triton
import triton.language as tl

# Rows are the samples of a tile, columns the elements of a parent's pose. A tuple has one item for
# each parent: a tile, or a number for each row. Pointers are to the first parent. Another number of
# samples, as in the last batch, does not trigger a new compilation.


@triton.jit
def _load(at, mask, J: tl.constexpr, E: tl.constexpr):
    """Load tiles of a tensor (B, J, E)."""
    tiles = ()
    for j in tl.static_range(J):
        tiles += (tl.load(at + j * E, mask=mask, other=0),)
    return tiles


@triton.jit
def _store(at, tiles, mask, J: tl.constexpr, E: tl.constexpr):
    """Store tiles to a tensor (B, J, E)."""
    for j in tl.static_range(J):
        tl.store(at + j * E, tiles[j], mask=mask)


@triton.jit
def _zeros(like, J: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_E: tl.constexpr):
    tiles = ()
    for _ in tl.static_range(J):
        tiles += (tl.full((BLOCK_B, BLOCK_E), 0, like.dtype.element_ty),)
    return tiles


@triton.jit
def _add_votes(
    tiles, child, is_row, matrix, is_column, J: tl.constexpr, D: tl.constexpr, E: tl.constexpr
):
    """Add to tiles the votes of a child u_i (rows, D) by matrices W_ij (J, D, E)."""
    # Not unrolled, which would take minutes to compile: Triton compares each load with all others.
    for d in range(D):
        u = tl.load(child + d, mask=is_row, other=0)[:, None]
        line = matrix + d * E
        more = ()
        for j in tl.static_range(J):
            w = tl.load(line + j * D * E, mask=is_column, other=0)[None, :]
            more += (tiles[j] + u * w,)
        tiles = more
    return tiles


@triton.jit
def _add_scaled(tiles, factors, others, J: tl.constexpr):
    """Add to tiles other tiles whose rows are multiplied by factors."""
    more = ()
    for j in tl.static_range(J):
        more += (tiles[j] + factors[j][:, None] * others[j],)
    return more


@triton.jit
def _products(tiles, others, J: tl.constexpr):
    """Compute the scalar product of each row with another."""
    products = ()
    for j in tl.static_range(J):
        products += (tl.sum(tiles[j] * others[j], axis=1),)
    return products


@triton.jit
def _softmax(logits, J: tl.constexpr):
    """Compute the softmax over the parents (article, eq. 8)."""
    top = logits[0]
    for j in tl.static_range(1, J):
        top = tl.maximum(top, logits[j])
    terms = ()
    for j in tl.static_range(J):
        terms += (tl.exp(logits[j] - top),)
    total = terms[0]
    for j in tl.static_range(1, J):
        total += terms[j]
    scale = 1 / total
    couplings = ()
    for j in tl.static_range(J):
        couplings += (terms[j] * scale,)
    return couplings


@triton.jit
def _logit_gradient(couplings, sums_gradient, couplings_gradient, J: tl.constexpr):
    """Backpropagate through the softmax, from gradients of the sums and of the couplings."""
    gradient = sums_gradient
    if couplings_gradient is not None:
        gradient = ()
        for j in tl.static_range(J):
            gradient += (sums_gradient[j] + couplings_gradient[j],)
    mean = couplings[0] * gradient[0]
    for j in tl.static_range(1, J):
        mean += couplings[j] * gradient[j]
    result = ()
    for j in tl.static_range(J):
        result += (couplings[j] * (gradient[j] - mean),)
    return result


@triton.jit(do_not_specialize=["num_samples", "SLICE"])
def weighted_sum(
    children,
    weights,
    parent_sum,
    sums,
    couplings,
    num_samples,
    num_children,
    SLICE,
    J: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_E: tl.constexpr,
):
    """Sum the weighted votes of a slice of children, for a tile of samples."""
    rows, columns = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B), tl.arange(0, BLOCK_E)
    is_row, is_column = rows < num_samples, columns < E
    numbers, is_number = rows[:, None] * J * E + columns, is_row[:, None] & is_column
    zeros = _zeros(children, J, BLOCK_B, BLOCK_E)
    total = zeros
    first = tl.program_id(1) * SLICE
    for i in range(first, tl.minimum(first + SLICE, num_children)):
        child, matrix = rows.to(tl.int64) * num_children + i, weights + i * J * D * E + columns
        if parent_sum is None:
            total = _add_votes(total, children + child * D, is_row, matrix, is_column, J, D, E)
        else:
            votes = _add_votes(zeros, children + child * D, is_row, matrix, is_column, J, D, E)
            parents = _load(parent_sum + numbers, is_number, J, E)
            shares = _softmax(_products(votes, parents, J), J)
            if couplings is not None:
                _store(couplings + child * J, shares, is_row, J, 1)
            total = _add_scaled(total, shares, votes, J)
    _store(sums + tl.program_id(1) * num_samples * J * E + numbers, total, is_number, J, E)


@triton.jit(do_not_specialize=["num_samples", "SLICE"])
def agreement_gradient(
    children,
    weights,
    parent_sum,
    sums_gradient,
    couplings_gradient,
    result,
    num_samples,
    num_children,
    SLICE,
    J: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_E: tl.constexpr,
):
    """Compute the gradient of ``parent_sum`` from a slice of children, for a tile of samples."""
    rows, columns = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B), tl.arange(0, BLOCK_E)
    is_row, is_column = rows < num_samples, columns < E
    numbers, is_number = rows[:, None] * J * E + columns, is_row[:, None] & is_column
    zeros = _zeros(children, J, BLOCK_B, BLOCK_E)
    total = zeros
    first = tl.program_id(1) * SLICE
    for i in range(first, tl.minimum(first + SLICE, num_children)):
        child, matrix = rows.to(tl.int64) * num_children + i, weights + i * J * D * E + columns
        votes = _add_votes(zeros, children + child * D, is_row, matrix, is_column, J, D, E)
        parents = _load(parent_sum + numbers, is_number, J, E)
        shares = _softmax(_products(votes, parents, J), J)
        gradient = _load(sums_gradient + numbers, is_number, J, E)
        direct = None
        if couplings_gradient is not None:
            direct = _load(couplings_gradient + child * J, is_row, J, 1)
        slopes = _logit_gradient(shares, _products(votes, gradient, J), direct, J)
        total = _add_scaled(total, slopes, votes, J)
    _store(result + tl.program_id(1) * num_samples * J * E + numbers, total, is_number, J, E)


@triton.jit(do_not_specialize=["T", "num_samples", "SLICE"])
def vote_gradients(
    children,
    weights,
    parent_sum,
    sums_gradients,
    couplings_gradient,
    children_gradient,
    weights_gradient,
    T,
    num_samples,
    num_children,
    SLICE,
    J: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_E: tl.constexpr,
):
    """Compute gradients of a slice of children, and of weights over a group of sample tiles."""
    columns, lines = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_D)[:, None]  # of a matrix W_ij
    is_column, is_line = columns < E, lines < D
    zeros = _zeros(children, J, BLOCK_B, BLOCK_E)
    group = tl.program_id(0)
    weights_gradient += group.to(tl.int64) * num_children * J * D * E
    first = tl.program_id(1) * SLICE
    for tile in range(group, tl.cdiv(num_samples, BLOCK_B), tl.num_programs(0)):
        rows = tile * BLOCK_B + tl.arange(0, BLOCK_B)
        is_row = rows < num_samples
        numbers, is_number = rows[:, None] * J * E + columns, is_row[:, None] & is_column
        for i in range(first, tl.minimum(first + SLICE, num_children)):
            child, matrix = rows.to(tl.int64) * num_children + i, i * J * D * E + columns
            votes = _add_votes(
                zeros, children + child * D, is_row, weights + matrix, is_column, J, D, E
            )
            total = ()
            gradient = _load(sums_gradients + numbers, is_number, J, E)
            for j in tl.static_range(J):
                total += (gradient[j] * (1 / J),)  # couplings are uniform in the first iteration
            for t in range(1, T):
                parents = _load(parent_sum + t * num_samples * J * E + numbers, is_number, J, E)
                gradient = _load(
                    sums_gradients + t * num_samples * J * E + numbers, is_number, J, E
                )
                shares = _softmax(_products(votes, parents, J), J)
                direct = None
                if couplings_gradient is not None:
                    is_last = rows < tl.where(t == T - 1, num_samples, 0)
                    direct = _load(couplings_gradient + child * J, is_last, J, 1)
                slopes = _logit_gradient(shares, _products(votes, gradient, J), direct, J)
                total = _add_scaled(_add_scaled(total, shares, gradient, J), slopes, parents, J)
            for d in range(D):
                pulled = tl.full((BLOCK_B, BLOCK_E), 0, children.dtype.element_ty)
                for j in tl.static_range(J):
                    at = weights + matrix + d * E + j * D * E
                    pulled += total[j] * tl.load(at, mask=is_column, other=0)[None, :]
                tl.store(children_gradient + child * D + d, tl.sum(pulled, axis=1), mask=is_row)
            u = tl.load(children + child * D + lines, mask=is_row & is_line, other=0)
            is_entry = is_line & is_column
            is_known = (lines < tl.where(tile > group, D, 0)) & is_column
            for j in tl.static_range(J):
                at = weights_gradient + matrix + lines * E + j * D * E
                before = tl.load(at, mask=is_known, other=0)
                product = tl.dot(u, total[j], before, input_precision="ieee", out_dtype=u.dtype)
                tl.store(at, product, mask=is_entry)
        tl.debug_barrier()  # the next tile reads what this one has written
