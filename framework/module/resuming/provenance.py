"""Notes in the folder of a run what it is: config.yaml, how it was set up; environment.json, where each of its processes ran."""

from __future__ import annotations

import json
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import framework.checkpoint.files as files
from framework.backends.base import Backend
from framework.module.loggers import facts_of
from framework.module.ranks.strategies import group_of

if TYPE_CHECKING:
    from framework.module.declared import Declared
    from framework.module.settings import FitSettings

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
_FROM_A_SCRIPT = "# Written by fit, to be read. The run was begun by the command in environment.json, which goes on with it.\n"
_configuration: ContextVar[str | None] = ContextVar("configuration", default=None)


@contextmanager
def described_by(configuration: str) -> Iterator[None]:
    """Lets each `fit` in the block write `configuration`, the text it was made from, as the config.yaml of its run."""
    token = _configuration.set(configuration)
    try:
        yield
    finally:
        _configuration.reset(token)


def write_provenance(
    folder: Path, module: Declared, settings: FitSettings, backend: Backend, seed: int, goes_on_from: int | None
) -> None:
    """Writes config.yaml anew and adds this process to environment.json.

    Args:
        folder: of the run.
        module, settings, backend, seed: of the run.
        goes_on_from: the iteration, None for a run that begins.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    config = folder / CONFIG_FILE
    environment = folder / ENVIRONMENT_FILE
    processes = [*_read(environment), _this_process(backend, seed, goes_on_from)]
    try:
        files.replace(config, (_configuration.get() or _from_script(module, settings, seed)).encode())
        files.replace(environment, json.dumps(processes, indent=1, allow_nan=False).encode())
    except OSError as error:
        raise files.cannot_write(f"Writing {config} and {environment.name}", error) from error


def _from_script(module: Declared, settings: FitSettings, seed: int) -> str:
    import yaml  # here: a run without a folder does without it

    facts = facts_of("fit", module, settings.as_given(), seed)
    path = f"{type(module).__module__}.{type(module).__qualname__}"
    content = {"model": {"class_path": path, "init_args": dict(facts.hparams)}, "fit": dict(facts.settings)}
    return _FROM_A_SCRIPT + yaml.dump(content, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True)


def _this_process(backend: Backend, seed: int, goes_on_from: int | None) -> dict[str, Any]:
    return {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv),
        "folder": str(Path.cwd()),
        "goes_on_from": goes_on_from,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "framework": sys.modules["framework"].__version__,  # the front door is imported from nowhere inside
        "torch": torch.__version__,
        "device": str(backend.device),
        "world_size": 1 if (group := group_of(backend)) is None else group.world_size,
        "precision": backend.precision,
        "threads": torch.get_num_threads(),
        "seed": seed,
    }


def _read(path: Path) -> list[Any]:
    """Returns the processes before this one; with a warning none where the file cannot be understood."""
    if not path.exists():
        return []
    try:
        processes = json.loads(path.read_bytes())
        if not isinstance(processes, list):
            raise ValueError(f"it holds a {type(processes).__name__}, not a list")
    except (OSError, ValueError, RecursionError) as error:
        warnings.warn(f"{path} cannot be read ({error}), and is begun anew: earlier processes are missing in it.", stacklevel=2)
        return []
    return processes
