import pytest

from framework import ModuleError, TrainModule, not_a_hook
from framework.module.checks.declarations import takes_engine

STEPS = ["training_step", "evaluation_step", "prediction_step"]


def make(name, declared, bases=(TrainModule,)):
    return type("Net", bases, {name: declared})


def refusal(name, declared=lambda self, *_: None):
    with pytest.raises(ModuleError) as error:
        make(name, declared)
    return str(error.value)


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict", "predict_batches", "log"])
def test_verbs_are_not_redefined(name):
    assert refusal(name).startswith(f"Net redefines {name}, which TrainModule provides. Give the method another name;")


def test_a_plain_attribute_may_have_the_name_of_a_verb_in_another_class():
    class Other:
        fit = 3

    assert issubclass(make("x", 1, (TrainModule, Other)), TrainModule)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("validation_step", "evaluation_step"),
        ("test_step", "evaluation_step"),
        ("predict_step", "prediction_step"),
        ("train_step", "training_step"),
        ("traning_step", "training_step"),
        ("eval_step", "evaluation_step"),
        ("configure_optimizer", "configure_optimizers"),
        ("configure_optimisers", "configure_optimizers"),
        ("configure_scheduler", "configure_schedulers"),
        ("configure_lr_schedulers", "configure_schedulers"),
        ("configure_metric", "configure_metrics"),
    ],
)
def test_what_is_nearly_a_declaration_is_refused(name, right):
    assert refusal(name) == (
        f"Net.{name} would never be called. Did you mean {right}? Mark a method that you call yourself with @not_a_hook."
    )
    make(name, not_a_hook(lambda self: None))


@pytest.mark.parametrize("name", ["first_step", "step", "configure_data", "build", "configure"])
def test_other_names_are_the_users_own(name):
    make(name, lambda self: None)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "declared",
    [
        lambda self, batch: None,
        lambda self, xy: None,
        lambda self, batch, engine: None,
        lambda self, batch, _engine: None,
        lambda self, batch, temperature=1.0: None,
        lambda self, *args: None,
    ],
)
def test_a_step_takes_the_batch_and_maybe_the_engine(name, declared):
    make(name, declared)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("declared", "came"),
    [
        (lambda self: None, "(self)"),
        (lambda self, batch, batch_idx: None, "(self, batch, batch_idx)"),
        (lambda self, batch, engine, more: None, "(self, batch, engine, more)"),
        (lambda self, batch, *, more: None, "(self, batch, *, more)"),
        (None, " = None"),
        (3, " = 3"),
    ],
)
def test_any_other_step_is_refused(name, declared, came):
    assert refusal(name, declared) == (
        f"Net.{name}{came} cannot be called. Declare it as {name}(self, batch) or {name}(self, batch, engine). "
        "The number of the batch is engine.state.iteration."
    )


@pytest.mark.parametrize(
    ("name", "declared", "right"),
    [
        ("configure_optimizers", lambda self, lr: None, "configure_optimizers(self)"),
        ("configure_metrics", lambda: None, "configure_metrics(self)"),
        (
            "configure_schedulers",
            lambda self: None,
            "configure_schedulers(self, optimizers) or configure_schedulers(self, optimizers, total_steps)",
        ),
    ],
)
def test_configure_methods_are_called_in_one_way(name, declared, right):
    assert refusal(name, declared).endswith(f"cannot be called. Declare it as {right}.")


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property])
def test_a_declaration_is_a_plain_method(wrap):
    assert refusal("training_step", wrap(lambda *_: None)).startswith(
        f"Net.training_step is a {wrap.__name__}, which cannot be called. Declare it as training_step(self, batch) or"
    )


async def waits(self, batch): ...


async def waits_and_yields(self, batch):
    yield


def yields(self, batch):
    yield


@pytest.mark.parametrize("function", [waits, waits_and_yields])
def test_nobody_awaits_a_step(function):
    words = "Net.training_step is an async def; nobody would await it, so it would never run. Write a plain def."
    assert refusal("training_step", function) == words


def test_only_a_training_step_yields():
    make("training_step", yields)
    words = "Net.evaluation_step contains a yield; calling it would run nothing. Write it without yield."
    assert refusal("evaluation_step", yields) == words


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("training_step", lambda batch, engine: None),
        ("training_step", lambda batch, *more: None),
        ("configure_schedulers", lambda optimizers, total_steps: None),
    ],
)
def test_a_method_without_self_is_told_apart(name, function):
    message = refusal(name, function)
    assert message.startswith(f"Net.{name}({function.__code__.co_varnames[0]}, ")
    assert f" lacks self. Declare it as {name}(self, " in message


def test_configure_methods_may_have_defaults_of_their_own():
    make("configure_optimizers", lambda self, lr=0.1: None)
    make("configure_schedulers", lambda self, optimizers: None)
    make("configure_schedulers", lambda self, optimizers, total_steps, warmup=3: None)


@pytest.mark.parametrize(
    ("step", "wants"),
    [
        (lambda batch: None, False),
        (lambda batch, engine: None, True),
        (lambda batch, engine=None: None, True),
        (lambda batch, _: None, True),
        (lambda batch, temperature=1.0: None, False),
        (lambda *args: None, False),
    ],
)
def test_the_engine_is_given_to_those_that_name_it(step, wants):
    assert (takes_engine(step) is step) is wants


def test_a_derived_class_is_checked_with_what_it_inherits():
    base = make("training_step", lambda self, batch: None)
    type("Derived", (base,), {"forward": lambda self, x: x})
