"""Models of a run in words: those of the file, those that were added, those that were not run."""

from __future__ import annotations

from capsbench.names import table
from capsbench.records import Results
from capsbench.reporting.formatting import listed
from capsbench.wrapping import model_class


def networks(results: Results) -> str:
    """Return a line that names the models of a run, such as for below the benchmark's question."""
    added = {entry.label for entry in results.record.changes.added}
    trained = dict.fromkeys(c.label for c in results.cells if not c.trained_elsewhere)
    elsewhere = dict.fromkeys(c.label for c in results.cells if c.trained_elsewhere)
    groups = {
        "added to the protocol": [label for label in trained if label in added],
        "trained elsewhere": list(elsewhere),
        "not run": not_run(results),
    }
    own = [label for label in trained if label not in added]
    parts = [f"Networks: {listed(own) or 'none of the protocol'}"]
    parts += [f"{title}: {listed(labels)}" for title, labels in groups.items() if labels]
    line = f"{'; '.join(parts)}."
    if groups["not run"]:
        line += " The question concerns all networks of the protocol."
    return line


def not_run(results: Results) -> list[str]:
    """Return the labels of the protocol's models that have no cell."""
    trained = {cell.label for cell in results.cells if not cell.trained_elsewhere}
    return [entry.label for entry in results.benchmark.models if entry.label not in trained]


def family(network: str) -> str:
    """Return the family of a registered network; empty for one of the user's own.

    Args:
        network: Name of the model in the records.
    """
    registered = table("models").get(network)
    return "" if registered is None else model_class(registered).family
