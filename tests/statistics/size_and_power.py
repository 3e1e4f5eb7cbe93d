"""Tables of size, power and coverage of every procedure, as Markdown.

``python -m tests.statistics.size_and_power`` prints those of docs/statistics.md in some minutes,
and with ``--bootstraps 2000`` the sizes of the bootstrap beside them.
"""

import argparse

import numpy as np
from scipy.stats import norm

from capsbench.statistics.paired_difference import LEVEL
from tests.statistics.outcomes import seed_deviation
from tests.statistics.simulations import (
    FAMILY,
    bootstrap_tests,
    detection_rate,
    equivalence_rate,
    family_errors,
    image_coverage,
    interval_coverage,
    mean_coverage,
    paired_tests,
    power_at_detectable,
    simulated_tests,
)

SEEDS, SPREADS = (3, 5, 10), (0.0, 0.1, 0.2, 0.4)
SPREAD_OF_PLANS = 0.093  # seeds deviate by 1.5 points


def size_table(repetitions, bootstraps):
    """Return the sizes of the test of a difference of two equally good models."""
    rows = []
    for seeds in SEEDS:
        for spread in SPREADS:
            p = simulated_tests(repetitions, seeds, spread=spread)[-1]
            row = [seeds, points(seed_deviation(spread)), *sizes(p)]
            if bootstraps:
                row += sizes(bootstrap_tests(bootstraps, seeds, spread=spread))
            rows.append(row)
    head = ["seeds", "their deviation", "size at 0.05", f"at 0.05 / {FAMILY}"]
    if bootstraps:
        head += ["bootstrap at 0.05", f"at 0.05 / {FAMILY}"]
    return markdown(head, rows)


def paired_table(repetitions):
    """Return the sizes of the paired test over seeds, of values that are no means over images."""
    rows = [
        [seeds, name, *sizes(paired_tests(repetitions, seeds, skewed=skewed))]
        for seeds in SEEDS
        for name, skewed in (("normal", False), ("exponential", True))
    ]
    return markdown(["seeds", "values", "size at 0.05", f"at 0.05 / {FAMILY}"], rows)


def family_table(repetitions):
    """Return the shares of families with a false positive."""
    rows = []
    for comparisons in (6, FAMILY):
        for seeds in (3, 5):
            for spread in (0.1, 0.4):
                errors = family_errors(repetitions, comparisons, seeds, spread=spread)
                rows.append([comparisons, seeds, points(seed_deviation(spread)), share(errors)])
    return markdown(["comparisons", "seeds", "their deviation", "any false positive"], rows)


def coverage_table(repetitions):
    """Return the coverage of the intervals of differences."""
    rows = []
    for seeds in (3, 5):
        for spread in (0.1, 0.4):
            for true in (0.0, 0.1, -0.6):
                covered = interval_coverage(repetitions, seeds, spread=spread, true=true)
                deviation = seed_deviation(spread)
                rows.append([seeds, points(deviation), points(true), share(covered)])
    return markdown(["seeds", "their deviation", "true difference", "coverage"], rows)


def mean_table(repetitions):
    """Return the coverage of the intervals of a mean accuracy over seeds."""
    rows = []
    for seeds in SEEDS:
        for ease, spread, failing in (
            (0.0, 0.3, 0.0),
            (1.3, 0.1, 0.0),
            (2.35, 0.15, 0.0),
            (2.35, 0.15, 0.1),
        ):
            covered = mean_coverage(repetitions, seeds, ease=ease, spread=spread, failing=failing)
            deviation = points(norm.pdf(ease) * spread)
            text = f"{100 * norm.cdf(ease):.1f} %" + (
                ", or chance in one of ten" if failing else ""
            )
            rows.append([seeds, text, deviation, *map(share, covered)])
    return markdown(["seeds", "accuracy", "their deviation", "coverage", "Student's t"], rows)


def power_table(repetitions):
    """Return the smallest detectable differences with their simulated power."""
    rows = []
    for seeds in SEEDS:
        for comparisons in (1, 6, FAMILY):
            row: list[object] = [seeds, comparisons]
            for image_share in (0.0, 0.2):
                true, detected = power_at_detectable(
                    repetitions, seeds, comparisons, image_share=image_share
                )
                row += [f"{true:.2f}", share(detected)]
            rows.append(row)
    head = ["seeds", "comparisons", "detectable", "power", "detectable with images", "power there"]
    return markdown(head, rows)


def detection_table(repetitions):
    """Return how often a difference of 5 points is detected where seeds deviate by 1.5."""
    rows = [
        [seeds, *(share(rate) for rate in rates)]
        for seeds in SEEDS
        if (rates := detection_rate(repetitions, seeds, true=0.05, spread=SPREAD_OF_PLANS))
    ]
    return markdown(["seeds", "1 comparison", "6 comparisons", f"{FAMILY} comparisons"], rows)


def equivalence_table(repetitions):
    """Return how often two models are called equivalent within 2 points."""
    rows = []
    for seeds in (5, 10):
        for spread in (0.03, 0.06, 0.1):
            rates = [
                equivalence_rate(repetitions, seeds, true=true, spread=spread)
                for true in (0.02, 0.0)
            ]
            rows.append([seeds, points(seed_deviation(spread)), *map(share, rates)])
    return markdown(["seeds", "their deviation", "size at 2 points", "power at 0 points"], rows)


def sizes(p):
    """Return the shares of p-values below 5 %, and below 5 % divided by the family."""
    return share(p < LEVEL), f"{np.mean(p < LEVEL / FAMILY):.4f}"


def share(hits):
    return f"{np.mean(hits):.3f}"


def points(difference):
    return f"{100 * difference:.1f} pts"


def markdown(head, rows):
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description="size, power and coverage, as Markdown")
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--bootstraps", type=int, default=0, help="repetitions of the bootstrap")
    arguments = parser.parse_args()
    count = arguments.repetitions
    tables = {
        "Size of the test of a difference": lambda: size_table(count, arguments.bootstraps),
        "Size of the paired test over seeds": lambda: paired_table(count),
        "Families with a false positive": lambda: family_table(count // 10),
        "Coverage of the intervals of differences": lambda: coverage_table(count // 4),
        "Coverage of the intervals of a mean over seeds": lambda: mean_table(count // 4),
        "Power at the smallest detectable difference": lambda: power_table(count),
        "Power to detect 5 points": lambda: detection_table(count // 4),
        "Equivalence within 2 points": lambda: equivalence_table(count // 20),
    }
    for title, table in tables.items():
        print(f"**{title}**\n\n{table()}\n", flush=True)
    covered = image_coverage(count // 20)
    print(f"Coverage of the bootstrap over images, of one network: {share(covered)}")


if __name__ == "__main__":
    main()
