"""An exponential moving average of the weights, used for evaluation and saved with the run."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from framework.engine.engine import Engine
from framework.errors import ResumeError, SettingError

M = TypeVar("M", bound=nn.Module)


class EMA:
    """Keeps an exponential moving average of the weights: average = decay * average + (1 - decay) * weights.

    Updated once a batch in which an optimizer really stepped, with the arithmetic of `torch.optim.swa_utils`. The first update
    takes the weights as they are. Evaluations of `fit` use the averages; training does not.

    Averaged are the parameters and the running statistics of normalisation layers. Other buffers, such as counters and masks, stay
    the module's own. An average has the type of its weight, so it hardly moves where that has 16 bits.

    Args:
        decay: how much of the average remains at each update: from 0 to below 1. It then spans about 1 / (1 - decay) updates.

    Attributes:
        n_averaged: updates made.

    Raises:
        SettingError: a decay of a wrong type or out of range.

    Example:
        >>> import torch
        >>> from framework import Engine
        >>> from framework.handlers import EMA
        >>> from framework.module.hooks import register_hooks
        >>> model, ema = torch.nn.Linear(1, 1, bias=False), EMA(decay=0.5)
        >>> def step(engine, batch):
        ...     torch.nn.init.constant_(model.weight, batch)
        ...     ema.on_optimizer_step_completed()  # fit calls it where an optimizer has stepped
        >>> engine = Engine(step)
        >>> engine.state.module = model  # fit sets it
        >>> _ = register_hooks(engine, ema); _ = engine.run([0.0, 4.0])
        >>> with ema.evaluation_weights(model):
        ...     model.weight.item()
        2.0
        >>> model.weight.item()
        4.0
    """

    all_ranks = True  # evaluations use the averages on each rank

    def __init__(self, decay: float = 0.999) -> None:
        if not isinstance(decay, int | float) or isinstance(decay, bool) or not 0 <= decay < 1:
            raise SettingError(f"decay={decay!r}: decay should be a number from 0 to below 1, such as 0.999.")
        self.decay = float(decay)
        self.n_averaged = 0
        self._averages: dict[str, Tensor] = {}  # empty before the first update; of tied weights, one under all their names
        self._module: nn.Module | None = None
        self._blend = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        self._stepped = False  # since the last update
        self._loaded = False  # and not yet compared with the module

    def on_started(self, engine: Engine) -> None:
        """Begins anew, or goes on from loaded averages."""
        module = getattr(engine.state, "module", None)
        if module is None:
            raise SettingError(
                "EMA averages engine.state.module, which is not there. fit sets it; on your own Engine, set it yourself."
            )
        if engine.state.iteration == 0 and not self._loaded:
            self._averages, self.n_averaged = {}, 0  # the object may have served another run
        self._module, self._stepped = module, False
        self._take_loaded(module)
        self._warn_of_coarse_types(module)

    def on_optimizer_step_completed(self) -> None:
        """Notes that the weights have changed."""
        self._stepped = True

    def on_iteration_completed(self) -> None:
        """Updates the averages, if an optimizer has stepped."""
        self._catch_up()

    def on_closed(self) -> None:
        """Updates the averages after a step that came after the last iteration, in a window that the data cut short."""
        self._catch_up()
        self._module = None  # which may hold this

    @contextmanager
    def evaluation_weights(self, module: nn.Module) -> Iterator[None]:
        """Gives `module` the averages while the block runs, and its own weights back afterwards, to the bit.

        The parameters stay the same objects in the same memory. Before the first update the module keeps its own weights.

        Args:
            module: the one that is trained.
        """
        self._catch_up()  # fit evaluates, and notes the state, before the hooks of an event run
        self._take_loaded(module)
        averages = self._averages
        swapped = {id(tensor): (tensor.data, averages[name]) for name, tensor in _averaged(module) if name in averages}
        own = [(tensor, tensor.clone()) for tensor, _ in swapped.values()]
        try:
            _copy(swapped.values())  # through .data: graphs that wait for their backward pass do not mind
            yield
        finally:
            _copy(own)

    def averaged(self, module: M) -> M:
        """Returns a copy of `module` with the averages as its weights, in eval mode.

        Args:
            module: the one that is trained.

        Raises:
            SettingError: each process has a part of it only.
        """
        if any(hasattr(parameter, "to_local") for parameter in module.parameters()):
            raise SettingError(
                "EMA.averaged copies the module, and strategy='fsdp' has split it over the processes. evaluate(weights='ema') uses "
                "the averages where they are; load(run_dir, averaged=True) makes a whole module of a checkpoint, in one process."
            )
        with self.evaluation_weights(module):
            return deepcopy(module).eval()

    def state_dict(self) -> dict[str, Any]:
        """Returns the averages, by the module's own names, and how many updates made them."""
        self._catch_up()
        return {"n_averaged": self.n_averaged, "averaged": dict(self._averages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from saved averages, in the run at hand or in the next one that starts."""
        self._averages, self.n_averaged = dict(state["averaged"]), state["n_averaged"]
        self._loaded, self._stepped = True, False

    def _catch_up(self) -> None:
        """Updates the averages if an optimizer has stepped since the last time."""
        if self._stepped:
            assert self._module is not None, "the run has started"
            self._take_loaded(self._module)
            self._update(self._module)
            self._stepped = False

    def _update(self, module: nn.Module) -> None:
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        averages: dict[str, Tensor] = {}
        known: dict[int, Tensor] = {}  # by the weight they are of
        for name, tensor in _averaged(module):
            average = known.get(id(tensor))
            if average is None:
                average = self._averages.get(name)
                if average is None:
                    average = tensor.detach().clone()
                else:
                    before, now = groups[tensor.device, tensor.dtype, hasattr(tensor, "to_local")]
                    before.append(average)
                    now.append(tensor.detach())
                known[id(tensor)] = average
            averages[name] = average
        for before, now in groups.values():
            self._blend(before, now, self.n_averaged)
        self._averages = averages
        self.n_averaged += 1

    def _take_loaded(self, module: nn.Module) -> None:
        """Compares what was loaded with the module and moves it there.

        Raises:
            ResumeError: the averages are of another module.
        """
        if not self._loaded:
            return
        self._loaded = False
        if self.n_averaged == 0:
            return
        there, saved = dict(_averaged(module)), self._averages
        wrong = [f"{name} is missing" for name in there if name not in saved]
        wrong += [f"{name} is unknown" for name in saved if name not in there]
        wrong += [
            f"{name} has the shape {tuple(saved[name].shape)} and should have {tuple(tensor.shape)}"
            for name, tensor in there.items()
            if name in saved and saved[name].shape != tensor.shape
        ]
        if wrong:
            raise ResumeError(
                f"The saved averages of EMA are of another module: {'; '.join(wrong)}. Resume with the module they were made from."
            )
        self._averages = {name: saved[name].detach().to(each.device, each.dtype, copy=True) for name, each in there.items()}

    def _warn_of_coarse_types(self, module: nn.Module) -> None:
        coarse = {tensor.dtype for _, tensor in _averaged(module) if 1 - self.decay < torch.finfo(tensor.dtype).eps}
        if coarse:
            warnings.warn(
                f"EMA(decay={self.decay}): weights of type {', '.join(sorted(map(str, coarse)))} are too coarse for it, so their "
                "average will hardly move. Keep the weights in float32 and compute in precision='bf16'; or take a smaller decay.",
                UserWarning,
                stacklevel=2,
            )


def _averaged(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields what of a module is averaged, by name, tied weights under each of their names."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.is_floating_point() or parameter.is_complex():
            yield name, parameter
    for name, part in module.named_modules(remove_duplicate=False):
        if isinstance(part, _NormBase) and part.running_mean is not None and part.running_var is not None:
            prefix = f"{name}." if name else ""
            yield f"{prefix}running_mean", part.running_mean
            yield f"{prefix}running_var", part.running_var


def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for target, source in pairs:
        target.copy_(source)
    torch.clear_autocast_cache()  # it holds copies of the weights as they were
