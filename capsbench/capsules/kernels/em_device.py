# mypy: ignore-errors
# (What is decorated is compiled by Triton, whose types mypy does not know.)
"""EM routing's passes over the votes on a GPU: the programs of `em_triton`."""

from __future__ import annotations

import triton
import triton.language as tl

# A tile is (4, BLOCK_N, BLOCK_P, 4): rows of poses, places, types, columns of poses. Pairs are of
# place and type; numbers are those of a pair, (N, P, 4, 4). Weights are (I, 4, P, 4). Nothing is
# compiled anew for another number of places, as in the last batch.


@triton.jit
def _tile(tile, num_places, P: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_P: tl.constexpr):
    """Places, pairs, numbers, and which of them exist."""
    places, types = tile * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    is_place = places < num_places
    pairs, is_pair = places[:, None] * P + types, is_place[:, None] & (types < P)
    numbers = pairs[:, :, None] * 16 + tl.arange(0, 4)[:, None, None, None] * 4 + tl.arange(0, 4)
    # What children have does not always fit into 32 bits.
    return places.to(tl.int64), is_place, pairs, is_pair, numbers, is_pair[:, :, None]


@triton.jit
def _matrix(P: tl.constexpr, BLOCK_P: tl.constexpr):
    """Line 0 of the matrices of a child, and which types there are."""
    types = tl.arange(0, BLOCK_P)[:, None]
    return types * 4 + tl.arange(0, 4), types < P


@triton.jit
def _load_poses(patches, child, is_place):
    """Poses of one child of each place: four columns, each along the rows of a tile."""
    at = patches + child[:, None, None] * 16 + tl.arange(0, 4)[:, None, None, None] * 4
    poses = ()
    for k in tl.static_range(4):
        poses += (tl.load(at + k, mask=is_place[:, None, None], other=0),)
    return poses


@triton.jit
def _load_matrix(at, is_type, P: tl.constexpr):
    """Matrices of one child for all types: four lines, each along the columns of a tile."""
    lines = ()
    for k in tl.static_range(4):
        lines += (tl.load(at + k * P * 4, mask=is_type, other=0),)
    return lines


@triton.jit
def _votes(poses, lines, offset, around):
    """A tile of votes (article, eq. 4)."""
    entries = tl.arange(0, 4)[:, None, None, None] * 4 + tl.arange(0, 4)
    votes = tl.load(offset + entries) - around
    for k in tl.static_range(4):
        votes += poses[k] * lines[k]
    return votes


@triton.jit
def _assigned(log_weights, log_totals, presences, added, child, pair, is_place, is_pair):
    """R (article, eq. 29), and the weights of the votes, both (BLOCK_N, BLOCK_P)."""
    log_shares = -tl.load(log_totals + child, mask=is_place, other=0)[:, None]
    if log_weights is not None:
        log_shares += tl.load(log_weights + pair, mask=is_pair, other=float("-inf"))
    shares = tl.exp(log_shares)
    assigned = shares * tl.load(presences + child, mask=is_place, other=0)[:, None]
    if added is not None:
        assigned += tl.load(added + pair, mask=is_pair, other=0)
    return shares, assigned


@triton.jit(do_not_specialize=["num_places", "SLICE"])
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
    num_places,
    num_children,
    SLICE,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Sums over a slice of children; see `em_triton._sums`."""
    places, is_place, pairs, is_pair, numbers, is_number = _tile(
        tl.program_id(0), num_places, P, BLOCK_N, BLOCK_P
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
        child = places * num_children + i
        poses = _load_poses(patches, child, is_place)
        lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
        votes = _votes(poses, lines, offsets + i * 16, around)
        pair = child[:, None] * P + types
        _, assigned = _assigned(
            log_weights, log_totals, presences, added, child, pair, is_place, is_pair
        )
        weighted = assigned[:, :, None] * votes
        if precision is not None:
            weighted *= factor
        mass += assigned
        first += weighted
        second += weighted * votes
    sums += tl.program_id(1).to(tl.int64) * 33 * num_places * P
    tl.store(sums + pairs, mass, mask=is_pair)
    tl.store(sums + num_places * P + numbers, first, mask=is_number)
    tl.store(sums + 17 * num_places * P + numbers, second, mask=is_number)


@triton.jit(do_not_specialize=["num_places", "SLICE"])
def log_densities(
    patches,
    weights,
    offsets,
    centre,
    precision,
    base,
    log_weights,
    log_sums,
    num_places,
    num_children,
    SLICE,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Logs of parents' weights for the votes of a slice of children, and of their sums (eq. 28)."""
    places, is_place, pairs, is_pair, numbers, is_number = _tile(
        tl.program_id(0), num_places, P, BLOCK_N, BLOCK_P
    )
    types = tl.arange(0, BLOCK_P)
    matrix, is_type = _matrix(P, BLOCK_P)
    around = tl.load(centre + numbers, mask=is_number, other=0)
    factor = tl.load(precision + numbers, mask=is_number, other=0)
    start = tl.load(base + pairs, mask=is_pair, other=0)
    start = tl.where(types < P, start, float("-inf"))
    begin = tl.program_id(1) * SLICE
    for i in range(begin, tl.minimum(begin + SLICE, num_children)):
        child = places * num_children + i
        poses = _load_poses(patches, child, is_place)
        lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
        votes = _votes(poses, lines, offsets + i * 16, around)
        distances = tl.sum(tl.sum(votes * factor * votes, axis=3), axis=0)
        logs = start - 0.5 * distances
        tl.store(log_weights + child[:, None] * P + types, logs, mask=is_pair)
        highest = tl.max(logs, axis=1)
        total = tl.sum(tl.exp(logs - highest[:, None]), axis=1)
        tl.store(log_sums + child, highest + tl.log(total), mask=is_place)


@triton.jit(do_not_specialize=["num_places"])
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
    num_places,
    num_children,
    SLICE: tl.constexpr,
    P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Gradients for a slice of children, over a group of tiles; see `em_triton._pull_back`."""
    group, begin = tl.program_id(0), tl.program_id(1) * SLICE
    types = tl.arange(0, BLOCK_P)
    matrix, is_type = _matrix(P, BLOCK_P)
    dmatrices = ()  # of each child and line, still to be summed over the places of a tile
    for _ in tl.static_range(4 * SLICE):
        dmatrices += (tl.full((BLOCK_N, BLOCK_P, 4), 0, patches.dtype.element_ty),)
    for tile in range(group, tl.cdiv(num_places, BLOCK_N), tl.num_programs(0)):
        places, is_place, pairs, is_pair, numbers, is_number = _tile(
            tile, num_places, P, BLOCK_N, BLOCK_P
        )
        around = tl.load(centre + numbers, mask=is_number, other=0)
        curvatures = tl.load(curvature + numbers, mask=is_number, other=0)
        if slope is not None:
            slopes = tl.load(slope + numbers, mask=is_number, other=0)
            start = tl.load(base + pairs, mask=is_pair, other=0)
        more = ()
        for one in tl.static_range(SLICE):
            i = begin + one
            child = places * num_children + i
            poses = _load_poses(patches, child, is_place)
            lines = _load_matrix(weights + i * P * 16 + matrix, is_type, P)
            votes = _votes(poses, lines, offsets + i * 16, around)
            pair = child[:, None] * P + types
            shares, assigned = _assigned(
                log_weights, log_totals, presences, added, child, pair, is_place, is_pair
            )
            curved = curvatures * votes
            inclined = curved
            if slope is not None:
                inclined = curved + slopes
                value = start + tl.sum(tl.sum(inclined * votes, axis=3), axis=0)
                dlog_weights = value * assigned
                tl.store(log_weights_gradient + pair, dlog_weights, mask=is_pair)
                dlog_total = -tl.sum(dlog_weights, axis=1)
                tl.store(log_totals_gradient + child, dlog_total, mask=is_place)
                dpresence = tl.sum(value * shares, axis=1)
                tl.store(presences_gradient + child, dpresence, mask=is_place)
            dvotes = (inclined + curved) * assigned[:, :, None]
            at = patches_gradient + child * 16 + tl.arange(0, 4)[:, None] * 4
            for k in tl.static_range(4):
                dpose = tl.sum(tl.sum(dvotes * lines[k], axis=3), axis=2)
                tl.store(at + k, dpose, mask=is_place)
                more += (dmatrices[4 * one + k] + tl.sum(dvotes * poses[k], axis=0),)
        dmatrices = more
    at = weights_gradient + (group.to(tl.int64) * num_children + begin) * P * 16 + matrix
    for line in tl.static_range(4 * SLICE):
        tl.store(at + line * P * 4, tl.sum(dmatrices[line], axis=0), mask=is_type)
