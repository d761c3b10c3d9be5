"""The section `fit`."""

import pytest

from framework import AMP, DDP, EMA, FSDP, CSVLogger, Events
from framework.config.fit_settings import DEFAULTS
from framework.module.checks.unknown_settings import SETTINGS

TEXT = """model: module.Line
data: data.load
fit:
  max_epochs: 1
"""


def with_fit(*lines):
    return TEXT + "".join(f"  {line}\n" for line in lines)


def test_every_setting_has_a_default():
    assert set(DEFAULTS) == set(SETTINGS)


def test_what_is_given_is_what_fit_gets(read):
    configuration = read(
        with_fit(
            "clip_norm: 1",
            "compile: {mode: default}",
            "run_dir: runs/x",
            "allow_changes: [clip_norm]",
            "seed: 3",
            "keep: null",
            "max_time_s: 1e3",
        )
    )
    assert configuration.fit == {
        "max_epochs": 1,
        "clip_norm": 1,
        "compile": {"mode": "default"},
        "run_dir": "runs/x",
        "allow_changes": ("clip_norm",),
        "seed": 3,
        "keep": None,
        "max_time_s": 1000.0,
    }
    assert configuration.seed == 3


def test_objects_are_made(read):
    fit = read(
        with_fit(
            "accelerator: {class_path: AMP, init_args: {device: cpu}}",
            "handlers: [EMA, {class_path: framework.EMA, init_args: {decay: 0.5}}, {class_path: module.Counting}]",
            "loggers: [{class_path: CSVLogger, init_args: {path: x.csv}}]",
            "validate_every: {event: iteration_completed, every: 2}",
            "run_dir: runs/x",
            "save_every: phase_over",
        )
    ).fit
    assert isinstance(fit["accelerator"], AMP)
    assert [type(each).__name__ for each in fit["handlers"]] == ["EMA", "EMA", "Counting"]
    assert (fit["handlers"][0].decay, fit["handlers"][1].decay, fit["handlers"][2].count) == (0.999, 0.5, 0)
    assert isinstance(fit["handlers"][0], EMA)
    assert isinstance(fit["loggers"][0], CSVLogger)
    assert fit["validate_every"] == Events.ITERATION_COMPLETED
    assert fit["save_every"].value == "phase_over"


def test_no_handlers_are_an_empty_list(read):
    assert read(with_fit("handlers: null", "loggers: []")).fit["handlers"] == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("max_epoch: 3", "fit.max_epoch is unknown. Use max_epochs."),
        ("log_evry: 3", "fit.log_evry is unknown. Did you mean log_every?"),
        ("gradient_clip_val: 3", "fit.gradient_clip_val is unknown. Use clip_norm, or clip_value for each entry of a gradient."),
        ("log_every: 0", "fit.log_every=0: log_every should be a whole number of at least 1, got 0 (int)."),
        (
            "max_iters: '3'",
            "fit.max_iters='3': max_iters should be a whole number of at least 1 or None, got '3' (str). Did you mean 3?",
        ),
        ("debug: yes", "fit.debug='yes': debug should be True or False, got str."),
        ("nan: skp", "fit.nan='skp' is unknown: it is one of 'stop', 'skip', 'ignore'. Did you mean 'skip'?"),
        ("monitor: val/loss", "fit.monitor='val/loss' needs run_dir"),
        (
            "validate_every: {event: epoch_complete}",
            "fit.validate_every.event is 'epoch_complete', which is no event. Did you mean epoch_completed?",
        ),
        ("save_every: iteration", "fit.save_every is 'iteration', which is no event."),
        (
            "accelerator: {class_path: EMA}",
            "fit.accelerator.class_path names EMA, which is no Backend. Inherit from framework.Backend.",
        ),
        (
            "strategy: {class_path: EMA}",
            "fit.strategy.class_path names EMA, which is no Strategy. Inherit from framework.Strategy.",
        ),
        ("strategy: {bucket_mib: 5}", "fit.strategy should be a name such as ddp, or a mapping of class_path and init_args."),
        ("strategy: dpp", "fit.strategy='dpp' is unknown: it is one of 'auto', 'ddp', 'fsdp', or a DDP(...) or FSDP(...)"),
        ("strategy: {class_path: DDP, init_args: {bucket_mib: -1}}", "DDP: DDP(bucket_mib=-1.0): it is a number of MiB above 0"),
        ("accelerator: {device: cpu}", "fit.accelerator should be a name such as cpu, or a mapping of class_path and init_args."),
        ("handlers: [EMMA]", "fit.handlers[0] names EMMA, which is no public name of framework. Did you mean EMA?"),
        ("handlers: [module.Countin]", "fit.handlers[0] names module.Countin, but module has no Countin. Did you mean Counting?"),
        ("handlers: [{class_path: EMA, init_args: {deca: 1}}]", "fit.handlers[0].init_args.deca is unknown. Did you mean decay?"),
        (
            "handlers: [{class_path: EMA, init_args: {decay: 2}}]",
            "EMA: decay=2.0: decay should be a number from 0 to below 1, such as 0.999.",
        ),
        ("handlers: [EarlyStopping]", "EarlyStopping needs monitor, which is missing. Give fit.handlers[0].init_args.monitor."),
        ("loggers: [EMA]", "fit.loggers holds <framework.handlers.ema.EMA"),
    ],
)
def test_mistakes(mistakes, line, expected):
    (found,) = mistakes(with_fit(line))
    assert found.startswith(f"a.yaml, line 5: {expected}")


def test_mistakes_are_told_together_each_on_its_line(mistakes):
    found = mistakes(with_fit("max_iters: 0", "clip_norm: -1", "monitor: accuracy", "run_dir: 3", "mode: up", "lr: 3"))
    assert [line.split(": ")[0] for line in found] == [f"a.yaml, line {number}" for number in (5, 6, 7, 8, 9, 10)]


def test_a_wrong_setting_does_not_make_others_wrong(mistakes):
    assert len(mistakes(with_fit("run_dir: 3", "monitor: val/loss", "mode: min"))) == 1
    assert len(mistakes(TEXT.replace("max_epochs: 1", "max_epoch: 1"))) == 1
    assert len(mistakes(TEXT.replace("max_epochs: 1", "max_epochs: 0"))) == 1


def test_a_run_needs_an_end(mistakes):
    assert mistakes("model: module.Line\ndata: data.load\nfit:\n  seed: 3") == [
        "a.yaml, line 3: fit needs an end: give max_epochs, max_iters or max_time_s; the first reached ends the run."
    ]


def test_a_setting_that_is_text_takes_the_text_of_the_command_line(read, mistakes):
    assert read(TEXT, overrides=["--fit.run_dir=2024"]).fit["run_dir"] == "2024"
    assert mistakes(TEXT, overrides=["--fit.max_epochs=1.5"]) == [
        "--fit.max_epochs: fit.max_epochs=1.5: max_epochs should be a whole number of at least 1 or None, got 1.5 (float)."
    ]


def test_errors_of_a_users_handler_come_as_they_are(read, project):
    (project / "handlers.py").write_text(
        "from framework import SettingError\nclass Mine:\n    def __init__(self):\n        raise SettingError('mine')\n"
    )
    with pytest.raises(Exception, match=r"^mine") as caught:
        read(with_fit("handlers: [handlers.Mine]"))
    assert type(caught.value).__name__ == "SettingError"
    assert caught.value.__notes__[0].endswith("a.yaml, line 5 asks for handlers.Mine.")


def test_a_strategy_is_a_name_or_a_class_with_settings(read):
    assert read(with_fit("strategy: fsdp", "batch: global")).fit["strategy"] == "fsdp"
    given = "strategy: {class_path: DDP, init_args: {find_unused_parameters: true, bucket_mib: 50}}"
    configuration = read(with_fit(given))
    assert configuration.fit["strategy"] == DDP(find_unused_parameters=True, bucket_mib=50)
    assert "class_path: DDP" in configuration.text()
    assert read(with_fit("strategy: {class_path: FSDP, init_args: {offload: true}}")).fit["strategy"] == FSDP(offload=True)
