"""Says in a short line what a batch or an output holds: types and shapes, never values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

LONGEST = 160
"""Characters of a line."""
_MOST_ITEMS = 6
_SHOWN_ITEMS = 3  # of a structure that has more
_DEEPEST = 5
_ELLIPSIS = "..."


def describe_tree(tree: Any, *, longest: int = LONGEST) -> str:
    """Returns what is inside tuples, lists, mappings and dataclasses: `(float32 (32, 64), int64 (32,))`.

    Tensors and numpy arrays by type and shape, everything else by the name of its type. Reads no value, so no device is waited for.

    Args:
        tree: a batch, or what a step or a layer returned.
        longest: characters after which the line is cut, with "..." at its end.

    Example:
        >>> import torch
        >>> from framework.backends.description import describe_tree
        >>> describe_tree({"x": torch.ones(32, 64), "y": (torch.ones(32, dtype=torch.long), "text", None)})
        '{x: float32 (32, 64), y: (int64 (32,), str, None)}'
    """
    return cut(_describe(tree, 0), longest)


def cut(text: str, longest: int) -> str:
    """Returns the text with what is too long left out at its end."""
    return text if len(text) <= longest else text[: max(longest - len(_ELLIPSIS), 0)] + _ELLIPSIS


def describe_tensor(tensor: Tensor) -> str:
    """Returns type and shape of a tensor, also of one that has no shape yet."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if nn.parameter.is_lazy(tensor):
        return f"{kind} (no shape yet)"
    if tensor.is_nested:
        return f"nested {kind} ({tensor.size(0)}, {_ELLIPSIS})"
    return f"{kind} {tuple(tensor.shape)}"


def _describe(tree: Any, depth: int) -> str:
    if isinstance(tree, Tensor):
        return describe_tensor(tree)
    if tree is None:
        return "None"
    kind = type(tree)
    if hasattr(kind, "__array__") and hasattr(kind, "dtype") and hasattr(kind, "shape"):  # of numpy, and what is like it
        return f"{tree.dtype} {tuple(tree.shape)}"
    if isinstance(tree, Mapping):
        items = ((_key(key), value) for key, value in tree.items())
        return f"{{{_joined(items, len(tree), depth, ': ')}}}"
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return f"{kind.__name__}({_joined(zip(tree._fields, tree, strict=True), len(tree), depth, '=')})"
    if is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in fields(tree)]
        return f"{kind.__name__}({_joined(((name, getattr(tree, name, None)) for name in names), len(names), depth, '=')})"
    if isinstance(tree, tuple):
        inside = _joined((("", item) for item in tree), len(tree), depth, "")
        return f"({inside},)" if len(tree) == 1 else f"({inside})"
    if isinstance(tree, list):
        return f"[{_joined((('', item) for item in tree), len(tree), depth, '')}]"
    return kind.__name__


def _joined(items: Iterable[tuple[str, Any]], length: int, depth: int, sign: str) -> str:
    if depth == _DEEPEST and length:
        return _ELLIPSIS
    shown = length if length <= _MOST_ITEMS else _SHOWN_ITEMS
    texts = [f"{name}{sign}{_describe(item, depth + 1)}" for (name, item), _ in zip(items, range(shown), strict=False)]
    if shown < length:
        texts.append(f"{_ELLIPSIS} {length - shown} more")
    return ", ".join(texts)


def _key(key: Any) -> str:
    return str(key) if isinstance(key, str | int) else type(key).__name__
