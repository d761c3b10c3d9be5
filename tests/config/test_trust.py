"""What may be named, by the name and by what it leads to."""

import functools
import os
import re

import pytest
import torch
from torch import nn

from framework import EMA, ConfigError
from framework.config import trust as trust_module
from framework.config.trust import Trust, home_of


@pytest.fixture
def trust(tmp_path):
    for name in ("module.py", "data.py", "os.py", "torch.py", "no-name.py", "__main__.py"):
        (tmp_path / name).touch()
    for name in ("package", "plain", "images", "statistics"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "plain" / "net.py").touch()
    (tmp_path / "images" / "1.png").touch()
    return Trust(tmp_path, ["timm", "company.models"])


def test_the_projects_modules_are_found_without_importing(trust):
    assert trust.modules == ["data", "module", "package", "plain"]


@pytest.mark.parametrize(
    "name",
    [
        "EMA",
        "framework.EMA",
        "module.Net",
        "package.nets.deep.Net",
        "plain.net.Net",
        "timm.models.resnet.ResNet",
        "company.models.Net",
        "torch.nn.ReLU",
        "torch.nn.modules.activation.ReLU",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.StepLR",
        "torchmetrics.Accuracy",
        "torchmetrics.classification.MulticlassAccuracy",
    ],
)
def test_trusted_names(trust, name):
    assert trust.refusal(name) is None


def test_a_package_below_src_is_found(tmp_path):
    (tmp_path / "src" / "company").mkdir(parents=True)
    assert f"There is one in {tmp_path / 'src'}: give that as --project." in Trust(tmp_path).refusal("company.models.Net")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "names '', which is no name of a class. Write module.Class."),
        ("..module.Net", "names '..module.Net', which is no name"),
        ("module..Net", "is no name of a class"),
        ("module.Net()", "is no name of a class"),
        ("module:Net", "is no name of a class"),
        ("../module.Net", "is no name of a class"),
        ("http://x/y", "is no name of a class"),
        (
            "EMMA",
            "names EMMA, which is no public name of framework. Did you mean EMA? Your own class is written with its file, such as "
            "module.EMMA.",
        ),
        ("framework.config.trust.os", "names config.trust.os, which is no public name of framework."),
        ("framework.handlers.ema.EMA", "which is no public name of framework. Did you mean EMA?"),
        ("module.__builtins__", "names module.__builtins__, which is internal to Python."),
        ("module.Net.__init__.__globals__", "is internal to Python"),
        ("os.system", "of Python's standard library, which a configuration may not call."),
        ("posix.system", "of Python's standard library"),
        ("builtins.eval", "of Python's standard library"),
        ("subprocess.Popen", "of Python's standard library"),
        ("statistics.Net", "statistics.py has the name of a module of Python's: rename it."),
        ("__main__.Net", "names __main__.Net, which lives in a script. Move it to a module: module.Net."),
        ("yaml.unsafe_load", "names yaml.unsafe_load, but there is no yaml.py and no package yaml in"),
        ("modul.Net", "Did you mean module? An installed package is trusted by --trust modul."),
        ("images.Net", "there is no images.py"),
        ("company.other.Net", "there is no company.py"),
        ("timmy.Net", "there is no timmy.py"),
        ("torch.load", "of torch it may name the classes in torch.nn and torch.optim"),
        ("torch.hub.load", "names torch.hub.load, which a configuration may not call"),
        ("torch.utils.data.DataLoader", "which a configuration may not call"),
        ("torch.nn.modules.module.torch.load", "which a configuration may not call"),
        ("torch.nn.functional.relu", "which a configuration may not call"),
        ("torch.nn._reduction.X", "which a configuration may not call"),
        (
            "torchmetrics.text.BERTScore",
            "those that load nothing. Write a function of your own around it, or trust torchmetrics by --trust torchmetrics.",
        ),
        ("jsonargparse.set_parsing_settings", "there is no jsonargparse.py"),
    ],
)
def test_refused_names(trust, name, why):
    assert why in trust.refusal(name)


def test_trust_imports_nothing(trust, monkeypatch):
    monkeypatch.setattr(trust_module, "import_module", lambda name: pytest.fail(f"imported {name}"))
    assert "standard library" in trust.refusal("antigravity.X")
    assert "there is no" in trust.refusal("nowhere.X")
    assert trust.refusal("module.X") is None


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (os.system, "names module.X, which is posix.system, and that may not be used here."),
        (functools.partial(os.system, "x"), "which is posix.system"),
        (functools.partial(functools.partial(os.system)), "which is posix."),
        (torch.load, "which is torch.serialization.load, and that may not be used here."),
        (torch.utils.data.DataLoader, "which is torch.utils.data.dataloader.DataLoader"),
        (nn.functional.relu, "which is torch.nn.functional.relu"),
        (eval, "which is builtins.eval"),
        (os, "names module.X, which is neither a class nor a function."),
        (3, "neither a class nor a function"),
        (ConfigError.__init__, "neither a class nor a function"),  # a slot of C without a module
        (home_of, "which is framework.config.trust.home_of"),
        (pytest.Item, "Trust it by --trust _pytest."),
    ],
)
def test_what_a_name_leads_to_is_looked_at(trust, found, why):
    assert why in trust.refusal_of("module.X", found)


def test_what_may_be_led_to(trust):
    def own():
        pass

    own.__module__ = "package.inner"
    for found in (own, functools.partial(own), EMA, nn.ReLU, torch.optim.SGD):
        assert trust.refusal_of("module.X", found) is None


def test_callables_that_are_neither_class_nor_function_are_judged_by_their_class():
    assert home_of(nn.ReLU()) == "torch.nn.modules.activation"
    assert home_of(functools.lru_cache(home_of)) == "framework.config.trust"


@pytest.mark.parametrize("name", ["os", "subprocess.run", "jsonargparse", "yaml", "a-b", "", ".."])
def test_what_cannot_be_trusted(tmp_path, name):
    with pytest.raises(ConfigError, match=re.escape(f"--trust {name}: name a package that holds classes")):
        Trust(tmp_path, [name])


def test_a_project_is_a_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"--project .*nowhere is no folder. Give the one that holds module.py and data.py."):
        Trust(tmp_path / "nowhere")
