"""Metrics by name: torchmetrics, or anything with update, compute and reset."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor

from framework.errors import ModuleError, StepError
from framework.metrics.list_states import Kinds, fill_lists, kinds_of_lists

Feeding: TypeAlias = dict[str, tuple[int, Kinds]]
_VERBS = ("update", "compute", "reset")


class MetricSet:
    """The metrics of one evaluation: fed with pairs (y_pred, y), read at its end.

    Args:
        metrics: by name, objects with `update(y_pred, y)`, `compute()` and `reset()`.
        device: where those that can move are moved.

    Raises:
        ModuleError: not a mapping of such objects.

    Example:
        >>> import torch
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> from framework.metrics import MetricSet
        >>> metrics = MetricSet({"accuracy": MulticlassAccuracy(num_classes=2, average="micro")})
        >>> metrics.update((torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0])))
        >>> metrics.compute()
        {'accuracy': 0.5}
    """

    def __init__(self, metrics: Mapping[str, Any], device: torch.device | None = None) -> None:
        if not hasattr(metrics, "items"):
            raise ModuleError(
                "configure_metrics should return a mapping from names to metrics, such as {'accuracy': MulticlassAccuracy(10)}; "
                f"got {metrics!r} ({type(metrics).__name__})."
            )
        self._metrics: dict[str, Any] = dict(metrics.items())
        self._updates = dict.fromkeys(self._metrics, 0)
        self._counts = True
        for name, metric in self._metrics.items():
            if isinstance(metric, type):
                raise ModuleError(f"The metric {name!r} is the class {metric.__name__}. Write {metric.__name__}(...).")
            missing = [verb for verb in _VERBS if not callable(getattr(metric, verb, None))]
            if missing:
                raise ModuleError(
                    f"The metric {name!r} ({type(metric).__name__}) has no {' and no '.join(missing)}. Give an object that has "
                    "update(y_pred, y), compute() and reset(), such as a metric of torchmetrics."
                )
            if device is not None and hasattr(metric, "to"):
                self._metrics[name] = metric.to(device)
        self._refuse_shared()

    def __len__(self) -> int:
        return len(self._metrics)

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def update(self, pair: Any, name: str | None = None) -> None:
        """Feeds a pair (y_pred, y) to every metric, or to the one called `name`."""
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            came = f"{type(pair).__name__}{f' of length {len(pair)}' if isinstance(pair, tuple | list) else ''}"
            raise StepError(
                "evaluation_step should return (y_pred, y) for the metrics, a mapping of names to scalars and pairs, or None; "
                f"got {came}{'' if name is None else f' under {name!r}'}."
            )
        if not self._metrics:
            raise StepError(
                "evaluation_step returned (y_pred, y), but there is no metric to feed them to. Define configure_metrics, or return "
                "a mapping of scalars such as {'loss': loss}."
            )
        if not self._counts:
            return
        for key in self._metrics if name is None else (name,):
            try:
                self._metrics[key].update(*pair)
            except Exception as error:
                error.add_note(f"It was raised by {self._named(key)}, fed with {' and '.join(map(_told, pair))}.")
                raise
            self._updates[key] += 1

    @contextmanager
    def unfed(self) -> Iterator[None]:
        """Feeds no metric while the block runs: another process has the batch."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def refuse_local(self) -> None:
        """Refuses metrics that would give each of several processes a result of its own.

        Raises:
            ModuleError: one is neither of torchmetrics nor has `synchronize()`, which `compute` calls first.
        """
        for name, metric in self._metrics.items():
            if not _synchronizes(metric) and not callable(getattr(metric, "synchronize", None)):
                raise ModuleError(
                    f"{self._named(name)} cannot be computed over several processes: each would have the result of its own share. "
                    "Use a metric of torchmetrics (with sync_on_compute=True), or give it a method synchronize(), which brings "
                    "together what all processes were fed and is called before compute()."
                )

    def compute(self, over_ranks: Callable[[Feeding], Sequence[Feeding]] | None = None) -> dict[str, Any]:
        """Returns the results by name: floats for scalars, CPU tensors for others, `name/part` where a metric gives a mapping.

        Args:
            over_ranks: returns what all processes of a run give it: by name how often a metric was fed, and what its lists hold.
                None where there is one.

        Raises:
            StepError: a metric was never fed, or computed None.
        """
        own: Feeding = {name: (self._updates[name], kinds_of_lists(metric)) for name, metric in self._metrics.items()}
        of_ranks = [own] if over_ranks is None else over_ranks(own)
        for name, metric in self._metrics.items():
            kinds = [each[name][1] for each in of_ranks if each[name][0]]
            if not kinds:
                raise StepError(
                    f"The metric {name!r} got no predictions: evaluation_step never returned (y_pred, y) or "
                    f"{{{name!r}: (y_pred, y)}}. Return them, or leave the metric out of configure_metrics."
                )
            if not self._updates[name]:
                fill_lists(metric, kinds[0])
        results: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            try:
                with nullcontext() if self._updates[name] else _unfed():
                    if over_ranks is not None and not _synchronizes(metric):
                        metric.synchronize()
                    value = metric.compute()
            except Exception as error:
                error.add_note(f"It was raised by compute() of {self._named(name)}, which was fed {self._updates[name]} times.")
                raise
            if value is None:
                raise StepError(f"compute() of {self._named(name)} returned None. Return a number, a tensor or a mapping of them.")
            parts = {f"{name}/{part}": item for part, item in value.items()} if isinstance(value, Mapping) else {name: value}
            results.update({key: _plain(item) for key, item in parts.items()})
        return results

    def directions(self) -> dict[str, bool | None]:
        """Returns by name whether higher is better; None for a metric that does not know it, as those of torchmetrics do."""
        known = {name: getattr(metric, "higher_is_better", None) for name, metric in self._metrics.items()}
        return {name: higher if isinstance(higher, bool) else None for name, higher in known.items()}

    def reset(self) -> None:
        """Forgets everything fed so far."""
        for name, metric in self._metrics.items():
            metric.reset()
            self._updates[name] = 0

    def _refuse_shared(self) -> None:
        names: dict[int, str] = {}
        for name, metric in self._metrics.items():
            if (other := names.setdefault(id(metric), name)) != name:
                raise ModuleError(
                    f"The metrics hold one object, a {type(metric).__name__}, as {other!r} and as {name!r}, which would feed it "
                    "twice. Make one for each name."
                )

    def _named(self, name: str) -> str:
        return f"the metric {name!r} ({type(self._metrics[name]).__name__})"


def _synchronizes(metric: Any) -> bool:
    """Tells whether it is a metric of torchmetrics, or a collection of them, which bring processes together by themselves."""
    members = metric.values() if hasattr(metric, "compute_groups") else (metric,)
    return all(hasattr(each, "metric_state") and getattr(each, "sync_on_compute", False) for each in members)


@contextmanager
def _unfed() -> Iterator[None]:
    """Lets a metric be computed in a process that had nothing to feed it with, while others had: torchmetrics would warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*compute.* was called before the .*update", category=UserWarning)
        yield


def _told(item: Any) -> str:
    if isinstance(item, Tensor):
        return f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}"
    return f"an object of type {type(item).__name__}"


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.detach().cpu()
    return value
