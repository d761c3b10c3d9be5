"""Trains as a configuration says, and tells how it ended."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.cli.once import say
from framework.cli.parts import make_parts
from framework.config.configuration import Configuration
from framework.errors import ConfigError
from framework.module.result import FitResult
from framework.module.resuming.provenance import described_by
from framework.module.stopping.signals import Interrupted


def train(configuration: Configuration, settings: Mapping[str, Any], arguments: Namespace) -> None:
    """Trains the module of a configuration and prints how it ended and what to do next.

    Args:
        configuration: what the run is made from.
        settings: of `fit`.
        arguments: with `project` and `trust`; of fit also `weights`, those to begin with.

    Raises:
        ConfigError: the configuration gives no data to train on.
        Interrupted: a signal has ended the run.
    """
    module, data = make_parts(configuration)
    if data.get("train") is None and settings.get("epoch_length") is None:
        raise ConfigError(f"The data have no train, which fit needs; they have {', '.join(data)}.")
    if getattr(arguments, "weights", None) is not None:
        module.load_weights(arguments.weights)
    run_dir = settings.get("run_dir")
    with described_by(configuration.text()):
        try:
            result = module.fit(data.get("train"), data.get("val"), **settings)
        except Interrupted as end:
            say(str(end), error=True)
            if run_dir is not None and not settings.get("dry_run"):
                say(f"next        {_command('resume', run_dir, arguments)}", error=True)
            raise
    if not settings.get("dry_run"):  # else it has told all there is
        _tell(result, run_dir, arguments)


def _tell(result: FitResult, run_dir: Any, arguments: Namespace) -> None:
    lines = {result.status: result.reason, "metrics": numbers(result.metrics)}
    if run_dir is None:
        lines["next"] = "give --fit.run_dir runs/first to keep the weights of a run"
    else:
        lines["best"] = str(result.best_checkpoint or "")
        lines["last"] = str(result.last_checkpoint or "")
        report = Path(run_dir) / "report.html"
        lines["report"] = str(report) if report.exists() else ""
        lines["next"] = _command("resume" if result.status == "interrupted" else "evaluate", run_dir, arguments)
    say(*(f"{name:11} {text}" for name, text in lines.items() if text))


def numbers(metrics: Mapping[str, Any]) -> str:
    """Returns the metrics that are numbers, in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))


def _command(name: str, run_dir: Any, arguments: Namespace) -> str:
    """Returns how to call a command on the run, from the same folder."""
    project = [] if arguments.project == "." else ["--project", arguments.project]
    trusted = [word for package in arguments.trust for word in ("--trust", package)]
    return shlex.join(["framework", name, str(run_dir), *project, *trusted])
