import re
import warnings

import pytest
import torch
from torch import nn

from framework import Engine, NonFiniteError, Plain, Recorder, SettingError, TrainModule
from framework.module.forward import LossRecord, guarded_forward, guarded_losses, returned_loss, yielded_losses
from framework.module.non_finite.guard import MOST_IN_A_ROW, NanGuard
from framework.steps.update import SummedLoss

NAN, INF = float("nan"), float("inf")
MAIN = ("main",)
CPU = Plain(torch.device("cpu"))


class Says:
    """Stands for a diagnosis."""

    def __init__(self):
        self.asked = []

    def keep(self, engine, batch):
        self.asked.append("keep")

    def of_loss(self, place):
        self.asked.append(("loss", place))
        return "It began there."

    def of_gradients(self, place, optimizers):
        self.asked.append(("gradients", place))
        return "It began there."


@pytest.fixture
def engine():
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration, engine.state.epoch, engine.state.skipped_steps = 7, 2, 0
    engine.state.optimizer_steps = {"main": 0}
    return engine


@pytest.fixture
def module():
    return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))


@pytest.fixture
def make(engine, module):
    def guard(*, skips=True, diagnosis=None, yields=False):
        made = NanGuard(module, Recorder("train"), skips=skips, yields=yields, judges_gradients=True, diagnosis=diagnosis)
        made.state = engine.state
        return made

    return guard


def loss_of(value):
    return torch.tensor(value, requires_grad=True)


def leave_out(guard, names=MAIN):
    assert not guard.takes_loss(names, loss_of(NAN))
    guard.note_left_out(names)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_bad_loss_is_not_taken_and_buffers_are_put_back(make, module, engine, value):
    guard = make()
    guard.begin(engine, None)
    module(torch.full((4, 2), NAN))
    assert not guard.takes_loss(MAIN, loss_of(value))
    assert module[0].running_mean.tolist() == [0.0, 0.0]
    assert guard.takes_loss(MAIN, loss_of(3e38))


def test_a_sum_is_judged_by_its_mean(make, engine):
    guard = make()
    guard.begin(engine, None)
    assert guard.takes_loss(MAIN, SummedLoss(loss_of(3.0), 0))
    assert not guard.takes_loss(MAIN, SummedLoss(loss_of(3.0), torch.tensor(NAN)))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("loss", "The loss for 'main' of another process is not finite in iteration 7 (epoch 2)."),
        ("gradients", "The gradients for 'main' of another process are not finite in iteration 7 (epoch 2)."),
    ],
)
def test_what_another_process_does_not_take_is_left_out_here_too(make, module, what, said):
    guard = make(yields=True)
    guard.begin(None, None)
    module(torch.ones(4, 2))
    assert guard.takes_loss(MAIN, loss_of(1.0))
    guard.refuse_elsewhere(MAIN, what)
    assert (module[0].running_mean.tolist() == [0.0, 0.0]) is (what == "loss")
    with pytest.warns(UserWarning, match=re.escape(f"{said} Its step is left out")):
        guard.note_left_out(MAIN)
    assert guard.state_dict()["reasons"] == {"main": said}


def test_bad_gradients_are_named(make, module):
    guard = make(skips=False)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1)]
    assert guard.takes_gradients(MAIN, optimizers)  # there are none
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert guard.takes_gradients(MAIN, optimizers)
    module[1].weight.grad[0, 1], module[1].bias.grad[0] = NAN, INF
    with pytest.raises(
        NonFiniteError,
        match=r"^The gradients of 2 of 4 parameters are not finite in iteration 7 \(epoch 2\), the first is that of 1\.weight; the "
        r"loss is finite\. The weights are those before the step\. Look at the learning rate",
    ):
        guard.takes_gradients(MAIN, optimizers)
    assert guard.takes_gradients(MAIN, [torch.optim.SGD(module[0].parameters(), lr=0.1)])


def test_what_is_computed_again_is_not_judged(make, module, engine):
    guard = make(diagnosis=Says())
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1)]
    module[1].bias.grad = torch.full((1,), NAN)
    with guard._recorder.pause():
        guard.begin(engine, None)
        assert guard.takes_loss(MAIN, loss_of(NAN))
        assert guard.takes_gradients(MAIN, optimizers)
    assert guard._diagnosis.asked == []


def test_it_raises_with_the_diagnosis(make, engine):
    guard = make(skips=False, diagnosis=Says(), yields=True)
    guard.begin(engine, None)
    guard.begin_next_loss()
    with pytest.raises(
        NonFiniteError,
        match=r"^The loss for 'a\+b' is nan in iteration 7 \(epoch 2\)\. It began there\. The weights are those before the step\. "
        r"Look at the learning rate, .* gradients\.$",
    ):
        guard.takes_loss(("a", "b"), loss_of(NAN))
    assert guard._diagnosis.asked == ["keep", ("loss", 1)]


def test_the_first_is_told_of_and_all_are_counted(make, engine):
    guard = make(diagnosis=Says())
    guard.begin(engine, None)
    with pytest.warns(UserWarning, match=r"^The loss is nan in iteration 7 \(epoch 2\)\. It began there\. Its step is left out"):
        leave_out(guard)
    leave_out(guard)
    leave_out(guard)
    assert engine.state.skipped_steps == 3
    assert guard._diagnosis.asked == ["keep", ("loss", 0)]


@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_too_many_in_a_row(make, engine):
    guard = make(yields=True)
    guard.begin(engine, None)
    for _ in range(MOST_IN_A_ROW - 1):
        leave_out(guard, ("g",))
        guard.note_step(("d",))
    guard.note_step(("g",))
    for _ in range(MOST_IN_A_ROW - 1):
        leave_out(guard, ("g",))
    with pytest.raises(
        NonFiniteError,
        match=rf"^{MOST_IN_A_ROW} steps in a row of 'g' were left out \(nan='skip'\), so nothing is trained any more\. The last: "
        r"The loss for 'g' is nan in iteration 7 .* debug=True names the first bad module\.$",
    ):
        leave_out(guard, ("g",))


@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_an_epoch_without_a_step_of_one(make, engine):
    guard = make(yields=True)
    guard.begin(engine, None)
    leave_out(guard, ("g",))
    guard.note_step(("g",))
    guard.end_epoch(engine)
    guard.begin_epoch()
    guard.end_epoch(engine)
    leave_out(guard, ("g",))
    guard.note_step(("d",))
    with pytest.raises(
        NonFiniteError, match=r"^The only step of 'g' of epoch 2 was left out \(nan='skip'\)\. The last: The loss for 'g'"
    ):
        guard.end_epoch(engine)


@pytest.mark.filterwarnings("ignore:.*further ones")
def test_the_end_of_a_run(make, engine):
    guard = make()
    guard.begin(engine, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.end_run(engine)
    leave_out(guard)
    with pytest.raises(NonFiniteError, match=r"^The only step of the run was left out \(nan='skip'\)\. The last: The loss is nan"):
        guard.end_run(engine)
    engine.state.optimizer_steps["main"] = 1
    with pytest.warns(UserWarning, match=r"^Left out of the run: 1 step whose loss or gradients were not finite"):
        guard.end_run(engine)


@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_what_is_counted_is_taken_up(make, engine):
    guard, other = make(), make()
    guard.begin(engine, None)
    guard.note_step(MAIN)
    leave_out(guard)
    other.load_state_dict(guard.state_dict())
    assert other.state_dict() == guard.state_dict()
    assert guard.state_dict() == {
        "in_a_row": {"main": 1},
        "left_out": {"main": 1},
        "made": {"main": 1},
        "reasons": {"main": "The loss is nan in iteration 7 (epoch 2)."},
    }


def test_a_forward_pass_begins_and_each_loss_of_it(make, engine):
    guard, recorder = make(diagnosis=Says()), Recorder("train")

    def record_of(names):
        return LossRecord(recorder, names, reads_cost_nothing=False, guarded=True, leaves_out=True)

    forward = guarded_forward(
        returned_loss(lambda batch, engine: {"loss": loss_of(batch), "other": batch}, recorder, record_of(""), CPU), guard
    )
    assert forward(engine, 1.0)[1] == {"loss": 1.0, "other": 1.0}
    assert forward(engine, NAN)[1]["other"] != 1.0
    assert recorder.read() == {"loss": [1.0, 0.0], "other": [1.0, 0.0]}
    assert [recorder.channel(name).weights[1] for name in ("loss", "other")] == [0.0, 0.0]

    def step(batch, engine):
        yield "a", loss_of(1.0)
        assert guard._place == 1
        yield "b", loss_of(batch)
        assert guard._place == 2
        return {"rest": 2.0}

    losses = guarded_losses(yielded_losses(step, recorder, ["a", "b"], record_of, CPU), guard)
    for value in (NAN, 1.0):
        running = losses(engine, value)
        assert [names for names, _ in (next(running), next(running))] == [("a",), ("b",)]
        with pytest.raises(StopIteration) as end:
            next(running)
        assert end.value.value["rest"] == 2.0
    assert recorder.read() == {"loss": [], "other": [], "loss/a": [1.0, 1.0], "loss/b": [0.0, 1.0], "rest": [0.0, 2.0]}
    assert [recorder.channel(name).weights[0] for name in ("loss/b", "rest")] == [0.0, 0.0]
    assert guard._diagnosis.asked == ["keep"] * 4


class Line(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_an_optimizer_with_a_closure_cannot_leave_out():
    class Closure(Line):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(
        SettingError,
        match=r"moves the weights in between, so none can be left out: nan='skip' does not work with it\. Leave nan out",
    ):
        Closure().fit([torch.ones(2, 2)], max_epochs=1, nan="skip", progress=False)
    with pytest.raises(NonFiniteError, match=r"Run again, the step was given batch, in which 4 of 4 entries are not finite"):
        Closure().fit([torch.full((2, 2), NAN)], max_epochs=1, debug=True, progress=False)
    Closure().fit([torch.ones(2, 2)], max_epochs=1, debug=True, progress=False)


def test_weights_that_are_not_finite_are_not_saved_either(tmp_path):
    class Explodes(Line):
        def on_optimizer_step_completed(self, optimizer):
            self.layer.weight.data.fill_(INF)

    with pytest.raises(NonFiniteError, match=r"the first is layer\.weight\. No checkpoint was written"):
        Explodes().fit([torch.ones(2, 2)], max_epochs=1, run_dir=tmp_path, nan="skip", progress=False)


def test_without_it_there_is_no_guard_and_a_count_of_nothing():
    result = Line().fit([torch.ones(2, 2)], max_epochs=1, progress=False)
    assert result.state.skipped_steps == 0
