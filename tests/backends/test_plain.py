import torch

from framework import Plain


def test_plain_is_full_precision_and_adds_nothing():
    backend = Plain(torch.device("cpu"))
    assert (backend.name, backend.precision, backend.state_dict()) == ("cpu", "fp32", {})
    verbs = (backend.backward, backend.reduce, backend.unscale, backend.step_optimizer, backend.end_window, backend.mark_step)
    assert verbs == (None,) * 6

    def forward(x):
        return x

    assert backend.autocast(forward) is forward


def test_the_name_is_the_device():
    assert Plain(torch.device("cuda:1")).name == "cuda"
    assert Plain(torch.device("mps")).name == "mps"


def test_probe():
    assert Plain.probe().ok
