"""Small runs to break, and what compares how they end."""

import json
import os
import sys
import traceback
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from framework import TrainModule, seed_all


class Noisy(Dataset):
    """Samples with random augmentation."""

    def __init__(self, n=12):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((4,), float(index)) / self.n + 0.1 * torch.randn(4), torch.tensor([float(index % 2)])


class Net(TrainModule):
    """Draws random numbers in its steps, and has state of every usual kind."""

    def __init__(self, hidden=6):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 1))

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"loss": F.mse_loss(self.net(x), y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Does:
    """A handler that does one thing after some iterations."""

    def __init__(self, *iterations, do):
        self._iterations, self._do = iterations, do

    def on_iteration_completed(self, engine):
        if engine.state.iteration in self._iterations:
            self._do(engine)


class Died(Exception):  # noqa: N818 # it stands for no error
    """The end of a process."""


def die(engine):
    raise Died


def stop(engine):
    engine.interrupt()


def loader(n=12, **changes):
    return DataLoader(Noisy(n), **{"batch_size": 4, "shuffle": True, **changes})


def fit(run_dir, *handlers, module=None, train=None, val=None, reseed=5, **changes):
    """Trains for two epochs of three batches. Returns the module and the result."""
    seed_all(reseed)
    module = Net() if module is None else module
    settings = {"max_epochs": 2, "log_every": 2, "seed": 5, "progress": False, "handlers": list(handlers), **changes}
    return module, module.fit(loader() if train is None else train, val, run_dir=run_dir, **settings)


def go_on(run_dir, *handlers, **changes):
    """Goes on with the run, as another process would: with other weights to begin with, and other random numbers."""
    return fit(run_dir, *handlers, **{"reseed": 77, "seed": None, **changes})


def difference(one, other, where="all"):
    """Says where two states differ in a bit or a type; None where they do not. NaN is the same as nothing."""
    if type(one) is not type(other):
        return f"{where}: {one!r} and {other!r}"
    if isinstance(one, dict):
        if list(one) != list(other):
            return f"{where}: {list(one)} and {list(other)}"
        found = (difference(one[key], other[key], f"{where}.{key}") for key in one)
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where}: {one!r} and {other!r}"
        found = (difference(*pair, f"{where}[{place}]") for place, pair in enumerate(zip(one, other, strict=True)))
    else:
        equal = one.dtype == other.dtype and torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)
        found = [] if equal else [f"{where}: {one!r} and {other!r}"]
    return next((text for text in found if text is not None), None)


def without_times(rows):
    return [{name: value for name, value in row.items() if name != "time_s"} for row in rows]


def lines(run_dir):
    """What metrics.jsonl holds, without the times."""
    read = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return without_times([{**line, "values": without_times([line["values"]])[0]} for line in read])


def ending(module, result):
    """Everything that two runs that end equally have in common."""
    return {
        "weights": dict(module.state_dict()),
        "buffers": dict(module.named_buffers()),
        "frozen": [name for name, parameter in module.named_parameters() if not parameter.requires_grad],
        "optimizers": {name: optimizer.state_dict() for name, optimizer in result.state.optimizers.items()},
        "steps": dict(result.state.optimizer_steps),
        "metrics": dict(result.metrics),
        "history": without_times(result.history),
        "curves": {name: [tuple(point[:3]) for point in points] for name, points in result.series.items()},
        "status": (result.status, result.reason, result.state.iteration, result.state.epoch),
    }


def assert_same_end(one, other):
    assert difference(ending(*one), ending(*other)) is None


def assert_ends_as(whole, run_dir, ended):
    """Asserts that a run ended as another one, (its end, its folder), and wrote the same curves."""
    assert_same_end(ended, whole[0])
    assert difference(lines(run_dir), lines(whole[1])) is None


def checkpoints(run_dir):
    """The names of the checkpoints, newest first, and whatever else lies beside them."""
    return sorted((path.name for path in (run_dir / "checkpoints").iterdir()), reverse=True)


def status(run_dir):
    return json.loads((run_dir / "run.json").read_text())["status"]


def in_child(function):
    """Runs `function()` in a forked process; returns its exit code and the error that ended it, as text."""
    if sys.platform == "win32":
        pytest.skip("processes are forked here")
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads, of which torch has some
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            function()
            code = 0
        except BaseException as error:  # noqa: BLE001 # told to the parent
            code = error.code if isinstance(error, SystemExit) and type(error.code) is int else 1
            os.write(write, f"{type(error).__name__}: {error}\n{traceback.format_exc()[-3000:]}".encode())
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended), text
