"""What a command makes of the folder of a run: its configuration, and which weights are meant."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framework.cli.parts import configured
from framework.config.configuration import Configuration
from framework.errors import ConfigError
from framework.module.resuming.provenance import CONFIG_FILE
from framework.module.resuming.stored_weights import find_checkpoint
from framework.report.record import RunRecord

_DATA = re.compile(r"^data:", re.MULTILINE)
UNUSED = ("--fit.handlers=[]", "--fit.loggers=[]")
"""Left out of what only runs the module: here there may be neither their packages nor their services."""


def refuse_without_configuration(record: RunRecord, *, instead: str) -> None:
    """Refuses a run that was not made from a configuration, so that nobody knows where its data come from.

    Args:
        record: the run.
        instead: what to call instead of the command.

    Raises:
        ConfigError: the run is such a one.
    """
    file = record.path / CONFIG_FILE
    if record.config is None:
        raise ConfigError(f"{file} is missing, which says what the run was made from. Put it back, or call {instead}.")
    if _DATA.search(record.config) is None:
        raise ConfigError(
            f"{record.path} was made by a script, not from a configuration: {file.name} does not say where the data come from. "
            f"Call {instead}."
        )


def configuration_of(record: RunRecord, arguments: Namespace, overrides: Sequence[str]) -> Configuration:
    """Returns the configuration that a run was made from.

    Args:
        record: the run.
        arguments: with `project` and `trust`.
        overrides: settings that win over those of the run.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        return configured([record.path / CONFIG_FILE], overrides, arguments)
    except ConfigError as error:
        began = _latest(record).get("folder")
        if began is None or Path(began).resolve() == Path(arguments.project).resolve():
            raise
        if not Path(began).is_dir():
            raise ConfigError(
                f"{error}\nThe run was made in {began}, which is gone. Give its project: --project FOLDER."
            ) from error
        raise ConfigError(f"{error}\nThe run was made in {began}: call the command there, or give --project {began}.") from error


def script_of(record: RunRecord) -> str:
    """Returns how to call, in a shell, the script that has made a run."""
    command, folder = (_latest(record).get(name) for name in ("command", "folder"))
    if not command or not folder:
        return "the script again"
    called = shlex.join(["python", *command])
    return called if Path(folder) == Path.cwd() else f"cd {shlex.quote(folder)} && {called}"


def _latest(record: RunRecord) -> dict[str, Any]:
    """Returns where the newest process of a run has worked; nothing where that is unknown."""
    return record.environment[-1] if record.environment else {}


def weights_of(record: RunRecord, which: str) -> tuple[Path, str]:
    """Returns the checkpoint or file that is meant, and what to call it.

    Args:
        record: the run.
        which: "best", "last", the name of a checkpoint of the run, or a path.

    Raises:
        ConfigError: it is none of these.
        CheckpointError: the run has no checkpoint, or only damaged ones.
    """
    if which in ("best", "last"):
        path = find_checkpoint(record.path, which).path
        kind = which if which == "last" or record.best_checkpoint is not None else "last, as none is the best"
        return path, f"{path.name} ({kind})"
    inside = record.path / "checkpoints" / which
    if not Path(which).exists() and inside.is_dir():  # as the commands and the report call it
        return inside, which
    if not Path(which).exists():
        raise ConfigError(
            f"--weights {which}: there is no such file or folder. It is best, last, a checkpoint of the run, or a path."
        )
    return Path(which), which


def place_of(configuration: Configuration, arguments: Namespace) -> dict[str, Any]:
    """Returns where and in which precision to run: as asked for, else as in training."""
    if arguments.accelerator is not None:
        return {"accelerator": arguments.accelerator, "precision": arguments.precision}
    trained = configuration.fit
    return {"accelerator": trained.get("accelerator"), "precision": arguments.precision or trained.get("precision")}
