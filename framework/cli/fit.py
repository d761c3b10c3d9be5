"""`framework fit`: trains what a configuration describes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from framework.cli.training import train
from framework.config.configuration import read_configuration


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    files = [Path(file) for file in arguments.config]
    configuration = read_configuration(files, overrides, project=Path(arguments.project), trusted=arguments.trust)
    if arguments.print_config:
        print(configuration.text(), end="")
    else:
        train(configuration, configuration.fit, arguments)
    return 0
