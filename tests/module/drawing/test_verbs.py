import pytest
import torch

from framework import AMP, Backend, Plain, Recording
from framework.backends.apex import LegacyApex
from framework.backends.base import Probe
from framework.backends.clip import Clip
from framework.backends.xla import XLA
from framework.module.drawing.page import Page
from framework.module.drawing.verbs import Verbs


class Own(Backend):
    """A backend with every verb of its own."""

    backward = reduce = unscale = join_skips = step_optimizer = end_window = mark_step = lambda self, *arguments: None

    @classmethod
    def probe(cls):
        return Probe(True)

    def autocast(self, function):
        return function

    def feed(self, data):
        return data


def without_device(kind, precision, **attributes):
    """Makes a backend of a device that is not here."""
    backend = kind.__new__(kind)
    Backend.__init__(backend, torch.device("cpu"), precision)
    backend.__dict__.update(attributes)
    return backend


def step_of(backend, *, several=False, parameters=""):
    """Returns the lines of a whole step."""
    page = Page()
    verbs = Verbs(page, backend, several=several)
    verbs.setup()
    with verbs.autocast():
        page.line(f"loss = {verbs.call('step')}(batch)")
    with verbs.micro("True"):
        verbs.backward("(loss / size)", parameters)
    verbs.reduce("[optimizer]")
    verbs.unscale()
    verbs.clip(Clip(1.0, 0.5), "parameters", 2 if several else 1)
    verbs.step()
    with verbs.if_stepped():
        page.line("told()")
    verbs.end_window()
    verbs.mark_step()
    return [line.split("  #")[0].strip() for line in page.text().splitlines()]


CLIPS = ["clip_grad_norm_(parameters, 1.0)", "clip_grad_value_(parameters, 0.5)"]
PLAIN = ["loss = step(batch)", "(loss / size).backward()", *CLIPS, "optimizer.step()", "told()"]


def test_the_plain_step():
    assert step_of(Plain(torch.device("cpu"))) == PLAIN
    assert "(loss / size).backward(inputs=own)" in step_of(Plain(torch.device("cpu")), parameters="own")


def test_bf16_has_no_scaler():
    assert step_of(AMP(torch.device("cpu"), "bf16")) == ['with torch.autocast("cpu", torch.bfloat16):', *PLAIN]


def test_the_verbs_of_a_scaler(fp16):
    assert step_of(fp16, several=True) == [
        'scaler = torch.amp.GradScaler("cpu")',
        'with torch.autocast("cpu", torch.float16):',
        "loss = step(batch)",
        "scaler.scale(loss / size).backward()",
        "scaler.unscale_(optimizer)",
        "backend.join_skips(list(optimizers.values()))",
        *CLIPS,
        "scaler.step(optimizer)",
        "if stepped(optimizer):",
        "told()",
        "scaler.update()",
    ]


def test_a_backend_of_ones_own_is_called_by_its_verbs():
    assert step_of(Own(torch.device("cpu"))) == [
        "loss = backend.autocast(step)(batch)",
        "backend.backward((loss / size), [optimizer], None)",
        "backend.reduce([optimizer])",
        "backend.unscale(optimizer)",
        *CLIPS,
        "backend.step_optimizer(optimizer)",
        "if stepped(optimizer):",
        "told()",
        "backend.end_window()",
        "backend.mark_step()",
    ]
    assert "with backend.micro(True):" in step_of(Recording())


def test_apex():
    assert step_of(without_device(LegacyApex, "fp16", _opt_level="O2"), several=True, parameters="own") == [
        'apex.amp.initialize(model, list(optimizers.values()), opt_level="O2")',
        "loss = step(batch)",
        "with apex.amp.scale_loss((loss / size), [optimizer]) as scaled:",
        "scaled.backward(inputs=own)",
        *CLIPS,
        "optimizer.step()",
        "if stepped(optimizer):",
        "told()",
    ]


def test_xla():
    found = step_of(without_device(XLA, "bf16"))
    assert found[0] == 'with torch.autocast("xla", torch.bfloat16):'
    assert "backend.reduce([optimizer])" in found
    assert found[-1] == "torch_xla.sync()"


@pytest.mark.parametrize(
    ("backend", "fed"),
    [
        (Plain(torch.device("cpu")), "data"),
        (Plain(torch.device("meta")), "backend.feed(data)"),
        (Own(torch.device("cpu")), "backend.feed(data)"),
    ],
)
def test_data_goes_to_the_device_as_it_is_fetched(backend, fed):
    assert Verbs(Page(), backend, several=False).feed("data") == fed
