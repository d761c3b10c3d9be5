import math
import re

import numpy as np
import pytest
import torch

from framework import DDP, Events, SettingError
from framework.module.settings import FitSettings, whole

DEFAULTS = {
    "max_epochs": 1,
    "max_iters": None,
    "max_time_s": None,
    "epoch_length": None,
    "validate_every": 1,
    "limit_train_batches": None,
    "limit_val_batches": None,
    "log_every": 50,
    "accelerator": "auto",
    "precision": None,
    "strategy": "auto",
    "batch": "rank",
    "sync_batchnorm": False,
    "checkpoint_activations": False,
    "accumulate": 1,
    "clip_norm": None,
    "clip_value": None,
    "compile": False,
    "seed": None,
    "deterministic": False,
    "nan": "stop",
    "debug": False,
    "dry_run": False,
    "data_order": "batch",
    "handlers": (),
    "loggers": (),
    "progress": True,
    "run_dir": None,
    "resume": "auto",
    "allow_changes": (),
    "save_every": 1,
    "save_every_s": None,
    "async_save": False,
    "keep": 2,
    "monitor": None,
    "mode": None,
    "hang_timeout_s": None,
}
OPTIONAL_COUNTS = ["max_epochs", "max_iters", "epoch_length", "limit_train_batches", "limit_val_batches"]
COUNTS = [*OPTIONAL_COUNTS, "log_every", "accumulate", "validate_every"]
NO_COUNT = [0, -1, 1.0, 2.5, True, [3], math.nan]


def refusal(**settings):
    with pytest.raises(SettingError) as error:
        FitSettings(**{**DEFAULTS, **settings})
    return str(error.value)


def test_the_defaults_are_those_of_fit(line):
    given = line.fit.__kwdefaults__
    assert given == {**DEFAULTS, "max_epochs": None}
    FitSettings(**DEFAULTS)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", NO_COUNT, ids=str)
def test_counts_are_whole_numbers_from_one(name, value):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}={value!r}: {name} should be a whole number of at least 1")
    assert f"got {value!r} ({type(value).__name__})." in message


@pytest.mark.parametrize("name", [*OPTIONAL_COUNTS, "log_every", "accumulate"])
def test_a_count_is_no_text(name):
    assert refusal(**{name: "3"}).startswith(f"{name}='3': {name} should be a whole number")


@pytest.mark.parametrize("name", OPTIONAL_COUNTS)
def test_none_is_allowed_where_there_need_be_no_limit(name):
    assert "or None" in refusal(**{name: 0})


@pytest.mark.parametrize("name", ["log_every", "accumulate", "validate_every"])
def test_none_is_no_count_elsewhere(name):
    assert "or None" not in refusal(**{name: None})


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        *(("max_epochs", "3", 3), ("max_epochs", "3.0", 3), ("max_epochs", 3.0, 3), ("accumulate", " 4 ", 4), ("seed", "0", 0)),
        *(
            ("clip_norm", "1.5", 1.5),
            ("max_time_s", "60", 60),
            ("limit_train_batches", "5", 5),
        ),
        *(("max_epochs", 2.5, None), ("max_epochs", "0", None), ("max_epochs", "inf", None), ("clip_norm", "-1", None)),
        *(("limit_train_batches", 1.0, None), ("validate_every", 0.5, None), ("max_epochs", "many", None)),
    ],
)
def test_the_number_that_was_meant(name, value, meant):
    assert ("Did you mean" in refusal(**{name: value})) is (meant is not None)
    assert meant is None or refusal(**{name: value}).endswith(f" Did you mean {meant}?")


def test_a_share_of_the_batches_is_no_limit():
    assert "(batches; a share of them is int(0.1 * len(loader)))" in refusal(limit_val_batches=0.1)


def test_numbers_of_numpy_become_those_of_python():
    settings = {"max_epochs": np.int64(3), "seed": np.uint8(7), "validate_every": np.int32(2), "clip_norm": np.float32(0.5)}
    made = FitSettings(**{**DEFAULTS, **settings})
    assert [(type(getattr(made, name)), getattr(made, name)) for name in settings] == [(int, 3), (int, 7), (int, 2), (float, 0.5)]
    assert refusal(max_epochs=np.bool_(True)).startswith("max_epochs=np.True_: max_epochs should be a whole number")


def test_a_run_needs_an_end():
    message = "fit needs an end: give max_epochs, max_iters or max_time_s; the first reached ends the run."
    assert refusal(max_epochs=None) == message


def test_epoch_length_and_limit_train_batches_contradict_each_other():
    message = refusal(epoch_length=3, limit_train_batches=2)
    assert message.startswith("epoch_length=3 and limit_train_batches=2 contradict each other")
    assert message.endswith("Give one of them.")


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "much", "-1", True, [1.0], torch.tensor(1.0)], ids=str)
def test_clips_are_numbers_above_zero(name, value):
    assert refusal(**{name: value}) == f"{name}={value!r}: {name} should be a number above 0, or None for no limit."


@pytest.mark.parametrize("name", ["deterministic", "progress"])
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_flags_are_true_or_false(name, value):
    assert refusal(**{name: value}) == f"{name}={value!r}: {name} should be True or False, got {type(value).__name__}."


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, "x", True])
def test_a_seed_is_one_that_the_generators_take(value):
    assert refusal(seed=value) == (
        f"seed={value!r}: seed should be a whole number from 0 to {2**63 - 1} or None, got {value!r} ({type(value).__name__})."
    )


@pytest.mark.parametrize("value", ["Stop", "raise", None, True])
def test_nan_is_one_of_three(value):
    message = refusal(nan=value)
    assert message.startswith(f"nan={value!r} is unknown: it is one of 'stop', 'skip', 'ignore'.")
    assert FitSettings(**{**DEFAULTS, "nan": "skip", "debug": True}).nan == "skip"


def test_debug_does_not_look_for_what_is_ignored():
    message = "debug=True looks for what nan='ignore' trains on with. Give nan='stop' or nan='skip', or leave debug out."
    assert refusal(nan="ignore", debug=True) == message


@pytest.mark.parametrize("value", ["abc", None, {1, 2}, object], ids=str)
def test_handlers_are_a_list(value):
    assert refusal(handlers=value).startswith("handlers should be a list of objects with on_<event> methods, got ")


class Hooked:
    def on_completed(self): ...


def test_a_lone_handler_goes_into_a_list():
    assert refusal(handlers=Hooked()).endswith(" Put it in a list: handlers=[...].")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data_order": "samples"}, "'loader'. Did you mean 'sample'?"),
        ({"data_order": "zork"}, "it is one of 'batch', 'sample', 'loader'."),
        ({"mode": "maximum", "monitor": "val/loss"}, "or None to take it from the metric. Did you mean 'max'?"),
        ({"mode": "Minimize", "monitor": "val/loss"}, "Did you mean 'min'?"),
        ({"monitor": "accuracy"}, "such as 'val/loss' or 'val/accuracy'. Did you mean 'val/accuracy'?"),
        ({"monitor": "val_loss"}, "Did you mean 'val/loss'?"),
        ({"monitor": "train/loss"}, "Did you mean 'val/loss'?"),
        ({"monitor": 3}, "such as 'val/loss' or 'val/accuracy'."),
        ({"resume": True}, "or the path of a run or a checkpoint. Did you mean 'must'?"),
        ({"resume": False}, "Did you mean 'never'?"),
        ({"resume": None}, "Did you mean 'auto'?"),
        (
            {"resume": "atuo"},
            "resume is one of 'auto', 'never', 'must', or the path of a run or a checkpoint. Did you mean 'auto'?",
        ),
        ({"resume": 3}, "or the path of a run or a checkpoint."),
    ],
)
def test_the_nearest_name_of_a_setting(tmp_path, given, words):
    message = refusal(run_dir=tmp_path / "run", **given)
    name = next(iter(given))
    assert message.startswith(f"{name}={given[name]!r}")
    assert message.endswith(words)


def test_a_path_to_resume_from_is_looked_at_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "atuo").mkdir()
    for path in ("atuo", "runs/first", tmp_path):
        assert FitSettings(**{**DEFAULTS, "run_dir": "run", "resume": path}).resume is path


def test_run_dir_is_no_file(tmp_path):
    path = tmp_path / "run"
    path.touch()
    assert refusal(run_dir=path) == f"run_dir={str(path)!r} is a file; it should be a folder, such as 'runs/first'."


def test_validate_every_says_that_events_are_allowed():
    assert "(epochs, or an event such as Events.ITERATION_COMPLETED(every=500))" in refusal(validate_every=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": None, "max_iters": 1},
        {"max_iters": 10},
        {"epoch_length": 5},
        {"validate_every": Events.ITERATION_COMPLETED(every=5)},
        {"validate_every": Events.STARTED | Events.COMPLETED},
        {"validate_every": "EPOCH_COMPLETED"},
        {"clip_norm": 1},
        {"clip_value": 0.5},
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"handlers": []},
        {"nan": "ignore"},
    ],
    ids=str,
)
def test_what_is_right_is_taken(settings):
    made = FitSettings(**{**DEFAULTS, **settings})
    assert all(getattr(made, name) is value for name, value in settings.items())


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        FitSettings(**DEFAULTS).max_epochs = 3


@pytest.mark.parametrize("value", [0, "all", 1.5])
def test_limit_batches_of_the_other_verbs(line, batches, value):
    for verb in (line().evaluate, line().predict, line().predict_batches):
        with pytest.raises(SettingError, match=r"limit_batches should be a whole number of at least 1 or None"):
            verb(batches, limit_batches=value)


def test_whole_may_start_elsewhere():
    whole("x", 0, least=0)
    with pytest.raises(SettingError, match="x should be a whole number of at least 0"):
        whole("x", -1, least=0)
    with pytest.raises(SettingError, match=r"got tensor\(3\) \(Tensor\)"):
        whole("x", torch.tensor(3))


@pytest.mark.parametrize("value", [None, 1, "max-autotune", ["inductor"]])
def test_compile_is_a_flag_or_options(value):
    assert refusal(compile=value).startswith(f"compile={value!r}: compile should be True, False, or options of torch.compile")


def test_what_compile_means():
    options = [FitSettings(**{**DEFAULTS, "compile": value}).compile_options for value in (False, True, {"backend": "aot_eager"})]
    assert options == [None, {}, {"backend": "aot_eager"}]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strategy": "dpp"}, r"strategy='dpp' is unknown: it is one of 'auto', 'ddp', 'fsdp', or a DDP\(...\) or FSDP\(...\)"),
        ({"strategy": DDP}, "strategy=<class 'framework.distributed.ddp.DDP'> is unknown"),
        ({"batch": "all"}, "batch='all' is unknown: it is one of 'rank', 'global'"),
        ({"sync_batchnorm": 1}, "sync_batchnorm=1: sync_batchnorm should be True or False, got int"),
    ],
)
def test_how_several_processes_train(settings, told):
    assert re.match(told, refusal(**settings))
