"""Under which name a service knows a run: kept in the run folder, so that a process that goes on finds it."""

from __future__ import annotations

import json
from pathlib import Path

_FILE = "loggers.json"


def kept_id(run_dir: Path | None, service: str) -> str | None:
    """Returns what `keep_id` was given; None where there is nothing.

    Raises:
        ValueError: the file is damaged.
    """
    known = _read(run_dir / _FILE) if run_dir is not None else {}
    return known.get(service)


def keep_id(run_dir: Path | None, service: str, run_id: str) -> None:
    """Writes under which name a service knows the run; without a run folder nothing."""
    if run_dir is None:
        return
    path = run_dir / _FILE
    fresh = path.with_name(f".tmp-{_FILE}")
    fresh.write_text(json.dumps({**_read(path), service: run_id}, indent=2) + "\n")
    fresh.replace(path)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Remove it; the services then get a new run.") from error
    if not isinstance(known, dict) or not all(isinstance(each, str) for each in known.values()):
        raise ValueError(f"{path} is damaged: it should hold texts by name. Remove it; the services then get a new run.")
    return known
