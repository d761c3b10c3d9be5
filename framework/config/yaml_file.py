"""YAML, read strictly: what is read is plain, what looks like something else is refused with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from framework.config.places import Path as Keys, Place, Tree, shown
from framework.errors import ConfigError

LARGEST = 256 * 1024  # bytes
DEEPEST = 40
MOST_VALUES = 20_000  # anchors repeat what they name

_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_TRUE = re.compile(r"(?:true|True|TRUE)")
_FALSE = re.compile(r"(?:false|False|FALSE)")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,999})")
FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\.[0-9]+(?:[eE][-+]?[0-9]+)?)")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")


def read_yaml(file: Path) -> Tree:
    """Reads a file that holds one mapping.

    Numbers are those of YAML 1.2: `1e-2` and `1E5` are numbers; `yes`, `no`, `on`, `off`, `010`, `0x1F`, `1_000`, `1:30` and dates
    stay text, only true and false are booleans. Anchors and merge keys are allowed.

    Raises:
        ConfigError: the file is not there, too large, no such YAML, or has duplicate keys, tags, or keys that are no text.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.config.yaml_file import read_yaml
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "config.yaml"
        ...     _ = file.write_text("model:\\n  lr: 1e-2\\n  name: no\\n")
        ...     tree = read_yaml(file)
        >>> tree.values, tree.place(("model", "name")).line
        ({'model': {'lr': 0.01, 'name': 'no'}}, 3)
    """
    name = str(file)
    if not file.is_file():
        raise ConfigError(f"{name} is {'a folder' if file.is_dir() else 'not there'}.{_nearest_file(file)}")
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST:
        raise ConfigError(f"{name} has more than {LARGEST:,} bytes, too many for a configuration. Keep data in files of its own.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}, line {line}: this is no UTF-8. Save the file as UTF-8.") from error
    reader = _Reader(name)
    values = reader.read(text)
    if values is None:
        raise ConfigError(f"{name} is empty. It should have model, data and fit.")
    if not isinstance(values, dict):
        raise ConfigError(f"{name}, line 1: a configuration is a mapping of model, data and fit, got {shown(values)}.")
    return Tree(values, {(): Place(name, 1), **reader.places})


def parse_value(text: str, source: str) -> Any:
    """Returns the value that a text has in YAML.

    Args:
        text: of one value, such as `3e-4` or `[1, 2]`.
        source: who has written it, for errors.

    Raises:
        ConfigError: it is no YAML of the strict kind.
    """
    return _Reader(source, lines=False).read(text)


def scalar(text: str) -> Any:
    """Returns what a scalar without quotes means."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    return float("nan") if _NAN.fullmatch(text) else text


class _Refused(yaml.MarkedYAMLError):
    """YAML that is right, but not read here."""


class _Composer(yaml.SafeLoader):
    """Builds nodes, of one document, without tags, of a limited depth; it constructs nothing."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _Refused(problem=f"the tag {_short(event.tag)} is not allowed: values are plain", problem_mark=event.start_mark)
        if self.depth >= DEEPEST:
            raise _Refused(problem=f"values are nested more than {DEEPEST} deep", problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Reads one text; keeps the line of each value."""

    def __init__(self, source: str, *, lines: bool = True) -> None:
        self.places: dict[Keys, Place] = {}
        self._source, self._lines = source, lines
        self._left = MOST_VALUES
        self._mistakes: list[str] = []

    def read(self, text: str) -> Any:
        composer = None
        try:
            composer = _Composer(text)
            node = composer.get_single_node()
        except yaml.reader.ReaderError as error:
            line = f", line {text.count(chr(10), 0, error.position) + 1}" if self._lines else ""
            raise ConfigError(f"{self._source}{line}: the character U+{error.character:04X} may not stand in YAML.") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise ConfigError(f"{self._at(mark)}: {_problem(error)}.") from error
        finally:
            if composer is not None:
                composer.dispose()
        value = None if node is None else self._value(node, (), 0)
        if self._mistakes:
            raise ConfigError("\n".join(self._mistakes))
        return value

    def _at(self, mark: Any) -> str:
        return f"{self._source}, line {mark.line + 1}" if self._lines and mark is not None else self._source

    def _value(self, node: yaml.Node, path: Keys, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            raise ConfigError(
                f"{self._at(node.start_mark)}: with what the anchors repeat, there are more than {MOST_VALUES:,} values, or more "
                f"than {DEEPEST} levels. Write out what is meant."
            )
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value) if node.style is None else node.value
        if isinstance(node, yaml.SequenceNode):
            self._note(path, node.value)
            return [self._value(each, (*path, index), depth + 1) for index, each in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path, depth)

    def _note(self, path: Keys, nodes: list[yaml.Node]) -> None:
        for index, node in enumerate(nodes):
            self.places[(*path, index)] = Place(self._source, node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode, path: Keys, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = scalar(key_node.value) if isinstance(key_node, yaml.ScalarNode) and key_node.style is None else key_node.value
            if key == "<<" and key_node.style is None:
                merged = self._merged(value_node, path, depth)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                what = (
                    f"the key {key!r} is no text; quote it"
                    if isinstance(key_node, yaml.ScalarNode)
                    else "a key is a text, not a list or a mapping"
                )
                self._mistakes.append(f"{self._at(key_node.start_mark)}: {what}.")
                continue
            line = key_node.start_mark.line + 1
            if key in lines:
                self._mistakes.append(
                    f"{self._at(key_node.start_mark)}: {key} stands here again, after line {lines[key]}. Leave one out."
                )
                continue
            lines[key] = line
            self.places[(*path, key)] = Place(self._source, line)
            values[key] = self._value(value_node, (*path, key), depth + 1)
        return {**merged, **values}

    def _merged(self, node: yaml.Node, path: Keys, depth: int) -> dict[str, Any]:
        """Returns what a merge key brings; earlier mappings win over later ones, as in YAML."""
        merged: dict[str, Any] = {}
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self._value(each, path, depth + 1)
            if not isinstance(value, Mapping):
                self._mistakes.append(f"{self._at(each.start_mark)}: << takes a mapping, or a list of them, got {shown(value)}.")
            else:
                merged = {**value, **merged}
        return merged


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Returns what a parser says, in the words of this page where it is one of the usual mistakes."""
    problem = str(error.problem or error.context)
    if isinstance(error, _Refused):
        return problem
    if "but found another document" in problem:
        return "a second document begins here, a configuration is one"
    if "'\\t'" in problem:
        return "a tab stands here; YAML is indented by spaces"
    if problem.startswith("mapping values are not allowed"):
        return "a second ':' stands here; indent the line like its neighbours, end the line above with ':', or quote the text"
    return f"this is no YAML: {problem}"


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _nearest_file(file: Path) -> str:
    folder = file.parent
    if file.is_dir():
        return f" Give the file in it: {file / 'config.yaml'}."
    if not folder.is_dir():
        return f" There is no folder {folder}."
    names = sorted(each.name for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    near = difflib.get_close_matches(file.name, names, n=1)
    if near:
        return f" Did you mean {folder / near[0]}?"
    return f" In {folder} there is {', '.join(names)}." if names else f" In {folder} there is no YAML file."
