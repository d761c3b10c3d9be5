"""The code blocks of a page, what is said about each, and what it is said to print."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(?:^<!-- (?P<marker>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_TIME = re.compile(r"\b1[6-9]\d{8}\.\d+|\d+\.\d+ s$", re.MULTILINE)  # seconds since 1970, and those that a line ends with
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: as it stands behind the fence; "" for what something prints.
        code: the text.
        line: before its first line.
        marker: the comment right above it, "" for none.
        shown: what it prints, where the page shows that: the next block, if it has no language and no heading stands between.
    """

    language: str
    code: str
    line: int
    marker: str
    shown: str | None = None

    @property
    def is_run(self) -> bool:
        return not self.marker.startswith("not run: ")


def blocks_of(text):
    """Returns the blocks of a page, in order."""
    found = list(_BLOCK.finditer(text))
    blocks = []
    for match, after in pairwise([*found, None]):
        prints = after is not None and after["language"] == "" and "\n#" not in text[match.end() : after.start()]
        line = text.count("\n", 0, match.start("code"))
        blocks.append(
            Block(match["language"], match["code"], line, match["marker"] or "", after["code"] if after and prints else None)
        )
    return blocks


def pages():
    """Returns all pages by their path below docs/."""
    return {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}


def words_and_numbers(text):
    """Returns a text without its numbers, and these; times are left out of them."""
    text = _TIME.sub("#", text.strip())
    return _NUMBER.sub("#", text), [float(number) for number in _NUMBER.findall(text)]
