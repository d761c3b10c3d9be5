"""Advice for errors of torch, provoked where this can be done on a CPU."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from framework import DataError, TrainModule
from framework.module.advice import advice_for


def caught(function, *args):
    with pytest.raises(Exception) as info:  # noqa: PT011  # whatever torch raises
        function(*args)
    return info.value


def backward_twice():
    loss = nn.Linear(2, 1)(torch.ones(1, 2)).square().sum()
    loss.backward()
    loss.backward()


def carried_over():
    layer, state = nn.LSTM(2, 2), None
    for _ in range(2):
        output, state = layer(torch.ones(1, 1, 2), state)
        output.sum().backward()


def stepped_too_often():
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    for _ in range(3):
        optimizer.step()
        schedule.step()


PROVOKED = {
    "memory": (lambda: torch.empty(10**15), "Memory ran out. Give smaller batches; with accumulate=n"),
    "memory of numpy": (lambda: torch.empty(1).numpy().repeat(10**15), "Memory ran out."),
    "backward twice": (backward_twice, "Detach what is carried over from step to step"),
    "state carried over": (carried_over, "state = state.detach()"),
    "devices": (lambda: nn.Linear(2, 1)(torch.ones(1, 2, device="meta")), "Make what a step needs with device=self.device"),
    "devices, added": (lambda: torch.ones(2) + torch.ones(2, device="meta"), "Tensors on two devices met."),
    "dtypes of Linear": (lambda: nn.Linear(2, 1)(torch.ones(1, 2, dtype=torch.float64)), "with x = x.float()"),
    "dtypes without bias": (lambda: nn.Linear(2, 1, bias=False)(torch.ones(1, 2, dtype=torch.uint8)), "images are uint8"),
    "dtypes of Conv2d": (lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2, dtype=torch.uint8)), "images are uint8"),
    "dtypes of Conv2d without bias": (
        lambda: nn.Conv2d(1, 1, 1, bias=False)(torch.ones(1, 1, 2, 2, dtype=torch.float64)),
        "of another dtype than its weights",
    ),
    "shapes": (lambda: nn.Linear(3, 2)(torch.ones(7, 4)), "the last dimension of its input (4) is not its in_features (3)."),
    "complex loss": (lambda: (torch.ones((), requires_grad=True) * 1j).backward(), "is .real, .abs() or .angle() of it"),
    "complex number": (lambda: math.isfinite(torch.tensor(1j).item()), "A complex number came where a real one is needed"),
    "no gradients": (lambda: torch.ones(2).sum().backward(), "put what needs them there under torch.enable_grad()"),
    "label": (lambda: F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 3])), "Class labels go from 0 to"),
    "negative label": (lambda: F.cross_entropy(torch.ones(2, 3), torch.tensor([0, -1])), "Count them from 0"),
    "token": (lambda: nn.Embedding(2, 2)(torch.tensor([2])), "indices go from 0 to num_embeddings - 1"),
    "label dtype": (lambda: F.cross_entropy(torch.ones(2, 3), torch.ones(2)), "y = y.long()"),
    "label shape": (lambda: F.cross_entropy(torch.ones(2, 3), torch.ones(2, 1, dtype=torch.long)), "y.squeeze(1)"),
    "schedule": (stepped_too_often, "is told the optimizer steps of the whole run"),
    "log as in Lightning": (lambda: TrainModule().log("loss", 1.0, prog_bar=True), "log(name, value) records one scalar"),
    "log of a mapping": (lambda: TrainModule().log({"loss": 1.0}), "log(name, value) records one scalar"),
    "one sample": (lambda: nn.BatchNorm1d(3)(torch.ones(1, 3)), "give the loader drop_last=True"),
}


@pytest.mark.fault(27)
@pytest.mark.parametrize(("provoke", "words"), PROVOKED.values(), ids=PROVOKED)
def test_errors_of_torch(provoke, words):
    assert words in advice_for(caught(provoke))


# A CUDA device raises these; so their texts are torch's, copied.
OF_A_DEVICE = {
    "memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "Memory ran out."),
    "devices": (
        RuntimeError(
            "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
            "(when checking argument in method wrapper_CUDA_addmm)"
        ),
        "Tensors on two devices met.",
    ),
    "devices of Conv2d": (
        RuntimeError("Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same"),
        "Tensors on two devices met.",
    ),
    "assert": (
        torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
        "most often a class label or a token",
    ),
}


@pytest.mark.parametrize(("error", "words"), OF_A_DEVICE.values(), ids=OF_A_DEVICE)
def test_errors_of_a_device(error, words):
    assert words in advice_for(error)


class TooLarge:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.empty(10**15)


def test_an_error_that_a_worker_sent_is_known():
    error = caught(list, DataLoader(TooLarge(), num_workers=1))
    assert "worker process" in str(error)
    assert "Memory ran out." in advice_for(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mine"), KeyError("CUDA out of memory"), KeyboardInterrupt(), DataError("index out of range in self")],
    ids=repr,
)
def test_of_others_it_says_nothing(error):
    assert advice_for(error) is None
