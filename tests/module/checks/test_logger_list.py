import pytest

from framework import CSVLogger, Logger, SettingError
from framework.loggers.base import VERBS
from framework.module.checks.logger_list import check_loggers


def refusal(loggers):
    with pytest.raises(SettingError) as error:
        check_loggers(loggers)
    return str(error.value)


def test_loggers_of_ours_and_of_others():
    own = type("Own", (), {name: lambda self, *given: None for name in VERBS})()
    check_loggers([])
    check_loggers((CSVLogger(), CSVLogger(), own, type("Mine", (Logger,), {})()))


@pytest.mark.parametrize("value", ["tensorboard", None, True, {"a": 1}])
def test_what_is_no_list(value):
    assert refusal(value) == (
        f"loggers should be a list of loggers, such as [CSVLogger()], got {value!r}. There are CSVLogger, TensorBoardLogger, "
        "WandbLogger, MLflowLogger, TrackioLogger, or one of your own."
    )


def test_one_outside_of_a_list():
    logger = CSVLogger()
    assert refusal(logger).endswith(f"got {logger!r}. Put it in a list: loggers=[...].")


def test_a_class():
    assert refusal([CSVLogger]) == "loggers should hold objects, got the class CSVLogger. Write CSVLogger(...)."


def test_what_has_not_the_verbs():
    assert refusal(["csv"]).startswith(
        "loggers holds 'csv', which has no begin, points, row, close. A logger has begin, points, row"
    )
    half = type("Half", (), {"begin": print, "points": print, "close": 3})()
    assert f"loggers holds {half!r}, which has no row, close. " in refusal([half])


def test_the_same_twice():
    logger = CSVLogger()
    assert refusal([logger, CSVLogger(), logger]) == (
        f"loggers holds {logger!r} twice, so it would be told everything twice. Leave one out."
    )
