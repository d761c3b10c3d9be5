"""Plain values as YAML that reads back to the same."""

from __future__ import annotations

from typing import Any

import yaml

from framework.config.yaml_file import FLOAT

_WIDE = 10_000  # columns: a long text stays on its line


class _Dumper(yaml.SafeDumper):
    """Quotes each text that is a number in YAML 1.1 or 1.2, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Writes the line break U+0085 as a code: as it is, it would be read as a space."""
    style = '"' if "\x85" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def write_yaml(values: Any) -> str:
    """Returns values as YAML, in their order.

    Args:
        values: mappings, lists, texts, numbers, booleans and None.

    Example:
        >>> from framework.config.yaml_text import write_yaml
        >>> print(write_yaml({"lr": 0.003, "name": "no", "rate": "1e-2"}), end="")
        lr: 0.003
        name: 'no'
        rate: '1e-2'
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)
