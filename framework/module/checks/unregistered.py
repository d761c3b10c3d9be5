"""Parameters that a module holds where torch does not see them: they would never be trained, moved or saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from framework.errors import ModuleError

_DEEPEST = 2  # lists in lists; what lies deeper is data


def refuse_unregistered(module: nn.Module) -> None:
    """Refuses a module that keeps parameters to train in a plain list or dict, or as a tensor that is no parameter.

    Raises:
        ModuleError: naming the attribute.
    """
    known = {id(tensor) for tensors in (module.parameters(), module.buffers()) for tensor in tensors}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            found = next((each for each in _held(value, _DEEPEST) if _is_lost(each, known)), None)
            if found is None:
                continue
            attribute = ".".join(filter(None, (type(module).__name__, path, name)))
            if found is value:
                raise ModuleError(
                    f"{attribute} is a tensor that requires gradients, but no parameter: it would be neither trained, nor moved, "
                    "nor saved. Write nn.Parameter(...); or detach() what is not to be trained."
                )
            raise ModuleError(
                f"{attribute} is a {type(value).__name__} that holds a {type(found).__name__}, whose parameters torch does not see "
                "there: they would be neither trained, nor moved, nor saved. Use nn.ModuleList, nn.ModuleDict or nn.ParameterList; "
                "or freeze what is to stay outside: requires_grad_(False)."
            )


def _held(value: Any, depth: int) -> Iterator[Any]:
    """Yields the tensors and modules that an attribute holds, itself or in lists and dicts."""
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif depth and isinstance(value, list | tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _held(item, depth - 1)


def _is_lost(each: Tensor | nn.Module, known: set[int]) -> bool:
    tensors = (each,) if isinstance(each, Tensor) else each.parameters()
    return any(tensor.requires_grad and tensor.is_leaf and id(tensor) not in known for tensor in tensors)
