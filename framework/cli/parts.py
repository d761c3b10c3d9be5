"""Makes the module and the data of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from framework.errors import ConfigError
from framework.seeding import seed_all

if TYPE_CHECKING:
    from framework.config.configuration import Configuration
    from framework.module.train_module import TrainModule


def make_parts(configuration: Configuration) -> tuple[TrainModule, dict[str, Any]]:
    """Returns the module and the data by split.

    The seed is set first and the module made before the data, for every command: a split that is drawn at random is the same in
    training and in evaluation.
    """
    if configuration.seed is not None:
        seed_all(configuration.seed)
    return configuration.make_module(), configuration.make_data()


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
