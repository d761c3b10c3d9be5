"""From YAML files and overrides to a module, its data and the arguments of `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.config.data_parts import data_by_name
from framework.config.imports import put_first
from framework.config.overrides import apply_overrides
from framework.config.places import Mistakes, Tree
from framework.config.structure import check_structure
from framework.config.trust import Trust
from framework.config.yaml_file import read_yaml
from framework.config.yaml_text import write_yaml
from framework.errors import ConfigError

if TYPE_CHECKING:
    from framework.config.component import Component, Reading
    from framework.config.fit_settings import FitSection
    from framework.module.train_module import TrainModule


class Configuration:
    """What a command works on: a module, data and settings, all of them checked.

    Attributes:
        module_class: the class of the model.
        fit: keyword arguments of `TrainModule.fit`, those that were given; handlers, loggers, events and backends are objects.
    """

    def __init__(self, model: Component, data: Component, fit: FitSection, tree: Tree) -> None:
        self.module_class: type[TrainModule] = model.found  # type: ignore[assignment]
        self.fit = fit.make()
        self._model, self._data, self._fit, self._tree = model, data, fit, tree

    @property
    def seed(self) -> int | None:
        """The seed of `fit`, None where none is given."""
        return self.fit.get("seed")

    def make_module(self) -> TrainModule:
        """Makes the module; the weights are drawn now.

        Raises:
            BaseException: what its constructor raises, with a note of the line that asked for it.
        """
        module: TrainModule = self._model.make()
        return module

    def make_data(self) -> dict[str, Any]:
        """Calls the function or class of the data and returns batches by name: some of train, val, test and predict.

        Raises:
            ConfigError: it gives something else.
            BaseException: what it raises, with a note of the line that asked for it.
        """
        source = f"{self._tree.place(self._data.path)}: {self._data.name}"
        return data_by_name(self._data.make(), source)

    def text(self) -> str:
        """Returns all of it as YAML, with the defaults of module, data and `fit`; read again, it gives the same."""
        return write_yaml(
            {"model": self._model.plain(), "data": self._data.plain(), "fit": self._fit.plain(self._tree.values["fit"])}
        )


def read_configuration(
    files: Sequence[Path], overrides: Sequence[str] = (), *, project: Path, trusted: Sequence[str] = ()
) -> Configuration:
    """Reads and checks a configuration; handlers, loggers and backends are made, module and data not yet.

    Nothing is imported before all names are known to be trusted: of the framework, of torch's layers and optimizers, of the
    project, or of what the user names. `project` is put first on `sys.path` and stays there.

    Args:
        files: YAML; of several, later ones win key by key.
        overrides: of the command line, such as "--fit.max_epochs", "3"; they win over the files.
        project: the folder of the user's modules.
        trusted: further packages that may be named.

    Raises:
        ConfigError: what is wrong, all of it, each with its place.
        BaseException: what the user's own modules raise when they are imported, with a note of the line that asked for them.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.config.configuration import read_configuration
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "config.yaml"
        ...     _ = file.write_text("model: module.Digits")
        ...     read_configuration([file], project=Path(folder))
        Traceback (most recent call last):
        ...
        framework.errors.ConfigError: ...config.yaml, line 1: model names module.Digits, but there is no module.py ...
    """
    trust = Trust(project, trusted)
    tree = _read_tree(files, overrides)
    mistakes = Mistakes(tree)
    check_structure(tree.values, trust, mistakes)
    mistakes.raise_any()
    put_first(trust.project)
    from framework.config.component import Reading  # these need torch and jsonargparse, which take seconds

    model, data, fit = _read_sections(tree, Reading(trust, mistakes))
    mistakes.raise_any()
    assert model is not None
    assert data is not None
    return Configuration(model, data, fit, tree)


def _read_tree(files: Sequence[Path], overrides: Sequence[str]) -> Tree:
    """Reads all files and the overrides; what is wrong in any of them is told together."""
    tree, problems = Tree(), []
    for file in files:
        try:
            tree.merge(read_yaml(Path(file)))
        except ConfigError as error:
            problems.append(str(error))
    try:
        apply_overrides(tree, overrides)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return tree


def _read_sections(tree: Tree, reading: Reading) -> tuple[Component | None, Component | None, FitSection]:
    from framework.config.component import read_component
    from framework.config.fit_settings import read_fit
    from framework.module.train_module import TrainModule

    model = read_component(("model",), reading, TrainModule)
    data = read_component(("data",), reading)
    module_class: Any = None if model is None else model.found
    return model, data, read_fit(tree.values["fit"], module_class, reading)
