"""`framework show`: prints the loop that `fit` runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framework.cli.parts import configured, make_parts
from framework.cli.runs import configuration_of, refuse_without_configuration
from framework.config.fit_settings import DEFAULTS
from framework.errors import ConfigError
from framework.report.reading import read_run


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    if (arguments.run is None) == (not arguments.config):
        raise ConfigError("show takes the folder of a run, or --config FILE, one of the two: framework show --config config.yaml")
    if arguments.run is None:
        files = [Path(file) for file in arguments.config]
        configuration = configured(files, overrides, arguments)
    else:
        record = read_run(arguments.run)
        refuse_without_configuration(record, instead="show_loop of its module in Python")
        configuration = configuration_of(record, arguments, overrides)
    module, data = make_parts(configuration)
    module.show_loop(data.get("train"), data.get("val"), **_chosen(configuration.fit))
    return 0


def _chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings without those that are as by default: the configuration of a run has them all."""
    return {name: value for name, value in settings.items() if _comparable(value) != _comparable(DEFAULTS[name])}


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
