import pytest
import torch
from torch import nn

from framework.backends.report import SKIPPED, STEPPED, StepReport, watched_step


class Flag:
    """Stands in for a tensor on a device, and counts how often somebody waits for it."""

    def __init__(self, value):
        self.value = value
        self.reads = 0

    def __bool__(self):
        self.reads += 1
        return self.value


@pytest.fixture
def optimizer():
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    return torch.optim.SGD([weight], lr=0.5)


def weight_of(optimizer):
    return optimizer.param_groups[0]["params"][0].item()


def test_what_stepped():
    assert STEPPED.stepped
    assert not SKIPPED.stepped
    assert StepReport(found_inf=torch.zeros(1)).stepped
    assert not StepReport(found_inf=torch.ones(1)).stepped


@pytest.mark.parametrize(("value", "called", "stepped", "reads"), [(0, True, True, 1), (1, True, False, 1), (0, False, False, 0)])
def test_the_flag_is_read_only_where_it_decides(value, called, stepped, reads):
    flag = Flag(bool(value))
    report = StepReport(called=called, found_inf=flag)
    assert flag.reads == 0
    assert report.stepped is stepped
    assert flag.reads == reads


def test_a_step_that_is_made(optimizer):
    assert watched_step(optimizer, optimizer.step) == STEPPED
    assert weight_of(optimizer) == 0.5


def test_a_step_that_is_not_made(optimizer):
    assert watched_step(optimizer, lambda: None) == SKIPPED
    assert weight_of(optimizer) == 1.0


def test_a_step_that_was_replaced_as_apex_does_it(optimizer):
    optimizer.step = lambda: None
    assert watched_step(optimizer, optimizer.step) == SKIPPED


class Fused(torch.optim.SGD):
    def step(self):
        """Its kernel looks at the flag."""


def test_the_flag_of_a_fused_optimizer_is_taken_along_unread():
    optimizer, flag = Fused([nn.Parameter(torch.ones(1))]), Flag(True)

    def step():  # as GradScaler.step does
        optimizer.found_inf = flag
        optimizer.step()
        del optimizer.found_inf

    report = watched_step(optimizer, step)
    assert report.called
    assert report.found_inf is flag
    assert flag.reads == 0
    assert not report.stepped


def test_nobody_watches_the_next_step(optimizer):
    watched_step(optimizer, optimizer.step)
    assert len(optimizer._optimizer_step_post_hooks) == 0


def test_nobody_watches_on_after_an_error(optimizer):
    def fail():
        raise KeyError("step")

    with pytest.raises(KeyError):
        watched_step(optimizer, fail)
    assert len(optimizer._optimizer_step_post_hooks) == 0
