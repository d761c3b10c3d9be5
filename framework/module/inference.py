"""The verbs that run a module without training it: evaluate and predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, Never

from torch import nn

from framework.backends.base import Backend
from framework.backends.selector import select_backend, with_precision
from framework.backends.tree import join_trees
from framework.distributed.group import joined
from framework.errors import ModuleError, StepError
from framework.loggers.base import Logger
from framework.module.checks.logger_list import check_loggers
from framework.module.checks.shadowing import check_object
from framework.module.checks.unknown_settings import refuse_unknown
from framework.module.data_source import check_data
from framework.module.declared import Declared
from framework.module.evaluation import Evaluation
from framework.module.loggers import Loggers, facts_of
from framework.module.place import advised
from framework.module.prediction import predict_batches
from framework.module.ranks.evaluated import is_main, sharing
from framework.module.resuming.chosen_weights import chosen_weights
from framework.module.settings import whole
from framework.tracebacks import folded

_ARGUMENTS = ("accelerator", "precision", "limit_batches")
_OF_PREDICT = (*_ARGUMENTS, "weights")
_OF_EVALUATE = (*_OF_PREDICT, "loggers")


class Inference(Declared):
    """Evaluates and predicts. `TrainModule` is what to subclass."""

    def evaluate(
        self,
        data: Any,
        *,
        accelerator: str | Backend | None = None,
        precision: str | None = None,
        weights: str | PathLike[str] = "current",
        limit_batches: int | None = None,
        loggers: Sequence[Logger] = (),
        **unknown: Never,
    ) -> dict[str, Any]:
        """Runs `evaluation_step` over the data and returns the results by name, such as "test/accuracy".

        Args:
            data: batches.
            accelerator: as in `fit`; None for that of the last `fit`, else "auto".
            precision: as in `fit`.
            weights: those to use; the module keeps its own. "current": its own. "best": those of the best checkpoint of the last
                `fit`. "ema": the averages that `EMA` has made in it. Or the path of a run, which means its best checkpoint, of a
                checkpoint, or of a file that `export` has written. Of a checkpoint the averages are taken where it has any, since
                the evaluations of its run used them.
            limit_batches: batches to use, at most.
            loggers: as in `fit`; each gets one row. Those that a `fit` has had add it to that run.

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
        with folded():
            if unknown:
                refuse_unknown(unknown, _OF_EVALUATE, "evaluate")
            check_object(self)
            if not self.declares("evaluation_step"):
                raise ModuleError(f"{type(self).__name__} has no evaluation_step, which evaluate needs. Define it in the class.")
            limit = whole("limit_batches", limit_batches, optional=True)
            check_loggers(loggers)
            batches = check_data(data, "data")
            backend = self._backend_for(accelerator, precision)
            given = {"accelerator": accelerator, "precision": precision, "limit_batches": limit, "weights": str(weights)}
            with (
                joined(backend.device) as group,
                sharing(self, backend, batches, group) as (own, seed),
                advised(),
                chosen_weights(self, weights),
                Loggers(loggers if is_main(group) else ()) as told,
            ):
                if loggers and is_main(group):
                    told.begin(facts_of("evaluate", self, given, seed))
                results = Evaluation(self, backend, "test", seed=seed, group=group).run(own, limit)
                told.row(results)
                told.close("completed", "The evaluation is over.")
            return results

    def predict(
        self,
        data: Any,
        *,
        accelerator: str | Backend | None = None,
        precision: str | None = None,
        weights: str | PathLike[str] = "current",
        limit_batches: int | None = None,
        **unknown: Never,
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
        with folded():
            if unknown:
                refuse_unknown(unknown, _OF_PREDICT, "predict")
            with chosen_weights(self, weights):
                outputs = [*self.predict_batches(data, accelerator=accelerator, precision=precision, limit_batches=limit_batches)]
            try:
                return join_trees(outputs)
            except (ValueError, RuntimeError, TypeError, LookupError) as error:
                raise StepError(
                    f"The predictions of {len(outputs)} batches cannot be joined along their first dimension: {error}. "
                    "predict_batches yields them one by one."
                ) from error

    def predict_batches(
        self,
        data: Any,
        *,
        accelerator: str | Backend | None = None,
        precision: str | None = None,
        limit_batches: int | None = None,
        **unknown: Never,
    ) -> Iterator[Any]:
        """Yields what `prediction_step` gives for each batch, on the CPU, with the current weights; else as `predict`."""
        with folded():
            if unknown:
                refuse_unknown(unknown, _ARGUMENTS, "predict_batches")
            check_object(self)
            if not self.declares("prediction_step") and getattr(self.forward, "__func__", None) is nn.Module.forward:
                raise ModuleError(
                    f"{type(self).__name__} has no forward and no prediction_step, one of which predict needs. Define "
                    "forward(self, x) or prediction_step(self, batch)."
                )
            limit = whole("limit_batches", limit_batches, optional=True)
            return predict_batches(self, check_data(data, "data"), self._backend_for(accelerator, precision), limit)

    def _backend_for(self, accelerator: str | Backend | None, precision: str | None) -> Backend:
        if accelerator is None and self._backend is not None:
            return with_precision(self._backend, precision)
        return select_backend("auto" if accelerator is None else accelerator, precision)
