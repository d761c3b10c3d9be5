"""The text of a dry run: what it tells of layers, sizes, memory and time, and how it stays narrow."""

import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric

from framework.backends.plain import Plain
from framework.module.trial.measurement import Call, Measurement
from framework.module.trial.summary import WIDTH, Row, cut_middle, layer_rows, measure_sizes, summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.decoder = self.encoder
        self.attention = nn.MultiheadAttention(4, 2)
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.seen = MeanMetric()
        self.free = nn.Parameter(torch.ones(3))
        self.idle = nn.Dropout()


def noted(net, calls=None, *, sees_layers=True):
    return {row.name.strip(): row for row in layer_rows(net, calls or {}, sees_layers=sees_layers)}


def with_gradients(*layers):
    for layer in layers:
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def backend():
    return Plain(torch.device("cpu"))


@pytest.fixture
def found():
    return Measurement(
        batch="(float32 (32, 4), int64 (32,))",
        batches=1,
        samples=32,
        data_s=0.001,
        step_s=0.016,
        backward_s=0.004,
        kept=3 * 2**20,
        evaluations={"val": ("(float32 (16, 4), int64 (16,))", 16, 0.002)},
    )


def test_a_row_tells_class_shapes_and_parameters(net):
    rows = noted(net, {net.encoder[0]: Call("float32 (2, 4)", "bfloat16 (2, 8)"), net.encoder: Call("float32 (2, 4)", "int")})
    assert rows["Net"].kind == ""
    assert rows["encoder"] == Row("  encoder", "Sequential", "(2, 4) -> int", "40", "")
    assert layer_rows(net, {}, sees_layers=True)[2].name == "    0"


def test_notes_tell_what_is_unusual(net):
    net.blocks[1].requires_grad_(False)
    net.encoder[0].bias.requires_grad_(False)
    with_gradients(net.attention)
    rows = noted(net, {net.blocks[0]: Call("x", "y", count=3), net.encoder[0]: Call("x", "y")})
    assert rows["decoder"].shapes == "the same as encoder"
    assert rows["out_proj"].note == "weights used, not called"
    assert rows["attention"].note == "weights used, not called"
    assert (rows["blocks"].note, rows["seen"].note) == ("", "")
    assert rows["idle"].note == "not used"
    every = layer_rows(net, {net.blocks[0]: Call("x", "y", count=3), net.encoder[0]: Call("x", "y")}, sees_layers=True)
    assert [row.note for row in every if row.kind == "Linear"] == [
        "no gradient, 8 frozen",
        "3 calls, no gradient",
        "not called, frozen",
    ]


def test_layers_that_cannot_be_seen_are_not_called_unused(net):
    assert noted(net, sees_layers=False)["idle"].note == ""
    net.idle._compiled_call_impl = lambda: None
    assert noted(net)["idle"].note == ""


def test_layers_without_shapes_yet_say_so():
    net = nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 1))
    rows = noted(net)
    assert (rows["Sequential"].parameters, rows["0"].parameters, rows["1"].parameters) == ("not yet known", "not yet known", "3")
    assert measure_sizes(net, ()).parameters == 3


def test_sizes_are_those_after_a_step():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    net[1].bias.requires_grad_(False)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(3, 4)).sum().backward()
    adam.step()
    sizes = measure_sizes(net, [adam])
    assert (sizes.parameters, sizes.trainable, sizes.buffers) == (56, 48, 17)
    assert (sizes.weights_bytes, sizes.gradients_bytes, sizes.buffers_bytes) == (224, 192, 72)
    assert sizes.optimizer_bytes == 2 * 192 + 3 * 4  # two averages, and a count for each parameter


def text_of(net, backend, found, *, calls=None, sees_layers=True, stored=None):
    rows = layer_rows(net, calls or {}, sees_layers=sees_layers)
    sizes = measure_sizes(net, [])
    return summary(net, backend, rows, sizes, found, sees_layers=sees_layers, stored=stored)


def test_the_text_tells_batches_sizes_memory_and_times(net, backend, found):
    text = text_of(net, backend, found, stored=2**21)
    assert text.splitlines()[0] == "Dry run of Net on cpu in fp32: one batch of everything."
    for line in (
        "batch       (float32 (32, 4), int64 (32,))",
        "val batch   (float32 (16, 4), int64 (16,))",
        "sizes       267 parameters, 267 trainable",
        "memory      weights 1.0 KiB",
        "            kept for the backward pass: 3.0 MiB, besides weights and batch",
        "            peak of the step: not measured on the CPU",
        "checkpoint  2.0 MiB of tensors; everything in it can be stored",
        "time        data 1.0 ms, step 16.0 ms, of it 4.0 ms in the backward pass",
        "            evaluation of val 2.0 ms for 16 samples",
        "            ~2,000 samples/s in this first, cold step of 32 samples",
    ):
        assert line in text.splitlines()


def test_the_text_says_what_was_not_seen_or_measured(net, backend, found):
    found.kept, found.step_s, found.batches = None, 0.0, 4
    text = text_of(net, backend, found, sees_layers=False)
    assert "The step is compiled: it does not show which layers it calls, nor their shapes." in text
    assert "kept for the backward pass: not shown by this version of torch" in text
    assert "too short to tell the speed" in text
    assert "(float32 (32, 4), int64 (32,)), 4 of them for a step" in text
    assert "checkpoint" not in text


def test_a_device_tells_its_peak_if_it_can(net, found):
    backend = Plain(torch.device("mps"))
    assert "peak of the step: not measured on a device of type mps" in text_of(net, backend, found)
    found.peak = 5 * 2**20
    assert "peak of the step: 5.0 MiB" in text_of(net, backend, found)


def test_no_line_is_wider_than_a_page(backend, found):
    inner = nn.Module()
    inner.add_module("a_very_long_name_that_nobody_would_want_to_read_in_full", nn.Linear(2, 2))
    long = type("AVeryLongNameOfAClassThatNobodyWouldWantToReadInFull", (nn.Module,), {})
    net = long()
    net.part, net.other = inner, long()
    calls = {inner: Call("x" * 160, "y" * 160, count=12), net: Call("float32 (3, 2)", "float32 (3, 1)")}
    found.batch = "z" * 160
    lines = text_of(net, backend, found, calls=calls).splitlines()
    assert max(map(len, lines)) == WIDTH
    assert any("..." in line and line.endswith("12 calls") for line in lines)


def test_of_many_layers_the_outer_ones_are_shown(backend, found):
    net = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(30)))
    rows = layer_rows(net, {}, sees_layers=True)
    assert len(rows) == 32
    assert rows[-1].name == "... 60 more inside"
    wide = layer_rows(nn.Sequential(*(nn.ReLU() for _ in range(100))), {}, sees_layers=True)
    assert len(wide) == 61
    assert wide[-1].name == "... 41 more inside"


@pytest.mark.parametrize(("longest", "text"), [(10, "0123456789"), (9, "012...789"), (6, "01...9"), (3, "..."), (0, "")])
def test_texts_are_cut_in_their_middle(longest, text):
    assert cut_middle("0123456789", longest) == text
