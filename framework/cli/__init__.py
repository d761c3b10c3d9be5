"""The command line: `framework fit`, `evaluate`, `predict`, `resume`, `show`, `report`, `new`."""

from framework.cli.main import main

__all__ = ["main"]
