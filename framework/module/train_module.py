"""What a user subclasses: the verbs that run what it declares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Never

from framework.backends.base import Backend
from framework.distributed.strategy import Strategy
from framework.engine.events import EventEnum, EventLike
from framework.loggers.base import Logger
from framework.module.checks.declarations import check_declarations
from framework.module.checks.unknown_settings import SETTINGS, refuse_unknown
from framework.module.drawing.show_loop import draw_loop
from framework.module.fit import fit
from framework.module.hooks import check_hooks
from framework.module.inference import Inference
from framework.module.result import FitResult
from framework.module.settings import FitSettings
from framework.tracebacks import folded


class TrainModule(Inference):
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
        with folded():
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
        strategy: str | Strategy = "auto",
        batch: str = "rank",
        sync_batchnorm: bool = False,
        checkpoint_activations: bool = False,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        compile: bool | Mapping[str, Any] = False,  # noqa: A002  # the field's word for it
        seed: int | None = None,
        deterministic: bool = False,
        nan: str = "stop",
        debug: bool = False,
        dry_run: bool = False,
        data_order: str = "batch",
        handlers: Sequence[Any] = (),
        loggers: Sequence[Logger] = (),
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
        **unknown: Never,
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
            strategy: how several processes, as torchrun starts them, train one model: "ddp": each has all of it; "fsdp": each has a
                part; `DDP(...)` and `FSDP(...)` with settings; "auto": "ddp" where there are several processes.
            batch: whose batches the data give: "rank": of each process; "global": of all together, so that the number of processes
                changes nothing.
            sync_batchnorm: batch normalisation over the batches of all processes.
            checkpoint_activations: computes the activations of each block anew in the backward pass instead of keeping them; blocks
                are those of `configure_sharding`.
            accumulate: batches whose gradients make one step. The last window of an epoch may be short; its real size counts.
            clip_norm: largest 2-norm of the gradients of a step together. `engine.state.grad_norms` has the norms before.
            clip_value: largest absolute value of each entry of a gradient.
            compile: compiles the training and the evaluation step with `torch.compile`; a mapping gives it options.
            seed: seeds python, numpy and torch first. To fix the weights too, call `seed_all` before they are made.
            deterministic: lets torch use deterministic algorithms only.
            nan: "stop" raises on a loss that is not finite, on the CPU before the step, elsewhere within `log_every` iterations;
                "skip" leaves out steps whose loss or gradients are not finite, with `accumulate` whole windows, and counts them in
                `engine.state.skipped_steps`; it waits for the device in each step; "ignore" trains on.
            debug: checks loss and gradients of each step, and runs one that is not finite again, to name the first module,
                operation and parameter that are not. Slow.
            dry_run: takes one batch of everything, prints shapes, memory and time, and leaves no trace: no files, and the module as
                it was.
            data_order: "batch": the order of a map-style DataLoader and the random numbers drawn in it follow from the seed and
                the position of the batch, so that a run can go on anywhere; "sample": the random numbers follow from the index
                of the sample, so the batch size does not matter; "loader": the loader is left as it is.
            handlers: objects with `on_<event>` methods; they run before the module's own hooks, in this order. What has
                `state_dict` and `load_state_dict` is saved with the run.
            loggers: get every point of the curves, and a row an epoch or validation: `CSVLogger`, `TensorBoardLogger`,
                `WandbLogger`, `MLflowLogger`, `TrackioLogger`, or your own `Logger`. One that fails is left out, with a warning.
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
        with folded():
            if unknown:
                refuse_unknown(unknown, SETTINGS, "fit")
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
                strategy=strategy,
                batch=batch,
                sync_batchnorm=sync_batchnorm,
                checkpoint_activations=checkpoint_activations,
                accumulate=accumulate,
                clip_norm=clip_norm,
                clip_value=clip_value,
                compile=compile,
                seed=seed,
                deterministic=deterministic,
                nan=nan,
                debug=debug,
                dry_run=dry_run,
                data_order=data_order,
                handlers=handlers,
                loggers=loggers,
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

    def show_loop(self, train_data: Any, val_data: Any = None, **settings: Any) -> None:
        """Prints the plain PyTorch loop that `fit` runs with the same arguments, every handler in its place.

        It is made from what is registered. The arguments are checked as `fit` checks them; nothing is run, read, written or moved,
        and the module stays as it is.

        Args:
            train_data, val_data: as for `fit`.
            **settings: of `fit`.

        Raises:
            FrameworkError: a mistake in the arguments, the module or the data.

        Example:
            >>> import torch
            >>> from framework import TrainModule
            >>> class Line(TrainModule):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.layer = torch.nn.Linear(1, 1)
            ...     def training_step(self, batch):
            ...         return self.layer(batch).square().mean()
            ...     def configure_optimizers(self):
            ...         return torch.optim.SGD(self.parameters(), lr=0.1)
            >>> Line().show_loop([torch.ones(2, 1)], max_epochs=3, progress=False)
            # Line.fit(train_data, max_epochs=3, progress=False) runs:
            model = Line() ...
            optimizer = SGD(model.parameters(), lr=0.1) ...
                    for epoch in range(1, 4):
                        model.train() ...
                        for batch in train_data: ...
                            optimizer.zero_grad()
                            loss = model.training_step(batch) ...
                            loss.backward()
                            optimizer.step()
            ...
        """
        with folded():
            print(draw_loop(self, train_data, val_data, **settings))  # noqa: T201  # it is what was asked for
