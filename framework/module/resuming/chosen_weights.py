"""Which weights an evaluation uses: the module's own, those of a checkpoint, or averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from framework.errors import SettingError
from framework.handlers.ema import EMA

if TYPE_CHECKING:
    from framework.module.declared import Declared

_CHOICES = ("current", "best", "ema")


@dataclass(slots=True)
class LastFit:
    """What a module keeps of its last `fit`, for the evaluations after it.

    Attributes:
        best_checkpoint: that of the best evaluation, None where none was monitored.
        ema: the handler that has averaged the weights, None for none.
    """

    best_checkpoint: Path | None = None
    ema: EMA | None = None


@contextmanager
def chosen_weights(module: Declared, weights: str | PathLike[str]) -> Iterator[None]:
    """Gives the module other weights while the block runs, and its own back afterwards, to the bit.

    Args:
        module: whose parameters stay the same objects.
        weights: "current", "best", "ema", or a path; see `Inference.evaluate`.

    Raises:
        SettingError: `weights` is unknown, or of a kind that the last `fit` did not have.
        CheckpointError: a checkpoint is damaged, or is one of another module.
    """
    if weights == "current":
        yield
    elif weights == "ema":
        with _averages(module).evaluation_weights(module):
            yield
    else:
        path = _best(module) if weights == "best" else _known(weights)
        if any(map(nn.parameter.is_lazy, module.parameters())):  # it has no weights of its own yet, and keeps these
            module._take_from(path, "best", averaged=None)
            yield
            return
        own = _copied(module.state_dict())
        try:
            module._take_from(path, "best", averaged=None)
            yield
        finally:
            module.load_state_dict(own)


def _averages(module: Declared) -> EMA:
    if module._last_fit.ema is None:
        raise SettingError(
            "weights='ema' needs a fit of this module with handlers=[EMA()] before it, and this one has had none. Give the path of "
            "a run that had it, or leave weights out."
        )
    return module._last_fit.ema


def _best(module: Declared) -> Path:
    if module._last_fit.best_checkpoint is None:
        raise SettingError(
            "weights='best' needs a fit of this module with run_dir and monitor before it, and this one has had none. Give the "
            "path of a run or a checkpoint, or leave weights out."
        )
    return module._last_fit.best_checkpoint


def _known(weights: str | PathLike[str]) -> Path:
    if not isinstance(weights, str | PathLike) or not Path(weights).exists():
        raise SettingError(
            f"weights={weights!r}: weights is one of {', '.join(map(repr, _CHOICES))}, or the path of a run, of a checkpoint or of "
            "a .safetensors file; there is none of that name."
        )
    return Path(weights)


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() if isinstance(value, Tensor) else deepcopy(value) for name, value in state.items()}
