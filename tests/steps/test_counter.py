import torch

from framework.backends.report import SKIPPED, STEPPED, StepReport
from framework.steps.counter import StepCounter


def test_steps_are_counted_by_name():
    counter = StepCounter(["a", "b"])
    counter.note("a", STEPPED)
    counter.note("a", SKIPPED)
    counter.note("b", STEPPED)
    assert counter.steps == {"a": 1, "b": 1}


def test_whoever_waits_for_steps_is_told_of_those_really_made():
    told = []
    counter = StepCounter(["a", "b"], told.append)
    for name, report in (("a", STEPPED), ("b", SKIPPED), ("b", STEPPED)):
        counter.note(name, report)
    assert told == ["a", "b"]


class Unreadable:
    """A flag on a device that nobody may read yet."""

    def __init__(self, value):
        self.value = value
        self.may_be_read = False

    def __bool__(self):
        assert self.may_be_read, "a device was made to wait"
        return self.value


def test_a_flag_on_the_device_is_read_when_the_counter_settles():
    flags = [Unreadable(False), Unreadable(True), Unreadable(False)]
    counter = StepCounter(["a"])
    for flag in flags:
        counter.note("a", StepReport(found_inf=flag))
    assert counter.steps == {"a": 0}
    for flag in flags:
        flag.may_be_read = True
    counter.settle()
    counter.settle()
    assert counter.steps == {"a": 2}


def test_a_flag_is_read_at_once_where_somebody_waits():
    told = []
    counter = StepCounter(["a"], told.append)
    counter.note("a", StepReport(found_inf=torch.zeros(())))
    counter.note("a", StepReport(found_inf=torch.ones(())))
    assert (counter.steps, told) == ({"a": 1}, ["a"])


def test_the_norm_of_the_last_clipped_step_is_kept():
    counter = StepCounter(["a"])
    counter.note("a", StepReport(grad_norm=torch.tensor(3.0)))
    counter.note("a", STEPPED)
    assert counter.grad_norms["a"].item() == 3.0


def test_skipped_steps_are_counted_too():
    counter = StepCounter(["a"])
    for report in (SKIPPED, STEPPED, StepReport(found_inf=torch.ones(())), StepReport(found_inf=torch.zeros(()))):
        counter.note("a", report)
    assert (counter.steps, counter.skipped) == ({"a": 1}, {"a": 1})
    counter.settle()
    assert (counter.steps, counter.skipped) == ({"a": 2}, {"a": 2})
