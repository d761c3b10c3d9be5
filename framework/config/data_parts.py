"""What the function or class of `data` may give: batches to train on, to evaluate and to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.places import nearest
from framework.errors import ConfigError

PARTS = ("train", "val", "test", "predict")
_ALLOWED = (
    "a tuple (train, val) or (train, val, test), a mapping with some of the names train, val, test and predict, or an object with "
    "attributes of these names"
)


def data_by_name(given: Any, source: str) -> dict[str, Any]:
    """Returns the parts of the data by name, without those that are None.

    Args:
        given: what the function returned, or the object made.
        source: where and by which name the configuration asks for it, for errors.

    Raises:
        ConfigError: it is none of what is allowed.

    Example:
        >>> from framework.config.data_parts import data_by_name
        >>> data_by_name(([1], [2]), "data.load")
        {'train': [1], 'val': [2]}
    """
    if isinstance(given, tuple) and len(given) in (2, 3):
        parts = dict(zip(PARTS, given, strict=False))
    elif isinstance(given, Mapping):
        for name in given:
            if name not in PARTS:
                raise ConfigError(f"{source} gives a mapping with {name!r}.{nearest(str(name), PARTS)} Give {_ALLOWED}.")
        parts = dict(given)
    else:
        parts = {name: getattr(given, name) for name in PARTS if hasattr(given, name)}
    parts = {name: batches for name, batches in parts.items() if batches is not None}
    if not parts:
        got = f"a tuple of {len(given)}" if isinstance(given, tuple) else "None" if given is None else f"a {type(given).__name__}"
        raise ConfigError(f"{source} gives {got}, which has no data by name. Give {_ALLOWED}.")
    return parts
