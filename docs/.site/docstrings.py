"""Shows docstrings as they are meant."""

import re
from typing import Any

import griffe

_SEVERAL = re.compile(r"^( +)(\**[a-z]\w*(?:, \**[a-z]\w*)+):", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Shows doctests as code, and an entry that stands for several names as one without a type."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring: `Example:` would be a remark, and in `a, b: text` the second name would be taken for a type."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = _SEVERAL.sub(_joined, text)


def _joined(entry: re.Match[str]) -> str:
    return entry[1] + entry[2].replace(", ", ",\N{NO-BREAK SPACE}") + " ():"
