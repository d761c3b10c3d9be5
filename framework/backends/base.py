"""What a backend is: the few verbs in which devices and precisions differ. Everything else of a step is written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.tree import map_tensors
from framework.errors import ModuleError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a backend can be used here, and why not.

    Attributes:
        ok: it can.
        reason: one sentence that says what was found.
    """

    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """How gradients are limited before a step.

    Attributes:
        norm: largest total 2-norm over all parameters of the step, None for no limit.
        value: largest absolute value of each entry, None for no limit.
    """

    norm: float | None = None
    value: float | None = None


class StepObserver(Protocol):
    """Is told what happens inside a step. It is told only while `active`."""

    active: bool

    def loss_computed(self, loss: Tensor) -> None: ...
    def backward_completed(self) -> None: ...
    def optimizer_step_started(self, optimizer: Optimizer) -> None: ...
    def optimizer_step_completed(self, optimizer: Optimizer) -> None: ...


class Backend(ABC):
    """Runs steps on one device in one precision. Subclass it to bring your own; only `probe` must be given.

    `apply` is written here, once: reduce, unscale, clip, step, update the scaler. A subclass defines as methods the verbs in which
    it differs: `autocast`, `backward`, `mark_step`, `reduce`, `unscale`, `step_optimizer`, `end_window`, `state_dict`. Without them
    it does what plain PyTorch does.

    Args:
        device: where the model and the batches live.
        precision: "fp32", "bf16" or "fp16".

    Example:
        >>> import torch
        >>> from framework.backends import Plain
        >>> backend = Plain(torch.device("cpu"))
        >>> backend.name, str(backend.device), backend.precision
        ('cpu', 'cpu', 'fp32')
    """

    def __init__(self, device: torch.device, precision: str = "fp32") -> None:
        self.device = device
        self.precision = precision

    @property
    def name(self) -> str:
        """The name shown to users: the accelerator, or the kind of device."""
        return self.device.type

    @classmethod
    @abstractmethod
    def probe(cls) -> Probe:
        """Tells whether this backend can be used on this machine. Cheap; allocates nothing on a device."""

    # Once

    def place(self, model: nn.Module) -> None:
        """Moves the model to the device, in place."""
        model.to(self.device)

    def adopt(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Takes the optimizers over.

        Raises:
            ModuleError: an optimizer holds parameters that are not the model's, another's, or that are on another device.
        """
        own = {id(parameter) for parameter in model.parameters()}
        holders: dict[int, str] = {}
        for name, optimizer in optimizers.items():
            for parameter in parameters_of((optimizer,)):
                if id(parameter) not in own:
                    raise ModuleError(
                        f"Optimizer {name!r} ({type(optimizer).__name__}) holds a parameter of shape {tuple(parameter.shape)} "
                        f"that is not one of {type(model).__name__}'s. Make the optimizer in configure_optimizers from "
                        "self.parameters(); a module kept in a list or dict is not registered: use nn.ModuleList or nn.ModuleDict."
                    )
                if holders.setdefault(id(parameter), name) != name:
                    raise ModuleError(
                        f"Optimizers {holders[id(parameter)]!r} and {name!r} both hold the parameter of shape "
                        f"{tuple(parameter.shape)}; they step together, so it would be updated twice. Give each its own parameters."
                    )
                if parameter.device.type != self.device.type:
                    raise ModuleError(
                        f"Optimizer {name!r} holds a parameter on {parameter.device}, the step runs on {self.device}. "
                        "Leave moving to fit: remove .to(...) and .cuda() from the module."
                    )

    def feed(self, data: Iterable[Any]) -> Iterable[Any]:
        """Returns the data with each batch moved to the device as it is fetched; on the CPU the data itself."""
        return data if self.device.type == "cpu" else _Moved(data, self)

    def move(self, batch: Any) -> Any:
        """Returns the batch on the device. Copies from pinned memory overlap with computation."""
        return map_tensors(batch, self._moved)

    def _moved(self, item: Any) -> Any:
        return item.to(self.device, non_blocking=True) if isinstance(item, Tensor) else item.to(self.device)

    def to_host(self, tree: Any) -> Any:
        """Returns CPU copies, detached, of the tensors in `tree`."""
        return map_tensors(tree, _on_host)

    def autocast(self, function: F) -> F:
        """Returns `function` such that its forward computations run in this backend's precision."""
        return function

    # In a step. None: nothing to do, or what plain PyTorch does; a call that does nothing would be paid in every step.

    backward: Callable[[Tensor], None] | None = None
    """Computes the gradients of a loss that is divided by the size of its window already."""

    mark_step: Callable[[], None] | None = None
    """Ends what is recorded for one micro-batch, on devices that record."""

    reduce: Callable[[Sequence[Optimizer]], None] | None = None
    """Averages gradients over processes, where nothing else does."""

    unscale: Callable[[Optimizer], None] | None = None
    """Divides the gradients of one optimizer by the loss scale."""

    step_optimizer: Callable[[Optimizer], bool] | None = None
    """Steps one optimizer; returns whether it really stepped, which a gradient scaler may decide against."""

    end_window: Callable[[], None] | None = None
    """Does what is due once after all optimizers of a window: updates the loss scale."""

    def apply(self, optimizers: Sequence[Optimizer], clip: Clip | None = None, observer: StepObserver | None = None) -> bool:
        """Steps the optimizers: reduce, unscale, clip (over all of them together), step each, update the scaler.

        Returns:
            Whether all of them really stepped; a gradient scaler skips a step whose gradients are not finite.
        """
        if self.reduce is not None:
            self.reduce(optimizers)
        if clip is not None or observer is not None:
            self._show_gradients(optimizers, observer)
        if clip is not None:
            clip_gradients(list(parameters_of(optimizers)), clip)
        stepped = True
        for optimizer in optimizers:
            if self.step_optimizer is None:
                optimizer.step()
            elif not self.step_optimizer(optimizer):
                stepped = False
                continue
            if observer is not None:
                observer.optimizer_step_completed(optimizer)
        if self.end_window is not None:
            self.end_window()
        return stepped

    def _show_gradients(self, optimizers: Sequence[Optimizer], observer: StepObserver | None) -> None:
        """Brings the gradients to their true size, for the clip and for whoever looks on."""
        for optimizer in optimizers:
            if self.unscale is not None:
                self.unscale(optimizer)
            if observer is not None:
                observer.optimizer_step_started(optimizer)

    # Any time

    @property
    def reads_cost_nothing(self) -> bool:
        """Whether reading a number off a tensor makes nothing wait: true on the CPU, where it is there already."""
        return self.device.type == "cpu"

    def synchronize(self) -> None:
        """Waits until the device has done all its work; for timing."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Returns what has to be saved to go on: the loss scale, or nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state; an empty one leaves the defaults."""


class _Moved:
    """An iterable whose batches arrive on the device."""

    def __init__(self, data: Iterable[Any], backend: Backend) -> None:
        self.data = data
        self._backend = backend

    def __iter__(self) -> Iterator[Any]:
        return map(self._backend.move, self.data)


def _on_host(item: Any) -> Any:
    return item.detach().to("cpu", copy=True) if isinstance(item, Tensor) else item.to("cpu")


def clip_gradients(parameters: list[nn.Parameter], clip: Clip) -> None:
    """Limits the gradients in place: their norm first, then their entries."""
    if clip.norm is not None:
        nn.utils.clip_grad_norm_(parameters, clip.norm)
    if clip.value is not None:
        nn.utils.clip_grad_value_(parameters, clip.value)


def parameters_of(optimizers: Iterable[Optimizer]) -> Iterator[nn.Parameter]:
    """Yields the parameters that the optimizers step, in their order, each once."""
    yield from dict.fromkeys(
        parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]
    )
