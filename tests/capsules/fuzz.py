"""A random search for cases in which a form of a routing differs from the textbook in float64.

``make fuzz`` runs it for FUZZ_SECONDS (default 600) from FUZZ_SEED (default: the time). A case is a
line of Python that can be pasted into the list of ``test_fuzz.py``. The error of a form may be as
large as the change of the textbook's own result when its inputs change by the rounding of the
dtype, times a factor, and at most 0.02 of the largest element; in float32 just that. A result whose
error may be much larger is not compared, and counted as one without digits. Most cases of float32
are therefore easy, and hard ones are in float64.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from capsbench.capsules.backends import unavailable_reason
from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, OURS, PAPER
from capsbench.capsules.mixture_windows import LEAST_PRESENCE
from capsbench.capsules.windows import windows

# A C library is compiled for each combination of sizes and dtype, so there are few of them.
LISTS = [(1, 1, 1, 1), (5, 3, 4, 2), (9, 10, 8, 16), (17, 1, 3, 8), (1, 9, 8, 5), (12, 2, 1, 17)]
TYPES = [(1, 1), (1, 4), (2, 8), (3, 1), (3, 17), (5, 9)]
KERNELS = [(1, 1), (1, 1), (2, 1), (3, 3)]
DTYPES = {"float32": torch.float32, "float64": torch.float64}
VARIANTS = {"text": PAPER, "ours": OURS, "code": AUTHORS_CODE, "classes": AUTHORS_CODE_CLASSES}
SAFETY = 20  # factor of the change of the textbook's result
ROUNDINGS = 300  # of the largest element
WORST = 0.02  # largest allowed error, relative to the largest element
PESSIMISM = 5  # a possible error is far above the actual ones


@dataclass(frozen=True, kw_only=True)
class Case:
    """One routing of random tensors.

    Attributes:
        routing: ``dynamic`` or ``em``.
        seed: Of the tensors.
        batch: Number of images; may be 0.
        children: Child types (EM), or children.
        parents: Parent types (EM), or parents.
        iterations: Of the routing.
        size: Standard deviation of the poses.
        spread: Standard deviation of the transformations.
        presence: ``any``, ``some`` (a third absent), ``none``, ``tiny``, or ``one`` (all one).
        dtype: ``float32`` or ``float64``.
        strided: Tensors are not contiguous.
        lengths: Of the poses of children and parents; dynamic routing only.
        bias: Dynamic routing only.
        map_size: Height and width; EM only, as all that follow.
        kernel: Height and width of the window.
        stride: Step of the window.
        temperature: Inverse temperature.
        variant: ``text``, ``code`` or ``classes``.
        offsets: Offsets are added to the votes.
    """

    routing: str
    seed: int
    batch: int
    children: int
    parents: int
    iterations: int
    size: float
    spread: float
    dtype: str
    strided: bool
    lengths: tuple[int, int] = (4, 4)
    bias: bool = False
    presence: str = "any"
    map_size: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    temperature: float = 1.0
    variant: str = "text"
    offsets: bool = False

    @classmethod
    def draw(cls, rng: random.Random) -> Case:
        """Draw a case; most of float32 are easy, since hard ones have no digits to compare."""
        routing = rng.choice(["dynamic", "em", "em"])
        children, parents, *lengths = rng.choice(LISTS if routing == "dynamic" else TYPES)
        case = cls(
            routing=routing,
            seed=rng.randrange(10**6),
            batch=rng.choice([0, 1, 1, 2, 3, 9]),
            children=children,
            parents=parents,
            iterations=rng.choice([1, 2, 2, 3, 3, 5, 8]),
            size=rng.choice([0.0, 1e-30, 1e-6, 0.1, 1.0, 1.0, 3.0, 10.0, 1e2, 1e4, 1e6]),
            spread=rng.choice([0.0, 1e-3, 0.1, 0.5, 0.5, 1.0, 3.0]),
            dtype=rng.choice(list(DTYPES)),
            strided=rng.random() < 0.3,
        )
        easy = case.dtype == "float32" and rng.random() < 0.9
        if easy:
            case = replace(
                case,
                iterations=rng.choice([1, 2, 2, 3]),
                size=rng.choice([0.1, 0.3, 1.0]),
                spread=rng.choice([0.1, 0.5]),
            )
        if routing == "dynamic":
            return replace(case, lengths=(lengths[0], lengths[1]), bias=rng.random() < 0.3)
        kernel = rng.choice(KERNELS)
        return replace(
            case,
            presence=rng.choice(["any", "any", "some", "none", "tiny", "one"]),
            map_size=(kernel[0] + rng.randint(0, 2), kernel[1] + rng.randint(0, 2)),
            kernel=kernel,
            stride=rng.randint(1, 3),
            temperature=rng.choice([0.0, 0.01, 0.5, 1.0] if easy else [0.0, 0.01, 1.0, 5.0, 100.0]),
            variant=rng.choice(list(VARIANTS)),
            offsets=rng.random() < 0.3,
        )

    @property
    def vote_size(self) -> float:
        """Return about the largest element of a vote of EM routing."""
        return 4 * (self.size * (1 + 2 * self.spread) + self.offsets)

    @property
    def distance_error(self) -> float:
        """Return the rounding of a vote's squared distance in units of the least variance."""
        return torch.finfo(DTYPES[self.dtype]).eps * self.vote_size**2 / PAPER.variance_floor

    def tensors(self) -> list[Tensor]:
        """Return the inputs in float64, rounded to the dtype."""
        generator = torch.Generator().manual_seed(self.seed)
        normal = partial(torch.randn, generator=generator, dtype=torch.float64)
        if self.routing == "dynamic":
            shape = self.children, self.parents, *self.lengths
            result = [self.size * normal(self.batch, self.children, self.lengths[0])]
            result += [self.spread * normal(shape)]
            result += [0.1 * normal(self.parents, self.lengths[1])] if self.bias else []
        else:
            grid = self.batch, *self.map_size, self.children
            presences = normal(grid).mul(3).sigmoid()
            absent = torch.rand(grid, generator=generator) < 1 / 3
            presences = {
                "any": presences,
                "some": presences.masked_fill(absent, 0),
                "none": torch.zeros_like(presences),
                "tiny": presences * 1e-25,
                "one": torch.ones_like(presences),
            }[self.presence]
            weights = normal(*self.kernel, self.children, self.parents, 4, 4)
            betas = 0.3 * normal(2, self.parents) - torch.tensor([[0.5], [4.0]])
            if self.variant != "text":
                betas = betas * torch.tensor([[1.0], [1e-4]])
            weights = torch.eye(4, dtype=torch.float64) + self.spread * weights
            result = [self.size * normal(*grid, 4, 4), presences, weights, *betas]
            if self.offsets:
                result.append(normal(*self.kernel, 4, 4))
        return [x.to(DTYPES[self.dtype]).double() for x in result]

    def route(
        self, tensors: list[Tensor], backend: str, extra_variance: float = 0.0
    ) -> tuple[Tensor, ...]:
        """Return the results of the routing, and gradients of all tensors except the offsets."""
        inputs = [x.detach().clone() for x in tensors]
        if self.strided:  # the first two dimensions swapped in memory, with a gap at the start
            inputs = [_strided(x) for x in inputs]
        inputs = [x.requires_grad_() for x in inputs]
        outputs: tuple[Tensor, ...]
        if self.routing == "dynamic":
            bias = inputs[2] if self.bias else None
            outputs = dynamic_routing(
                *inputs[:2],
                iterations=self.iterations,
                bias=bias,
                backend=backend,  # type: ignore[arg-type]
            )
        else:
            variant = VARIANTS[self.variant]
            floor = variant.variance_floor + extra_variance
            offsets = inputs.pop().detach() if self.offsets else None
            outputs = em_routing(
                *inputs[:3],
                beta_u=inputs[3],
                beta_a=inputs[4],
                inverse_temperature=self.temperature,
                iterations=self.iterations,
                stride=self.stride,
                offsets=offsets,
                variant=replace(variant, variance_floor=floor),
                backend=backend,  # type: ignore[arg-type]
            )[:3]
        generator = torch.Generator().manual_seed(self.seed + 1)
        total = sum(
            (torch.randn(x.shape, generator=generator, dtype=torch.float64) * x.double()).sum()
            for x in outputs[:2]
        )
        return *(x.detach() for x in outputs), *torch.autograd.grad(total, inputs)  # type: ignore[arg-type]


def _strided(x: Tensor) -> Tensor:
    """Return the same numbers with other strides and a storage offset of one."""
    dims = [1, 0, *range(2, x.dim())] if x.dim() > 1 else [0]
    room = x.new_zeros(x.numel() + 1)
    return room[1:].view([x.shape[d] for d in dims]).copy_(x.permute(dims)).permute(dims)


def tolerances(case: Case, tensors: list[Tensor], expected: tuple[Tensor, ...]) -> list[float]:
    """Return the possible error of each result: rounding, as it spreads in the textbook's."""
    eps = torch.finfo(DTYPES[case.dtype]).eps
    generator = torch.Generator().manual_seed(case.seed + 2)
    votes = case.vote_size if case.routing == "em" else 0.0
    allowed = [ROUNDINGS * eps * _largest(x) + 1e-30 for x in expected]
    allowed[0] += ROUNDINGS * eps * votes  # the votes of a mean may cancel
    for turn in range(3):
        changed = [
            x * (1 + eps * torch.randn(x.shape, generator=generator, dtype=torch.float64))
            for x in tensors
        ]
        if case.routing == "em":
            noise = torch.rand(changed[1].shape, generator=generator, dtype=torch.float64)
            changed[1] = changed[1] + eps * LEAST_PRESENCE * noise
        # A one-pass variance is known to the rounding of the mean square.
        result = case.route(changed, "textbook", turn * eps * votes**2)
        for k, (one, other) in enumerate(zip(result, expected, strict=True)):
            allowed[k] = max(allowed[k], SAFETY * _largest(one - other))
    # The rounding of the differentiated sum, whose terms are about one.
    differentiated = tensors[:-1] if case.offsets else tensors
    inputs = [max(_largest(x), LEAST_PRESENCE) for x in differentiated]
    if case.routing == "em":  # a presence counts relative to the sum in its window
        totals = windows(tensors[1], case.kernel, case.stride).sum(dim=(-1, -2, -3))
        inputs[1] = 1 / max(1.0, _largest(1 / totals.clamp_min(LEAST_PRESENCE)))
    rounding = ROUNDINGS * eps
    if case.routing == "em":
        rounding += case.distance_error
        allowed[2] += case.distance_error * _largest(expected[2])
    for k, size in enumerate(inputs, start=len(expected) - len(inputs)):
        allowed[k] += rounding / size
    return allowed


def _largest(x: Tensor) -> float:
    return x.abs().max().item() if x.numel() else 0.0


def check(case: Case, backends: list[str]) -> tuple[str, Counter[str]]:
    """Compare every backend with the textbook in float64, which is not compared with itself.

    Returns:
        A description of the first difference, or an empty string, and the number of results that
        were compared, and that were not: without digits; not finite in the textbook either; or of a
        case whose distances have no digits, of which only numbers that are not finite are seen.
    """
    tensors = case.tensors()
    expected = case.route(tensors, "textbook")
    unresolved = case.routing == "em" and case.distance_error > 0.1
    allowed = [] if unresolved else tolerances(case, tensors, expected)
    counts: Counter[str] = Counter()
    for backend in backends:
        if backend == "textbook" and case.dtype == "float64":
            continue
        result = case.route([x.to(DTYPES[case.dtype]) for x in tensors], backend)
        for k, (one, other) in enumerate(zip(result, expected, strict=True)):
            if not other.isfinite().all() or _largest(other) > 1e30:
                counts["not finite"] += 1
                continue
            if not one.isfinite().all():
                return f"{backend}: result {k} is not finite", counts
            worst = WORST * _largest(other)
            if unresolved:
                counts["unresolved"] += 1
            elif allowed[k] > PESSIMISM * worst:
                counts["without digits"] += 1
            else:
                counts["compared"] += 1
                limit = worst if case.dtype == "float32" else min(allowed[k], worst)
                error = _largest(one.double() - other)
                if error > limit:
                    return (
                        f"{backend}: result {k} differs by {error:.3g}, allowed {limit:.3g}, "
                        f"largest {_largest(other):.3g}"
                    ), counts
    return "", counts


def backends_here() -> list[str]:
    """Return the backends that can run here."""
    names = ["textbook", "eager", "compiled", "native", "triton"]
    return [name for name in names if unavailable_reason(name, torch.device("cpu")) is None]


def main() -> int:
    """Search until the time is over; print what differs."""
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
    seconds = float(os.environ.get("FUZZ_SECONDS") or 600)
    seed = int(os.environ.get("FUZZ_SEED") or time.time())
    names = backends_here()
    # Compiling takes seconds per shape, and Triton's interpreter is slow: one case in many.
    rare = {"compiled": 150, "triton": 10}
    print(f"seed {seed}; backends: {', '.join(names)}", flush=True)
    cases: Counter[str] = Counter()
    results: Counter[str] = Counter()
    end = time.monotonic() + seconds
    number = failures = 0
    while time.monotonic() < end:
        rng = random.Random(f"{seed}/{number}")
        case = Case.draw(rng)
        chosen = [name for name in names if rng.randrange(rare.get(name, 1)) == 0]
        message, counts = check(case, chosen)
        cases.update(chosen)
        cases["unresolved"] += counts["unresolved"] > 0
        results += counts
        number += 1
        if number % 100 == 0:
            print(f"{number} cases", flush=True)
        if message:
            failures += 1
            print(f"{message}\n    {case!r},", flush=True)
    print(f"{number} cases, {failures} failed; {dict(cases)}; results: {dict(results)}")
    return min(failures, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        sys.exit(main())
