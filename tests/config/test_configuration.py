"""Whole configurations: read, made, run, written, read again."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from framework.config.configuration import read_configuration
from framework.config.yaml_text import write_yaml

TEXT = """
model:
  class_path: module.Line
  init_args: {width: 8}
data: {class_path: data.load, init_args: {batch_size: 3}}
fit:
  max_epochs: 2
  seed: 1
  progress: false
  handlers: [module.Counting]
"""


def test_it_runs(read, project):
    configuration = read(TEXT)
    module, data = configuration.make_module(), configuration.make_data()
    assert type(module) is configuration.module_class
    assert configuration.module_class.__name__ == "Line"
    assert {name: [len(batch) for batch in batches] for name, batches in data.items()} == {"train": [3, 3], "val": [3, 3]}
    assert sys.path[0] == str(project)
    result = module.fit(data["train"], data["val"], **configuration.fit)
    assert result.state.iteration == 4
    assert configuration.fit["handlers"][0].count == 4


def test_later_files_and_the_command_line_win(read):
    configuration = read(
        TEXT,
        "fit: {max_epochs: 3, handlers: []}\nmodel: {init_args: {lr: 0.5}}",
        overrides=["--fit.max_epochs=4", "--data.parts=3"],
    )
    assert (configuration.fit["max_epochs"], configuration.fit["handlers"], configuration.seed) == (4, [], 1)
    assert configuration.make_module().lr == 0.5
    assert list(configuration.make_data()) == ["train", "val", "test"]


def test_mistakes_name_the_file_they_are_in(mistakes):
    assert mistakes(TEXT, "fit: {seed: -1}\nmodel:\n  init_args: {lr: x}", overrides=["--fit.nan=x"]) == [
        "b.yaml, line 1: fit.seed=-1: seed should be a whole number from 0 to 9223372036854775807 or None, got -1 (int).",
        "b.yaml, line 3: model.init_args.lr should be a number, got 'x'.",
        "--fit.nan: fit.nan='x' is unknown: it is one of 'stop', 'skip', 'ignore'.",
    ]


def test_several_broken_files_are_told_together(mistakes):
    assert (
        mistakes("a: 1\na: 2", "b: [", overrides=["--fit.x"])[0]
        == "a.yaml, line 2: a stands here again, after line 1. Leave one out."
    )
    assert len(mistakes("a: 1\na: 2", "b: [", overrides=["--fit.x"])) == 3


def test_all_mistakes_of_all_sections_at_once(mistakes):
    text = """
    model:
      class_path: module.Line
      init_args: {widht: 3}
    data: {class_path: data.load, init_args: {batch_size: many}}
    fit:
      max_epoch: 3
      seed: -1
      handlers: [EarlyStoping]
    """
    assert mistakes(text.replace("EarlyStoping", "EarlyStopping")) == [
        "a.yaml, line 4: model.init_args.widht is unknown. Did you mean width?",
        "a.yaml, line 5: data.init_args.batch_size should be a whole number, got 'many'.",
        "a.yaml, line 7: fit.max_epoch is unknown. Use max_epochs.",
        "a.yaml, line 8: fit.seed=-1: seed should be a whole number from 0 to 9223372036854775807 or None, got -1 (int).",
        "a.yaml, line 9: EarlyStopping needs monitor, which is missing. Give fit.handlers[0].init_args.monitor.",
    ]


def test_a_model_is_a_train_module(mistakes):
    for name in ("module.Counting", "module.double"):
        (line,) = mistakes(f"model: {name}\ndata: data.load\nfit: {{max_epochs: 1}}")
        assert line == f"a.yaml, line 1: model names {name}, which is no TrainModule. Inherit from framework.TrainModule."


@pytest.mark.parametrize(("name", "parts"), [("Parts", ["train"]), ("by_name", ["train", "predict"])])
def test_data(read, name, parts):
    assert list(read(f"model: module.Line\ndata: data.{name}\nfit: {{max_epochs: 1}}").make_data()) == parts


def test_data_of_another_kind_are_refused_with_the_line(read):
    for name, expected in {"lone": "data.lone gives a list", "misnamed": "data.misnamed gives a mapping with 'validation'"}.items():
        with pytest.raises(ValueError, match=rf"a\.yaml, line 2: {expected}"):
            read(f"model: module.Line\ndata: data.{name}\nfit: {{max_epochs: 1}}").make_data()


def test_errors_of_a_users_module_come_as_they_are(read, project):
    (project / "module.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        read(TEXT)
    assert caught.value.__notes__ == [f"{project}/a.yaml, line 3 asks for module.Line."]


def test_what_the_user_trusts_may_be_named(read, mistakes, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "zoo.py").write_text("from module import Line\nclass Tall(Line): pass")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    text = "model: zoo.Tall\ndata: data.load\nfit: {max_epochs: 1}"
    assert "An installed package is trusted by --trust zoo." in mistakes(text)[0]
    assert read(text, trusted=["zoo"]).module_class.__name__ == "Tall"


def test_the_text_has_all_defaults(read):
    text = read("model: module.Line\ndata: data.load\nfit: {max_epochs: 1, handlers: [EMA]}").text()
    assert (
        textwrap.dedent(
            """\
        model:
          class_path: module.Line
          init_args:
            width: 4
            lr: 0.01
            name: line
            layer: null
        data:
          class_path: data.load
          init_args:
            batch_size: 4
            parts: 2
        fit:
          max_epochs: 1
          max_iters: null
        """
        )
        in text
    )
    assert "handlers:\n  - class_path: EMA\n    init_args:\n      decay: 0.999\n" in text


def test_the_text_reads_back_to_the_same(read):
    first = read(
        """
        model:
          class_path: module.Many
          init_args:
            needed: 1
            layer: {class_path: torch.nn.Linear, init_args: {in_features: 4, out_features: 4}}
            layers: [{class_path: torch.nn.ReLU}]
            call: module.double
            anything: ["no", "1e-2", "null", 1.0e-17, {a: "3"}]
            optimizer: {class_path: torch.optim.Adam}
            shape: {width: 3}
        data: data.options
        fit:
          max_time_s: 1e3
          run_dir: runs/x
          validate_every: {event: iteration_completed, every: 500}
          accelerator: {class_path: AMP, init_args: {device: cpu}}
          handlers: [EMA]
          allow_changes: [clip_norm]
        """,
        overrides=["--model.name=007", "--data.a=1e-3"],
    )
    second = read(first.text())
    assert second.text() == first.text()
    one, other = first.make_module().given, second.make_module().given
    assert {name for name in one if repr(one[name]) != repr(other[name])} <= {
        "optimizer",
        "counts",
    }  # prints where it lies; () as a list
    assert second.make_data() == {"train": [{"a": 0.001}]}
    assert second.fit["max_time_s"] == 1000.0


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["no", "1e-2", "null", "3", "${x}", "[1]", "{a: 1}", "-"])
)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    anything=NESTED,
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lr=st.floats(allow_nan=False),
    either=st.integers() | st.sampled_from(["3", "no", "x"]),
)
def test_any_plain_values_arrive_and_read_back(project, anything, name, lr, either):
    file = project / "drawn.yaml"
    arguments = {"needed": 1, "anything": anything, "name": name, "lr": lr, "either": either}
    values = {"model": {"class_path": "module.Many", "init_args": arguments}, "data": "data.load", "fit": {"max_epochs": 1}}
    file.write_text(write_yaml(values), encoding="utf-8")
    configuration = read_configuration([file], project=project)
    given = configuration.make_module().given
    assert repr({key: given[key] for key in arguments}) == repr(arguments)
    file.write_text(configuration.text(), encoding="utf-8")
    again = read_configuration([file], project=project)
    assert again.text() == configuration.text()
    assert repr({key: again.make_module().given[key] for key in arguments}) == repr(arguments)


def test_a_file_alone_wakes_neither_torch_nor_jsonargparse(project):
    code = """
import sys
from pathlib import Path
from framework.config.configuration import read_configuration
from framework.errors import ConfigError
try:
    read_configuration([Path("none.yaml")], project=Path("."))
except ConfigError:
    pass
Path("a.yaml").write_text("model: os.system")
try:
    read_configuration([Path("a.yaml")], project=Path("."))
except ConfigError:
    print(*sorted({"torch", "jsonargparse", "module"} & set(sys.modules)))
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {json.dumps(root)})\n{code}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == ""
