"""Everything that the further course of a run depends on: gathered for a checkpoint, and put back from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.tree import map_tensors
from framework.data.ordered import Ordered
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.progress import dump_progress
from framework.errors import NonFiniteError
from framework.module.ranks.strategies import group_of
from framework.module.ranks.streams import gather_own, give_back
from framework.module.resuming.module_state import dump_rest, load_rest
from framework.module.resuming.optimizer_state import dump_optimizer, load_optimizer
from framework.module.resuming.placing import load_module, placed_by_name
from framework.module.run import Run
from framework.module.schedules import Schedules
from framework.seeding import random_state
from framework.steps.finite import which_finite

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

Parts = dict[str, Any]

_OPENS_NEXT = (Events.EPOCH_STARTED, Events.DATALOADER_STOP_ITERATION)
"""After these the next pass may be due without having been opened."""


class Snapshots:
    """Takes and restores snapshots of one run. The tensors in a snapshot are those of the run, not copies.

    Args:
        module, backend, optimizers, schedules, run: those of the run.
        source: gives the batches; None where there are none.
        handlers: the objects given to `fit`; those that have a state are saved.
        seed: of the run.
    """

    def __init__(
        self,
        module: TrainModule,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        schedules: Schedules,
        run: Run,
        source: Ordered | None,
        handlers: Sequence[Any],
        seed: int,
    ) -> None:
        self._module = module
        self._backend = backend
        self._optimizers = optimizers
        self._schedules = schedules
        self._run = run
        self._source = source
        self._stateful = stateful(handlers)
        self._seed = seed

    def take(self, engine: Engine, after: str | None, *, repeat_event: bool = False) -> Parts:
        """Returns the parts of a checkpoint.

        Args:
            engine: in the run.
            after: the event whose handlers have run last; None before the run.
            repeat_event: its handlers are to run again.
        """
        module = self._module
        names = {parameter: name for name, parameter in module.named_parameters()}
        step = self._run.parts.step
        progress = dump_progress(engine, after)
        progress["repeat_event"] = progress["repeat_event"] or repeat_event
        ended = bool(engine.should_terminate_single_epoch) or (after == Events.EPOCH_COMPLETED and self._run.one_pass)
        if after in _OPENS_NEXT and engine._position is not None:
            ended = self._run.one_pass or (engine._position.feed is None and not engine.should_terminate)
        group = group_of(self._backend)
        position = None if self._source is None else self._source.position(ended=ended)
        own = position if self._source is not None and self._source.own_to_rank else None
        ranks = None if group is None else gather_own(group, self._run.recorder, own)
        return {
            "model": dict(module.state_dict()),
            "optimizer": {name: dump_optimizer(each, names) for name, each in self._optimizers.items()},
            "handlers": {name: handler.state_dict() for name, handler in self._stateful.items()},
            "run": {
                "progress": progress,
                "output": map_tensors(engine.state.output, Tensor.detach) if progress["repeat_event"] else None,
                "metrics": dict(engine.state.metrics),
                "random": random_state(),
                "ranks": ranks,
                "data": position,
                "seed": self._seed,
                "module": dump_rest(module),
                "schedulers": [scheduler.state_dict() for scheduler in self._schedules.all],
                "scaler": self._backend.state_dict(),
                "steps": dict(step.counter.steps),
                "grad_norms": dict(step.counter.grad_norms),
                "skipped_steps": engine.state.skipped_steps,
                "nan_guard": None if self._run.parts.guard is None else self._run.parts.guard.state_dict(),
                "course": self._run.state_dict(),
            },
        }

    def set_apart(self, parts: Parts) -> None:
        """Copies what an evaluation may change: buffers, metrics and extra state of the module, lists in states of handlers."""
        weights = {name for name, _ in self._module.named_parameters(remove_duplicate=False)}
        model, run = parts["model"], parts["run"]
        model.update({name: map_tensors(value, _copied) for name, value in model.items() if name not in weights})
        run["module"] = map_tensors(run["module"], _copied)
        parts["handlers"] = map_tensors(parts["handlers"], Tensor.detach)

    def restore(self, engine: Engine, parts: Mapping[str, Any]) -> None:
        """Puts everything back but the progress and the position in the data: engine and source take those up themselves."""
        module, saved = self._module, parts["run"]
        load_module(module, parts["model"])
        load_rest(module, saved["module"])
        parameters = dict(module.named_parameters())
        for name, optimizer in self._optimizers.items():
            load_optimizer(optimizer, parts["optimizer"][name], parameters, name)
            optimizer._opt_called = saved["steps"].get(name, 0) > 0  # type: ignore[attr-defined]  # else torch's schedulers warn
        for scheduler, state in zip(self._schedules.all, saved["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        self._backend.load_state_dict(saved["scaler"])
        counter = self._run.parts.step.counter
        counter.steps.update(saved["steps"])
        counter.grad_norms.update({name: norm.to(self._backend.device) for name, norm in saved["grad_norms"].items()})
        engine.state.skipped_steps = saved.get("skipped_steps", 0)
        if self._run.parts.guard is not None and saved.get("nan_guard") is not None:
            self._run.parts.guard.load_state_dict(saved["nan_guard"])
        self._run.load_state_dict(saved["course"])
        engine.state.metrics.update(saved["metrics"])
        engine.state.output = saved["output"]
        load_handlers(self._stateful, placed_by_name(parts["handlers"], module.state_dict()))
        own = saved.get("ranks") or [{"random": saved["random"], "pending": saved["course"]["recorder"]["channels"]}]
        give_back(own, group_of(self._backend), self._run.recorder, self._seed, saved["progress"]["iteration"])

    @torch.no_grad()
    def refuse_non_finite(self, iteration: int) -> None:
        """Raises if a weight is NaN or infinite, so that no checkpoint is made of it.

        Raises:
            NonFiniteError: naming the first such parameter.
        """
        known: dict[str, Tensor] = {name: each for name, each in self._module.named_parameters() if not nn.parameter.is_lazy(each)}
        floating = {name: each for name, each in known.items() if each.is_floating_point() or each.is_complex()}
        device = self._backend.device
        if device.type == "xla":  # each question would be compiled; the weights are copied for the file anyway
            floating, device = {name: each.cpu() for name, each in floating.items()}, torch.device("cpu")
        answers = which_finite(list(floating.values()), device)
        bad = [name for name, answer in zip(floating, answers, strict=True) if not answer]
        if bad:
            raise NonFiniteError(
                f"{len(bad)} of {len(floating)} parameters are not finite after iteration {iteration}, the first is {bad[0]}. No "
                "checkpoint was written; the one before is whole. Look at the learning rate and the gradients; clip_norm=1.0 "
                "limits them; debug=True looks at them in each step. nan='ignore' trains on, and saves, regardless."
            )


def load_handlers(handlers: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Takes up the states of handlers, by the names that `stateful` gives them."""
    for name, handler in handlers.items():
        if name in saved:
            handler.load_state_dict(saved[name])


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def stateful(handlers: Sequence[Any]) -> dict[str, Any]:
    """Returns the handlers that have a state, by class name and number: others may come and go between two processes."""
    named: dict[str, Any] = {}
    for handler in handlers:
        if hasattr(handler, "state_dict") and hasattr(handler, "load_state_dict"):
            kind = type(handler).__name__
            named[f"{kind}/{sum(key.startswith(f'{kind}/') for key in named)}"] = handler
    return named
