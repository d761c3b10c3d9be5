import torch
from torch import nn

from framework import Recording
from framework.backends import Clip
from framework.steps.returned_loss import ReturnedLoss


def test_a_step_is_written_down_and_done():
    weight = nn.Parameter(torch.ones(1))
    backend = Recording()
    step = ReturnedLoss(
        backend, {"main": torch.optim.SGD([weight], lr=0.5)}, lambda engine, batch: (weight.sum(), None), clip=Clip(norm=9.0)
    )
    step.run(None, None)
    assert backend.calls == [
        "micro, last",
        "backward",
        "micro ends",
        "reduce",
        "unscale",
        "step_optimizer",
        "end_window",
        "mark_step",
    ]
    assert weight.item() == 0.5


def test_chosen_steps_are_skipped_as_a_scaler_would():
    weight = nn.Parameter(torch.zeros(1))
    backend = Recording(skipped_steps=(1,))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.ones(1)
    assert [backend.apply([optimizer])[0].stepped for _ in range(3)] == [True, False, True]
    assert weight.item() == -2.0


def test_its_name_and_probe():
    assert Recording().name == "recording"
    assert Recording.probe().ok
