"""`framework predict`: writes the predictions of a run to a file."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from framework.cli.once import say
from framework.cli.parts import choose_split, make_parts
from framework.cli.predictions import WRITERS
from framework.cli.runs import UNUSED, configuration_of, place_of, refuse_without_configuration, weights_of
from framework.distributed.launch import rank
from framework.errors import ConfigError
from framework.report.reading import read_run


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    target = Path(arguments.output)
    _check_target(target, overwrite=arguments.overwrite)
    record = read_run(arguments.run)
    refuse_without_configuration(record, instead="predict of its module in Python")
    configuration = configuration_of(record, arguments, [*overrides, *UNUSED])
    weights, told = weights_of(record, arguments.weights)
    module, data = make_parts(configuration)
    split, batches = choose_split(data, arguments.split, ("predict", "test", "val"))
    if isinstance(batches, Mapping):
        raise ConfigError(f"The {split} data are several: {', '.join(batches)}. Predictions are of one; name another --split.")
    predictions = module.predict(
        batches, weights=weights, limit_batches=arguments.limit_batches, **place_of(configuration, arguments)
    )
    if rank() != 0:
        return 0
    written = WRITERS[target.suffix](predictions, target)
    say(f"{split} data, weights of {told}\n{written}\nwritten to {target}")
    return 0


def _check_target(target: Path, *, overwrite: bool) -> None:
    """Refuses a file that cannot be written, before anything is predicted.

    Raises:
        ConfigError: its name or place will not do.
    """
    if target.suffix not in WRITERS:
        raise ConfigError(f"--output {target}: its name should end in {' or '.join(WRITERS)}, which says how to write it.")
    if not target.parent.is_dir():
        raise ConfigError(f"--output {target}: there is no folder {target.parent}. Make it first.")
    if target.is_dir():
        raise ConfigError(f"--output {target} is a folder. Name a file.")
    if target.exists() and not overwrite:
        raise ConfigError(f"--output {target} exists already. Give another name, or --overwrite to replace it.")
