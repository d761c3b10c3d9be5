"""What a configuration may name: decided by the name, before anything is imported, and again by what it has led to."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from framework.config.places import nearest
from framework.errors import ConfigError

_FRONT_DOOR = "framework"
_CLASSES_OF = (
    "torch.nn",
    "torch.optim",
    "torchmetrics.aggregation",
    "torchmetrics.classification",
    "torchmetrics.clustering",
    "torchmetrics.collections",
    "torchmetrics.nominal",
    "torchmetrics.regression",
    "torchmetrics.retrieval",
    "torchmetrics.segmentation",
)
"""Whose classes do nothing but what they are for: other metrics load weights from files or from the network."""
_OF_LIBRARIES = ("torch", "torchmetrics")
_LOOKED_AT = 1000


class Trust:
    """Whom a configuration may name: the framework, layers, optimizers and metrics, the project, and what the user trusts.

    Args:
        project: the folder of the user's modules.
        trusted: names of further packages, such as "timm", or of modules in them.

    Raises:
        ConfigError: `project` is no folder, or one of `trusted` cannot be trusted.

    Example:
        >>> from pathlib import Path
        >>> from framework.config.trust import Trust
        >>> trust = Trust(Path("."), [])
        >>> trust.refusal("torch.nn.ReLU") is None, trust.refusal("os.system") is None
        (True, False)
    """

    def __init__(self, project: Path, trusted: Sequence[str] = ()) -> None:
        if not project.is_dir():
            raise ConfigError(f"--project {project} is no folder. Give the one that holds module.py and data.py.")
        self.project = project.resolve()
        self.modules = sorted(_modules_in(self.project))
        self.trusted = tuple(trusted)
        for name in self.trusted:
            root = name.split(".")[0]
            if not _is_dotted(name) or root in sys.stdlib_module_names or root in ("jsonargparse", "yaml"):
                raise ConfigError(f"--trust {name}: name a package that holds classes of yours or of a library, such as timm.")

    def refusal(self, name: str) -> str | None:
        """Returns why a name may not be imported, None where it may; looks at names and files, and imports nothing."""
        if not _is_dotted(name):
            return f"names {name!r}, which is no name of a class. Write module.Class."
        if "." not in name:
            return self._not_public(name)
        root, *rest = name.split(".")
        if any(part.startswith("__") for part in rest):
            return f"names {name}, which is internal to Python. Write module.Class."
        if self.is_trusted(name):
            return None
        if root == "__main__":
            return f"names {name}, which lives in a script. Move it to a module: {self._example(name.rpartition('.')[2])}."
        if root == _FRONT_DOOR:
            return self._not_public(name.removeprefix("framework."))
        if root in _OF_LIBRARIES:
            return _not_of_library(name)
        if root in sys.stdlib_module_names:
            return (
                f"names {name}, of Python's standard library, which a configuration may not call.{_stdlib_file(self.project, root)}"
            )
        if root not in self.modules:
            return self._stranger(name, root)
        return None

    def refusal_of(self, name: str, found: Any) -> str | None:
        """Returns why what a name has led to may not be used, None where it may: a name may lead to what lies elsewhere."""
        found = _behind(found)
        home = home_of(found)
        if home is None:
            return f"names {name}, which is neither a class nor a function."
        if self.is_users(home):
            return None
        if inspect.isclass(found) and (_is_public(found) or _within(home, _CLASSES_OF)):
            return None
        if _is_public(found):
            return f"names {name}, a function. Of framework a configuration may name the classes."
        root = home.split(".")[0]
        advice = "" if root in sys.stdlib_module_names or root in _OF_LIBRARIES else f" Trust it by --trust {root}."
        return f"names {name}, which is {home}.{found.__qualname__}, and that may not be used here.{advice}"

    def is_trusted(self, name: str) -> bool:
        """Tells whether a name lies in what the user has named on the command line."""
        return _within(name, self.trusted)

    def is_users(self, name: str) -> bool:
        """Tells whether a name lies in the user's project, or in what the user trusts."""
        return self.is_trusted(name) or name.split(".")[0] in self.modules

    def _not_public(self, name: str) -> str | None:
        public = import_module(_FRONT_DOOR).__all__
        if name in public:
            return None
        in_files = f" Your own class is written with its file, such as {self._example(name)}." if "." not in name else ""
        near = nearest(name.split(".")[-1], public)
        return f"names {name}, which is no public name of framework.{near if 'Did' in near else ''}{in_files}"

    def _example(self, name: str) -> str:
        return f"{next((each for each in ('module', *self.modules) if each in self.modules), 'module')}.{name}"

    def _stranger(self, name: str, root: str) -> str:
        near = nearest(root, self.modules) if self.modules else ""
        if (self.project / "src" / root).is_dir():
            near = f" There is one in {self.project / 'src'}: give that as --project."
        return (
            f"names {name}, but there is no {root}.py and no package {root} in {self.project}.{near} An installed package is "
            f"trusted by --trust {root}."
        )


def _is_public(found: Any) -> bool:
    front_door, name = import_module(_FRONT_DOOR), getattr(found, "__name__", "")
    return name in front_door.__all__ and getattr(front_door, name) is found


def home_of(found: Any) -> str | None:
    """Returns the module in which a class, a function, or what stands behind a callable object is defined; None for all else."""
    home = getattr(_behind(found), "__module__", None) if callable(found) else None
    return home if isinstance(home, str) else None


def _behind(found: Any) -> Any:
    """Returns the class or function that a call of an object comes to."""
    while isinstance(found, functools.partial):
        found = found.func
    return found if inspect.isclass(found) or inspect.isroutine(found) or not callable(found) else type(found)


def _modules_in(project: Path) -> set[str]:
    """Returns the names of the modules and packages that lie directly in a folder, but those that would hide a library."""
    taken = {*sys.stdlib_module_names, _FRONT_DOOR, *_OF_LIBRARIES}
    names = {each.stem for each in project.glob("*.py") if not each.stem.startswith("__")}
    names |= {each.name for each in project.iterdir() if each.name.isidentifier() and each.is_dir() and _holds_modules(each)}
    return {name for name in names if name.isidentifier() and name not in taken}


def _holds_modules(folder: Path) -> bool:
    """Tells whether a folder can be imported from; of a folder full of data only the beginning is looked at."""
    return (folder / "__init__.py").exists() or any(each.suffix == ".py" for each in islice(folder.iterdir(), _LOOKED_AT))


def _not_of_library(name: str) -> str | None:
    *modules, last = name.split(".")
    home = ".".join(modules)
    if last[0].isupper() and not any(part.startswith("_") for part in modules):
        if _within(home, _CLASSES_OF):
            return None
        if home == "torchmetrics":  # its front door; what it leads to is looked at
            return None
    advice = ", or trust torchmetrics by --trust torchmetrics" if modules[0] == "torchmetrics" else ""
    return (
        f"names {name}, which a configuration may not call: of torch it may name the classes in torch.nn and torch.optim, of "
        f"torchmetrics those that load nothing. Write a function of your own around it{advice}."
    )


def _within(name: str, roots: Sequence[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _stdlib_file(project: Path, root: str) -> str:
    own = project / f"{root}.py"
    return f" {own} has the name of a module of Python's: rename it." if own.exists() or (project / root).is_dir() else ""
