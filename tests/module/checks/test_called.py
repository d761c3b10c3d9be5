"""A helper is known by who calls it."""

from functools import wraps

import pytest

from framework import ModuleError, TrainModule
from framework.module.checks.called import is_called


def passed_on(method):
    @wraps(method)
    def same(*args):
        return method(*args)

    return same


class Base:
    def training_step(self):
        return [self.in_a_comprehension_step() for _ in range(2)]

    @property
    def loss(self):
        return self.in_a_property_step()

    @classmethod
    def make(cls):
        return cls.in_a_classmethod_step()

    @passed_on
    def wrapped(self):
        return self.in_a_wrapped_method_step()

    def in_itself_step(self):
        return super().in_itself_step()

    def nowhere_step(self):
        pass


class Inherits(Base):
    def from_a_base_step(self):
        pass


@pytest.mark.parametrize("where", ["in_a_comprehension", "in_a_property", "in_a_classmethod", "in_a_wrapped_method"])
def test_a_call_is_found(where):
    assert is_called(Base, f"{where}_step")
    assert is_called(Inherits, f"{where}_step")


@pytest.mark.parametrize("where", ["in_itself", "nowhere", "from_a_base"])
def test_where_nobody_else_calls(where):
    assert not is_called(Inherits, f"{where}_step")


def test_only_a_helper_that_is_called_may_look_like_a_step():
    class Calls(TrainModule):
        def pretraining_step(self, batch):
            pass

        def training_step(self, batch):
            return self.pretraining_step(batch)

    with pytest.raises(ModuleError, match=r"pretraining_step would never be called\. Did you mean training_step\?"):

        class Forgets(TrainModule):
            def pretraining_step(self, batch):
                return super().pretraining_step(batch)
