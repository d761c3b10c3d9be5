"""docs/configuration.md: its files are read, its commands build what they say, its errors are what comes."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from framework import ConfigError
from framework.cli.arguments import split_overrides
from framework.config.configuration import read_configuration
from framework.config.yaml_file import scalar

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
BLOCKS = re.findall(r"(<!-- mistaken -->\n)?^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
WHOLE = [code for mistaken, language, code in BLOCKS if language == "yaml" and not mistaken and "module.Digits" in code]
PARTS = [code for mistaken, language, code in BLOCKS if language == "yaml" and not mistaken and code not in WHOLE]
(MISTAKEN,) = (code for mistaken, _, code in BLOCKS if mistaken)
SHOWN = [code for _, language, code in BLOCKS if language == ""]
COMMANDS = [line for _, language, code in BLOCKS if language == "bash" for line in code.splitlines()]
MODULE = """
from collections.abc import Callable, Iterable

import torch
from torch import nn

from framework import TrainModule


class Digits(TrainModule):
    def __init__(
        self,
        hidden: int = 16,
        lr: float = 1e-3,
        name: str = "",
        activation: nn.Module | None = None,
        optimizer: Callable[[Iterable], torch.optim.Optimizer] = torch.optim.SGD,
    ):
        super().__init__()
        self.hidden, self.name, self.activation, self.optimizer = hidden, name, activation, optimizer
        self.net = nn.Linear(1, hidden)

    def training_step(self, batch):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        return self.optimizer(self.parameters())
"""


@pytest.fixture
def build(tmp_path, unchanged_imports, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("module.py").write_text(MODULE)
    Path("data.py").write_text("import torch\ndef load(batch_size: int = 2):\n    return [torch.ones(batch_size, 1)], None\n")

    def building(*texts, overrides=()):
        files = [Path(name) for name in ("config.yaml", "large.yaml")[: len(texts)]]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        configuration = read_configuration(files, overrides, project=Path())
        assert configuration.make_data()["train"]
        return configuration, configuration.make_module()

    return building


def test_the_page_has_files_commands_and_errors():
    assert (len(WHOLE), len(PARTS), len(SHOWN), len(COMMANDS)) == (4, 1, 2, 3)


@pytest.mark.parametrize("text", WHOLE)
def test_each_file_can_be_trained_with(build, text):
    configuration, module = build(text)
    settings = {**configuration.fit, "max_epochs": 1, "progress": False, "run_dir": None, "monitor": None, "save_every": 1}
    if "max_iters" in settings:
        settings["validate_every"] = 1
    assert module.fit(configuration.make_data()["train"], **settings).status == "completed"


def test_what_is_inside_arrives(build):
    _, module = build(WHOLE[1])
    assert module.activation.negative_slope == 0.1
    assert module.configure_optimizers().defaults["lr"] == 3e-3


def test_the_commands(build):
    (first, second, third) = (shlex.split(command)[4:] for command in COMMANDS)
    configuration, module = build(WHOLE[0], overrides=split_overrides(first)[1])
    assert (configuration.fit["max_epochs"], module.hidden, len(configuration.make_data()["train"][0])) == (3, 64, 32)
    configuration, module = build(WHOLE[1], overrides=split_overrides(second)[1])
    assert module.activation.negative_slope == 0.2
    assert [type(each).__name__ for each in configuration.fit["handlers"]] == ["EMA", "Norms"]
    assert third == ["--print_config"]
    assert build(WHOLE[0], overrides=["--model.name", "007"])[1].name == "007"


def test_a_second_file(build):
    configuration, module = build(WHOLE[0], PARTS[0])
    assert (module.hidden, configuration.fit["max_epochs"], configuration.fit["seed"]) == (512, 40, 0)


def test_the_errors_are_as_shown(build):
    with pytest.raises(ConfigError) as caught:
        build(MISTAKEN)
    assert str(caught.value) == SHOWN[0].strip()
    with pytest.raises(ConfigError) as caught:
        build(MISTAKEN.replace("EMMA", "EMA"))
    assert str(caught.value) == SHOWN[1].strip()


def test_the_table_of_values_is_right():
    table = PAGE.split("### Which YAML")[1].split("Refused are")[0]
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|$", table, re.MULTILINE):
        kind = {"a num": (int, float), "a boo": bool, "None": type(None), "text": str, "text,": str}[
            row[1][:5] if row[1] != "None" else "None"
        ]
        for code in re.findall(r"`(.*?)`", row[0]):
            assert isinstance(yaml.safe_load(code) if code[0] in "\"'" else scalar(code), kind)
