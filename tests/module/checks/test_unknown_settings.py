import inspect

import pytest

from framework import SettingError
from framework.module.checks.foreign_settings import FOREIGN_SETTINGS
from framework.module.checks.unknown_settings import SETTINGS, refuse_unknown


def refusal(verb, *args, **given):
    with pytest.raises(SettingError) as error:
        verb(*args, **given)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("epochs", "Use max_epochs."),
        ("gradient_clip_val", "Use clip_norm, or clip_value for each entry of a gradient."),
        ("callbacks", "Use handlers: objects with on_<event> methods."),
        ("batch_size", "It belongs to the DataLoader, which fit takes as train_data and val_data."),
        ("gpus", FOREIGN_SETTINGS["devices"]),
        ("GPUS", FOREIGN_SETTINGS["devices"]),
        ("acumulate", "Did you mean accumulate?"),
        ("Max_Epochs", "Did you mean max_epochs?"),
    ],
)
def test_fit_names_the_setting_that_was_meant(line, counted, name, remedy):
    assert refusal(line().fit, counted, max_epochs=1, **{name: 3}) == f"fit has no setting {name!r}. {remedy}"
    assert counted.reads == 0


def test_a_name_like_no_other_gets_the_list(line, batches):
    assert refusal(line().fit, batches, zork=1) == f"fit has no setting 'zork'. It has {', '.join(SETTINGS)}."


def test_each_of_several_is_named(line, batches):
    message = refusal(line().fit, batches, epochs=3, lr=0.1)
    assert message.startswith("fit has no setting 'epochs'. Use max_epochs. fit has no setting 'lr'. It belongs to the optimizer")


@pytest.mark.parametrize("verb", ["evaluate", "predict", "predict_batches"])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("max_epochs", "It is one of fit."),
        ("limit_test_batches", "Use limit_batches, a whole number of batches."),
        ("acelerator", "Did you mean accelerator?"),
        ("zork", "It has accelerator, precision, limit_batches{}."),
    ],
)
def test_the_other_verbs_do_so_too(line, batches, verb, name, remedy):
    remedy = remedy.format({"evaluate": ", weights, loggers", "predict": ", weights"}.get(verb, ""))
    assert refusal(getattr(line(), verb), batches, **{name: 3}) == f"{verb} has no setting {name!r}. {remedy}"


def test_the_settings_are_the_arguments_of_fit(line):
    parameters = inspect.signature(line.fit).parameters.values()
    assert set(SETTINGS) == {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    for verb in (line.evaluate, line.predict, line.predict_batches):
        parameters = inspect.signature(verb).parameters.values()
        more = {"evaluate": {"weights", "loggers"}, "predict": {"weights"}}.get(verb.__name__, set())
        assert {each.name for each in parameters if each.kind is each.KEYWORD_ONLY} == {
            "accelerator",
            "precision",
            "limit_batches",
            *more,
        }


def test_another_verb_may_be_named():
    with pytest.raises(SettingError, match=r"show_loop has no setting 'epochs'\. Use max_epochs\."):
        refuse_unknown(["epochs"], SETTINGS, "show_loop")
