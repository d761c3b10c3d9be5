"""Where the first value that is not finite came from: follows each operation of a step that is run again."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from framework.backends.tree import tensors_in
from framework.module.non_finite.module_calls import watched_calls
from framework.steps.finite import all_finite, count_non_finite

_INSIDE = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
"""Folders whose code is not the user's."""
_UNFILLED = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""What these return means nothing yet."""


class Origins(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own class is without types
    """While it is entered, notes for each tensor that is not finite where that began: in the batch, a weight or an operation.

    What a later operation makes finite again, such as the softmax of a mask of -inf, is no origin of what comes after it.

    Args:
        module: is run inside.
        batch: that it is run on.
    """

    def __init__(self, module: nn.Module, batch: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._owner = f"{type(module).__name__}.training_step, outside of its submodules"
        self._module = module
        self._inside: list[str] = []  # the submodules being called, the innermost last
        self._known: dict[int, str] = {}
        self._alive: list[Tensor] = []  # a key stays taken as long as its tensor lives
        given = [(f"was given {place}", tensor) for place, tensor in _places(batch, "batch")]
        given += [(f"used the parameter {name}", parameter) for name, parameter in module.named_parameters()]
        given += [(f"used the buffer {name}", buffer) for name, buffer in module.named_buffers()]
        for place, tensor in given:
            if not nn.parameter.is_lazy(tensor) and not all_finite([tensor]):
                of = f"{count_non_finite(tensor)} of {tensor.numel()} entries"
                self._note(tensor, f"{place}, in which {of} are not finite")

    def of(self, tensor: Tensor) -> str | None:
        """Returns what the step did that a tensor is not finite, such as "used the parameter ..."; None for one that is."""
        return self._known.get(_key(tensor))

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follows what is computed inside of the block, and in which submodules."""
        with watched_calls(self._module, self._enter, self._leave), self:
            yield

    def _enter(self, name: str, _: Any) -> None:
        self._inside.append(name)

    def _leave(self, *_: Any) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        bad = [each for each in tensors_in([*args, kwargs]) if not all_finite([each])]
        causes = [cause for each in bad if (cause := self.of(each)) is not None]
        result = func(*args, **kwargs)
        operation = func.overloadpacket.__name__
        if operation not in _UNFILLED:
            for each in tensors_in(result):
                if not all_finite([each]):
                    self._note(each, causes[0] if causes else self._describe(operation, given=bool(bad)))
        return result

    def _note(self, tensor: Tensor, origin: str) -> None:
        self._known[_key(tensor)] = origin
        self._alive.append(tensor)

    def _describe(self, operation: str, *, given: bool) -> str:
        where = f"in {self._inside[-1] if self._inside else self._owner}, {_line_now()}"
        if given:
            return f"gave {operation} {where} a value that is not finite and neither of the batch nor a parameter or buffer"
        return f"made the first value that is not finite in the operation {operation} {where}"


def is_users(filename: str) -> bool:
    """Tells whether a line of code is the user's, not torch's or ours."""
    return not filename.startswith((*_INSIDE, "<frozen ", "<eval_with_key>"))  # the last is compiled code


def _line_now() -> str:
    """Returns the innermost line of the user's code that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return said_of_line(frame.f_code.co_filename, frame.f_lineno)


def said_of_line(filename: str, number: int) -> str:
    """Returns a line of code in words, such as "line 3 of net.py (`return x.log()`)"."""
    code = linecache.getline(filename, number).strip()
    return f"line {number} of {Path(filename).name}" + (f" (`{code}`)" if code else "")


def _places(tree: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors of a batch, each with its place in it, such as "batch[0]"."""
    if isinstance(tree, Tensor):
        yield place, tree
    elif isinstance(tree, Mapping | tuple | list):
        for key, item in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _places(item, f"{place}[{key!r}]")


def _key(tensor: Tensor) -> int:
    """Returns what a tensor and its views have in common."""
    if tensor.layout is not torch.strided or tensor.device.type == "xla":
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)
