"""Makes the module and the data of a configuration."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.config.configuration import Configuration, read_configuration
from framework.errors import ConfigError
from framework.seeding import seed_all

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def configured(files: Sequence[Path], overrides: Sequence[str], arguments: Namespace) -> Configuration:
    """Returns what files and overrides say, with the seed 0 where they give none: else an evaluation might draw another split.

    Args:
        files, overrides: of the configuration.
        arguments: with `project` and `trust`.

    Raises:
        ConfigError: it cannot be used.
    """
    project = Path(arguments.project)
    configuration = read_configuration(files, overrides, project=project, trusted=arguments.trust)
    if configuration.seed is not None:
        return configuration
    return read_configuration(files, [*overrides, "--fit.seed=0"], project=project, trusted=arguments.trust)


def make_parts(configuration: Configuration) -> tuple[TrainModule, dict[str, Any]]:
    """Returns the module and the data by split.

    The seed is set before each, for every command: a split that is drawn at random is the same in training and in evaluation, and
    whatever the module draws.
    """
    assert configuration.seed is not None, "every command reads by configured"
    seed_all(configuration.seed)
    module = configuration.make_module()
    seed_all(configuration.seed)
    return module, configuration.make_data()


def choose_split(data: Mapping[str, Any], split: str | None, order: Sequence[str]) -> tuple[str, Any]:
    """Returns the name of a split and its data.

    Args:
        data: by split.
        split: the one asked for; None for the first of `order` that is there.
        order: splits.

    Raises:
        ConfigError: it is not there.
    """
    wanted = order if split is None else [split]
    found = next((name for name in wanted if data.get(name) is not None), None)
    if found is None:
        there = [name for name, batches in data.items() if batches is not None]
        raise ConfigError(
            f"The data have no {' and no '.join(wanted)}; they have {', '.join(there)}. Name one of these by --split, or let the "
            "function that data.class_path names give more."
        )
    return found, data[found]
