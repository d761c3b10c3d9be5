"""`framework new`: makes a project from a template."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from tomllib import loads

from framework.cli.arguments import nearest
from framework.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # of a package of Python
_PLACEHOLDER = "my-project"  # so that a template runs as it stands
_EXAMPLE = "framework new digits --template vision"


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: `name`, the folder to make; `template`; `list`, whether to list the templates instead.
        overrides: none.

    Raises:
        ConfigError: the name, the place or the template will not do.
    """
    templates = _templates()
    if arguments.list:
        width = max(map(len, templates))
        for name, folder in templates.items():
            print(f"{name:{width}}  {loads((folder / 'pyproject.toml').read_text(encoding='utf-8'))['project']['description']}")
        return 0
    if arguments.name is None:
        raise ConfigError(f"new needs the name of the project, such as: {_EXAMPLE}")
    if arguments.template not in templates:
        raise ConfigError(
            f"--template {arguments.template}: there is no such template. The templates are {', '.join(templates)}."
            f"{nearest(arguments.template, templates)}"
        )
    target = _target(arguments.name)
    names = _copy(templates[arguments.template], target)
    print(f"{target} is a project now, from the template {arguments.template}: {', '.join(names)}.\nNext:\n")
    print(f"  cd {shlex.quote(str(target))}\n  framework fit --config config.yaml")
    return 0


def _templates() -> dict[str, Path]:
    """Returns the folders of the templates by name."""
    package = Path(__file__).parents[1]
    inside, beside = package / "templates", package.parent / "templates"  # installed, and in a checkout
    home = inside if inside.is_dir() else beside
    return {folder.name: folder for folder in sorted(home.iterdir()) if (folder / "pyproject.toml").is_file()}


def _target(name: str) -> Path:
    """Returns the folder to make, relative to the current one; its last part is the name of the project.

    Raises:
        ConfigError: it is no name, lies outside the current folder or behind a link, or there is something already.
    """
    path, here = Path(name), Path.cwd()
    if path.is_absolute() and path.is_relative_to(here):
        path = path.relative_to(here)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{name} lies outside the current folder, {here}. Go to where the project should be, and give its name.")
    if not _NAME.fullmatch(path.name):
        raise ConfigError(
            f"{name!r} names no project: its name has up to 100 letters and digits, and between them also - _ and . For example: "
            f"{_EXAMPLE}"
        )
    for part in (path, *path.parents):
        if part.is_symlink():
            raise ConfigError(f"{part} is a symbolic link. Give a path without one, so that it is clear where the project will be.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}, where the project should be, is no folder. Make it first.")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{path} is there already, and nothing is overwritten. Give another name, or move it away.")
    if _is_installed(path.name):
        raise ConfigError(
            f"{path.name} is the name of an installed package, which pip would replace by the project. Give another name, or "
            f"remove that package: pip uninstall {path.name}"
        )
    return path


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _copy(template: Path, target: Path) -> list[str]:
    """Copies the files of a template, with the name of the project in place, and returns their names.

    The folder is made beside its place and moved there when it is whole. So a failure leaves nothing, and what another process has
    put there in the meantime stays.

    Raises:
        ConfigError: it cannot be written.
    """
    files = [file for file in sorted(template.iterdir()) if file.is_file() and not file.name.startswith(".")]
    try:
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            project = Path(beside) / target.name
            project.mkdir()
            for file in files:
                text = file.read_text(encoding="utf-8").replace(_PLACEHOLDER, target.name)
                (project / file.name).write_text(text, encoding="utf-8")
            project.rename(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be made: {error.strerror}. Nothing was left behind. Choose another place.") from error
    return [file.name for file in files]
