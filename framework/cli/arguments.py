"""Reads what stands on the command line: the arguments of a command, and settings of the configuration."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from framework.cli.commands import Command
from framework.errors import ConfigError

_OVERRIDE = re.compile(r"--[^-=.\s][^=.\s]*\.[^=\s]+")
_BARE_OVERRIDE = re.compile(r"(fit|model|data)\.[^=\s]+=.*")
_NEGATIVE = re.compile(r"-[\d.]")
_SETTINGS = """settings:
  Those of the configuration follow as --fit.NAME VALUE, --model.NAME VALUE or
  --data.NAME VALUE, and win over what the file says."""


class Parser(argparse.ArgumentParser):
    """Parses the arguments of one command; a mistake is a `ConfigError` that shows how the command is called."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(
            prog=f"framework {name}",
            description=f"{command.does[0].upper()}{command.does[1:]}.",
            epilog=f"example:\n  {command.example}" + (f"\n\n{_SETTINGS}" if command.overrides else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._command = command
        for argument, declared in command.arguments.items():
            self.add_argument(argument, **declared)

    def read(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Returns the arguments, and the settings of the configuration, each as "--fit.max_epochs=3".

        Raises:
            ConfigError: an argument is unknown, missing or of a wrong type.
        """
        own, overrides = split_overrides(arguments)
        if overrides and not self._command.overrides:
            self.error(f"it reads no configuration, so {overrides[0].partition('=')[0]} means nothing here")
        flags = [name for name in self._command.arguments if name.startswith("--")]
        names = [each.partition("=")[0] for each in own]
        unknown = [name for name in names if name.startswith("--") and name not in flags]
        if unknown:  # before argparse complains of what is missing: it is what these were meant to be
            self.error(" ".join(f"there is no {name}.{self._remedy(name, flags)}" for name in unknown))
        bare = next((each for each in own if _BARE_OVERRIDE.fullmatch(each)), None)
        if bare is not None and self._command.overrides:
            self.error(f"{bare} lacks the dashes. Write --{bare}")
        if "--config" in flags and own and own[0].endswith((".yaml", ".yml")):
            self.error(f"{own[0]} is the configuration. Write --config {own[0]}")
        return self.parse_args(own), overrides

    def error(self, message: str) -> NoReturn:
        """Refuses what came.

        Raises:
            ConfigError: always.
        """
        end = "" if message.endswith(("?", ".")) else "."
        command = self.prog.removeprefix("framework ")
        raise ConfigError(f"{command}: {message}{end}\nFor example: {self._command.example}\nAll that it takes: {self.prog} --help")

    def _remedy(self, name: str, flags: Sequence[str]) -> str:
        near = nearest(name, flags)
        if near or not self._command.overrides:
            return near
        if name == "--config":
            return " The run has its configuration with it: leave it out."
        own = name[2:]
        return (
            f" A setting of the configuration is written with its section: --fit.{own} where fit takes it, --model.{own} or "
            f"--data.{own} where your code does."
        )


def split_overrides(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments of the command, and apart from them the settings of the configuration.

    Args:
        arguments: such as ["--config", "c.yaml", "--fit.max_epochs", "3", "--model.hidden=64"].

    Returns:
        ["--config", "c.yaml"] and ["--fit.max_epochs=3", "--model.hidden=64"].

    Raises:
        ConfigError: a setting has no value.
    """
    own: list[str] = []
    overrides: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, given, _ = argument.partition("=")
        if not _OVERRIDE.fullmatch(name):
            own.append(argument)
        elif given:
            overrides.append(argument)
        else:
            value = next(left, None)
            if value is None or (value.startswith("-") and not _NEGATIVE.match(value)):
                raise ConfigError(
                    f"{name} has no value. Write {name} VALUE, or {name}=VALUE where the value begins with a dash; a flag takes "
                    "true or false."
                )
            overrides.append(f"{name}={value}")
    return own, overrides


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a question for the nearest name, with a space before; nothing where none is near."""
    near = get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
