"""What a backend is: the few verbs in which devices and precisions differ. Everything else of a step is written once."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.autocast import F
from framework.backends.clip import Clip, clip_gradients
from framework.backends.feed import Moved
from framework.backends.ownership import move_model, parameters_of, rebind, refuse_foreign
from framework.backends.report import STEPPED, StepObserver, StepReport
from framework.backends.tree import count_samples, map_tensors
from framework.errors import SettingError


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a backend can be used here, and why not.

    Attributes:
        ok: it can.
        reason: one sentence that says what was found.
    """

    ok: bool
    reason: str = ""


class Backend(ABC):
    """Runs steps on one device in one precision. Subclass it to bring your own; only `probe` must be given.

    `apply` is written here, once: reduce, unscale, clip, step, update the scaler. A subclass defines as methods the verbs in which
    it differs: `autocast`, `micro`, `backward`, `mark_step`, `reduce`, `unscale`, `join_skips`, `stepped_parameters`,
    `step_optimizer`, `end_window`, `state_dict`. Without them it does what plain PyTorch does.

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

    @property
    def takes_closure(self) -> bool:
        """Whether it can step an optimizer that computes the loss several times a step, such as LBFGS."""
        return True

    # Once

    def place(self, model: nn.Module) -> Mapping[nn.Parameter, nn.Parameter]:
        """Moves the model to the device, in place.

        Returns:
            From each parameter that the move has replaced to the new one: on some devices `model.to` makes new parameters. Tied
            ones stay tied.
        """
        return move_model(model, self.device)

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        """Takes the optimizers over. Those made before the model moved are bound to its parameters anew, in place.

        Args:
            model: already placed.
            optimizers: by name.
            replaced: what `place` returned.

        Raises:
            ModuleError: an optimizer holds parameters that are not the model's, another's, or that are on another device.
        """
        rebind(optimizers.values(), replaced or {}, self.device)
        refuse_foreign(model, optimizers, self.device)

    def compile(self, function: F, options: Mapping[str, Any]) -> F:
        """Returns the function compiled, with options of `torch.compile`."""
        try:
            compiled: Any = torch.compile(function, **options)
        except TypeError as error:
            raise SettingError(f"compile={dict(options)!r} holds what torch.compile does not take: {error}.") from error
        return compiled  # type: ignore[no-any-return]

    def feed(self, data: Iterable[Any]) -> Iterable[Any]:
        """Returns the data with each batch moved to the device as it is fetched; on the CPU the data itself."""
        return data if self.device.type == "cpu" else Moved(data, self.device, self.move)

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

    micro: Callable[[bool], AbstractContextManager[Any]] | None = None
    """Makes the context around forward and backward of one micro-batch; is told whether it is the last of its window."""

    backward: Callable[[Tensor, Sequence[Optimizer], Sequence[nn.Parameter] | None], None] | None = None
    """Computes the gradients of a loss that is divided by the size of its window already: (loss, the optimizers that will step with
    them, the parameters to compute them for or None for all)."""

    mark_step: Callable[[], None] | None = None
    """Ends what is recorded for one micro-batch, on devices that record."""

    reduce: Callable[[Sequence[Optimizer]], None] | None = None
    """Averages gradients over processes, where nothing else does."""

    unscale: Callable[[Optimizer], None] | None = None
    """Divides the gradients of one optimizer by the loss scale."""

    join_skips: Callable[[Sequence[Optimizer]], None] | None = None
    """Lets optimizers that are clipped together step together or not at all: one bad gradient spoils the norm of all."""

    stepped_parameters: Callable[[Optimizer], Iterable[nn.Parameter]] | None = None
    """Returns the parameters that are really stepped, where they are copies of the optimizer's own."""

    step_optimizer: Callable[[Optimizer], StepReport] | None = None
    """Steps one optimizer, unless a gradient scaler decides against it."""

    end_window: Callable[[], None] | None = None
    """Does what is due once after all optimizers of a window: updates the loss scale."""

    # Over processes. One alone has nothing to do.

    weight: float = 1.0
    """What the loss of the batch at hand counts in the mean over processes; 0.0 for a batch that only fills up."""

    count: Callable[[Any], int] = staticmethod(count_samples)
    """Returns the number of samples in the batch at hand; 0 for one that only fills up."""

    average: Callable[[Any], Any] | None = None
    """Returns the mean of a number over processes, the same on all of them; a tensor of a tensor, a float of a float. None where
    there is one process."""

    def parallel_step(self, module: nn.Module, step: F) -> F:
        """Returns a training step of the module such that its gradients are those of all processes."""
        return step

    def inference_step(self, module: nn.Module, step: F) -> F:
        """Returns an evaluation or prediction step of the module such that it can run on all processes."""
        return step

    def apply(
        self,
        optimizers: Sequence[Optimizer],
        clip: Clip | None = None,
        observer: StepObserver | None = None,
        *,
        ends_window: bool = True,
    ) -> list[StepReport]:
        """Steps the optimizers: reduce, unscale, clip (over all of them together), step each, update the scaler.

        Args:
            optimizers: stepped in this order.
            clip: limits of their gradients.
            observer: is told of each step.
            ends_window: update the scaler; False while other optimizers of the same window are still to step.

        Returns:
            For each optimizer what became of its step.
        """
        if self.reduce is not None:
            self.reduce(optimizers)
        if clip is not None or observer is not None:
            self._show_gradients(optimizers, observer)
        if clip is not None and len(optimizers) > 1 and self.join_skips is not None:
            self.join_skips(optimizers)
        norm = None if clip is None else self._clip(optimizers, clip)
        reports = []
        for optimizer in optimizers:
            if self.step_optimizer is None:
                optimizer.step()
                report = STEPPED
            else:
                report = self.step_optimizer(optimizer)
            reports.append(replace(report, grad_norm=norm) if norm is not None and report.called else report)
            if observer is not None and report.stepped:
                observer.optimizer_step_completed(optimizer)
        if ends_window and self.end_window is not None:
            self.end_window()
        return reports

    def apply_closure(
        self, optimizer: Optimizer, closure: Callable[[], Tensor], clip: Clip | None = None, observer: StepObserver | None = None
    ) -> StepReport:
        """Steps an optimizer that calls a closure, several times if it likes; reduce and clip happen inside, after each call.

        Args:
            optimizer: such as LBFGS.
            closure: computes the gradients anew and returns the loss.
            clip: limits of the gradients.
            observer: is told of the step: that it starts once for each call, with the gradients of that call.
        """
        norms: list[Tensor | None] = []

        def evaluated() -> Tensor:
            loss = closure()
            if self.reduce is not None:
                self.reduce((optimizer,))
            if observer is not None:
                observer.optimizer_step_started(optimizer)
            if clip is not None:
                norms.append(self._clip((optimizer,), clip))
            if self.mark_step is not None:
                self.mark_step()
            return loss

        optimizer.step(evaluated)  # type: ignore[arg-type]  # torch's hint wants a float; every optimizer of torch takes tensors
        if observer is not None:
            observer.optimizer_step_completed(optimizer)
        return StepReport(grad_norm=norms[0]) if norms else STEPPED

    def _show_gradients(self, optimizers: Sequence[Optimizer], observer: StepObserver | None) -> None:
        """Brings the gradients to their true size, for the clip and for whoever looks on."""
        for optimizer in optimizers:
            if self.unscale is not None:
                self.unscale(optimizer)
            if observer is not None:
                observer.optimizer_step_started(optimizer)

    def _clip(self, optimizers: Sequence[Optimizer], clip: Clip) -> Tensor | None:
        if self.stepped_parameters is None:
            return clip_gradients(list(parameters_of(optimizers)), clip)
        return clip_gradients([parameter for optimizer in optimizers for parameter in self.stepped_parameters(optimizer)], clip)

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
        """Takes up a saved state of any backend; an empty one leaves the defaults. A loss scale is left out, with a warning."""
        if "loss_scale" in state:
            warnings.warn(
                f"The saved loss scale {state['loss_scale']:g} is left out: {self.name} in {self.precision} scales no loss.",
                UserWarning,
                stacklevel=2,
            )


def _on_host(item: Any) -> Any:
    return item.detach().to("cpu", copy=True) if isinstance(item, Tensor) else item.to("cpu")
