"""A user's own check that a run of theirs goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from framework.distributed.launch import world_size
from framework.engine.engine import Engine
from framework.errors import DataError, ResumeError, SettingError
from framework.module.data_source import is_one_shot
from framework.module.result import FitResult
from framework.module.resuming.stored_weights import find_checkpoint
from framework.module.settings import whole
from framework.seeding import RandomStream, seed_all
from framework.tracebacks import folded

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

_OURS = ("max_epochs", "max_iters", "max_time_s", "run_dir", "resume", "save_every", "save_every_s", "keep")
_TIMES = {"run_s", "epoch_s", "times", "time_s", "curves"}  # what may differ: durations, and the size of the file that holds them
_SHOWN = 10


class _StopAfter:
    """Interrupts a run."""

    def __init__(self, iteration: int) -> None:
        self._iteration = iteration

    def on_iteration_completed(self, engine: Engine) -> None:
        if engine.state.iteration == self._iteration:
            engine.interrupt()


def verify_resume(
    module: TrainModule, train_data: Any, val_data: Any = None, *, steps: int = 8, stop_after: int = 0, **settings: Any
) -> str:
    """Trains a few steps twice, once with a stop in between that a fresh copy goes on from, and compares the bits of both ends.

    Compared are weights, optimizers, schedulers, handlers, metrics, history, the position in the data and the random streams. A NaN
    equals nothing. What is given stays as it was, and so do the global random streams.

    Args:
        module: trained in copies.
        train_data, val_data: as for `fit`.
        steps: batches to train on.
        stop_after: the batch to stop after; 0 for half of them.
        **settings: of `fit`, but limits and those of the run folder; `loggers` are told nothing.

    Returns:
        A sentence that says what was compared.

    Raises:
        ResumeError: the two ends differ; with the first differences.
        SettingError: a setting that is made here, several processes, or a run that ends before it can be stopped.
        DataError: data that can be passed over only once.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from framework import TrainModule, verify_resume
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1))
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())
        >>> print(verify_resume(Line(), [torch.ones(2, 4)] * 3, steps=4))
        4 batches in one go, and stopped after 2 and resumed: the same bits in 9 tensors and ... other values.
    """
    with folded():
        whole("steps", steps, least=2)
        whole("stop_after", stop_after, least=0, most=steps - 1)
        _refuse_what_cannot_be_checked(train_data, settings)
        stop, seed = stop_after or steps // 2, settings.pop("seed", None)
        handlers = settings.pop("handlers", ())
        settings.pop("loggers", None)  # there are no runs to tell of
        common = {"max_iters": steps, "progress": False, **settings}
        data = [train_data, *(val_data.values() if isinstance(val_data, Mapping) else (val_data,))]
        put_back = [each for one in data for each in _places(one)]

        def train(run_dir: Path, start: int, *extra: Any) -> FitResult:
            seed_all(start)
            fresh, own = deepcopy(module), [*deepcopy(handlers), *extra]
            try:
                return fresh.fit(train_data, val_data, run_dir=run_dir, seed=seed, handlers=own, **common)
            finally:
                for place in put_back:
                    place()

        first = torch.initial_seed() % 2**63 if seed is None else seed
        with TemporaryDirectory() as folder, RandomStream(first):
            trained, found = _compare_ends(train, Path(folder), first, stop)
        differences = [line for lines, _, _ in found for line in lines]
        if differences:
            more = f"\n  and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise ResumeError(
                f"{trained} batches in one go end otherwise than when stopped after {stop} and resumed:\n  "
                + "\n  ".join(differences[:_SHOWN])
                + more
                + "\nLook for state that no state_dict holds (get_extra_state of a module, state_dict of a handler), for random "
                "numbers drawn from generators of your own, and for algorithms that are not deterministic (deterministic=True)."
            )
        tensors, values = sum(count for _, count, _ in found), sum(count for _, _, count in found)
        counts = f"{tensors} tensors and {values} other values"
        return f"{trained} batches in one go, and stopped after {stop} and resumed: the same bits in {counts}."


def _refuse_what_cannot_be_checked(train_data: Any, settings: Mapping[str, Any]) -> None:
    if (size := world_size()) > 1:
        raise SettingError(
            f"verify_resume trains in one process, and this is one of {size}. Call it in a script that is started without "
            "torchrun: several processes stop and resume in the same way."
        )
    ours = [name for name in settings if name in _OURS]
    if ours:
        raise SettingError(f"{ours[0]} is set by verify_resume itself. Leave it out.")
    if is_one_shot(train_data) and not hasattr(train_data, "load_state_dict"):
        raise DataError(
            f"train_data is a {type(train_data).__name__}, which gives its batches only once; verify_resume trains three times. "
            "Give a function that makes it, a list or a DataLoader."
        )


def _compare_ends(
    train: Callable[..., FitResult], folder: Path, seed: int, stop: int
) -> tuple[int, list[tuple[list[str], int, int]]]:
    """Trains in one go, and with a stop; returns on how many batches, and what `_compare` says of each part of the checkpoints."""
    in_one_go, stopped = folder / "in_one_go", folder / "stopped"
    trained = train(in_one_go, seed).state.iteration
    halted = train(stopped, seed, _StopAfter(stop))
    if halted.status != "interrupted":
        raise SettingError(
            f"The run ended after {halted.state.iteration} batches, before it could be stopped after {stop}: {halted.reason} "
            "Give a smaller stop_after."
        )
    train(stopped, (seed + 1) % 2**63)  # other random numbers: nothing may depend on those of the new process
    left, right = find_checkpoint(in_one_go), find_checkpoint(stopped)
    return trained, [_compare(left.read(part), right.read(part), part) for part in left.parts]


def _places(data: Any) -> Iterator[Callable[[], Any]]:
    """Yields what puts data back to where it is now, for data that keeps a place or a random stream of its own."""
    if hasattr(data, "state_dict") and hasattr(data, "load_state_dict"):
        state = deepcopy(data.state_dict())
        yield lambda: data.load_state_dict(deepcopy(state))
    generator = getattr(data, "generator", None)
    if isinstance(generator, torch.Generator):
        numbers = generator.get_state()
        yield lambda: generator.set_state(numbers)


def _compare(left: Any, right: Any, path: str) -> tuple[list[str], int, int]:
    """Returns the differences between two states, and how many tensors and other values there are."""
    lines, tensors, values = [], 0, 0
    for place, one, other in _leaves(left, right, path):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            tensors += 1
            if one.dtype != other.dtype or not torch.equal(one, other):  # which no NaN is
                lines.append(f"{place}: {_text(one)} in one go, {_text(other)} resumed")
        else:
            values += 1
            if type(one) is not type(other) or one != other:
                lines.append(f"{place}: {_text(one)} in one go, {_text(other)} resumed")
    return lines, tensors, values


def _leaves(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in {**left, **right}:
            if key not in _TIMES:
                yield from _leaves(left.get(key, "nothing"), right.get(key, "nothing"), f"{path}.{key}")
    elif type(left) in (list, tuple) and type(left) is type(right) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _leaves(one, other, f"{path}[{index}]")
    else:
        yield path, left, right


def _text(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() > 1:
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)} with mean {value.double().mean():.9g}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
