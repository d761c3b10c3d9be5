"""`framework report`: draws runs as one page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from framework.report.writing import write_report

_PAGE = "report.html"


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    runs = [Path(folder) for folder in arguments.runs]
    beside = runs[0] if len(runs) == 1 else Path()
    print(write_report(runs, arguments.output or beside / _PAGE))
    return 0
