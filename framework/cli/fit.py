"""`framework fit`: trains what a configuration describes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from framework.cli.once import say
from framework.cli.parts import configured
from framework.cli.training import train


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    files = [Path(file) for file in arguments.config]
    configuration = configured(files, overrides, arguments)
    if arguments.print_config:
        say(configuration.text().rstrip("\n"))
    else:
        train(configuration, configuration.fit, arguments)
    return 0
