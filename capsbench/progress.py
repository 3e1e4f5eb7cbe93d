"""The progress bar of long operations, in a terminal and in a notebook."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

REFRESHES = 4  # per second; more take time from the imports that they show
NOTEBOOK_SECONDS = 0.5  # between two updates of a notebook's output


@contextmanager
def activity(console: Console, text: str) -> Iterator[None]:
    """Show in a terminal what a command is doing; a log file and a notebook show nothing.

    Args:
        console: The console.
        text: The activity in a few words, such as ``planning``.
    """
    with ExitStack() as stack:
        if console.is_terminal and not console.is_jupyter:
            stack.enter_context(console.status(Text(text), refresh_per_second=REFRESHES))
        yield


def progress_bar(console: Console) -> Progress:
    """Return a bar that disappears at its end, and is off in a log file; tasks have a ``note``."""
    bar = _NotebookProgress if console.is_jupyter else Progress
    return bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class _NotebookProgress(Progress):
    """A bar as text in the output of a notebook's cell.

    The bar of rich needs ipywidgets there, and a thread.
    """

    def start(self) -> None:
        """Start the clock: a short operation shows nothing."""
        self._output = NotebookOutput()

    def stop(self) -> None:
        """Empty the output."""
        self._output.clear()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task."""
        super().advance(task_id, advance)
        self._output.show(self.get_renderable())

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task."""
        super().update(task_id, **changes)
        self._output.show(self.get_renderable())


class NotebookOutput:
    """Text in the output of a notebook's cell, which is replaced about twice a second."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()
        self._output: Any = None

    def show(self, content: RenderableType) -> None:
        """Replace the text, unless it was just replaced.

        Args:
            content: What a console of rich prints.
        """
        from IPython.display import display

        if time.monotonic() - self._shown_at < NOTEBOOK_SECONDS:
            return
        if self._output is None:
            self._output = display({"text/plain": ""}, raw=True, display_id=True)
        stream = io.StringIO()
        console = Console(file=stream, width=100, force_jupyter=False, force_terminal=False)
        console.print(content)
        self._output.update({"text/plain": stream.getvalue().rstrip()}, raw=True)
        self._shown_at = time.monotonic()

    def clear(self) -> None:
        """Empty the output."""
        if self._output is not None:
            self._output.update({"text/plain": ""}, raw=True)
