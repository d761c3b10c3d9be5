"""The settings of a run as one flat table, from the text of its config.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MOST = 2_000
"""Settings that are read; a table of more helps nobody."""


def flat_settings(text: str | None) -> dict[str, str]:
    """Returns the settings by dotted name, each as it is written; none where the text is no YAML, or None.

    Nothing is made of the texts, and what an alias repeats is not repeated: any file is safe to read.

    Example:
        >>> from framework.report.settings import flat_settings
        >>> flat_settings("model: {init_args: {lr: 1e-3, sizes: [8, 16]}}\\nfit: {monitor: val/loss}")
        {'model.init_args.lr': '1e-3', 'model.init_args.sizes': '[8, 16]', 'fit.monitor': 'val/loss'}
    """
    import yaml  # here: a report of runs without settings does without it

    if text is None:
        return {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}  # the page shows the text itself
    found: dict[str, str] = {}
    for name, value in _leaves(root, "", set()):
        found[name] = value
        if len(found) == _MOST:
            break
    return found


def monitored(settings: dict[str, str]) -> str | None:
    """Returns the name of the monitored metric, None for none."""
    name = settings.get("fit.monitor", "null")
    return None if name in ("null", "~", "") else name


def _leaves(node: Any, name: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yields the texts below a node of YAML with their dotted names."""
    if node is None:
        return
    if node.id == "scalar":
        yield name, node.value
        return
    if id(node) in seen:
        yield name, "(as above)"
        return
    seen.add(id(node))
    if node.id == "mapping":
        for key, value in node.value:
            yield from _leaves(value, f"{name}.{_text(key)}" if name else _text(key), seen)
    elif all(item.id == "scalar" for item in node.value):
        yield name, f"[{', '.join(item.value for item in node.value)}]"
    else:
        for number, item in enumerate(node.value):
            yield from _leaves(item, f"{name}.{number}", seen)


def _text(key: Any) -> str:
    return key.value if key.id == "scalar" else "?"
