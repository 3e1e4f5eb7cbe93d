"""The command of a benchmark whose records were united: one that would carry out all of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from capsbench.records import ProtocolChanges


def united_command(commands: Sequence[str], changes: ProtocolChanges) -> str:
    """Return one command for the seeds and models of several.

    Args:
        commands: The commands, which differ in seeds, models and folders alone.
        changes: The united changes to the shipped protocol.

    >>> commands = ["capsbench run quick --seeds 0", "capsbench run quick --seeds 1,2"]
    >>> united_command(commands, ProtocolChanges(settings={"seeds": [0, 1, 2]}))
    'capsbench run quick --seeds 0,1,2'
    """
    if len(set(commands)) == 1:
        return commands[0]
    options = ("--seeds", "--models", "--output")  # the folder is another one now
    words, _ = _divided(commands[0], options)
    models = [value for each in commands for value in _divided(each, options)[1]["--models"]]
    if changes.models is None:  # all of the file, and those that were added
        models = [value for value in models if value.startswith("+")]
    for value in dict.fromkeys(models):
        words += ["--models", value]
    if "seeds" in changes.settings:
        words += ["--seeds", ",".join(map(str, changes.settings["seeds"]))]
    return shlex.join(words)


def _divided(command: str, options: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the words of a command without some options, and the values of these."""
    remaining, values = [], {option: list[str]() for option in options}
    words = iter(shlex.split(command))
    for word in words:
        option, equals, value = word.partition("=")
        if option in values:
            values[option].append(value if equals else next(words, ""))
        else:
            remaining.append(word)
    return remaining, values
