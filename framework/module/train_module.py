"""What a user subclasses: steps, declarations and hooks, and the verbs that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.selector import select_backend, with_precision
from framework.backends.tree import join_trees
from framework.engine.events import EventEnum, EventLike
from framework.errors import ModuleError, StepError
from framework.metrics.recorder import Recorder
from framework.module.data_source import check_data
from framework.module.declarations import check_declarations
from framework.module.evaluation import Evaluation
from framework.module.fit import fit
from framework.module.hooks import check_hooks
from framework.module.prediction import predict_batches
from framework.module.result import FitResult
from framework.module.settings import FitSettings, whole


class TrainModule(nn.Module):
    """A model that knows how to train: subclass it, write the steps, call `fit`.

    Required are `training_step` and `configure_optimizers`. Methods named `on_<event>`, declared `(self)` or `(self, engine)` plus
    what the event passes, run at that event of the training engine; `on_evaluation_<event>` at that of the evaluation engine. A
    misspelt hook or step is refused when the class is made.

    Attributes:
        events: custom events that the module fires itself; a hook `on_<event>` may be written for each.

    Raises:
        ModuleError: when a subclass declares something that cannot work.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from framework import TrainModule
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         x, y = batch
        ...         return nn.functional.mse_loss(self.layer(x), y)
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> x = torch.linspace(-1, 1, 8).reshape(8, 1)
        >>> result = Line().fit([(x, 2 * x)], max_epochs=100, progress=False)
        >>> result.status, result.metrics["train/loss"] < 0.01
        ('completed', True)
    """

    events: ClassVar[tuple[type[EventEnum], ...]] = ()
    _recorder: Recorder | None
    _backend: Backend | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = [name for base in cls.__mro__ if not issubclass(TrainModule, base) for name in vars(base)]  # mixins too
        names = [name for name in declared if getattr(cls, name, None) is not getattr(TrainModule, name, None)]
        check_declarations(cls, names)
        check_hooks(cls, names)

    def __init__(self) -> None:
        super().__init__()
        self._recorder = None
        self._backend = None

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

        May return None, and may be declared `(self, batch, engine)`.
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

    # Verbs

    def fit(
        self,
        train_data: Any,
        val_data: Any = None,
        *,
        max_epochs: int | None = None,
        max_iters: int | None = None,
        epoch_length: int | None = None,
        validate_every: int | EventLike = 1,
        limit_train_batches: int | None = None,
        limit_val_batches: int | None = None,
        log_every: int = 50,
        accelerator: str | Backend = "auto",
        precision: str | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        compile: bool | Mapping[str, Any] = False,  # noqa: A002  # the field's word for it
        seed: int | None = None,
        deterministic: bool = False,
        nan: str = "stop",
        handlers: Sequence[Any] = (),
        progress: bool = True,
    ) -> FitResult:
        """Trains the module.

        Args:
            train_data: batches: a DataLoader, a list, a function that returns an iterable, or None with `epoch_length`.
            val_data: batches to evaluate on, or a mapping from names to batches.
            max_epochs: epochs to train, at most.
            max_iters: batches to train on, at most, over all epochs. One of the two is needed.
            epoch_length: batches an epoch; the data carries over from epoch to epoch. By default one pass over the data.
            validate_every: epochs between evaluations on `val_data`, or an event such as `Events.ITERATION_COMPLETED(every=500)`.
            limit_train_batches, limit_val_batches: batches to use of each pass, at most.
            log_every: iterations between two points of the curves. Values are read off the device together, then.
            accelerator: "auto", "cpu", "cuda", "cuda:1", "mps", "amp", "apex", "tpu", or a `Backend`.
            precision: "fp32", "bf16" or "fp16"; None for the accelerator's own.
            accumulate: batches whose gradients make one step. The last window of an epoch may be short; its real size counts.
            clip_norm: largest 2-norm of the gradients of a step together. `engine.state.grad_norms` has the norms before.
            clip_value: largest absolute value of each entry of a gradient.
            compile: compiles the training and the evaluation step with `torch.compile`; a mapping gives it options.
            seed: seeds python, numpy and torch first. To fix the weights too, call `seed_all` before they are made.
            deterministic: lets torch use deterministic algorithms only.
            nan: "stop" raises on a loss that is not finite, on the CPU before the step, elsewhere within `log_every` iterations;
                "ignore" trains on.
            handlers: objects with `on_<event>` methods; they run before the module's own hooks, in this order.
            progress: shows a bar, or lines where the output is no terminal.

        Returns:
            How the run ended, its metrics, history and curves.

        Raises:
            FrameworkError: a mistake in the arguments, the module or the data; the subclass tells which.
            BaseException: whatever a step, a hook or the data raised.
        """
        settings = FitSettings(
            max_epochs=max_epochs,
            max_iters=max_iters,
            epoch_length=epoch_length,
            validate_every=validate_every,
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            log_every=log_every,
            accelerator=accelerator,
            precision=precision,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            compile=compile,
            seed=seed,
            deterministic=deterministic,
            nan=nan,
            handlers=handlers,
            progress=progress,
        )
        return fit(self, train_data, val_data, settings)

    def evaluate(
        self, data: Any, *, accelerator: str | Backend | None = None, precision: str | None = None, limit_batches: int | None = None
    ) -> dict[str, Any]:
        """Runs `evaluation_step` over the data and returns the results by name, such as "test/accuracy".

        Args:
            data: batches.
            accelerator: as in `fit`; None for that of the last `fit`, else "auto".
            precision: as in `fit`.
            limit_batches: batches to use, at most.

        Raises:
            FrameworkError: a mistake in the arguments, the module or the data.

        Example:
            >>> import torch
            >>> from framework import TrainModule
            >>> class Mean(TrainModule):
            ...     def evaluation_step(self, batch):
            ...         return {"mean": batch.mean()}
            >>> Mean().evaluate([torch.tensor([1.0, 3.0])])
            {'test/mean': 2.0}
        """
        if not self.declares("evaluation_step"):
            raise ModuleError(f"{type(self).__name__} has no evaluation_step, which evaluate needs. Define it in the class.")
        whole("limit_batches", limit_batches, optional=True)
        batches = check_data(data, "data")
        backend = self._backend_for(accelerator, precision)
        backend.place(self)
        return Evaluation(self, backend, "test", seed=torch.initial_seed()).run(batches, limit_batches)

    def predict(
        self, data: Any, *, accelerator: str | Backend | None = None, precision: str | None = None, limit_batches: int | None = None
    ) -> Any:
        """Returns what `prediction_step` gives for all batches, on the CPU, joined along the first dimension.

        Arguments as in `evaluate`. Random numbers follow from torch's seed, the same in each call; `seed_all` gives others.

        Raises:
            FrameworkError: a mistake in the arguments or the data.

        Example:
            >>> from framework import TrainModule
            >>> class Double(TrainModule):
            ...     def forward(self, x):
            ...         return 2 * x
            >>> import torch; Double().predict([torch.ones(2), torch.ones(1)])
            tensor([2., 2., 2.])
        """
        outputs = list(self.predict_batches(data, accelerator=accelerator, precision=precision, limit_batches=limit_batches))
        try:
            return join_trees(outputs)
        except (ValueError, RuntimeError, TypeError, LookupError) as error:
            raise StepError(
                f"The predictions of {len(outputs)} batches cannot be joined along their first dimension: {error}. "
                "predict_batches yields them one by one."
            ) from error

    def predict_batches(
        self, data: Any, *, accelerator: str | Backend | None = None, precision: str | None = None, limit_batches: int | None = None
    ) -> Iterator[Any]:
        """Yields what `prediction_step` gives for each batch, on the CPU. Arguments and errors as in `predict`."""
        whole("limit_batches", limit_batches, optional=True)
        return predict_batches(self, check_data(data, "data"), self._backend_for(accelerator, precision), limit_batches)

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
        """Tells whether the class, and not only TrainModule, defines `method`."""
        own: Callable[..., Any] | None = getattr(type(self), method, None)
        return own is not getattr(TrainModule, method)

    def _backend_for(self, accelerator: str | Backend | None, precision: str | None) -> Backend:
        if accelerator is None and self._backend is not None:
            return with_precision(self._backend, precision)
        return select_backend("auto" if accelerator is None else accelerator, precision)

    def __getstate__(self) -> dict[str, Any]:  # a copy made in a hook is no part of the run
        return {**self.__dict__, "_recorder": None, "_backend": None}
