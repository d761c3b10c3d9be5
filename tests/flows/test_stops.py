"""Runs in this process that a signal or a time limit stops: what `fit` returns or raises, and what it leaves behind."""

import gc
import signal
import threading
import weakref
from signal import SIGINT, SIGTERM, raise_signal

import pytest
import torch
from outcomes import assert_equal, newest
from torch import nn
from torch.nn import functional as F

from framework import Events, TrainModule, seed_all
from framework.handlers import EMA
from framework.module import ending, whereabouts
from framework.module.stopping import boundary as boundary_file, signals as signals_file
from framework.module.stopping.signals import Interrupted
from framework.module.stopping.watchdog import Watchdog


class Small(TrainModule):
    """Calls something at its steps, by kind and number."""

    def __init__(self, **acts):
        seed_all(3)
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.acts, self.passed, self.events = acts, {"step": 0, "evaluation": 0}, []

    def training_step(self, batch):
        return F.mse_loss(self.layer(self._pass("step", batch)), batch[:, :1])

    def evaluation_step(self, batch):
        return {"loss": F.mse_loss(self.layer(self._pass("evaluation", batch)), batch[:, :1])}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def on_interrupt(self):
        self.events.append("interrupt")

    def on_completed(self):
        self.events.append("completed")

    def on_closed(self):
        self.events.append("closed")

    def _pass(self, kind, batch):
        self.passed[kind] += 1
        self.acts.get(f"{kind}_{self.passed[kind]}", self.acts.get(kind, lambda: None))()
        return batch


BATCHES = [torch.full((2, 4), float(number)) / 4 for number in range(4)]


def fit(run_dir=None, module=None, train=BATCHES, **settings):
    module = module or Small()
    result = module.fit(train, BATCHES[:3], run_dir=run_dir, **{"max_epochs": 2, "seed": 3, "progress": False, **settings})
    return module, result


@pytest.fixture
def usual_handlers():
    """What a plain Python process has, whatever the tests were started with."""
    before = {number: signal.getsignal(number) for number in (SIGINT, SIGTERM)}
    signal.signal(SIGINT, signal.default_int_handler)
    signal.signal(SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fail():
    raise OSError("a step failed")


def handlers():
    return [signal.getsignal(number) for number in (SIGINT, SIGTERM)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second where it is called."""

    class Clock:
        now = 0.0

        def tick(self):
            self.now += 1.0

    clock = Clock()
    monkeypatch.setattr(boundary_file, "perf_counter", lambda: clock.now)
    return clock


def test_an_interrupted_run_leaves_with_its_result(tmp_path, usual_handlers):
    before, module = handlers(), Small(step_6=lambda: raise_signal(SIGTERM))
    with pytest.raises(SystemExit) as caught:
        fit(tmp_path, module)
    assert type(caught.value) is Interrupted
    assert (caught.value.code, caught.value.asked) == (143, SIGTERM)
    result = caught.value.result
    assert (result.status, result.state.iteration) == ("interrupted", 6)
    assert result.reason == "SIGTERM ended the run in epoch 2, iteration 6; it is saved and goes on with the same command."
    assert str(caught.value) == result.reason
    assert [row["epoch"] for row in result.history] == [1]
    assert result.last_checkpoint.name == "step-00000006"
    assert module.events == ["interrupt", "closed"]
    assert handlers() == before


@pytest.mark.fault(14)
def test_ctrl_c_at_a_prompt_returns_the_result(tmp_path, usual_handlers, monkeypatch):
    monkeypatch.setattr(ending, "is_interactive", lambda: True)
    module, result = fit(tmp_path, Small(step_6=lambda: raise_signal(SIGINT)))
    assert (result.status, module.events) == ("interrupted", ["interrupt", "closed"])
    assert result.reason.startswith("SIGINT (Ctrl-C) ended the run in epoch 2, iteration 6; it is saved")
    with pytest.raises(Interrupted):
        fit(tmp_path, Small(step_1=lambda: raise_signal(SIGTERM)))
    module, result = fit(tmp_path)
    assert (result.status, result.state.iteration, module.passed["step"]) == ("completed", 8, 1)
    assert_equal(dict(module.state_dict()), dict(fit()[0].state_dict()))


def test_the_handlers_from_before_are_back_after_an_error(usual_handlers):
    before, during = handlers(), []
    with pytest.raises(OSError, match="a step failed"):
        fit(module=Small(step_1=lambda: during.extend(handlers()), step_2=fail))
    assert set(before).isdisjoint(during)
    assert handlers() == before
    fit()
    assert handlers() == before


def test_a_handler_from_before_is_called_when_the_run_is_saved(tmp_path, usual_handlers):
    def requeue(number, frame):
        calls.append((number, newest(tmp_path.parent)["run"]["progress"]["iteration"]))

    calls = []
    signal.signal(SIGTERM, requeue)
    with pytest.raises(Interrupted):
        fit(tmp_path.parent / "run", Small(step_6=lambda: raise_signal(SIGTERM)))
    assert calls == [(SIGTERM, 6)]


def test_outside_the_main_thread_it_trains_and_says_once_that_signals_are_left_alone(tmp_path, capfd):
    signals_file._tell_left_alone.cache_clear()
    results = []
    for number in range(2):
        thread = threading.Thread(target=lambda number=number: results.append(fit(tmp_path / str(number))))
        thread.start()
        thread.join()
    assert [result.status for _, result in results] == ["completed"] * 2
    assert capfd.readouterr().err.count("fit runs outside the main thread") == 1


def test_a_time_limit_returns_and_the_next_call_goes_on(tmp_path, clock):
    whole, _ = fit()
    reached = []
    for _ in range(3):
        module, result = fit(tmp_path, Small(step=clock.tick), max_time_s=2.5)
        reached.append((result.status, result.state.iteration, *module.events))
        if result.status == "interrupted":
            assert result.reason == "max_time_s=2.5 was reached."
    assert reached == [
        ("interrupted", 3, "interrupt", "closed"),
        ("interrupted", 6, "interrupt", "closed"),
        ("completed", 8, "completed", "closed"),
    ]
    assert_equal(dict(module.state_dict()), dict(whole.state_dict()))


def test_a_time_limit_inside_a_validation(tmp_path, clock):
    """It is given up, and made again as a whole."""
    whole, expected = fit()
    module, result = fit(tmp_path, Small(evaluation=clock.tick), max_time_s=1.5)
    assert (result.status, result.state.iteration, module.passed["evaluation"], result.history) == ("interrupted", 4, 2, [])
    module, result = fit(tmp_path)
    assert module.passed == {"step": 4, "evaluation": 6}
    assert_equal(dict(module.state_dict()), dict(whole.state_dict()))
    assert result.metrics == expected.metrics


def test_a_validation_is_given_up_also_after_a_short_window(tmp_path, usual_handlers):
    """The step of a window that the end of the data cuts short fires events too, after those of the epoch."""
    module = Small(evaluation_1=lambda: raise_signal(SIGTERM))
    with pytest.raises(Interrupted):
        fit(tmp_path, module, train=lambda: iter(BATCHES), accumulate=3, handlers=[EMA(0.5)])
    assert module.passed == {"step": 4, "evaluation": 1}
    with pytest.warns(UserWarning, match="4 batches are read and dropped"):
        module, _ = fit(tmp_path, train=lambda: iter(BATCHES), accumulate=3, handlers=[EMA(0.5)])
    whole, _ = fit(train=lambda: iter(BATCHES), accumulate=3, handlers=[EMA(0.5)])
    assert_equal(dict(module.state_dict()), dict(whole.state_dict()))


@pytest.mark.fault(10, 16)
@pytest.mark.parametrize("stop", [{"evaluation_2": lambda: raise_signal(SIGTERM)}, {"evaluation_6": lambda: raise_signal(SIGTERM)}])
def test_a_validation_is_given_up_where_the_learning_rate_is_a_tensor(tmp_path, usual_handlers, stop):
    """Which the schedule of the epoch has changed in place by then."""

    class Scheduled(Small):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=torch.tensor(0.1), momentum=0.9)

        def configure_schedulers(self, optimizers):
            return torch.optim.lr_scheduler.ExponentialLR(optimizers["main"], 0.5)

    with pytest.raises(Interrupted):
        fit(tmp_path, Scheduled(**stop))
    (module, result), (whole, expected) = fit(tmp_path, Scheduled()), fit(None, Scheduled())
    assert_equal(dict(module.state_dict()), dict(whole.state_dict()))
    assert [each.state.optimizers["main"].param_groups[0]["lr"].item() for each in (result, expected)] == [
        torch.tensor(0.025).item()
    ] * 2


@pytest.mark.fault(24)
def test_reading_forward_is_no_hang(tmp_path, monkeypatch):
    """Each batch that is read again shows the watchdog that the run goes on, however long all of them take."""

    class Counting(Watchdog):
        beats = 0

        def beat(self):
            super().beat()
            self.beats += 1
            if self.beats > 1:  # the first is that of its start
                beats.append(len(read))

    def batches():
        for batch in BATCHES:
            read.append(batch)
            yield batch

    read, beats = [], []
    monkeypatch.setattr(whereabouts, "Watchdog", Counting)
    with pytest.raises(OSError, match="a step failed"):
        fit(tmp_path, Small(step_4=fail), train=batches, save_every=Events.ITERATION_COMPLETED(every=3))
    read.clear(), beats.clear()
    with pytest.warns(UserWarning, match="3 batches are read and dropped"):
        module, _ = fit(tmp_path, train=batches, hang_timeout_s=60)
    assert beats[:4] == [1, 2, 3, 4]
    assert_equal(dict(module.state_dict()), dict(fit()[0].state_dict()))


@pytest.mark.parametrize("run_dir", [False, True])
def test_a_watched_run_is_freed_by_counting_references(tmp_path, run_dir):
    class Keep:
        def on_started(self, engine):
            engines.append(weakref.ref(engine))

    engines = []
    fit()  # what torch does once is done
    gc.collect()
    gc.disable()
    try:
        fit(tmp_path if run_dir else None, hang_timeout_s=60, handlers=[Keep()])
        assert engines[0]() is None
    finally:
        gc.enable()
