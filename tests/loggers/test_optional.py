import sys

import pytest

from framework import MLflowLogger, SettingError, TensorBoardLogger, TrackioLogger, WandbLogger
from framework.loggers.optional import needed


def test_a_module_that_is_there():
    assert needed("json", "json", "JSONLogger").loads("1") == 1


@pytest.mark.parametrize(
    ("logger", "given", "module", "extra"),
    [
        (TensorBoardLogger, (), "torch.utils.tensorboard", "tensorboard"),
        (WandbLogger, (), "wandb", "wandb"),
        (MLflowLogger, (), "mlflow", "mlflow"),
        (TrackioLogger, ("digits",), "trackio", "trackio"),
    ],
)
def test_what_is_missing_is_named_with_its_extra_when_the_logger_is_made(monkeypatch, logger, given, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(SettingError) as error:
        logger(*given)
    name = logger.__name__
    assert str(error.value).startswith(f"{name} needs the package {extra}, which cannot be imported: ")
    assert str(error.value).endswith(f" Install it: pip install 'trainmodule[{extra}]'; or leave {name} out of loggers.")
