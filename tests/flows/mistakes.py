"""What the programs with a mistake in them share: where they are collected, a right module and right data, and what is watched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import Dataset

from framework import TrainModule


class Mistake(NamedTuple):
    """A program and how its mistake is told.

    Attributes:
        program: takes the folder for its run, makes the mistake.
        error: the exact type of what it raises.
        words: all in the text of the error: what is wrong, and what to do.
        found: "class": before there is a module; "start": before the first step; "run": while it runs.
        steps: of the optimizers before it was found.
        frame: the user's function that the traceback has to show, besides the program itself.
    """

    program: Callable[[Path], object]
    error: type[BaseException]
    words: tuple[str, ...]
    found: str
    steps: int
    frame: str | None


MISTAKES: dict[str, Mistake] = {}


def mistake(
    error: type[BaseException], *words: str, found: str = "start", steps: int = 0, frame: str | None = None
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Collects a program with a mistake in it."""

    def collect(program: Callable[[Path], object]) -> Callable[[Path], object]:
        name = program.__name__
        assert name not in MISTAKES, name
        MISTAKES[name] = Mistake(program, error, words, found, steps, frame)
        return program

    return collect


class Net(TrainModule):
    """A module without a mistake: each program puts its own into a subclass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"loss": F.cross_entropy(self(x), y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Samples(Dataset):
    """Twelve samples of two classes."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        _now[0].reads += 1
        return torch.full((4,), float(index)), index % 2


class Batches:
    """Three batches."""

    def __len__(self):
        return 3

    def __iter__(self):
        for _ in range(3):
            _now[0].reads += 1
            yield torch.randn(8, 4), torch.arange(8) % 2


def batches() -> Batches:
    """Data without a mistake."""
    return Batches()


class Watched:
    """What has happened to a module while a program ran.

    Attributes:
        module: the module, None for none.
        weights: as they were at first, and after each step of an optimizer.
        modes: of its submodules, at first.
        reads: batches, or samples, that were read.
        forwards: how often a part of any module was called.
    """

    def __init__(self) -> None:
        self.module: nn.Module | None = None
        self.weights: list[dict[str, Any]] = []
        self.modes: list[bool] = []
        self.reads = self.forwards = 0

    def see(self, module: nn.Module) -> None:
        self.module = module
        self.weights, self.modes = [weights_of(module)], modes_of(module)

    def after_step(self, *_: object) -> None:
        if self.module is not None:
            self.weights.append(weights_of(self.module))

    def before_forward(self, *_: object) -> None:
        self.forwards += 1


def weights_of(module: nn.Module) -> dict[str, Any]:
    """A copy of what a module holds."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in module.state_dict().items() if tensor.device.type != "meta"}


def modes_of(module: nn.Module) -> list[bool]:
    """Which submodules are in train mode."""
    return [part.training for part in module.modules()]


_now = [Watched()]


def watch(module: Any) -> Any:
    """Lets the test look after the module of a program; returns it."""
    _now[0].see(module)
    return module


@contextmanager
def watching() -> Iterator[Watched]:
    """Watches the module that the program in the block gives to `watch`."""
    _now[0] = watched = Watched()
    hooks = (register_optimizer_step_post_hook(watched.after_step), register_module_forward_pre_hook(watched.before_forward))
    try:
        yield watched
    finally:
        for hook in hooks:
            hook.remove()
