"""Versions of the packages behind the numbers of a benchmark."""

from __future__ import annotations

from capsbench.records import Results


def versions(results: Results) -> list[tuple[str, str]]:
    """Return the version of each package in trainings and measures; several are listed."""
    by_package: dict[str, dict[str, None]] = {}
    for cell in results.cells:
        records = [cell.training, *cell.measures.values()]
        for record in records:
            for name, version in record.provenance.versions.items() if record else ():
                by_package.setdefault(name, {})[version] = None
    return [(name, ", ".join(each)) for name, each in by_package.items()]
