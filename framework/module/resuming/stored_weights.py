"""Weights in files: a module takes them from a run, a checkpoint or a safetensors file, and writes one that needs only torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from torch import Tensor, nn

from framework.checkpoint.folder import Checkpoint, open_checkpoint
from framework.checkpoint.store import CheckpointStore
from framework.errors import CheckpointError
from framework.module.resuming.export import export_weights
from framework.module.resuming.hparams import make_again, record_arguments
from framework.module.resuming.placing import load_module, mesh_of
from framework.tracebacks import folded

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints in that of a run."""
LAZY = "not yet known"
_WHICH = ("best", "last")
_EXTRA = "_extra_state"  # how torch names it
_EMA = "EMA/0"  # how a checkpoint names the first handler of that class


class StoredWeights(nn.Module):
    """Loads and writes weights. `TrainModule` is what to subclass."""

    _hparams: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_hparams"] = record_arguments(cls, args, kwargs)
        return self

    @classmethod
    def load(cls, path: str | PathLike[str], *, which: str = "best", averaged: bool = False, **arguments: Any) -> Self:
        """Makes the module of a run anew: with the constructor arguments it had and with its weights.

        Args:
            path: the folder of a run, or of one checkpoint.
            which: of a run, "best": the checkpoint with the best value of the monitored metric, and the newest where none was
                monitored; or "last".
            averaged: take the averages that `EMA` has made, which the run's evaluations used.
            **arguments: constructor arguments that replace recorded ones; needed for those that a file cannot hold.

        Raises:
            CheckpointError: no checkpoint is there, it is damaged, is one of another class, or has no averages.
            TypeError: an argument is missing.
        """
        with folded():
            checkpoint = find_checkpoint(path, which)
            facts = checkpoint.facts
            trained = facts.get("class") if isinstance(facts, Mapping) else None
            if trained != cls.__name__:
                raise CheckpointError(
                    f"{checkpoint.path} holds {f'a {trained}' if trained else 'no module of fit'}, not a {cls.__name__}. Call load "
                    "on the class that was trained, or make the module yourself and call load_weights."
                )
            hparams = facts["hparams"]
            missing = [name for name in hparams["others"] if name not in arguments]
            if missing:
                raise CheckpointError(
                    f"{cls.__name__} was made with {', '.join(missing)}, which the checkpoint does not hold: no plain values, or "
                    f"too large. Give them: {cls.__name__}.load(path, {missing[0]}=...), or make the module and call load_weights."
                )
            module: Self = make_again(cls, {**hparams["values"], **arguments})
            module._take_weights(_state(checkpoint, averaged), str(checkpoint.path))
            return module

    def load_weights(self, path: str | PathLike[str], *, which: str = "best", averaged: bool = False) -> None:
        """Takes the weights of a run, a checkpoint, or a file that `export` has written.

        Args:
            path: the folder of a run or of one checkpoint, or a .safetensors file.
            which, averaged: as in `load`; of a file there is nothing to choose.

        Raises:
            CheckpointError: nothing is there, it is damaged, its weights are not those of this module, or it has no averages.
        """
        with folded():
            self._take_from(path, which, averaged)

    def export(self, path: str | PathLike[str]) -> None:
        """Writes the weights as one safetensors file, which plain PyTorch reads: `load_state_dict(load_file(path))`.

        Where the weights are split over processes, as with FSDP, all of them call this, and the first one writes.

        Raises:
            CheckpointError: the file cannot be written; one that was there before is as it was.

        Example:
            >>> import tempfile, torch
            >>> from framework import TrainModule
            >>> class Scale(TrainModule):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.factor = torch.nn.Parameter(torch.tensor(3.0))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Scale().export(f"{folder}/scale.safetensors")
            ...     other = Scale(); _ = torch.nn.init.zeros_(other.factor)
            ...     other.load_weights(f"{folder}/scale.safetensors"); other.factor.item()
            3.0
        """
        with folded():
            state = self.state_dict()
            others = [name for name, value in state.items() if not isinstance(value, Tensor)]
            if others:
                warnings.warn(
                    f"The file holds tensors only: {', '.join(others)} of {type(self).__name__} is left out. A checkpoint holds "
                    "it.",
                    UserWarning,
                    stacklevel=2,
                )
            export_weights({name: value for name, value in state.items() if name not in others}, Path(path))

    def _take_from(self, path: str | PathLike[str], which: str, averaged: bool | None) -> None:
        """Loads what `load_weights` loads; `averaged` None takes averages where there are any."""
        if Path(path).suffix == ".safetensors":
            self._take_weights(_read_file(Path(path)), str(path), without_rest=True)
        else:
            checkpoint = find_checkpoint(path, which)
            self._take_weights(_state(checkpoint, averaged, mesh_of(self.state_dict())), str(checkpoint.path))

    def _take_weights(self, state: dict[str, Any], source: str, *, without_rest: bool = False) -> None:
        """Loads weights that are those of this module; a file comes without the rest, which is extra state of other types."""
        own = self.state_dict()
        lines = weights_diff(_weights(state), _weights(own))
        lines += [f"{name}: missing in the module" for name in _rest(state) if name not in own]
        if not without_rest:
            lines += [f"{name}: missing in the checkpoint" for name in _rest(own) if name not in state]
        if lines:
            raise CheckpointError(
                f"The weights of {source} are not those of this {type(self).__name__}:\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\nMake the module with the arguments it was trained with; load does that."
            )
        load_module(self, state, strict=not without_rest)


def find_checkpoint(path: str | PathLike[str], which: str = "last") -> Checkpoint:
    """Returns the checkpoint in a folder, verified: the folder's own, or the best or the last of a run's.

    Raises:
        CheckpointError: none is there, or all are damaged.
    """
    if which not in _WHICH:
        raise CheckpointError(f"which={which!r} is unknown: it is one of {', '.join(map(repr, _WHICH))}.")
    folder = Path(path)
    if (folder / CHECKPOINTS).is_dir():
        store = CheckpointStore(folder / CHECKPOINTS)
        best = store.best() if which == "best" else None
        checkpoint = open_checkpoint(best) if best is not None else store.newest()
        if checkpoint is None:
            raise CheckpointError(f"{folder} is a run without a checkpoint yet.")
        return checkpoint
    if not (folder / "manifest.json").is_file():
        raise CheckpointError(
            f"{folder} is neither a run, nor a checkpoint, nor a .safetensors file. Give the run_dir of fit, or one of its "
            f"{CHECKPOINTS}/step-... folders."
        )
    return open_checkpoint(folder)


def _state(checkpoint: Checkpoint, averaged: bool | None, mesh: Any = None) -> dict[str, Any]:
    """Returns the weights of a checkpoint; `averaged` None takes averages where there are any.

    Args:
        checkpoint, averaged: see `load`.
        mesh: as for `Checkpoint.read`.

    Raises:
        CheckpointError: there are no averages, where they are asked for.
    """
    state: dict[str, Any] = dict(checkpoint.read("model", mesh))
    if averaged is False:
        return state
    averages = _averages(checkpoint, mesh)
    if averaged and not averages:
        raise CheckpointError(
            f"averaged=True: {checkpoint.path} holds no averages. Its run had no EMA among its handlers, or not one step yet. "
            "Leave averaged out to take the weights."
        )
    return {**state, **averages}


def _averages(checkpoint: Checkpoint, mesh: Any) -> dict[str, Tensor]:
    """Returns the averages that the first EMA of a run has made, by the names of the weights; nothing where there are none."""
    handlers: Any = checkpoint.read("handlers", mesh) if "handlers" in checkpoint.parts else None
    ema: Any = handlers.get(_EMA) if isinstance(handlers, Mapping) else None
    averages: Any = ema.get("averaged") if isinstance(ema, Mapping) else None
    return dict(averages) if isinstance(averages, Mapping) else {}


def weights_diff(saved: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Returns a line for each tensor that one has and the other has not, or that differs in shape or type."""
    then, now = weights_kinds(saved), weights_kinds(own)
    lines = [f"{name}: missing in the module" for name in then if name not in own]
    lines += [f"{name}: missing in the checkpoint" for name in now if name not in saved]
    changed = [name for name in now if name in then and LAZY not in (then[name], now[name]) and then[name] != now[name]]
    return lines + [f"{name}: {then[name]} in the checkpoint, {now[name]} in the module" for name in changed]


def weights_kinds(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns type and shape of each tensor, in words."""
    return {
        name: LAZY if nn.parameter.is_lazy(each) else f"{str(each.dtype).removeprefix('torch.')} {tuple(each.shape)}"
        for name, each in tensors.items()
    }


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns what is compared: tensors, but those of extra state, which may change its shape."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and not name.endswith(_EXTRA)}


def _rest(state: Mapping[str, Any]) -> list[str]:
    """Returns the names of what is not compared."""
    weights = _weights(state)
    return [name for name in state if name not in weights]


def _read_file(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as a safetensors file: {error}. It is missing or damaged.") from error
