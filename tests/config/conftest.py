"""A user's project in a folder of its own, and a way to read a configuration of it."""

import sys
import textwrap
from pathlib import Path

import pytest

from framework import ConfigError
from framework.config.configuration import read_configuration

MODULE = """
import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from framework import EventEnum, TrainModule


class Own(EventEnum):
    PHASE_OVER = "phase_over"


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Shape:
    width: int
    depth: int = 2


class Line(TrainModule):
    events = (Own,)

    def __init__(self, width: int = 4, lr: float = 1e-2, name: str = "line", layer: nn.Module | None = None):
        super().__init__()
        self.lr, self.name = lr, name
        self.net = nn.Sequential(nn.Linear(2, width), layer or nn.ReLU(), nn.Linear(width, 1))

    def training_step(self, batch):
        return self.net(batch).square().mean()

    def evaluation_step(self, batch):
        return {"loss": self.net(batch).square().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Many(Line):
    def __init__(
        self,
        needed: int,
        anything: Any = None,
        untyped=3,
        flag: bool = False,
        either: int | str = 1,
        maybe: float | None = None,
        kind: Literal["plain", "fancy"] = "plain",
        size: Size = Size.SMALL,
        counts: list[int] = (),
        pair: tuple[int, float] = (1, 2.0),
        by_name: dict[str, float] | None = None,
        layers: list[nn.Module] | None = None,
        optimizer: Callable[[Iterable], torch.optim.Optimizer] = torch.optim.SGD,
        call: Callable[[float], float] | None = None,
        layer_type: type[nn.Module] = nn.ReLU,
        shape: Shape | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.given = {key: value for key, value in {**locals(), **kwargs}.items() if key not in ("self", "kwargs", "__class__")}


class Breaks(Line):
    def __init__(self):
        raise AttributeError("the user's own mistake")


class BreakingLayer(nn.Module):
    def __init__(self):
        raise AttributeError("a layer's own mistake")


class Keeps(nn.Identity):
    def __init__(self, anything: Any, options: dict[str, Any]):
        super().__init__()
        self.given = (anything, options)


class Counting:
    def __init__(self, start: int = 0):
        self.count = start

    def on_iteration_completed(self):
        self.count += 1


def double(x: float) -> float:
    return 2 * x
"""

DATA = """
import torch


def load(batch_size: int = 4, parts: int = 2):
    batches = [torch.ones(batch_size, 2)] * 2
    return (batches,) * parts


class Parts:
    def __init__(self):
        self.train = [torch.ones(2, 2)]
        self.test = None


def by_name():
    return {"train": [torch.ones(2, 2)], "predict": [torch.ones(1, 2)], "val": None}


def lone():
    return [torch.ones(2, 2)]


def misnamed():
    return {"validation": []}


def options(**values):
    return {"train": [values]}
"""

WHOLE = """
model: {class_path: module.Line}
data: {class_path: data.load}
fit: {max_epochs: 1, progress: false}
"""


@pytest.fixture
def unchanged_imports(tmp_path):
    """Takes back what a test has imported from its own folder."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path, unchanged_imports):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "module.py").write_text(MODULE)
    (folder / "data.py").write_text(DATA)
    return folder


@pytest.fixture
def read(project):
    """Reads texts, each a file: a.yaml, b.yaml."""

    def reading(*texts, overrides=(), trusted=()):
        files = [project / f"{name}.yaml" for name in "abc"[: len(texts)]]
        for file, text in zip(files, texts, strict=True):
            file.write_text(textwrap.dedent(text))
        return read_configuration(files, overrides, project=Path(project), trusted=trusted)

    return reading


@pytest.fixture
def mistakes(read, project):
    """Reads what is mistaken and returns the lines of the error, without the folder."""

    def reading(*texts, overrides=(), trusted=()):
        with pytest.raises(ConfigError) as caught:
            read(*texts, overrides=overrides, trusted=trusted)
        return str(caught.value).replace(f"{project}/", "").splitlines()

    return reading
