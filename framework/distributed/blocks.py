"""Which parts of a module are its blocks: what is sharded, or has its activations computed anew, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from framework.errors import ModuleError

_LISTS = (nn.ModuleList, nn.ModuleDict)
"""Containers that nobody calls."""


def find_blocks(module: nn.Module) -> list[nn.Module]:
    """Returns the blocks of a module, inner ones before those around them.

    They are what its `configure_sharding` returns. Where that is None, or not there, they are the elements with parameters of each
    ModuleList, ModuleDict or Sequential that holds at least two of one class, such as the layers of a transformer, without those
    that share a parameter with another part of the module.

    Args:
        module: the whole model.

    Returns:
        The blocks; none where nothing was declared or found.

    Raises:
        ModuleError: `configure_sharding` returned what cannot be blocks.

    Example:
        >>> from torch import nn
        >>> from framework.distributed.blocks import find_blocks
        >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        >>> find_blocks(nn.ModuleDict({"embedding": nn.Embedding(9, 4), "layers": layers})) == list(layers)
        True
    """
    configure = getattr(module, "configure_sharding", None)
    declared = None if configure is None else configure()
    if declared is not None:
        blocks = _checked(module, declared)
        for path, other in _shared(module, blocks).values():
            raise _refused(
                module,
                f"a block that shares the parameter {path} with another part of the module, where it is {other}. Return a part "
                "that holds both, or leave out the blocks that share it",
            )
    else:
        found = list(dict.fromkeys(_repeated(module)))
        shared = _shared(module, found)
        blocks = [block for block in found if block not in shared]
    depth = {part: name.count(".") for name, part in module.named_modules()}
    return sorted(blocks, key=lambda block: -depth[block])


def _repeated(part: nn.Module) -> Iterator[nn.Module]:
    """Yields the elements of the outermost containers that hold several of one class."""
    if isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        elements = list(part.values()) if isinstance(part, nn.ModuleDict) else list(part)
        blocks = [each for each in elements if not isinstance(each, _LISTS) and next(each.parameters(), None) is not None]
        if any(count > 1 for count in Counter(map(type, blocks)).values()):
            yield from blocks
            return
    for child in part.children():
        yield from _repeated(child)


def _checked(module: nn.Module, declared: Any) -> list[nn.Module]:
    if isinstance(declared, nn.Module) and not isinstance(declared, Iterable):
        raise _refused(module, f"one {type(declared).__name__}. Return a list of the parts of the module that are blocks, or None")
    if isinstance(declared, str) or not isinstance(declared, Iterable):
        raise _refused(module, f"{declared!r}. Return a list of the parts of the module that are blocks, or None")
    blocks = list(declared)
    names = {part: name for name, part in module.named_modules() if part is not module}
    for index, block in enumerate(blocks):
        if not isinstance(block, nn.Module):
            raise _refused(module, f"{block!r} among the blocks. Return the parts themselves, such as self.layers[0]")
        if block is module:
            raise _refused(module, "the module itself as a block. Return parts of it; what is in no block is kept together anyway")
        if block not in names:
            raise _refused(module, f"a {type(block).__name__} that is no part of the module. Assign it to self first")
        if isinstance(block, _LISTS):
            raise _refused(module, f"{names[block]}, a {type(block).__name__}, which is never called. Return its elements")
        if block in blocks[:index]:
            raise _refused(module, f"{names[block]} twice. Return each block once")
    return blocks


def _shared(module: nn.Module, blocks: Sequence[nn.Module]) -> dict[nn.Module, tuple[str, str]]:
    """Returns the blocks that share a parameter with what is outside of them, each with two names of it, here and there."""
    inside = {name: part for name, part in module.named_modules(remove_duplicate=False) if part in set(blocks)}
    homes: dict[nn.Parameter, dict[nn.Module, str]] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        homes.setdefault(parameter, {}).setdefault(_home(path, inside, module), path)
    shared: dict[nn.Module, tuple[str, str]] = {}
    for places in homes.values():
        for home, path in places.items():
            if home is not module and len(places) > 1:
                shared[home] = path, next(other for other in places.values() if other != path)
    return shared


def _home(path: str, inside: dict[str, nn.Module], module: nn.Module) -> nn.Module:
    """Returns the innermost block that a parameter is in, by its path; the module where it is in none."""
    while path := path.rpartition(".")[0]:
        if path in inside:
            return inside[path]
    return module


def _refused(module: nn.Module, what: str) -> ModuleError:
    return ModuleError(f"{type(module).__name__}.configure_sharding returned {what}.")
