"""What loggers draw curves of: numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_ROW = ("epoch", "iteration", "time_s")


def scalars(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers among some values; a mapping or a list of numbers gives one for each, as `name/key` and `name/0`.

    Whatever else there is, such as a text or a matrix, is left out.

    Example:
        >>> import torch
        >>> from framework.loggers.scalars import scalars
        >>> scalars({"loss": 1, "recall": torch.tensor([0.5, 1.0]), "confusion": torch.eye(2), "note": "text"})
        {'loss': 1.0, 'recall/0': 0.5, 'recall/1': 1.0}
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        plain = _plain(value)
        if isinstance(plain, int | float):
            found[name] = float(plain)
        elif isinstance(plain, Mapping):
            found |= {f"{name}/{key}": float(number) for key, item in plain.items() if _is_number(number := _plain(item))}
        elif isinstance(plain, list | tuple):
            numbers = [_plain(item) for item in plain]
            found |= {f"{name}/{index}": float(number) for index, number in enumerate(numbers) if _is_number(number)}
    return found


def row_scalars(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a row; means of an epoch get names of their own, since the curves have points at each iteration.

    Example:
        >>> from framework.loggers.scalars import row_scalars
        >>> row_scalars({"epoch": 1, "iteration": 6, "time_s": 2.0, "train/loss": 0.5, "val/loss": 0.4})
        {'train_epoch/loss': 0.5, 'val/loss': 0.4}
    """
    measured = {name: value for name, value in values.items() if name not in _OF_ROW}
    return {
        f"train_epoch/{name.removeprefix('train/')}" if name.startswith("train/") else name: number
        for name, number in scalars(measured).items()
    }


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value  # tensors; arrays and numbers of numpy


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
