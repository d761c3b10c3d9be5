"""Imports go down only: no cycle, no way around by a front door."""

import ast
from pathlib import Path

import pytest

import framework

ROOT = Path(framework.__file__).parent
LARGEST = 300
DOWN = {
    "errors": set(),
    "tracebacks": {"errors"},
    "seeding": set(),
    "data": {"seeding", "errors"},
    "engine": {"seeding"},
    "backends": {"errors"},
    "steps": {"backends", "errors"},
    "metrics": {"errors"},
    "checkpoint": {"errors"},
    "distributed": {"backends", "errors"},
    "loggers": {"errors"},
    "handlers": {"engine", "metrics", "errors"},
    "report": {"loggers", "errors"},
    "module": {
        "report",
        "handlers",
        "loggers",
        "checkpoint",
        "distributed",
        "metrics",
        "steps",
        "backends",
        "engine",
        "data",
        "seeding",
        "tracebacks",
        "errors",
    },
    "config": {"module", "handlers", "loggers", "distributed", "backends", "engine", "seeding", "errors"},
    "cli": {"config", "report", "module", "loggers", "checkpoint", "distributed", "backends", "seeding", "tracebacks", "errors"},
    "__main__": {"cli"},
}
STANDS_ON = {  # the engine's core knows neither
    "engine/__init__.py": {"data"},
    "engine/attached_metrics.py": {"metrics"},
    "engine/deterministic.py": {"data"},
    "engine/pair_steps.py": {"backends", "steps"},
    "engine/supervised.py": {"backends"},
    "engine/supervised_steps.py": {"backends"},
}


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


class Imports(ast.NodeVisitor):
    """The names of our modules that a file imports when it runs, also those inside functions."""

    def __init__(self, path):
        self.found = []
        self.visit(ast.parse(path.read_text()))

    def visit_If(self, node):
        for child in node.orelse if is_type_checking(node) else ast.iter_child_nodes(node):
            self.visit(child)

    def visit_Import(self, node):
        self.found += [alias.name for alias in node.names if alias.name.split(".")[0] == "framework"]

    def visit_ImportFrom(self, node):
        assert node.level == 0, "imports inside the package are absolute"
        if node.module.split(".")[0] == "framework":
            self.found.append(node.module)


def name_of(path):
    parts = ("framework", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
IMPORTS = {name_of(path): Imports(path).found for path in FILES}


def cycle_from(module, graph, trail=()):
    if module in trail:
        return (*trail[trail.index(module) :], module)
    return next((found for target in graph[module] if (found := cycle_from(target, graph, (*trail, module)))), None)


def test_the_reader_of_imports_sees_what_runs_and_nothing_else(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(
        "import framework.errors\nif TYPE_CHECKING:\n    import framework.module\nelse:\n    import framework.metrics\n"
        "def f():\n    from framework.engine.state import State\n"
    )
    assert Imports(path).found == ["framework.errors", "framework.metrics", "framework.engine.state"]


def test_there_is_no_import_cycle():
    assert cycle_from("a", {"a": ["b"], "b": ["c"], "c": ["b"]}) == ("b", "c", "b")
    for module in IMPORTS:
        assert cycle_from(module, IMPORTS) is None


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_down(path):
    relative = path.relative_to(ROOT)
    if relative.name == "__init__.py" and len(relative.parts) == 1:
        return  # the front door imports from everywhere, when asked
    family = relative.parts[0].removesuffix(".py")
    allowed = {family, *DOWN[family], *STANDS_ON.get(relative.as_posix(), ())}
    for module in IMPORTS[name_of(path)]:
        assert module != "framework", f"{relative} imports from the front door"
        assert module.split(".")[1] in allowed, f"{relative} imports {module}"


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=str)
def test_files_import_from_the_file_a_thing_lives_in(path):
    folders = {name_of(folder / "__init__.py") for folder in ROOT.iterdir() if folder.is_dir()}
    assert not folders & set(IMPORTS[name_of(path)])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= LARGEST


def test_each_family_has_its_rule():
    families = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert families <= set(DOWN)


def test_the_front_door_draws_every_family():
    drawing = framework.__doc__
    for family in {path.relative_to(ROOT).parts[0] for path in FILES} - {"__init__.py", "__main__.py"}:
        assert f"\n{family}{'' if family.endswith('.py') else '/'} " in drawing, f"{family} is not in the drawing"
