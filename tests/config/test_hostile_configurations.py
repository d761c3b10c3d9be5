"""Row 33: a forged configuration imports nothing and runs nothing, wherever it names what."""

import sys

import pytest

from framework import ConfigError

MODEL = "model: {class_path: module.Many, init_args: {needed: 1}}\n"
DATA = "data: data.load\n"
FIT = "fit: {max_epochs: 1}\n"
BOMB = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
CALLS = ("os.system", "builtins.eval", "evil.run", "pkg.evil.run", "nowhere.Run")


@pytest.fixture
def trap(tmp_path, project, monkeypatch):
    """A folder with modules that raise a flag when they are imported or called, and a check that none was."""
    flag = tmp_path / "flag"
    outside = tmp_path / "outside"
    (outside / "pkg").mkdir(parents=True)
    raised = (
        f"open({str(flag)!r}, 'w').close()\ndef run(*args, **kwargs):\n    open({str(flag)!r}, 'a').close()\nclass Run:\n"
        "    def __init__(self, *args, **kwargs):\n        run()\n"
    )
    (outside / "evil.py").write_text(raised)
    (outside / "pkg" / "__init__.py").write_text(raised)
    (outside / "pkg" / "evil.py").write_text(raised)
    (project / "sub").mkdir()
    (project.parent / "above.py").write_text(raised)
    with (project / "module.py").open("a") as file:  # as honest modules do
        file.write("\nimport os\nimport functools\nfrom os import system\nbound = functools.partial(os.system, 'true')\n")
    with (project / "data.py").open("a") as file:
        file.write("\nimport os\nfrom os import system\nfrom torch import load as torch_load\n")
    monkeypatch.syspath_prepend(outside)
    before = set(sys.modules)
    yield flag
    assert not flag.exists()
    assert not {name for name in set(sys.modules) - before if "evil" in name or name in ("pkg", "above", "nowhere", "antigravity")}


def refused(read, text, *overrides, trusted=()):
    with pytest.raises(ConfigError) as caught:
        read(text.replace("FLAG", "echo"), overrides=overrides, trusted=trusted)
    return str(caught.value)


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "text",
    [
        "model: {class_path: NAME, init_args: {command: touch FLAG}}\n" + DATA + FIT,
        "model: NAME\n" + DATA + FIT,
        MODEL + "data: {class_path: NAME, init_args: {command: touch FLAG}}\n" + FIT,
        MODEL + "data: NAME\n" + FIT,
        MODEL + DATA + "fit: {max_epochs: 1, handlers: [{class_path: NAME}]}",
        MODEL + DATA + "fit: {max_epochs: 1, handlers: [NAME]}",
        MODEL + DATA + "fit: {max_epochs: 1, loggers: [{class_path: NAME, init_args: {x: 1}}]}",
        MODEL + DATA + "fit: {max_epochs: 1, accelerator: {class_path: NAME}}",
        MODEL + DATA + "fit: {max_epochs: 1, compile: {backend: {class_path: NAME}}}",
        "model: {class_path: module.Many, init_args: {needed: 1, layer: {class_path: NAME}}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, layers: [{class_path: torch.nn.ReLU}, {class_path: NAME}]}}\n"
        + DATA
        + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, anything: {deep: [{class_path: NAME, init_args: {x: 1}}]}}}\n"
        + DATA
        + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, by_name: {a: {class_path: NAME}}}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, optimizer: {class_path: NAME}}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, optimizer: NAME}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, call: NAME}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, layer_type: NAME}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, layer: NAME}}\n" + DATA + FIT,
    ],
)
def test_no_call_by_its_name_anywhere(read, trap, text, name):
    assert name in refused(read, text.replace("NAME", name))


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "override", ["--model.class_path", "--model", "--data", "--model.call", "--model.layer.class_path", "--model.layer_type"]
)
def test_nor_on_the_command_line(read, trap, override, name):
    assert name in refused(read, MODEL + DATA + FIT, override, name)
    assert name in refused(read, MODEL + DATA + FIT, f"--fit.handlers=[{name}]")


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "name",
    [
        "module.os.system",
        "module.system",
        "module.bound",
        "module.functools.partial",
        "module.torch.load",
        "module.torch.hub.load",
        "module.Any",
        "module.__builtins__",
        "module.__loader__.load_module",
        "module.Line.__init__.__globals__",
        "data.os.system",
        "data.torch_load",
        "framework.config.trust.os",
        "framework.config.trust.import_module",
        "framework.checkpoint.files.os",
        "framework.module.os.system",
        "torch.load",
        "torch.hub.load",
        "torch.os.system",
        "torch.nn.modules.module.torch.load",
        "torch.utils.data.DataLoader",
        "torch.serialization.load",
        "torchmetrics.utilities.imports.os",
        "jsonargparse.set_parsing_settings",
        "yaml.unsafe_load",
        "..above.Run",
        "../above.Run",
        "...Run",
        "above.Run",
        "sub..above.Run",
        "/etc/passwd",
        "http://localhost/x.Run",
        "antigravity.x",
        "${oc.env:PATH}",
        "os.sys\u200btem",
        "\uff4fs.system",
        "module.Line\n",
        "",
    ],
)
@pytest.mark.parametrize("where", ["model", "data", "handlers", "layer", "call"])
def test_no_way_around(read, trap, name, where):
    quoted = f'"{name}"' if "\n" not in name else f"{name!r}".replace("'", '"')
    texts = {
        "model": f"model: {{class_path: {quoted}}}\n{DATA}{FIT}",
        "data": f"{MODEL}data: {{class_path: {quoted}}}\n{FIT}",
        "handlers": f"{MODEL}{DATA}fit: {{max_epochs: 1, handlers: [{quoted}]}}",
        "layer": f"model: {{class_path: module.Many, init_args: {{needed: 1, layer: {{class_path: {quoted}}}}}}}\n{DATA}{FIT}",
        "call": f"model: {{class_path: module.Many, init_args: {{needed: 1, call: {quoted}}}}}\n{DATA}{FIT}",
    }
    refused(read, texts[where])


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "text",
    [
        "model: !!python/object/apply:os.system ['touch FLAG']\n",
        "model: !!python/object/new:evil.Run []\n",
        "model: !!python/name:evil.run\n",
        "model: !!python/module:evil\n",
        "model: !!python/object/apply:subprocess.Popen {args: [touch, FLAG]}\n",
        "!!python/object/apply:os.system ['touch FLAG']\n",
        "? !!python/name:evil.run\n: 1\n",
        "a: &a !!python/name:evil.run\nmodel: *a\n",
        "%TAG ! tag:yaml.org,2002:python/\n---\nmodel: !name:evil.run\n",
        "a0: &a0 [x, x]\n" + BOMB,
        "a: &a {x: *a}\n",
        "model: " + "[" * 10_000,
        "model: " + "{a: " * 10_000,
        "model: {class_path: module.Many}\nmodel: {class_path: evil.Run}\n",
        "model: {class_path: module.Many, class_path: evil.Run}\n" + DATA + FIT,
        "base: &b {class_path: evil.Run}\nmodel: {<<: *b}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1}, dict_kwargs: {call: evil.run}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, layer: {class_path: torch.nn.ReLU, dict_kwargs: {x: evil.run}}}}\n"
        + DATA
        + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, 'layer.class_path': evil.Run}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, layer: {init_args: {}, 'class_path': evil.Run}}}\n" + DATA + FIT,
        "model: {class_path: module.Many, init_args: {needed: 1, __path__: evil.yaml}}\n" + DATA + FIT,
        "model: {class_path: [evil.Run]}\n" + DATA + FIT,
        "model: {class_path: {class_path: evil.Run}}\n" + DATA + FIT,
        "config: evil.yaml\n" + MODEL + DATA + FIT,
        "$schema: evil.yaml\n" + MODEL + DATA + FIT,
        MODEL + DATA + "fit: {max_epochs: 1, resume: {class_path: evil.Run}}",
        MODEL + DATA + "fit: {max_epochs: {class_path: evil.Run}}",
    ],
)
def test_no_way_through_yaml(read, trap, text):
    refused(read, text)


@pytest.mark.fault(33)
@pytest.mark.parametrize("text", ["handlers: [SPEC]", "loggers: [SPEC]", "accelerator: SPEC"])
@pytest.mark.parametrize(
    "spec",
    [
        "{class_path: main, init_args: {arguments: [fit, --config, evil.yaml, --project, ..]}}",
        "{class_path: framework.main, init_args: {arguments: [--version]}}",
        "{class_path: module.main, init_args: {arguments: [--version]}}",
        "{class_path: write_report, init_args: {folders: ., target: FLAG}}",
    ],
)
def test_a_function_of_the_framework_is_not_called(read, trap, project, spec, text, capsys):
    with (project / "module.py").open("a") as file:
        file.write("\nfrom framework import main\n")
    assert "a function. Of framework" in refused(read, f"{MODEL}{DATA}fit: {{max_epochs: 1, {text.replace('SPEC', spec)}}}")
    assert capsys.readouterr().out == ""


@pytest.mark.fault(33)
def test_what_only_looks_like_a_name_is_text(read, trap):
    text = (
        "model: {class_path: module.Many, init_args: {needed: 1, name: evil.run, anything: [a.b, {a: os.system}], either: x.y}}\n"
    )
    given = read(text + DATA + FIT).make_module().given
    assert (given["name"], given["anything"], given["either"]) == ("evil.run", ["a.b", {"a": "os.system"}], "x.y")


@pytest.mark.fault(33)
def test_trust_is_no_blank_cheque(read, trap):
    for name in ("os.system", "module.os.system", "evil.run"):
        assert name in refused(read, f"model: {name}\n{DATA}{FIT}", trusted=["timm"])
    assert "--trust os" in refused(read, MODEL + DATA + FIT, trusted=["os"])


@pytest.mark.fault(33)
def test_a_module_of_python_cannot_be_replaced(read, trap, project):
    (project / "antigravity.py").write_text("class Run: pass")
    assert "antigravity.py has the name of a module of Python's: rename it." in refused(
        read, f"model: antigravity.Run\n{DATA}{FIT}"
    )
