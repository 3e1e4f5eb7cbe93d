# mypy: ignore-errors
# (Triton compiles the decorated functions; mypy does not know its types.)
"""Triton programs of EM routing's passes over the votes; launched by `em_triton`."""

from __future__ import annotations

import triton
import triton.language as tl

# A tile is (4, BLOCK_N, BLOCK_P, 4): rows of poses, positions, types, columns of poses. A pair is a
# position and a type; numbers are the elements of a pair, (N, P, 4, 4). Weights are (I, 4, P, 4).
# Another number of positions, as in the last batch, does not trigger a new compilation.


@triton.jit
def _tile(tile, num_positions, P: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_P: tl.constexpr):
    """Return positions, pairs and numbers of a tile, and masks of those that exist."""
    positions, types = tile * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    is_position = positions < num_positions
    pairs, is_pair = positions[:, None] * P + types, is_position[:, None] & (types < P)
    numbers = pairs[:, :, None] * 16 + tl.arange(0, 4)[:, None, None, None] * 4 + tl.arange(0, 4)
    # Offsets of children can exceed 32 bits.
    return positions.to(tl.int64), is_position, pairs, is_pair, numbers, is_pair[:, :, None]


@triton.jit
def _matrix(P: tl.constexpr, BLOCK_P: tl.constexpr):
    """Return offsets of line 0 of a child's matrices, and a mask of the types."""
    types = tl.arange(0, BLOCK_P)[:, None]
    return types * 4 + tl.arange(0, 4), types < P


@triton.jit
def _load_poses(patches, child, is_position):
    """Load the poses of one child of each position: four columns, along the rows of a tile."""
    at = patches + child[:, None, None] * 16 + tl.arange(0, 4)[:, None, None, None] * 4
    poses = ()
    for k in tl.static_range(4):
        poses += (tl.load(at + k, mask=is_position[:, None, None], other=0),)
    return poses


@triton.jit
def _load_matrix(at, is_type, P: tl.constexpr):
    """Load the matrices of one child for all types: four lines, along the columns of a tile."""
    lines = ()
    for k in tl.static_range(4):
        lines += (tl.load(at + k * P * 4, mask=is_type, other=0),)
    return lines


@triton.jit
def _votes(poses, lines, offset, around):
    """Compute a tile of votes (article, eq. 4)."""
    entries = tl.arange(0, 4)[:, None, None, None] * 4 + tl.arange(0, 4)
    votes = tl.load(offset + entries) - around
    for k in tl.static_range(4):
        votes += poses[k] * lines[k]
    return votes


@triton.jit
def _assigned(
    log_weights,
    log_totals,
    presences,
    added,
    child,
    pair,
    is_position,
    is_pair,
    PRIOR: tl.constexpr,
):
    """Compute R (article, eq. 29), presences, and the weights of votes, each (BLOCK_N, BLOCK_P)."""
    log_shares = -tl.load(log_totals + child, mask=is_position, other=0)[:, None]
    if log_weights is not None:
        log_shares += tl.load(log_weights + pair, mask=is_pair, other=float("-inf"))
    shares = tl.exp(log_shares)
    present = tl.load(presences + child, mask=is_position, other=0)[:, None]
    assigned = (shares + PRIOR) * present
    if added is not None:
        assigned += tl.load(added + pair, mask=is_pair, other=0)
    return shares, present, assigned


@triton.jit(do_not_specialize=["num_positions", "SLICE"])
def sum_votes(
    patches,
    weights,
    offsets,
    centre,
    log_weights,
    log_totals,
    presences,
    added,
    precision,
    sums,
    num_positions,
    num_children,
    SLICE,
    PRIOR: tl.constexpr,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Sum over a slice of children; see `em_triton._sums`."""
    positions, is_position, pairs, is_pair, numbers, is_number = _tile(
        tl.program_id(0), num_positions, P, BLOCK_N, BLOCK_P
    )
    types = tl.arange(0, BLOCK_P)
    matrix, is_type = _matrix(P, BLOCK_P)
    around = tl.load(centre + numbers, mask=is_number, other=0)
    if precision is not None:
        factor = tl.load(precision + numbers, mask=is_number, other=0)
    mass = tl.full((BLOCK_N, BLOCK_P), 0, around.dtype)
    first = tl.full((4, BLOCK_N, BLOCK_P, 4), 0, around.dtype)
    second = first
    begin = tl.program_id(1) * SLICE
    for i in range(begin, tl.minimum(begin + SLICE, num_children)):
        child = positions * num_children + i
        poses = _load_poses(patches, child, is_position)
        lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
        votes = _votes(poses, lines, offsets + i * 16, around)
        pair = child[:, None] * P + types
        _, _, assigned = _assigned(
            log_weights, log_totals, presences, added, child, pair, is_position, is_pair, PRIOR
        )
        weighted = assigned[:, :, None] * votes
        if precision is not None:
            weighted *= factor
        mass += assigned
        first += weighted
        second += weighted * votes
    sums += tl.program_id(1).to(tl.int64) * 33 * num_positions * P
    tl.store(sums + pairs, mass, mask=is_pair)
    tl.store(sums + num_positions * P + numbers, first, mask=is_number)
    tl.store(sums + 17 * num_positions * P + numbers, second, mask=is_number)


@triton.jit(do_not_specialize=["num_positions", "SLICE"])
def log_densities(
    patches,
    weights,
    offsets,
    centre,
    precision,
    base,
    log_weights,
    log_sums,
    num_positions,
    num_children,
    SLICE,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Compute log weights of the parents for a slice of children, and log sums (eq. 28)."""
    positions, is_position, pairs, is_pair, numbers, is_number = _tile(
        tl.program_id(0), num_positions, P, BLOCK_N, BLOCK_P
    )
    types = tl.arange(0, BLOCK_P)
    matrix, is_type = _matrix(P, BLOCK_P)
    around = tl.load(centre + numbers, mask=is_number, other=0)
    factor = tl.load(precision + numbers, mask=is_number, other=0)
    start = tl.load(base + pairs, mask=is_pair, other=0)
    start = tl.where(types < P, start, float("-inf"))
    begin = tl.program_id(1) * SLICE
    for i in range(begin, tl.minimum(begin + SLICE, num_children)):
        child = positions * num_children + i
        poses = _load_poses(patches, child, is_position)
        lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
        votes = _votes(poses, lines, offsets + i * 16, around)
        distances = tl.sum(tl.sum(votes * factor * votes, axis=3), axis=0)
        logs = start - 0.5 * distances
        tl.store(log_weights + child[:, None] * P + types, logs, mask=is_pair)
        highest = tl.max(logs, axis=1)
        total = tl.sum(tl.exp(logs - highest[:, None]), axis=1)
        tl.store(log_sums + child, highest + tl.log(total), mask=is_position)


@triton.jit(do_not_specialize=["num_positions"])
def gradients(
    patches,
    weights,
    offsets,
    centre,
    log_weights,
    log_totals,
    presences,
    added,
    curvature,
    slope,
    base,
    patches_gradient,
    weights_gradient,
    log_weights_gradient,
    log_totals_gradient,
    presences_gradient,
    num_positions,
    num_children,
    SLICE: tl.constexpr,
    PRIOR: tl.constexpr,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Compute gradients for a slice of children and tiles; see `em_triton._backward_votes`."""
    group, begin = tl.program_id(0), tl.program_id(1) * SLICE
    types = tl.arange(0, BLOCK_P)
    matrix, is_type = _matrix(P, BLOCK_P)
    dmatrices = ()  # of each child and line, still to be summed over the positions of a tile
    for _ in tl.static_range(4 * SLICE):
        dmatrices += (tl.full((BLOCK_N, BLOCK_P, 4), 0, patches.dtype.element_ty),)
    for tile in range(group, tl.cdiv(num_positions, BLOCK_N), tl.num_programs(0)):
        positions, is_position, pairs, is_pair, numbers, is_number = _tile(
            tile, num_positions, P, BLOCK_N, BLOCK_P
        )
        around = tl.load(centre + numbers, mask=is_number, other=0)
        curvatures = tl.load(curvature + numbers, mask=is_number, other=0)
        if slope is not None:
            slopes = tl.load(slope + numbers, mask=is_number, other=0)
            start = tl.load(base + pairs, mask=is_pair, other=0)
        more = ()
        for one in tl.static_range(SLICE):
            i = begin + one
            child = positions * num_children + i
            poses = _load_poses(patches, child, is_position)
            lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
            votes = _votes(poses, lines, offsets + i * 16, around)
            pair = child[:, None] * P + types
            shares, present, assigned = _assigned(
                log_weights,
                log_totals,
                presences,
                added,
                child,
                pair,
                is_position,
                is_pair,
                PRIOR,
            )
            curved = curvatures * votes
            sloped = curved
            if slope is not None:
                sloped = curved + slopes
                value = start + tl.sum(tl.sum(sloped * votes, axis=3), axis=0)
                dlog_weights = value * (shares * present)
                tl.store(log_weights_gradient + pair, dlog_weights, mask=is_pair)
                dlog_total = -tl.sum(dlog_weights, axis=1)
                tl.store(log_totals_gradient + child, dlog_total, mask=is_position)
                dpresence = tl.sum(value * (shares + PRIOR), axis=1)
                tl.store(presences_gradient + child, dpresence, mask=is_position)
            dvotes = (sloped + curved) * assigned[:, :, None]
            at = patches_gradient + child * 16 + tl.arange(0, 4)[:, None] * 4
            for k in tl.static_range(4):
                dpose = tl.sum(tl.sum(dvotes * lines[k], axis=3), axis=2)
                tl.store(at + k, dpose, mask=is_position)
                more += (dmatrices[4 * one + k] + tl.sum(dvotes * poses[k], axis=0),)
        dmatrices = more
    at = weights_gradient + (group.to(tl.int64) * num_children + begin) * P * 16 + matrix
    for line in tl.static_range(4 * SLICE):
        tl.store(at + line * P * 4, tl.sum(dmatrices[line], axis=0), mask=is_type)
