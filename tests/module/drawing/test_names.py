from functools import partial, wraps

import pytest

from framework import Progress
from framework.handlers import EMA
from framework.module.drawing.names import Names, place_of, quoted, remark_on, snake


class Handler:
    def on_started(self):
        """Opens the files.

        And more.
        """

    def on_completed(self): ...

    def other(self): ...

    on_closed = other


def test_names_of_classes_become_names_of_variables():
    names = [snake(name) for name in ("EMA", "EarlyStopping", "TQDMBar", "_Private", "Top5", "__")]
    assert names == ["ema", "early_stopping", "tqdm_bar", "private", "top5", "handler"]


def test_no_two_things_share_a_name_and_none_has_one_of_the_drawing():
    class Engine: ...

    class Return: ...

    names = Names()
    given = Handler(), Handler(), Engine(), Return()
    assert [names.of(each) for each in given] == ["handler", "handler_2", "engine_2", "return_2"]
    names.give(given[0], "model")
    assert names.of(given[0]) == "model"


def test_a_handler_is_called_by_the_name_that_its_owner_has_for_it():
    names, handler = Names(), Handler()
    assert names.of_handler(handler.on_started) == "handler.on_started"
    assert names.of_handler(handler.on_closed) in ("handler.on_closed", "handler.other")
    assert names.of_handler(partial(handler.on_started)) == "handler.on_started"
    assert names.of_handler(snake) == "snake"
    assert names.of_handler(lambda: None) == "function"


def test_a_method_whose_function_has_another_name():
    def wrapped(self): ...

    class Owner:
        on_started = wrapped

    assert Names().of_handler(Owner().on_started) == "owner.on_started"


def test_what_is_said_of_a_handler():
    line = Handler.on_started.__code__.co_firstlineno
    assert remark_on(Handler().on_started) == f"Handler, line {line}: Opens the files"
    assert remark_on(Handler().on_completed) == f"Handler, line {Handler.on_completed.__code__.co_firstlineno}"
    assert remark_on(EMA().on_iteration_completed) == "Updates the averages, if an optimizer has stepped"


def test_the_name_of_its_event_is_left_out():
    def described(documentation):
        def handler(): ...

        handler.__doc__, handler.__module__ = documentation, "framework.module.run"
        return remark_on(handler)

    assert described("EPOCH_COMPLETED: looks at it.") == "looks at it"
    assert described("STARTED.") == ""
    assert described(None) == ""


@pytest.mark.parametrize("hook", ["on_epoch_started", "on_iteration_completed", "on_epoch_completed", "on_closed"])
def test_the_handlers_of_the_framework_say_what_they_do(hook):
    assert remark_on(getattr(Progress(), hook))


def test_where_a_function_stands():
    @wraps(snake)
    def local(): ...

    assert place_of(lambda: None).startswith("line ")
    assert place_of(Handler().on_started).startswith("Handler, line ")
    assert place_of(len) == ""
    assert place_of(local).startswith("line ")


def test_texts_are_in_double_quotes():
    assert quoted("a'b") == '"a\'b"'
    assert quoted("Größe") == '"Größe"'
