"""What a TrainModule declares: its steps, optimizers, schedulers and metrics; and what they may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.errors import StepError
from framework.metrics.recorder import Recorder
from framework.module.checks.shadowing import GUARDED, refuse_assignment, refuse_before_init
from framework.module.resuming.chosen_weights import LastFit
from framework.module.resuming.stored_weights import StoredWeights


class Declared(StoredWeights):
    """The declarations, with their defaults. `TrainModule` is what to subclass."""

    _recorder: Recorder | None
    _backend: Backend | None
    _last_fit: LastFit

    def __init__(self) -> None:
        super().__init__()
        self._recorder = None
        self._backend = None
        self._last_fit = LastFit()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in GUARDED:
            refuse_assignment(self, name, value)
        try:
            super().__setattr__(name, value)
        except AttributeError:
            refuse_before_init(self, name)
            raise

    # What a user declares

    def training_step(self, batch: Any) -> Any:
        """Returns the loss of a batch: a scalar tensor, or a mapping with it under "loss" and other scalars, which are recorded.

        With "n" in the mapping the loss is a sum over n things; accumulated, all sums are divided by all n. For several optimizers
        it may be a generator that yields (name, loss): each is a backward pass for the parameters of that optimizer and a step of
        it; a mapping returned at the end is recorded. May be declared `(self, batch, engine)`.
        """
        raise NotImplementedError

    def evaluation_step(self, batch: Any) -> Any:
        """Returns (y_pred, y) for every metric; or a mapping from names to scalars to record, or to pairs for the metric so named.

        "loss" beside "n" is a sum over n things, as in `training_step`. May return None; may be declared `(self, batch, engine)`.
        """
        raise NotImplementedError

    def prediction_step(self, batch: Any) -> Any:
        """Returns the prediction: by default `forward` of the batch, or of its first element if it is a tuple or list."""
        return self(batch[0] if isinstance(batch, tuple | list) else batch)

    def configure_optimizers(self) -> Optimizer | Mapping[str, Optimizer]:
        """Returns the optimizer, or several by name. Called by `fit`, with the model on its device."""
        raise NotImplementedError

    def configure_schedulers(self, optimizers: Mapping[str, Optimizer], total_steps: int | None) -> Any:
        """Returns nothing, a torch scheduler (stepped once an epoch), a `Schedule`, or a mapping of those.

        Args:
            optimizers: by name; a lone one is "main".
            total_steps: windows of the whole run, which is the number of steps of an optimizer that steps once in each; None where
                the length of the data is unknown. May be left out of the declaration.
        """
        return None

    def configure_metrics(self) -> Mapping[str, Any]:
        """Returns metrics by name: torchmetrics, or any objects with `update(y_pred, y)`, `compute()` and `reset()`."""
        return {}

    def configure_sharding(self) -> Iterable[nn.Module] | None:
        """Returns the parts of the module that are its blocks, such as `list(self.layers)`; None to have them found.

        `fit(strategy="fsdp")` gathers the parameters of a block while it is called, and `checkpoint_activations` computes what is
        inside of it anew. Found are the elements of each ModuleList, ModuleDict or Sequential with several of one class.
        """
        return None

    # Inside steps and hooks

    def log(self, name: str, value: Any, n: float | None = None) -> None:
        """Records a scalar from a step or hook; its mean appears as "train/<name>", "val/<name>" or "test/<name>".

        Args:
            name: the name, without the stage.
            value: a number, or a tensor of one element, which stays on its device: nothing waits.
            n: weight in the mean; None for the batch's sample count, the first dimension of its first tensor.

        Raises:
            StepError: not a scalar, or outside of `fit` and `evaluate`.
        """
        if self._recorder is None:
            raise StepError(
                f"log({name!r}, ...) was called outside of a run. It works in training_step, evaluation_step and hooks, "
                "while fit or evaluate runs."
            )
        self._recorder.log(name, value, n)

    @property
    def device(self) -> torch.device:
        """The device of the module's parameters, or of its buffers; the CPU where it has neither."""
        for tensors in (self.parameters(), self.buffers()):
            for tensor in tensors:
                return tensor.device
        return torch.device("cpu")

    def declares(self, method: str) -> bool:
        """Tells whether the class, and not only this one, defines `method`."""
        own: Callable[..., Any] | None = getattr(type(self), method, None)
        return own is not getattr(Declared, method)

    def __getstate__(self) -> dict[str, Any]:  # a copy made in a hook is no part of the run
        return {**self.__dict__, "_recorder": None, "_backend": None, "_last_fit": LastFit()}
