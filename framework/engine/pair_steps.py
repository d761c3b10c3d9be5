"""Steps on pairs (x, y), for any backend: what all supervised process functions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.tree import map_tensors
from framework.engine.engine import Engine
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place

Device: TypeAlias = str | torch.device | None
Step: TypeAlias = Callable[[Engine, Any], Any]


def prepare_pair(batch: Any, device: Device, non_blocking: bool) -> tuple[Any, Any]:
    """Returns (x, y) of a batch on the device."""
    x, y = batch if device is None else map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=non_blocking))
    return x, y


@dataclass(frozen=True, slots=True)
class PairForward:
    """From a batch to (x, y), and from x to y_pred; the arguments of the step factories say how."""

    model: nn.Module
    device: Device
    non_blocking: bool
    prepare_batch: Callable[..., Any] | None
    model_transform: Callable[[Any], Any] | None
    model_fn: Callable[[nn.Module, Any], Any] | None

    def prepare(self, batch: Any) -> tuple[Any, Any]:
        x, y = (self.prepare_batch or prepare_pair)(batch, self.device, self.non_blocking)
        return x, y

    def predict(self, x: Any) -> Any:
        output = self.model(x) if self.model_fn is None else self.model_fn(self.model, x)
        return output if self.model_transform is None else self.model_transform(output)


def train_on_pairs(
    backend: Backend,
    forward: PairForward,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    output_transform: Callable[..., Any] | None,
    accumulate: int,
) -> Step:
    """Returns the process function that trains on a backend; windows of accumulation are counted over the run."""
    if accumulate <= 0:
        raise ValueError(
            "Gradient_accumulation_steps must be strictly positive. No gradient accumulation if the value set to one (default). "
            f"Got {accumulate}."
        )

    def loss_of(engine: Engine, batch: Any) -> tuple[Tensor, Any]:
        x, y = batch
        y_pred = forward.predict(x)
        loss = loss_fn(y_pred, y)
        return loss, (x, y, y_pred, loss)

    def place(engine: Engine) -> Place:
        iteration = engine.state.iteration
        return Place(first=(iteration - 1) % accumulate == 0, last=iteration % accumulate == 0, size=accumulate)

    step = ReturnedLoss(backend, {"main": optimizer}, loss_of, place=place if accumulate > 1 else None)
    transform = output_transform or _loss_of_output

    def train(engine: Engine, batch: Any) -> Any:
        forward.model.train()
        return transform(*step.run(engine, forward.prepare(batch)))

    return train


def evaluate_on_pairs(backend: Backend, forward: PairForward, output_transform: Callable[..., Any] | None) -> Step:
    """Returns the process function that evaluates on a backend."""
    predict = backend.autocast(forward.predict)
    transform = output_transform or _pair_of_output

    def evaluate(engine: Engine, batch: Any) -> Any:
        forward.model.eval()
        with torch.no_grad():
            x, y = forward.prepare(batch)
            return transform(x, y, predict(x))

    return evaluate


def _loss_of_output(x: Any, y: Any, y_pred: Any, loss: Tensor) -> float:
    return loss.item()


def _pair_of_output(x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
    return y_pred, y
