import gc
import math
import weakref
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from framework import AMP, Engine, Events, ResumeError, SettingError, TrainModule
from framework.handlers import EMA
from framework.module.hooks import register_hooks

RUNNING = ("norm.running_mean", "norm.running_var")


class Net(TrainModule):
    """Batch normalisation, tied and frozen weights, a weight of whole numbers, a counter and an infinite mask."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.first = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)
            self.plain = nn.InstanceNorm1d(4)  # has no statistics
            self.last = nn.Linear(4, 4)
        self.last.weight = self.first.weight
        self.frozen = nn.Parameter(torch.full((2,), 0.1), requires_grad=False)
        self.codes = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.register_buffer("mask", torch.full((4,), -math.inf))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        return self.last(self.norm(self.first(x)))

    def training_step(self, batch):
        self.seen += 1
        return F.mse_loss(self(batch), batch.sin())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Give:
    """Puts the module where handlers find it, and can do more."""

    def __init__(self, module, **hooks):
        self.module = module
        self.hooks = hooks

    def on_started(self, engine):
        engine.state.module = self.module
        self.hooks.get("started", lambda engine: None)(engine)

    def on_iteration_completed(self, engine):
        self.hooks.get("iteration", lambda engine: None)(engine)

    def on_optimizer_step_completed(self):
        self.hooks.get("step", lambda: None)()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(8, 4, generator=generator) for _ in range(6)]


def fit(module, ema, data, **settings):
    hooks = settings.pop("hooks", {})
    return module.fit(
        data, handlers=[Give(module, **hooks), ema], progress=False, **{"max_epochs": 1, "accelerator": "cpu", **settings}
    )


def drive(module, ema, *, epochs=1, state=None):
    """A loop on a bare engine, which can go on from a state of the module, the optimizer and the progress."""
    optimizer = module.configure_optimizers()

    def step(engine, batch):
        optimizer.zero_grad()
        module.training_step(batch).backward()
        optimizer.step()
        ema.on_optimizer_step_completed()

    engine = Engine(step)
    engine.state.module = module
    if state is not None:
        weights, momenta, progress = state
        module.load_state_dict(weights)
        optimizer.load_state_dict(momenta)
        engine.load_state_dict({**progress, "max_epochs": epochs})
    register_hooks(engine, ema)
    return engine, optimizer


def same_bits(first, second):
    return first.keys() == second.keys() and all(torch.equal(bits(value), bits(second[name])) for name, value in first.items())


def bits(tensor):
    return tensor.detach().contiguous().view(torch.uint8) if tensor.dim() else tensor.detach().reshape(1).view(torch.uint8)


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def own_averages(ema):
    return ema.state_dict()["averaged"]


def by_hand(module, batches, decay, epochs=1):
    """The loop that a user would write with torch's own class."""
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    optimizer = module.configure_optimizers()
    for batch in batches * epochs:
        optimizer.zero_grad()
        module.training_step(batch).backward()
        optimizer.step()
        averaged.update_parameters(module)
    return averaged


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_the_numbers_are_those_of_a_hand_written_loop(batches, decay):
    ours, theirs, ema = Net(), Net(), EMA(decay)
    fit(ours, ema, batches, max_epochs=3)
    expected = by_hand(theirs, batches, decay, epochs=3)
    assert same_bits(snapshot(ours), snapshot(theirs))
    averages = own_averages(ema)
    assert same_bits(averages, {name: value for name, value in expected.module.state_dict().items() if name in averages})
    assert ema.n_averaged == int(expected.n_averaged) == 18


def test_what_is_averaged(batches):
    ema = EMA(0.5)
    fit(Net(), ema, batches)
    parameters = {"first.weight", "first.bias", "norm.weight", "norm.bias", "last.weight", "last.bias", "frozen"}
    assert own_averages(ema).keys() == parameters | set(RUNNING)


def test_tied_weights_have_one_average(batches):
    ema, module = EMA(0.5), Net()
    fit(module, ema, batches)
    averages = own_averages(ema)
    assert averages["first.weight"] is averages["last.weight"]
    with ema.evaluation_weights(module):
        assert module.first.weight is module.last.weight
        assert torch.equal(module.first.weight, averages["first.weight"])


def test_counters_and_masks_stay_the_modules_own(batches):
    ema, module = EMA(0.9), Net()
    fit(module, ema, batches)
    with ema.evaluation_weights(module):
        assert (module.seen.item(), module.norm.num_batches_tracked.item()) == (6, 6)
        assert torch.equal(module.mask, torch.full((4,), -math.inf))
        module.seen += 1
    assert module.seen.item() == 7


def test_a_step_that_a_scaler_skips_is_no_update(batches):
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        backend = AMP(torch.device("cpu"), "fp16")
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-18)
    module, ema, counts = Net(), EMA(0.5), []
    result = fit(module, ema, batches, accelerator=backend, hooks={"iteration": lambda engine: counts.append(ema.n_averaged)})
    assert counts[:3] == [0, 0, 0]
    assert 0 < ema.n_averaged < len(batches)
    assert ema.n_averaged == result.state.optimizer_steps["main"]


def test_several_optimizers_make_one_update_a_batch(batches):
    class Two(Net):
        def training_step(self, batch):
            loss = F.mse_loss(self(batch), batch.sin())
            yield "first", loss
            yield "second", F.mse_loss(self(batch), batch.sin())
            yield "first", F.mse_loss(self(batch), batch.cos())

        def configure_optimizers(self):
            return {
                "first": torch.optim.SGD(self.first.parameters(), lr=0.1),
                "second": torch.optim.SGD([self.last.bias], lr=0.1),
            }

    module, ema, weights = Two(), EMA(0.5), []
    fit(module, ema, batches, hooks={"iteration": lambda engine: weights.append(module.first.bias.detach().clone())})
    assert ema.n_averaged == 6
    expected = weights[0]
    for weight in weights[1:]:
        expected = torch.lerp(expected, weight, 0.5)
    assert torch.equal(own_averages(ema)["first.bias"], expected)


@pytest.mark.parametrize("known", [True, False], ids=["known length", "unknown length"])
def test_an_update_a_window_of_accumulation_also_where_the_data_cuts_it_short(batches, known):
    data = batches if known else lambda: iter(batches)
    module, ema, weights, made = Net(), EMA(0.5), [], []
    hooks = {
        "step": lambda: weights.append(module.first.bias.detach().clone()),
        "iteration": lambda engine: made.append(ema.n_averaged),
    }
    fit(module, ema, data, accumulate=4, max_epochs=2, hooks=hooks)
    assert made == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3] if known else [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]  # before its own hook
    assert ema.n_averaged == len(weights) == 4
    expected = weights[0]
    for weight in weights[1:]:
        expected = torch.lerp(expected, weight, 0.5)
    assert torch.equal(own_averages(ema)["first.bias"], expected)


def test_an_evaluation_sees_the_step_just_made_and_it_counts_once(batches):
    module, ema, seen = Net(), EMA(0.5), []

    def evaluate(engine):  # before the hooks of the handler, as fit does
        with ema.evaluation_weights(module):
            seen.append((ema.n_averaged, module.first.bias.detach().clone()))

    fit(module, ema, batches, hooks={"iteration": evaluate})
    assert [made for made, _ in seen] == [1, 2, 3, 4, 5, 6]
    plain = EMA(0.5)
    fit(Net(), plain, batches)
    assert torch.equal(seen[-1][1], own_averages(plain)["first.bias"])
    assert same_bits(own_averages(ema), own_averages(plain))


class StopError(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
def test_the_modules_own_weights_are_back_to_the_bit(batches, fails):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    with torch.no_grad():
        module.first.bias[0] = -0.0
        module.norm.bias.view(torch.int32)[1] = 0x7FC00123  # a NaN with a payload
    before, objects = snapshot(module), list(module.state_dict(keep_vars=True).values())
    addresses, versions = [each.data_ptr() for each in objects], [each._version for each in objects]
    with suppress(StopError), ema.evaluation_weights(module):
        assert same_bits(
            own_averages(ema), {name: value for name, value in module.state_dict().items() if name in own_averages(ema)}
        )
        assert not torch.equal(module.first.weight, before["first.weight"])
        if fails:
            raise StopError
    assert same_bits(snapshot(module), before)
    assert all(now is then for now, then in zip(module.state_dict(keep_vars=True).values(), objects, strict=True))
    assert [each.data_ptr() for each in objects] == addresses
    assert [each._version for each in objects] == versions


def test_blocks_may_be_nested(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    before = snapshot(module)
    with ema.evaluation_weights(module):
        inside = snapshot(module)
        with ema.evaluation_weights(module):
            assert same_bits(snapshot(module), inside)
        assert same_bits(snapshot(module), inside)
    assert same_bits(snapshot(module), before)


def test_before_the_first_update_the_module_keeps_its_weights():
    module, ema = Net(), EMA()
    before = snapshot(module)
    with ema.evaluation_weights(module):
        assert same_bits(snapshot(module), before)
    assert ema.state_dict() == {"n_averaged": 0, "averaged": {}}


def test_a_graph_survives_an_evaluation_in_between(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    expected = torch.autograd.grad(module.training_step(batches[0]), module.first.weight)[0]
    module.train()
    loss = module.training_step(batches[0])
    with ema.evaluation_weights(module):
        pass
    assert torch.equal(torch.autograd.grad(loss, module.first.weight)[0], expected)


def test_autocast_does_not_go_on_with_the_other_weights(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    module.eval()
    with torch.autocast("cpu", torch.bfloat16):
        own = module(batches[0])
    with ema.evaluation_weights(module), torch.autocast("cpu", torch.bfloat16):
        averaged = module(batches[0])
    assert not torch.equal(own, averaged)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(batches[0]), own)
        with ema.evaluation_weights(module):
            assert torch.equal(module(batches[0]), averaged)
        assert torch.equal(module(batches[0]), own)


def test_a_copy_with_the_averages(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    before = snapshot(module)
    copy = ema.averaged(module)
    assert type(copy) is Net
    assert not copy.training
    assert module.training
    assert copy.first.weight is copy.last.weight
    averages = own_averages(ema)
    assert same_bits(averages, {name: value for name, value in copy.state_dict().items() if name in averages})
    with torch.no_grad():
        copy.first.weight.zero_()
    assert same_bits(snapshot(module), before)
    assert averages["first.weight"].abs().sum() > 0


@pytest.mark.fault(16)
@pytest.mark.parametrize("late", [False, True], ids=["loaded before on_started", "loaded after"])
def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(batches, late):
    whole, whole_ema = Net(), EMA(0.9)
    drive(whole, whole_ema)[0].run(batches, max_epochs=3)

    module, ema = Net(), EMA(0.9)
    engine, optimizer = drive(module, ema)
    engine.run(batches, max_epochs=1)
    saved = {name: value.clone() for name, value in own_averages(ema).items()}
    handed_over = {"n_averaged": ema.n_averaged, "averaged": {name: value.clone() for name, value in saved.items()}}
    state = snapshot(module), optimizer.state_dict(), {"iteration": 6, "epoch_length": 6}

    resumed, resumed_ema = Net(), EMA(0.9)
    engine, _ = drive(resumed, resumed_ema, epochs=3, state=state)
    if late:
        engine.add_event_handler(Events.STARTED, lambda: resumed_ema.load_state_dict(handed_over))
    else:
        resumed_ema.load_state_dict(handed_over)
    engine.run(batches)
    assert same_bits(snapshot(resumed), snapshot(whole))
    assert same_bits(own_averages(resumed_ema), own_averages(whole_ema))
    assert resumed_ema.n_averaged == whole_ema.n_averaged == 18
    assert own_averages(resumed_ema)["first.weight"] is own_averages(resumed_ema)["last.weight"]
    assert same_bits(handed_over["averaged"], saved)  # what was loaded is not written to


def test_loaded_averages_are_used_without_a_step(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    other = EMA(0.9)
    other.load_state_dict(ema.state_dict())
    assert same_bits(own_averages(other), own_averages(ema))
    with ema.evaluation_weights(module):
        expected = snapshot(module)
    with other.evaluation_weights(module):
        assert same_bits(snapshot(module), expected)


def test_the_state_is_tensors_by_the_modules_names_and_a_number(batches):
    module, ema = Net(), EMA(0.9)
    fit(module, ema, batches)
    state = ema.state_dict()
    assert {*state} == {"n_averaged", "averaged"}
    assert type(state["n_averaged"]) is int
    assert {type(value) for value in state["averaged"].values()} == {torch.Tensor}
    assert not any(value.requires_grad for value in state["averaged"].values())
    module.load_state_dict({**module.state_dict(), **state["averaged"]})
    assert torch.equal(module.last.weight, state["averaged"]["first.weight"])


def test_a_state_between_a_step_and_its_event_has_the_step_and_it_counts_once(batches):
    module, ema, states = Net(), EMA(0.9), []

    def look(engine):
        states.append((ema.state_dict()["n_averaged"], own_averages(ema)["first.bias"].clone()))

    fit(module, ema, batches, hooks={"iteration": look})
    plain = EMA(0.9)
    fit(Net(), plain, batches)
    assert [made for made, _ in states] == [1, 2, 3, 4, 5, 6]
    assert torch.equal(states[-1][1], own_averages(plain)["first.bias"])
    assert same_bits(own_averages(ema), own_averages(plain))


def test_averages_of_another_module_are_refused(batches):
    module, ema, other = Net(), EMA(0.9), EMA(0.9)
    fit(module, ema, batches)
    averages = own_averages(ema)
    averages["old.weight"] = averages.pop("frozen")
    averages["first.bias"] = averages["first.bias"][:2]
    other.load_state_dict({"n_averaged": 6, "averaged": averages})
    with pytest.raises(ResumeError) as error:
        fit(module, other, batches)
    assert str(error.value) == (
        "The saved averages of EMA are of another module: frozen is missing; old.weight is unknown; first.bias has the shape (2,) "
        "and should have (4,). Resume with the module they were made from."
    )


def test_a_new_run_of_the_same_object_starts_anew(batches):
    ema, fresh = EMA(0.9), EMA(0.9)
    fit(Net(), ema, batches)
    fit(Net(), ema, batches[:2])
    fit(Net(), fresh, batches[:2])
    assert ema.n_averaged == 2
    assert same_bits(own_averages(ema), own_averages(fresh))


def test_a_run_that_goes_on_keeps_its_averages(batches):
    whole = EMA(0.9)
    drive(Net(), whole)[0].run(batches, max_epochs=3)
    ema = EMA(0.9)
    engine, _ = drive(Net(), ema)
    engine.run(batches, max_epochs=1)
    engine.run(batches, max_epochs=3)
    assert ema.n_averaged == 18
    assert same_bits(own_averages(ema), own_averages(whole))


def test_a_weight_that_appears_later_is_averaged_from_then_on(batches):
    module, ema = nn.Linear(1, 1), EMA(0.5)
    engine = Engine(lambda engine, batch: ema.on_optimizer_step_completed())
    engine.state.module = module
    register_hooks(engine, ema)

    def grow():
        module.more = nn.Parameter(torch.tensor([8.0]))

    def move():
        with torch.no_grad():
            module.more.fill_(4.0)

    engine.add_event_handler(Events.ITERATION_STARTED(once=2), grow)
    engine.add_event_handler(Events.ITERATION_STARTED(once=3), move)
    engine.run(range(3))
    assert own_averages(ema)["more"].item() == 6.0


@pytest.mark.parametrize(("dtype", "decay"), [(torch.bfloat16, 0.999), (torch.float16, 0.9999), (torch.float32, 1 - 1e-9)])
def test_weights_too_coarse_for_the_decay_are_named(dtype, decay):
    engine = Engine(lambda engine, batch: None)
    engine.state.module = nn.Linear(2, 2).to(dtype)
    register_hooks(engine, EMA(decay))
    with pytest.warns(UserWarning, match="too coarse") as warned:
        engine.run([0])
    assert [str(warning.message) for warning in warned] == [
        f"EMA(decay={decay}): weights of type {dtype} are too coarse for it, so their average will hardly move. Keep the weights "
        "in float32 and compute in precision='bf16'; or take a smaller decay."
    ]


def test_coarse_weights_are_fine_with_a_small_decay():
    engine = Engine(lambda engine, batch: None)
    engine.state.module = nn.Linear(2, 2).to(torch.bfloat16)
    register_hooks(engine, EMA(0.9))
    engine.run([0])


@pytest.mark.parametrize("decay", [-0.1, 1, 1.0, 1.5, math.nan, math.inf, "0.9", None, True, False])
def test_the_decay_is_checked_when_it_is_made(decay):
    with pytest.raises(SettingError) as error:
        EMA(decay)
    assert str(error.value) == f"decay={decay!r}: decay should be a number from 0 to below 1, such as 0.999."


def test_an_engine_of_ones_own_needs_the_module():
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, EMA())
    with pytest.raises(
        SettingError, match=r"EMA averages engine.state.module, which is not there. fit sets it; on your own Engine"
    ):
        engine.run([0])


def test_it_keeps_no_engine(batches):
    ema = EMA()
    engine = weakref.ref(drive(Net(), ema)[0])
    engine_run = drive(Net(), ema)[0]
    engine_run.run(batches)
    kept = weakref.ref(engine_run)
    del engine_run
    gc.collect()
    assert engine() is None
    assert kept() is None


def test_a_state_from_before_the_first_update_may_be_loaded(batches):
    ema, plain = EMA(0.9), EMA(0.9)
    ema.load_state_dict(EMA(0.9).state_dict())
    fit(Net(), ema, batches)
    fit(Net(), plain, batches)
    assert same_bits(own_averages(ema), own_averages(plain))


def test_fit_evaluates_with_the_averages_and_trains_without_them(batches):
    class Evaluated(Net):
        def evaluation_step(self, batch):
            return {"loss": F.mse_loss(self(batch), batch.sin())}

    module, plain, ema = Evaluated(), Evaluated(), EMA(0.9)
    result = module.fit(batches, batches[:2], max_epochs=2, accelerator="cpu", handlers=[ema], progress=False)
    plain.fit(batches, max_epochs=2, accelerator="cpu", progress=False)
    assert same_bits(snapshot(module), snapshot(plain))
    assert result.metrics["val/loss"] == ema.averaged(module).evaluate(batches[:2], accelerator="cpu")["test/loss"]
    assert result.metrics["val/loss"] != module.evaluate(batches[:2], accelerator="cpu")["test/loss"]
