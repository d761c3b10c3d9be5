import math

import pytest
import torch

from framework import Events, SettingError
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
    "accumulate": 1,
    "clip_norm": None,
    "clip_value": None,
    "compile": False,
    "seed": None,
    "deterministic": False,
    "nan": "stop",
    "data_order": "batch",
    "handlers": (),
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
    assert message.endswith(f"got {value!r} ({type(value).__name__}).")


@pytest.mark.parametrize("name", [*OPTIONAL_COUNTS, "log_every", "accumulate"])
def test_a_count_is_no_text(name):
    assert refusal(**{name: "3"}).startswith(f"{name}='3': {name} should be a whole number")


@pytest.mark.parametrize("name", OPTIONAL_COUNTS)
def test_none_is_allowed_where_there_need_be_no_limit(name):
    assert "or None" in refusal(**{name: 0})


@pytest.mark.parametrize("name", ["log_every", "accumulate", "validate_every"])
def test_none_is_no_count_elsewhere(name):
    assert "or None" not in refusal(**{name: None})


def test_a_run_needs_an_end():
    message = "fit needs an end: give max_epochs, max_iters or max_time_s; the first reached ends the run."
    assert refusal(max_epochs=None) == message


def test_epoch_length_and_limit_train_batches_contradict_each_other():
    message = refusal(epoch_length=3, limit_train_batches=2)
    assert message.startswith("epoch_length=3 and limit_train_batches=2 contradict each other")
    assert message.endswith("Give one of them.")


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "1", True, [1.0]], ids=str)
def test_clips_are_numbers_above_zero(name, value):
    assert refusal(**{name: value}) == f"{name}={value!r}: {name} should be a number above 0, or None for no limit."


@pytest.mark.parametrize("name", ["deterministic", "progress"])
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_flags_are_true_or_false(name, value):
    assert refusal(**{name: value}) == f"{name}={value!r}: {name} should be True or False, got {type(value).__name__}."


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, "7", True])
def test_a_seed_is_one_that_the_generators_take(value):
    assert refusal(seed=value) == (
        f"seed={value!r}: seed should be a whole number from 0 to {2**63 - 1} or None, got {value!r} ({type(value).__name__})."
    )


@pytest.mark.parametrize("value", ["skip", "Stop", None, True])
def test_nan_is_stop_or_ignore(value):
    assert refusal(nan=value) == f"nan={value!r} is unknown: it is 'stop' or 'ignore'."


@pytest.mark.parametrize("value", ["abc", None, {1, 2}, object], ids=str)
def test_handlers_are_a_list(value):
    assert refusal(handlers=value).startswith("handlers should be a list of objects with on_<event> methods, got ")


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
