"""The command line as a whole: help, exit codes, what is told and what is raised."""

import configparser
import os
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import framework
from framework import main
from framework.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_console_script_is_this_function():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "framework"
    assert getattr(import_module(module), function) is framework.main


def test_the_version(say):
    assert say("--version").out == f"framework {framework.__version__}\n"


def test_help_names_every_command(say):
    said = say("--help")
    assert said.code == 0
    assert all(f"  {name} " in said.out and command.does in said.out for name, command in COMMANDS.items())
    assert say("-h") == said


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_an_example(say, name):
    said = say(f"{name} --help")
    assert said.code == 0
    assert COMMANDS[name].example in said.out
    assert f"usage: framework {name}" in said.out


def test_help_wakes_neither_torch_nor_what_reads_a_configuration():
    program = (
        "import sys\nfrom framework.cli.main import main\n"
        f"for name in {['', *COMMANDS]}: main([*filter(None, [name]), '--help'])\n"
        "print('woken:', *sorted({'torch', 'numpy', 'jsonargparse', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "woken:"


def test_each_command_has_a_file():
    for name in COMMANDS:
        assert callable(import_module(f"framework.cli.{name}").run)


def test_without_a_command_it_shows_its_help(say):
    said = say("")
    assert said.code == 2
    assert said.err.startswith("framework: error: a command is missing.\n\nusage: framework COMMAND ...")
    assert said.out == ""


def test_a_misspelt_command_is_told_with_the_nearest_one(say):
    said = say("evalute runs/points")
    assert said.code == 2
    assert said.err.startswith(
        "framework: error: there is no command 'evalute'. Did you mean evaluate? The commands are new, fit, "
    )


def test_a_flag_in_place_of_the_command_is_told(say):
    said = say("--config config.yaml")
    assert said.code == 2
    assert said.err.startswith(
        "framework: error: a command should come before --config: framework COMMAND --config. The commands are"
    )


def test_python_m_framework_tells_a_mistake_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "framework", "fti"], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("framework: error: there is no command 'fti'. Did you mean fit?")
    assert "Traceback" not in done.stderr


def test_an_error_of_the_users_code_is_raised_without_our_frames(project, say):
    (project / "data.py").write_text("def load():\n    raise LookupError('the disk with the data is not there')\n")
    with pytest.raises(LookupError, match="the disk with the data is not there") as raised:
        say("fit --config config.yaml")
    assert [entry.path.name for entry in raised.traceback if entry.path.is_relative_to(ROOT / "framework")] == []
    assert raised.traceback[-1].path == project / "data.py"
    assert "config.yaml, line 5 asks for data.load." in raised.value.__notes__


def test_a_package_that_is_missing_is_told_with_the_command_that_installs_it(say, monkeypatch):
    def refuse(name, *arguments, **options):
        if name == "framework.cli.fit":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        return import_module(name, *arguments, **options)

    monkeypatch.setattr(sys.modules["framework.cli.main"], "import_module", refuse)
    said = say("fit --config config.yaml")
    assert said.code == 2
    assert said.err == "framework: error: the package pyyaml is missing. Install it: pip install pyyaml\n"


def test_a_package_that_the_users_code_lacks_is_their_error(project, say):
    (project / "module.py").write_text("import there_is_no_such_package\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_package"):
        say("fit --config config.yaml")


@pytest.fixture
def shown():
    """Warnings are shown as outside of tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *what: sys.stderr.write(warnings.formatwarning(*what[:4]))
        yield


def test_a_warning_of_ours_is_one_line(trained, say, shown):
    usual = warnings.formatwarning
    said = say("fit --config config.yaml")
    assert said.err.startswith("framework: warning: Nothing was trained: the run in runs/points is over")
    assert said.err.count("\n") == 1
    assert warnings.formatwarning is usual


def test_a_warning_of_the_users_code_has_its_place(project, say, shown):
    with (project / "data.py").open("a") as file:
        file.write("\n\nimport warnings; warnings.warn('mine')\n")
    lines = len((project / "data.py").read_text().splitlines())
    assert f"data.py:{lines}: UserWarning: mine" in say("fit --config config.yaml --print_config").err


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as gone:
        done = subprocess.run(
            [sys.executable, "-m", "framework", "--help"], stdout=gone, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_broken_pipe_of_the_users_code_is_their_error(project, say):
    (project / "data.py").write_text("def load():\n    raise BrokenPipeError('a worker has died')\n")
    with pytest.raises(BrokenPipeError, match="a worker has died"):
        say("fit --config config.yaml")


def test_the_arguments_of_the_process_are_the_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["framework", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("framework ")


def test_what_the_framework_refuses_before_the_users_code_is_told_without_a_traceback(say, project):
    said = say("fit --config config.yaml --fit.accelerator apex")
    assert said.code == 1
    assert said.err.startswith("framework: error: accelerator='apex' needs NVIDIA Apex, which is not installed.")
    assert "Traceback" not in said.err


def test_and_with_one_where_the_environment_asks_for_it(say, project, monkeypatch):
    monkeypatch.setenv("FRAMEWORK_FULL_TRACEBACK", "1")
    with pytest.raises(framework.AcceleratorError):
        say("fit --config config.yaml --fit.accelerator apex")


def test_an_error_of_the_users_class_shows_the_line_and_not_how_it_was_imported(say, project):
    module = Path("module.py")
    module.write_text(module.read_text().replace("def training_step", "def on_epoch_end(self): ...\n\n    def training_step"))
    with pytest.raises(framework.ModuleError, match="on_epoch_end is no hook") as caught:
        say("fit --config config.yaml")
    files = [entry.path.name for entry in caught.traceback]
    assert files[-1] == "module.py"
    assert "importlib" not in "".join(str(entry.path) for entry in caught.traceback)
    assert caught.value.__notes__ == ["config.yaml, line 2 asks for module.Points."]


@pytest.mark.parametrize(("name", "meant"), [("train", "fit"), ("test", "evaluate"), ("init", "new")])
def test_the_words_of_others_lead_to_ours(say, name, meant):
    assert say(f"{name} x").err.startswith(
        f"framework: error: there is no command '{name}'. Did you mean {meant}? The commands are "
    )
