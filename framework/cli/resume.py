"""`framework resume`: goes on with a run."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence

from framework.cli.once import say
from framework.cli.runs import configuration_of, refuse_without_configuration, script_of
from framework.cli.training import train
from framework.errors import ConfigError
from framework.report.reading import read_run
from framework.report.record import RunRecord
from framework.report.settings import flat_settings

_OWN = ("--fit.run_dir", "--fit.resume")
_LIMITS = ("--fit.max_epochs", "--fit.max_iters")
_OVER = ("completed", "stopped")


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    record = read_run(arguments.run)
    names = [each.partition("=")[0] for each in overrides]
    own = next((name for name in names if name in _OWN), None)
    if own is not None:
        raise ConfigError(
            f"{own}: resume goes on with the run in {record.path}, in its own folder. To start from it elsewhere: framework fit "
            f"--config {record.path}/config.yaml --fit.resume {record.path} --fit.run_dir FOLDER"
        )
    refuse_without_configuration(record, instead=f"{script_of(record)}, which goes on with it")
    if record.status in _OVER and not set(names).intersection(_LIMITS):
        say(_over(record))
        return 0
    configuration = configuration_of(record, arguments, overrides)
    train(configuration, {**configuration.fit, "run_dir": str(record.path), "resume": "must"}, arguments)
    return 0


def _over(record: RunRecord) -> str:
    """Says that a run is over, and how to prolong it."""
    settings = flat_settings(record.config)
    limit = next((name for name in _LIMITS if settings.get(name[2:], "").isdigit()), _LIMITS[0])
    more = 2 * int(settings.get(limit[2:], "10"))
    return (
        f"The run in {record.path} is over: {record.reason} Nothing was trained.\n"
        f"To train it further, raise its limit: framework resume {shlex.quote(str(record.path))} {limit} {more}"
    )
