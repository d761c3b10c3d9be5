"""What stands on the command line, taken apart."""

import pytest

from framework import ConfigError
from framework.cli.arguments import Parser, nearest, split_overrides
from framework.cli.commands import COMMANDS


def read(name, line):
    return Parser(name, COMMANDS[name]).read(line.split())


def test_settings_are_told_from_arguments():
    line = "--config a.yaml --fit.max_epochs 3 --model.hidden=64 --print_config --fit.clip_norm -1.5 --data.root=a=b"
    own, overrides = split_overrides(line.split())
    assert own == ["--config", "a.yaml", "--print_config"]
    assert overrides == ["--fit.max_epochs=3", "--model.hidden=64", "--fit.clip_norm=-1.5", "--data.root=a=b"]


def test_the_value_of_a_setting_is_not_taken_for_the_run():
    arguments, overrides = read("resume", "--fit.max_epochs 20 runs/points")
    assert arguments.run == "runs/points"
    assert overrides == ["--fit.max_epochs=20"]


def test_several_files_and_packages():
    arguments, _ = read("fit", "--config a.yaml --trust timm --config b.yaml --trust mine --project elsewhere")
    assert (arguments.config, arguments.trust, arguments.project) == (["a.yaml", "b.yaml"], ["timm", "mine"], "elsewhere")


@pytest.mark.parametrize("line", ["--fit.dry_run", "--fit.dry_run --config c.yaml", "--fit.dry_run -h"])
def test_a_setting_without_a_value_is_refused(line):
    with pytest.raises(ConfigError, match=r"^--fit.dry_run has no value. Write --fit.dry_run VALUE, .* a flag takes true or false"):
        split_overrides(line.split())


def test_a_misspelt_flag_is_told_with_the_nearest_one_before_what_is_missing():
    with pytest.raises(
        ConfigError, match=r"^fit: there is no --confg. Did you mean --config\?\nFor example: framework fit --config"
    ):
        read("fit", "--confg config.yaml")


def test_several_misspelt_flags_are_told_together():
    with pytest.raises(ConfigError, match=r"Did you mean --split\? there is no --jsn. Did you mean --json\?"):
        read("evaluate", "runs/points --splitt=val --jsn")


def test_a_setting_without_its_section_is_told_with_one():
    with pytest.raises(ConfigError, match=r"there is no --lr. .* --fit.lr where fit takes it, --model.lr or --data.lr where your"):
        read("fit", "--config config.yaml --lr 3")


def test_a_configuration_for_a_run_that_has_one_is_told_to_be_left_out():
    with pytest.raises(ConfigError, match=r"there is no --config. The run has its configuration with it: leave it out"):
        read("evaluate", "runs/points --config config.yaml")


def test_names_are_not_abbreviated():
    with pytest.raises(ConfigError, match=r"there is no --conf. Did you mean --config\?"):
        read("fit", "--conf config.yaml")


def test_a_command_without_a_configuration_takes_no_settings():
    with pytest.raises(ConfigError, match=r"report: it reads no configuration, so --fit\.seed means nothing here"):
        read("report", "runs/points --fit.seed 3")
    with pytest.raises(ConfigError, match=r"^report: there is no --zzz.\nFor example"):
        read("report", "runs/points --zzz 3")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("evaluate", "", "evaluate: the following arguments are required: RUN.\n"),
        ("evaluate", "a b", "evaluate: unrecognized arguments: b.\n"),
        ("evaluate", "a --limit_batches x", "argument --limit_batches: invalid int value: 'x'"),
        ("evaluate", "a --split trian", "argument --split: invalid choice: 'trian'"),
        ("predict", "a", "the following arguments are required: --output"),
        ("fit", "--config", "argument --config: expected one argument"),
    ],
)
def test_what_argparse_refuses_is_told_with_an_example(name, line, message):
    with pytest.raises(ConfigError, match=f"For example: framework {name} ") as refused:
        read(name, line)
    assert message in str(refused.value)
    assert str(refused.value).endswith(f"\nAll that it takes: framework {name} --help")


def test_nearest():
    assert nearest("evalute", COMMANDS) == " Did you mean evaluate?"
    assert nearest("xyz", COMMANDS) == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fit config.yaml", "fit: config.yaml is the configuration. Write --config config.yaml.\nFor example: "),
        ("show config.yml", "show: config.yml is the configuration. Write --config config.yml.\nFor example: "),
        (
            "fit --config c.yaml fit.max_epochs=3",
            "fit: fit.max_epochs=3 lacks the dashes. Write --fit.max_epochs=3.\nFor example: ",
        ),
    ],
)
def test_a_word_that_lacks_its_flag_is_told_how_to_be_written(say, command, words):
    said = say(command)
    assert said.code == 2
    assert said.err.startswith(f"framework: error: {words}")
