"""Importing what is trusted."""

import sys
import types

import pytest

from framework.config.imports import MISSING, asked_for_by, find_named, put_first
from framework.config.places import Mistakes, Place, Tree
from framework.config.trust import Trust

PATH = ("model", "class_path")


@pytest.fixture
def find(project):
    (project / "package").mkdir()
    (project / "package" / "__init__.py").write_text("")
    (project / "package" / "nets.py").write_text("class Net: pass")
    (project / "broken.py").write_text("import no_such_package")
    (project / "exits.py").write_text("raise SystemExit(3)")
    put_first(project.resolve())

    def finding(name):
        mistakes = Mistakes(Tree({}, {PATH: Place("a.yaml", 2)}))
        return find_named(name, PATH, Trust(project), mistakes), mistakes.found

    return finding


def test_found(find):
    for name in ("module.Line", "package.nets.Net", "torch.nn.ReLU", "EMA", "framework.EMA"):
        found, mistakes = find(name)
        assert found.__name__ == name.split(".")[-1]
        assert mistakes == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("module.Lin", "a.yaml, line 2: model.class_path names module.Lin, but module has no Lin. Did you mean Line?"),
        ("package.net.Net", "names package.net.Net, but there is no module package.net. Did you mean nets?"),
        ("module.inner.Net", "but there is no module module.inner."),
        ("module.nn", "names module.nn, which is neither a class nor a function."),
        ("torch.nn.Relu", "but torch.nn has no Relu. Did you mean ReLU?"),
    ],
)
def test_not_found(find, name, message):
    found, (mistake,) = find(name)
    assert found is MISSING
    assert message in mistake


def test_errors_of_the_users_own_come_through_with_a_note(find):
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        find("broken.Net")
    assert caught.value.__notes__ == ["a.yaml, line 2 asks for broken.Net."]
    with pytest.raises(SystemExit):
        find("exits.Net")


def test_a_note_is_added_once():
    place = Place("a.yaml", 2)
    with pytest.raises(ValueError, match="own") as caught, asked_for_by(place, "x"), asked_for_by(place, "x"):
        raise ValueError("own")
    assert caught.value.__notes__ == ["a.yaml, line 2 asks for x."]


def test_a_module_of_the_same_name_from_elsewhere_is_refused(find, monkeypatch):
    other = types.ModuleType("module")
    other.__file__ = "/elsewhere/module.py"
    monkeypatch.setitem(sys.modules, "module", other)
    found, (mistake,) = find("module.Line")
    assert found is MISSING
    assert "a module module from /elsewhere/module.py is imported already, not that of" in mistake
    assert mistake.endswith("Rename yours.")
    monkeypatch.setitem(sys.modules, "module", types.ModuleType("module"))
    assert "from elsewhere is imported already" in find("module.Line")[1][0]


def test_the_project_comes_first_and_stays(project):
    put_first(project)
    sys.path.insert(0, "/other")
    put_first(project)
    put_first(project)
    assert sys.path[:3] == [str(project), "/other", str(project)]
