"""What is told of the form of a configuration, before anything is imported."""

import sys

import pytest

MODEL = "model: {class_path: module.Line}\n"
DATA = "data: data.load\n"
FIT = "fit: {max_epochs: 1}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MODEL + DATA + FIT + "trainer: {}", "a.yaml, line 4: trainer is unknown. Did you mean fit?"),
        (MODEL + DATA + FIT + "modl: {}", "a.yaml, line 4: modl is unknown. Did you mean model?"),
        (MODEL + DATA + FIT + "seed_everything: 3", "a.yaml, line 4: seed_everything is unknown. Did you mean fit.seed?"),
        (DATA + FIT, "a.yaml, line 1: model is missing. Give model.class_path, a TrainModule of yours: module.Net."),
        (
            MODEL + FIT,
            "a.yaml, line 1: data is missing. Give data.class_path, a function of yours that returns batches: data.load.",
        ),
        (MODEL + DATA, "a.yaml, line 1: fit is missing. Give its settings, with an end, such as fit.max_epochs: 3."),
        (MODEL + DATA + "fit: 3", "a.yaml, line 3: fit should be a mapping of settings, such as max_epochs: 3, got 3."),
        ("model: {width: 3}\n" + DATA + FIT, "a.yaml, line 1: model.class_path is missing. It says what is made: module.Class."),
        ("model: [1]\n" + DATA + FIT, "a.yaml, line 1: model should be a mapping of class_path and init_args, got [1]."),
        (
            "model: {class_path: 3}\n" + DATA + FIT,
            "a.yaml, line 1: model.class_path should be the name of a class, such as module.Class, got 3.",
        ),
        (
            "model: {class_path: module.Line, width: 3}\n" + DATA + FIT,
            "a.yaml, line 1: model.width is unknown. Beside class_path there is init_args; "
            "an argument of the class is model.init_args.width.",
        ),
        (
            "model: {class_path: module.Line, init_args: [3]}\n" + DATA + FIT,
            "a.yaml, line 1: model.init_args should be a mapping from names to values, got [3].",
        ),
        (
            "model: torch.nn.ReLU\n" + DATA + FIT,
            "a.yaml, line 1: model names torch.nn.ReLU. A model is a TrainModule of your own project, such as module.Net.",
        ),
        (
            MODEL + "data: torch.nn.ReLU\n" + FIT,
            "a.yaml, line 2: data names torch.nn.ReLU. Data come from a function or class of your own project, such as data.load.",
        ),
        (
            MODEL + "data: EMA\n" + FIT,
            "a.yaml, line 2: data names EMA. Data come from a function or class of your own project, such as data.load.",
        ),
        (
            MODEL + DATA + "fit:\n  handlers: EMA",
            "a.yaml, line 4: fit.handlers should be a list, got 'EMA'. Put a dash before each of its items.",
        ),
        (
            MODEL + DATA + "fit:\n  loggers:\n  - 3",
            "a.yaml, line 5: fit.loggers[0] should be a class_path with init_args, or a name, got 3.",
        ),
        (
            MODEL + DATA + "fit:\n  handlers:\n  - {decay: 3}",
            "a.yaml, line 5: fit.handlers[0] should be a class_path with init_args, or a name, got {'decay': 3}.",
        ),
    ],
)
def test_mistakes_in_the_form(mistakes, text, expected):
    assert expected in mistakes(text)


def test_all_are_told_before_anything_is_imported(mistakes):
    assert len(mistakes("model: os.system\nfit: {handlers: [os.system]}\nmore: 1")) == 4
    assert "module" not in sys.modules
