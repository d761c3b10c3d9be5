"""What a user subclasses: the verbs that run what it declares."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar

import torch

from framework.backends.base import Backend
from framework.backends.selector import select_backend, with_precision
from framework.backends.tree import join_trees
from framework.engine.events import EventEnum, EventLike
from framework.errors import ModuleError, StepError
from framework.module.data_source import check_data
from framework.module.declarations import check_declarations
from framework.module.declared import Declared
from framework.module.evaluation import Evaluation
from framework.module.fit import fit
from framework.module.hooks import check_hooks
from framework.module.prediction import predict_batches
from framework.module.result import FitResult
from framework.module.settings import FitSettings, whole


class TrainModule(Declared):
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = [name for base in cls.__mro__ if not issubclass(TrainModule, base) for name in vars(base)]  # mixins too
        names = [name for name in declared if getattr(cls, name, None) is not getattr(TrainModule, name, None)]
        check_declarations(cls, names)
        check_hooks(cls, names)

    # Verbs

    def fit(
        self,
        train_data: Any,
        val_data: Any = None,
        *,
        max_epochs: int | None = None,
        max_iters: int | None = None,
        max_time_s: float | None = None,
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
        data_order: str = "batch",
        handlers: Sequence[Any] = (),
        progress: bool = True,
        run_dir: str | PathLike[str] | None = None,
        resume: str | PathLike[str] = "auto",
        allow_changes: Collection[str] = (),
        save_every: int | EventLike = 1,
        save_every_s: float | None = None,
        async_save: bool = False,
        keep: int | None = 2,
        monitor: str | None = None,
        mode: str | None = None,
        hang_timeout_s: float | None = None,
    ) -> FitResult:
        """Trains the module.

        Ctrl-C, SIGTERM and `max_time_s` end a run after the step at hand; with a `run_dir` it can go on from there. A signal leaves
        through `Interrupted`, with the exit code of the signal; in an interactive session Ctrl-C returns the result.

        Args:
            train_data: batches: a DataLoader, a list, a function that returns an iterable, or None with `epoch_length`.
            val_data: batches to evaluate on, or a mapping from names to batches.
            max_epochs: epochs to train, at most.
            max_iters: batches to train on, at most, over all epochs.
            max_time_s: seconds this call may take; the step at hand is finished. One of the three limits is needed.
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
            data_order: "batch": the order of a map-style DataLoader and the random numbers drawn in it follow from the seed and
                the position of the batch, so that a run can go on anywhere; "sample": the random numbers follow from the index
                of the sample, so the batch size does not matter; "loader": the loader is left as it is.
            handlers: objects with `on_<event>` methods; they run before the module's own hooks, in this order. What has
                `state_dict` and `load_state_dict` is saved with the run.
            progress: shows a bar, or lines where the output is no terminal.
            run_dir: folder of the run: checkpoints and metrics.jsonl. None writes no file.
            resume: "auto" goes on with the run in `run_dir` if there is one; "never" refuses a folder that holds a run; "must"
                refuses one that does not; or the path of a run or a checkpoint to start from, in a new `run_dir`.
            allow_changes: settings that may differ from those of the run that goes on. Limits, logging, saving, handlers, workers
                and the accelerator may always.
            save_every: epochs between checkpoints, or an event.
            save_every_s: also after so many seconds since the last one.
            async_save: writes checkpoints in the background, from a copy of the state taken at once.
            keep: newest checkpoints to keep, besides the best; None keeps all.
            monitor: a metric such as "val/loss"; each evaluation that improves it writes a checkpoint, the best.
            mode: "min" or "max"; None takes it from the metric, or "min" for a name that ends in "loss".
            hang_timeout_s: seconds a step, or the wait for a batch, may take; then the stacks of all threads and workers are
                written to standard error and the process exits with code 124.

        Returns:
            How the run ended, its metrics, history and curves.

        Raises:
            FrameworkError: a mistake in the arguments, the module or the data; the subclass tells which.
            Interrupted: a signal has ended the run; it is a SystemExit and holds the result.
            BaseException: whatever a step, a hook or the data raised.
        """
        settings = FitSettings(
            max_epochs=max_epochs,
            max_iters=max_iters,
            max_time_s=max_time_s,
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
            data_order=data_order,
            handlers=handlers,
            progress=progress,
            run_dir=run_dir,
            resume=resume,
            allow_changes=allow_changes,
            save_every=save_every,
            save_every_s=save_every_s,
            async_save=async_save,
            keep=keep,
            monitor=monitor,
            mode=mode,
            hang_timeout_s=hang_timeout_s,
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

    def _backend_for(self, accelerator: str | Backend | None, precision: str | None) -> Backend:
        if accelerator is None and self._backend is not None:
            return with_precision(self._backend, precision)
        return select_backend("auto" if accelerator is None else accelerator, precision)
