"""A backend around another: its steps run on several processes together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.autocast import F
from framework.backends.base import Backend, Probe
from framework.distributed.replicas import refuse_differences, send_from_main

if TYPE_CHECKING:
    from framework.distributed.group import Group

_VERBS = ("backward", "mark_step", "unscale", "join_skips", "stepped_parameters", "step_optimizer", "end_window")
"""What a process does alone, where a subclass has no verb of its own."""


class Source(Protocol):
    """Where the batches come from.

    Attributes:
        share: what the batch handed out last counts in the mean over processes.
    """

    share: float


class Parallel(Backend):
    """Runs the steps of another backend on all processes of a group. To everything else it is a backend as any other.

    A subclass says how gradients meet: `parallel_step`, and of `micro` and `reduce` what it needs.

    Args:
        inner: runs the steps on this process.
        group: the processes.

    Attributes:
        source: gives the batches that are trained on; None while there are none.
    """

    def __init__(self, inner: Backend, group: Group) -> None:
        super().__init__(inner.device, inner.precision)
        self.inner = inner
        self.group = group
        self.source: Source | None = None
        for verb in _VERBS:
            if getattr(type(self), verb) is None:
                setattr(self, verb, getattr(inner, verb))

    @property
    def name(self) -> str:
        return self.inner.name

    @classmethod
    def probe(cls) -> Probe:
        return Probe(False, "goes around another backend")

    @property
    def takes_closure(self) -> bool:
        return self.inner.takes_closure

    # Once

    def place(self, model: nn.Module) -> Mapping[nn.Parameter, nn.Parameter]:
        """Moves the model to the device and makes it that of rank 0: its weights and buffers go to all.

        Raises:
            RankError: another rank has other parameters.
        """
        replaced = self.inner.place(model)
        refuse_differences(model, self.group)
        send_from_main([*model.parameters(), *model.buffers()], self.group)
        return replaced

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        self.inner.adopt(model, optimizers, replaced)

    def compile(self, function: F, options: Mapping[str, Any]) -> F:
        return self.inner.compile(function, options)

    def feed(self, data: Iterable[Any]) -> Iterable[Any]:
        return self.inner.feed(data)

    def move(self, batch: Any) -> Any:
        return self.inner.move(batch)

    def to_host(self, tree: Any) -> Any:
        return self.inner.to_host(tree)

    def autocast(self, function: F) -> F:
        return self.inner.autocast(function)

    # In a step

    @property
    def weight(self) -> float:  # type: ignore[override]  # nobody writes it
        return 1.0 if self.source is None else self.source.share

    def count(self, batch: Any) -> int:
        return 0 if self.weight == 0.0 else self.inner.count(batch)

    def average(self, value: Any) -> Any:
        """Returns the mean of a number over the processes, the same bits on all of them; of a tensor on a device without a wait."""
        size = self.group.world_size
        if isinstance(value, Tensor) and value.device.type != "cpu":
            mean = value.detach() / size
            torch.distributed.all_reduce(mean)
            return mean
        (total,) = self.group.sums("a mean of a step", [float(value)])
        return torch.tensor(total / size, dtype=value.dtype) if isinstance(value, Tensor) else total / size

    @abstractmethod
    def parallel_step(self, module: nn.Module, step: F) -> F: ...

    # Any time

    @property
    def reads_cost_nothing(self) -> bool:
        return self.inner.reads_cost_nothing

    def synchronize(self) -> None:
        self.inner.synchronize()

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)
