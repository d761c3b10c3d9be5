"""Which backward function gave the first gradient that is not finite, of which submodule, and which line of the forward pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from framework.backends.tree import tensors_in
from framework.module.non_finite.module_calls import watched_calls
from framework.module.non_finite.origins import is_users, said_of_line
from framework.steps.finite import all_finite

_FRAME = re.compile(r'\s*File "(?P<file>.*)", line (?P<line>\d+), in ')


class BackwardOrigins:
    """Looks on while a loss and its gradients are computed.

    Anomaly detection only keeps the lines of the forward pass here: on its own it finds NaN but no infinity, and so names what
    comes after that.

    Args:
        module: is run inside.

    Attributes:
        first: says what made the first gradient that is not finite; None where there was none.
    """

    def __init__(self, module: nn.Module) -> None:
        self.first: str | None = None
        self._module = module
        self._begun: list[list[Any]] = []  # for each submodule being called, the nodes of its inputs
        self._owners: dict[Any, str] = {}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follows the forward pass inside of the block."""
        with torch.autograd.set_detect_anomaly(True, check_nan=False), watched_calls(self._module, self._enter, self._leave):
            yield

    def look_at(self, loss: Tensor) -> None:
        """Looks on from now on while gradients of `loss` are computed."""
        for node in _nodes_below([loss.grad_fn], set()):
            self._watch(node, self._owners.get(node))
        self._owners.clear()

    def _enter(self, _: str, given: Any) -> None:
        self._begun.append([tensor.grad_fn for tensor in tensors_in(given)])

    def _leave(self, name: str, output: Any) -> None:
        inputs = self._begun.pop()
        for node in _nodes_below([tensor.grad_fn for tensor in tensors_in(output)], {*inputs, *self._owners}):
            self._owners[node] = name  # the innermost is left first

    def _watch(self, node: Any, owner: str | None) -> None:
        name, stack = node.name(), node.metadata.get("traceback_", ())  # a hook that held the node would keep all of the graph
        inside = "" if owner is None else f" in {owner}"

        def look(given: Any, taken: Any) -> None:
            if self.first is None and all_finite(tensors_in(taken)) and not all_finite(tensors_in(given)):
                self.first = f"made the first gradient that is not finite in {name}{inside}, the backward of {_users_line(stack)}"

        node.register_hook(look)


def _nodes_below(nodes: list[Any], stop: set[Any]) -> Iterator[Any]:
    """Yields each node of a graph once, without those in `stop` and what only they lead to."""
    waiting, seen = list(nodes), {None, *stop}
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]


def _users_line(stack: Any) -> str:
    """Returns the innermost line of the user's code in a stack of formatted frames."""
    found = [frame for entry in stack if (frame := _FRAME.match(entry)) is not None and is_users(frame["file"])]
    return said_of_line(found[-1]["file"], int(found[-1]["line"])) if found else "code that is not known"
