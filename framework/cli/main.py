"""The command line: finds the command, reads its arguments, runs it."""

from __future__ import annotations

import os
import select
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from framework.cli.arguments import Parser, nearest
from framework.cli.commands import COMMANDS
from framework.errors import ConfigError, FrameworkError
from framework.tracebacks import folded, folds, shows_users_code

_FRAMEWORK = Path(__file__).parents[1]
_REFUSED = 1
_MISTAKE = 2
_STDOUT = 1
_UNREAD = 141  # as of a program that SIGPIPE ends
_MEANT = {"train": "fit", "run": "fit", "test": "evaluate", "validate": "evaluate", "eval": "evaluate", "init": "new"}
_INSTALLED_AS = {"docstring_parser": "docstring-parser", "yaml": "pyyaml"}
_NEEDED = {"jsonargparse", "safetensors", "torch", "torchmetrics", "tqdm", *_INSTALLED_AS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command of the command line and returns its exit code.

    What is mistyped or wrong in a configuration is told on the standard error, and gives 2. So is what the framework refuses before
    it comes to the user's code, such as an accelerator that is not there, and gives 1. Any other error is raised.

    Args:
        arguments: such as `["fit", "--config", "config.yaml"]`; by default those of the process.

    Raises:
        Interrupted: a signal has ended a `fit`; it is a SystemExit with the signal's exit code.
        BaseException: whatever comes out of the user's code.

    Example:
        >>> from framework import main
        >>> main(["--version"])
        framework ...
        0
    """
    with folded(), _short_warnings():
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        except FrameworkError as error:
            if shows_users_code(error) or not folds():
                raise
            print(f"framework: error: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            return _REFUSED


def _main(arguments: Sequence[str]) -> int:
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of torchrun's processes one a machine: another may lack a file
            print(f"framework: error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        package = _INSTALLED_AS.get(error.name, error.name)
        print(f"framework: error: the package {package} is missing. Install it: pip install {package}", file=sys.stderr)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return _UNREAD
    return _MISTAKE


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"framework {sys.modules['framework'].__version__}")  # the front door is imported from nowhere inside
        return 0
    if name not in COMMANDS:
        if not name:
            raise ConfigError(f"a command is missing.\n\n{_help()}")
        meant = f" Did you mean {_MEANT[name]}?" if name in _MEANT else nearest(name, COMMANDS)
        wrong = f"there is no command {name!r}.{meant}"
        if name.startswith("-"):
            wrong = f"a command should come before {name}: framework COMMAND {name}."
        raise ConfigError(f"{wrong} The commands are {', '.join(COMMANDS)}; framework --help says what they do.")
    parser = Parser(name, COMMANDS[name])
    if "-h" in rest or "--help" in rest:
        print(parser.format_help(), end="")
        return 0
    own, overrides = parser.read(rest)
    code: int = import_module(f"framework.cli.{name}").run(own, overrides)
    return code


def _nobody_reads() -> bool:
    """Tells whether the reader of our output has gone, as `head` does when it has enough; then nothing more is written there."""
    output = select.poll()
    output.register(_STDOUT, 0)
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # else the end of the interpreter would try once more
    return True


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Shows the framework's own warnings without a line of its files; others as they always are."""
    usual = warnings.formatwarning

    def told(message: Any, category: Any, filename: str, lineno: int, line: str | None = None) -> str:
        if Path(filename).is_relative_to(_FRAMEWORK):
            return f"framework: warning: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = told
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.does}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: framework COMMAND ...",
            "",
            "Trains PyTorch modules from a configuration.",
            "",
            "commands:",
            *lines,
            "",
            "example:",
            *(f"  {COMMANDS[name].example}" for name in ("new", "fit", "evaluate")),
            "",
            "framework COMMAND --help says more of one; framework --version says which this is.",
        ]
    )
