"""Checks of a model under torch.compile and in mixed precision."""

from __future__ import annotations

import torch

from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.conformance.prediction import ROUNDING
from capsbench.conformance.subject import Subject, Violation, require

BF16_TOLERANCE = 0.1  # relative and absolute: bfloat16 has eight bits of precision


def compilation(subject: Subject) -> str:
    """torch.compile (backend aot_eager) captures one graph, with the same outputs."""
    model, images = subject.build().eval(), subject.draw().images
    with torch.no_grad():
        expected = model(images)
    torch.compiler.reset()
    try:
        with torch.no_grad():
            compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(images)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Violation(
            f"torch.compile cannot capture forward as one graph ({first}); do not convert "
            "tensors to Python numbers"
        ) from error
    finally:
        torch.compiler.reset()
    difference = max_or_nan(
        *(
            max_relative_error(one, other)
            for one, other in zip(compiled, expected, strict=True)
            if one is not None and other is not None
        )
    )
    require(difference < ROUNDING, f"the outputs of the compiled model differ by {difference:.1e}")
    return f"one graph, relative error {difference:.1e}"


def autocast(subject: Subject) -> str:
    """Under bfloat16 autocast the outputs are finite and close, and the loss is float32."""
    model, batch = subject.build().eval(), subject.draw()
    full = model(batch.images).scores
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(batch.images)
        loss = model.loss(prediction, batch, 0.5)
        logits = model.logits(prediction)
    for name, part in prediction._asdict().items():
        require(part is None or bool(part.isfinite().all()), f"{name} are not finite in bfloat16")
    require(
        bool(loss.isfinite()) and loss.dtype == torch.float32,
        f"the loss is {loss.item():.4g} in {loss.dtype}; compute it from scores.float()",
    )
    require(
        logits.dtype == torch.float32,
        f"under autocast the logits are {logits.dtype}; compute them from scores.float()",
    )
    error = max_relative_error(prediction.scores.float(), full)
    require(
        torch.allclose(prediction.scores.float(), full, rtol=BF16_TOLERANCE, atol=BF16_TOLERANCE),
        f"in bfloat16 the scores differ by {error:.1e}; compute statistics such as norms and "
        "exponentials in float32",
    )
    return f"scores differ by {error:.1e}"
