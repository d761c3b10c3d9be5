"""What a checkpoint holds, and that a fresh process has all of it after a restore."""

import copy
import random
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric
from torchmetrics.aggregation import CatMetric

from framework import Events, NonFiniteError, Plain, Schedule, TrainModule
from framework.checkpoint import decode, encode
from framework.metrics.recorder import Recorder
from framework.module.assembly import assemble
from framework.module.resuming.snapshot import Snapshots, load_handlers, stateful
from framework.module.settings import FitSettings

Process = namedtuple("Process", "module engine run snapshots assembled")
LOADER = DataLoader(TensorDataset(torch.arange(24.0).reshape(6, 4), torch.ones(6, 1)), batch_size=2, shuffle=True)


class Counts:
    """A handler with a state."""

    def __init__(self):
        self.count = 0

    def on_iteration_completed(self):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class Other(Counts):
    pass


@pytest.fixture
def process(line):
    """Makes what one process has of a run."""

    class Mine(line):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)
            self.register_buffer("seen", torch.zeros(1), persistent=False)
            self.words = []

        def training_step(self, batch):
            self.seen += 1
            self.log("noise", torch.rand(()))
            return super().training_step((self.dropout(batch[0]), batch[1]))

        def configure_schedulers(self, optimizers):
            scheduler = torch.optim.lr_scheduler
            return {
                "epoch": scheduler.StepLR(optimizers["main"], 1, 0.5),
                "step": Schedule(scheduler.ExponentialLR(optimizers["main"], 0.9), every="step"),
            }

        def get_extra_state(self):
            return self.words

        def set_extra_state(self, state):
            self.words = state

    def make(train=LOADER, module=None, seed=5, handlers=(), **given):
        settings = {**TrainModule.fit.__kwdefaults__, "max_epochs": 2, "clip_norm": 1.0, "handlers": handlers, **given}
        module, backend = module or Mine(), Plain(torch.device("cpu"))
        made = assemble(module, backend, train, {}, FitSettings(**settings), seed)
        snapshots = Snapshots(module, backend, made.optimizers, made.schedules, made.run, made.source, handlers, seed)
        module._recorder = made.run.recorder
        made.engine.add_event_handler(Events.EPOCH_STARTED, made.run.begin_epoch)
        for handler in handlers:
            made.engine.add_event_handler(Events.ITERATION_COMPLETED, handler.on_iteration_completed)
        return Process(module, made.engine, made.run, snapshots, made)

    return make


def trained(process, iterations=4):
    """Trains up to an iteration."""
    process.engine.add_event_handler(Events.ITERATION_COMPLETED(once=iterations), process.engine.interrupt)
    process.engine.run(process.run.data, max_epochs=2, epoch_length=process.run.epoch_length)
    return process


def taken(process, after=Events.ITERATION_COMPLETED, **more):
    """What another process reads of a snapshot."""
    parts = process.snapshots.take(process.engine, after, **more)
    return {name: copy.deepcopy(decode(*encode(part, name))) for name, part in parts.items()}


def plain(parts):
    """A snapshot that can be compared, without durations."""
    parts = copy.deepcopy(parts)
    for name in ("times", "run_s", "epoch_s"):
        parts["run"]["progress"].pop(name, None)
    parts["run"]["course"].pop("epoch_s")
    skeleton, tensors = encode(parts, "parts")
    return skeleton, {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in tensors.items()}


def test_a_fresh_process_has_all_of_it(process):
    before = trained(process(handlers=[Counts()]))
    before.module.words.append("hello")
    before.engine.state.metrics["train/extra"] = 3.0
    parts = taken(before)
    after = process(handlers=[Counts()])
    torch.manual_seed(99)
    random.seed(99)
    after.snapshots.restore(after.engine, parts)
    again = taken(after)
    for name in ("progress", "data"):  # the engine and the source take them up themselves
        again["run"][name] = parts["run"][name]
    assert plain(again) == plain(parts)
    assert after.module.words == ["hello"]
    assert torch.equal(after.module.seen, torch.tensor([4.0]))
    assert after.assembled.optimizers["main"].param_groups[0]["lr"] == pytest.approx(0.05 * 0.9**4)
    assert after.engine.state.optimizer_steps == {"main": 4}
    assert torch.equal(after.engine.state.grad_norms["main"], before.engine.state.grad_norms["main"])


def test_what_was_left_out_is_counted_on(process):
    before = trained(process(nan="skip"))
    before.engine.state.skipped_steps = 3
    before.run.parts.guard.load_state_dict(
        {"in_a_row": {"main": 2}, "left_out": {"main": 3}, "made": {}, "reasons": {"main": "bad"}}
    )
    after, stopping = process(nan="skip"), process()
    for other in (after, stopping):  # where the policy has changed there is nobody to take it
        other.snapshots.restore(other.engine, taken(before))
        assert other.engine.state.skipped_steps == 3
    assert after.run.parts.guard.state_dict() == before.run.parts.guard.state_dict()
    parts = taken(before)
    del parts["run"]["skipped_steps"], parts["run"]["nan_guard"]  # as before there was such a policy
    after = process(nan="skip")
    after.snapshots.restore(after.engine, parts)
    assert after.engine.state.skipped_steps == 0


def test_random_streams_go_on(process):
    numpy = pytest.importorskip("numpy")
    parts = taken(trained(process()))
    expected = torch.rand(2), random.random(), numpy.random.rand()
    other = process()
    other.snapshots.restore(other.engine, parts)
    assert torch.equal(torch.rand(2), expected[0])
    assert (random.random(), numpy.random.rand()) == expected[1:]


def test_a_restored_optimizer_does_not_make_schedules_warn(process):
    parts = taken(trained(process()))
    other = process()
    other.snapshots.restore(other.engine, parts)
    other.assembled.schedules.step_epoch({"main": 1})  # torch warns of a scheduler that steps before its optimizer


def test_the_tensors_are_those_of_the_run(process):
    running = trained(process())
    parts = running.snapshots.take(running.engine, Events.ITERATION_COMPLETED)
    assert parts["model"]["layer.weight"].data_ptr() == running.module.layer.weight.data_ptr()


def test_what_an_evaluation_may_change_is_set_apart(process, line):
    class Measured(line):
        def __init__(self):
            super().__init__()
            self.mean, self.all = MeanMetric(), CatMetric()
            self.register_buffer("kept", torch.zeros(1))
            self.register_buffer("cache", torch.zeros(1), persistent=False)
            self.words = ["a"]

        def get_extra_state(self):
            return {"words": self.words}

        def set_extra_state(self, state): ...

    class Lists(Counts):
        def __init__(self):
            super().__init__()
            self.lines = ["first"]

        def state_dict(self):
            return {"lines": self.lines}

    module, handler = Measured(), Lists()
    running = process(module=module, handlers=[handler])
    module.mean.update(1.0)
    module.all.update(1.0)
    parts = running.snapshots.take(running.engine, None)
    running.snapshots.set_apart(parts)
    before = plain(parts)
    module.mean.update(2.0)
    module.all.update(2.0)
    module.kept += 1
    module.cache += 1
    module.words.append("b")
    handler.lines.append("second")
    assert plain(parts) == before
    assert parts["model"]["layer.weight"].data_ptr() == module.layer.weight.data_ptr()  # an evaluation changes no weights


def test_before_the_run(process):
    fresh = process()
    parts = taken(fresh, None)
    assert parts["run"]["progress"]["after"] is None
    assert parts["run"]["progress"]["iteration"] == 0
    assert parts["run"]["data"] == {"epoch": 0, "samples": 0, "seed": 5, "length": 6}
    assert parts["run"]["seed"] == 5
    assert parts["handlers"] == {}


@pytest.mark.parametrize(
    ("iterations", "after", "place"),
    [
        (2, Events.ITERATION_COMPLETED, (0, 4)),
        (3, Events.ITERATION_COMPLETED, (0, 6)),
        (3, Events.EPOCH_COMPLETED, (1, 0)),
        (4, Events.ITERATION_COMPLETED, (1, 2)),
        (4, Events.EPOCH_COMPLETED, (2, 0)),
    ],
)
def test_the_end_of_an_epoch_is_the_beginning_of_the_next_pass(process, iterations, after, place):
    data = taken(trained(process(), iterations), after)["run"]["data"]
    assert (data["epoch"], data["samples"]) == place


def test_an_epoch_of_a_given_length_carries_the_pass_on(process):
    running = process(epoch_length=4)
    data = taken(trained(running, 2), Events.EPOCH_COMPLETED)["run"]["data"]
    assert (data["epoch"], data["samples"]) == (0, 4)


@pytest.mark.parametrize(("epoch_length", "place"), [(None, (1, 0)), (2, (0, 4))])
def test_where_an_epoch_begins_the_next_pass_may_be_due(process, epoch_length, place):
    running = process(epoch_length=epoch_length)
    running.engine.add_event_handler(Events.EPOCH_STARTED(once=2), running.engine.interrupt)
    running.engine.run(running.run.data, max_epochs=2, epoch_length=running.run.epoch_length)
    data = taken(running, Events.EPOCH_STARTED)["run"]["data"]
    assert (data["epoch"], data["samples"]) == place


def test_an_epoch_that_is_broken_off_ends_the_pass(process):
    running = trained(process(), 2)
    running.engine.should_terminate_single_epoch = True
    data = taken(running, Events.TERMINATE_SINGLE_EPOCH)["run"]["data"]
    assert (data["epoch"], data["samples"]) == (1, 0)


def test_the_output_is_kept_only_for_an_event_that_comes_again(process):
    running = trained(process())
    assert taken(running)["run"]["output"] is None
    again = taken(running, repeat_event=True)["run"]
    assert again["progress"]["repeat_event"] is True
    assert torch.equal(again["output"], running.engine.state.output)
    other = process()
    other.snapshots.restore(other.engine, {**taken(running), "run": again})
    assert torch.equal(other.engine.state.output, running.engine.state.output)


def test_a_run_without_data(process, line):
    class Alone(line):
        def training_step(self, batch):
            return self.layer.weight.sum()

    parts = taken(trained(process(None, Alone(), epoch_length=3), 2))
    assert parts["run"]["data"] is None
    assert parts["run"]["progress"]["iteration"] == 2


def test_handlers_are_known_by_class_and_number():
    first, second, other = Counts(), Counts(), Other()
    assert stateful([first, object(), other, SimpleNamespace(state_dict=dict), second]) == {
        "Counts/0": first,
        "Other/0": other,
        "Counts/1": second,
    }


def test_handlers_may_come_and_go(process):
    running = trained(process(handlers=[Counts(), Other()]), 2)
    parts = taken(running)
    assert parts["handlers"] == {"Counts/0": {"count": 2}, "Other/0": {"count": 2}}
    added, kept = Counts(), Other()
    added.count, kept.count = 7, 7
    other = process(handlers=[kept, Counts(), added])
    other.snapshots.restore(other.engine, parts)
    assert (kept.count, added.count) == (2, 7)
    load_handlers({"Counts/0": added}, {})
    assert added.count == 7


@pytest.mark.fault(21, 22)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_are_found(process, value):
    running = process()
    running.snapshots.refuse_non_finite(0)
    with torch.no_grad():
        running.module.layer.bias.fill_(float(value))
    words = "1 of 2 parameters are not finite after iteration 7, the first is layer.bias. No checkpoint was written; the one before"
    with pytest.raises(NonFiniteError, match=words):
        running.snapshots.refuse_non_finite(7)


def test_only_weights_that_can_be_infinite_are_looked_at(process, line):
    class Odd(line):
        def __init__(self):
            super().__init__()
            self.whole = nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)
            self.empty = nn.Parameter(torch.ones(0))
            self.complex = nn.Parameter(torch.ones(2, dtype=torch.complex64))
            self.lazy = nn.LazyLinear(2)

        def configure_optimizers(self):
            return torch.optim.SGD(self.layer.parameters(), lr=0.1)

    running = process(module=Odd())
    running.snapshots.refuse_non_finite(0)
    with torch.no_grad():
        running.module.complex[0] = complex(0, float("nan"))
    with pytest.raises(NonFiniteError, match=r"1 of 4 parameters .* the first is complex\."):
        running.snapshots.refuse_non_finite(0)


def test_a_module_without_weights_is_finite(process):
    class Empty(TrainModule):
        def training_step(self, batch):
            return torch.ones(())

        def configure_optimizers(self):
            return torch.optim.SGD([nn.Parameter(torch.ones(1))])

    backend, run = Plain(torch.device("cpu")), SimpleNamespace(recorder=Recorder("train"))
    Snapshots(Empty(), backend, {}, None, run, None, (), 0).refuse_non_finite(0)
