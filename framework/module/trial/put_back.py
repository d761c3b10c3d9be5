"""Remembers objects as they are, and puts them back."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import copy, deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from framework.backends.base import Backend

_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
_OPEN = (nn.Module, Optimizer, LRScheduler, torch.amp.GradScaler, Backend)  # whose attributes are looked into


class PutBack:
    """Remembers modules, optimizers and what they hold: attributes, tensors, containers, generators of random numbers.

    The objects stay the same ones; tensors get their values back in place. What lies in an attribute of another type is left alone.

    Args:
        device: where the tensors may be changed in place. Of those elsewhere the memory is remembered, and not its values: a
            module that moves leaves it untouched.

    Example:
        >>> import torch
        >>> from framework.module.trial.put_back import PutBack
        >>> layer = torch.nn.Linear(2, 2)
        >>> before, kept = layer.weight.detach().clone(), PutBack(torch.device("cpu"))
        >>> kept.remember(layer)
        >>> _ = torch.nn.init.zeros_(layer.weight); layer.eval().calls = 1
        >>> kept.put_back()
        >>> torch.equal(layer.weight, before), layer.training, hasattr(layer, "calls")
        (True, True, False)
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: dict[int, Any] = {}  # also keeps them alive, so that no other object gets their id
        self._by_itself: list[Callable[[], Any]] = []  # first: what they load may land in attributes
        self._undo: list[Callable[[], None]] = []

    def remember(self, value: Any) -> None:
        """Remembers an object as it is now, and what it holds."""
        waiting = [value]
        while waiting:
            found = waiting.pop()
            if id(found) not in self._known:
                self._known[id(found)] = found
                waiting.extend(self._remember(found))

    def remember_state(self, value: Any) -> None:
        """Remembers an object by its own `state_dict`, and its attributes."""
        state = deepcopy(value.state_dict())
        self._by_itself.append(lambda: value.load_state_dict(state))
        for inner in self._attributes(value):
            self.remember(inner)

    def put_back(self) -> None:
        """Puts everything back to as it was."""
        with torch.no_grad(), ExitStack() as stack:  # each of them, whatever another raises
            for undo in reversed((*self._by_itself, *self._undo)):
                stack.callback(undo)

    def _remember(self, value: Any) -> Iterator[Any]:
        """Remembers one object and yields what it holds."""
        if isinstance(value, Tensor):
            yield from self._tensor(value)
        elif type(value) in _CONTAINERS:
            content = copy(value)
            self._undo.append(lambda: _refill(value, content))
            yield from content.values() if isinstance(content, dict) else content
        elif isinstance(value, tuple):
            yield from value
        elif (undo := generator_state(value)) is not None:
            self._undo.append(undo)
        elif isinstance(value, _OPEN):
            if isinstance(value, nn.Module) and type(value).get_extra_state is not nn.Module.get_extra_state:
                state = deepcopy(value.get_extra_state())
                self._by_itself.append(lambda: value.set_extra_state(state))
            yield from self._attributes(value)
            if isinstance(value, torch.jit.ScriptModule):  # it keeps its tensors elsewhere
                yield from (*value.parameters(), *value.buffers())

    def _attributes(self, value: Any) -> Iterator[Any]:
        kind, content = type(value), dict(getattr(value, "__dict__", {}))

        def undo() -> None:
            if type(value) is not kind:
                value.__class__ = kind  # of a lazy layer, which becomes another one
            _refill(vars(value), content)

        if content:
            self._undo.append(undo)
        return iter(content.values())

    def _tensor(self, tensor: Tensor) -> Iterator[Any]:
        kind, data, leaf = type(tensor), tensor.data, tensor.is_leaf
        lazy, needs, grad = nn.parameter.is_lazy(tensor), tensor.requires_grad, tensor.grad if leaf else None
        values = None if lazy or data.device.type != self._device.type or _overlaps(data) else _copied(data)

        def undo() -> None:
            if lazy or not _is_same_memory(tensor, data):
                tensor.data = data
            if type(tensor) is not kind:
                tensor.__class__ = kind
            if values is not None and values.layout is not torch.strided:
                tensor.data = values  # in place another one would get them
            elif values is not None:
                data.copy_(values)
            if leaf:
                if tensor.requires_grad != needs:
                    tensor.requires_grad = needs
                tensor.grad = grad

        self._undo.append(undo)
        if grad is not None:
            yield grad


def generator_state(value: Any) -> Callable[[], None] | None:
    """Returns what puts a generator of random numbers back to where it is now; None for anything else."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return partial(_call, value.set_state, state)
    if isinstance(value, random.Random):
        numbers = value.getstate()
        return partial(_call, value.setstate, numbers)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.random.Generator):
        words = deepcopy(value.bit_generator.state)
        return partial(setattr, value.bit_generator, "state", words)
    if numpy is not None and isinstance(value, numpy.random.RandomState):
        legacy = value.get_state()
        return partial(_call, value.set_state, legacy)
    return None


def _call(setter: Callable[[Any], Any], state: Any) -> None:
    setter(state)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    container.extend(content) if isinstance(container, list | deque) else container.update(content)


def _copied(data: Tensor) -> Tensor:
    return data.clone() if data.device.type == "cpu" else data.cpu()  # the device's memory is left to the step that is measured


def _overlaps(data: Tensor) -> bool:
    """Tells whether several elements are one in memory: nobody can change them in place."""
    if data.layout is not torch.strided:
        return False
    return any(stride == 0 and size > 1 for stride, size in zip(data.stride(), data.shape, strict=True))


def _is_same_memory(tensor: Tensor, data: Tensor) -> bool:
    if tensor.layout is not torch.strided or "xla" in (tensor.device.type, data.device.type):
        return tensor.device == data.device
    return (tensor.data_ptr(), tensor.shape, tensor.dtype, tensor.device) == (data.data_ptr(), data.shape, data.dtype, data.device)
