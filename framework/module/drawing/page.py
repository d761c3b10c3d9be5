"""Python as text: lines, blocks and comments in a column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

COLUMN = 52
WIDTH = 120
_LEAST = 24  # characters that a comment may always have
_CLAUSE = re.compile(r"[,;:] ")


class Page:
    """Gathers lines of Python.

    Example:
        >>> from framework.module.drawing.page import Page
        >>> page = Page()
        >>> with page.block("for batch in data:"):
        ...     page.line("step(batch)", "what for")
        >>> print(page.text())
        for batch in data:
            step(batch)                                 # what for
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, code: str, comment: str = "") -> None:
        """Adds a line of code, with a comment beside it."""
        code = "    " * self._depth + code
        start = max(COLUMN, len(code) + 2)
        self._lines.append(code if not comment else f"{code:<{start}}# {_cut(comment, WIDTH - start - 2)}")

    def remark(self, comment: str) -> None:
        """Adds a line that is a comment alone."""
        indent = "    " * self._depth
        self._lines.append(f"{indent}# {_cut(comment, WIDTH - len(indent) - 2)}")

    @contextmanager
    def block(self, header: str, comment: str = "") -> Iterator[None]:
        """Indents what is added inside; nothing becomes `pass`."""
        self.line(header, comment)
        begun = len(self._lines)
        self._depth += 1
        try:
            yield
            if all(line.lstrip().startswith("#") for line in self._lines[begun:]):
                self.line("pass")
        finally:
            self._depth -= 1

    def text(self) -> str:
        """Returns all lines."""
        return "\n".join(self._lines)


def _cut(text: str, width: int) -> str:
    """Returns the text, without its last clauses where it is too long, and at last without its last words."""
    text, width = " ".join(text.split()), max(width, _LEAST)
    if len(text) <= width:
        return text
    ends = [clause.start() for clause in _CLAUSE.finditer(text) if _LEAST <= clause.start() <= width]
    return text[: ends[-1]] if ends else text[: width - 3].rsplit(" ", 1)[0] + "..."
