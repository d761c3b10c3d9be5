"""Runs of many kinds, each stopped and killed at several points, end as if nothing had happened."""

import signal
import warnings

import kinds_of_courses  # noqa: F401 # each registers its kinds
import kinds_of_data  # noqa: F401
import kinds_of_modules  # noqa: F401
import pytest
from faulty_runs import Died, Does, assert_same_end, die, difference, fit, go_on, lines, stop
from kinds_of_runs import KINDS

from framework import Events, Interrupted, seed_all

pytestmark = [pytest.mark.usefixtures("quick_disk"), pytest.mark.fault(15, 16, 19)]

MAY_SAY = ("batches are read and dropped", "was cut short")


def made(name):
    make, settings = KINDS[name]
    module, train, *more = make()
    rest = dict(more[0]) if more else {}
    return rest.pop("handlers", []), {"module": module, "train": train, **settings, **rest}


def run(begin, run_dir, name, *handlers, reseed=5, **changes):
    seed_all(reseed)
    own, arguments = made(name)
    with warnings.catch_warnings():
        for text in MAY_SAY:
            warnings.filterwarnings("ignore", f".*{text}", UserWarning)
        return begin(run_dir, *own, *handlers, reseed=reseed, **{**arguments, **changes})


@pytest.mark.parametrize("name", KINDS)
def test_stopped_and_killed(tmp_path, name):
    whole = run(fit, tmp_path / "whole", name)
    settings, ended = KINDS[name][1], whole[1]
    if ended.status == "completed" and "max_iters" not in settings:
        assert ended.state.epoch == settings.get("max_epochs", 2)
    stopped = tmp_path / "stopped"
    every = Events.ITERATION_COMPLETED(every=1)
    assert run(fit, stopped, name, Does(1, do=stop))[1].status == "interrupted"
    with pytest.raises(Died):
        run(go_on, stopped, name, Does(4, do=die), reseed=76, save_every=every)
    run(go_on, stopped, name, Does(4, do=stop), reseed=77)
    with pytest.raises(Died):
        run(go_on, stopped, name, Does(5, 6, do=die), reseed=78, save_every=100)
    assert_same_end(run(go_on, stopped, name, reseed=79), whole)
    assert difference(lines(stopped), lines(tmp_path / "whole")) is None


HOOKS = ("started", "epoch_started", "get_batch_started", "get_batch_completed", "iteration_started", "loss_computed")
HOOKS += ("backward_completed", "optimizer_step_started", "optimizer_step_completed", "iteration_completed", "epoch_completed")
HOOKS += ("evaluated", "terminate_single_epoch", "dataloader_stop_iteration")


def interrupting(hook, at):
    """Returns a handler that interrupts the run when a hook runs for the `at`-th time."""

    class Interrupts:
        count = 0

    def run_hook(self, engine):
        self.count += 1
        if self.count == at:
            engine.interrupt()

    if hook == "loss_computed":
        setattr(Interrupts, f"on_{hook}", lambda self, engine, loss: run_hook(self, engine))
    elif hook.startswith("optimizer_step"):
        setattr(Interrupts, f"on_{hook}", lambda self, engine, optimizer: run_hook(self, engine))
    else:
        setattr(Interrupts, f"on_{hook}", run_hook)
    return Interrupts()


QUICK = "validation_inside_epochs"
OTHERS = ("epochs_broken_off", "epochs_longer_than_a_pass", "a_short_last_window", "data_with_a_state")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", [QUICK, *[pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]])
def test_interrupted_in_a_hook(tmp_path, hook, name):
    whole = run(fit, tmp_path / "whole", name)
    stopped = tmp_path / "stopped"
    end = run(fit, stopped, name, interrupting(hook, 1))
    for reseed, at in enumerate((2, 1, 9999)):
        if end[1].status == "interrupted":
            end = run(go_on, stopped, name, interrupting(hook, at), reseed=60 + reseed)
    assert_same_end(end, whole)
    assert difference(lines(stopped), lines(tmp_path / "whole")) is None


class Signals:
    """Ends the run by a signal in a batch of an evaluation."""

    def __init__(self, at):
        self._at, self._count = at, 0

    def on_evaluation_iteration_completed(self):
        self._count += 1
        if self._count == self._at:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.fault(10)
@pytest.mark.parametrize("at", [1, 3, 5])
@pytest.mark.parametrize("name", ["evaluations_that_change_the_module", "validation_at_several_events"])
def test_an_evaluation_that_is_given_up_leaves_no_trace(tmp_path, capfd, name, at):
    whole = run(fit, tmp_path / "whole", name)
    stopped = tmp_path / "stopped"
    with pytest.raises(Interrupted) as ended:
        run(fit, stopped, name, Signals(at))
    assert ended.value.code == 143
    assert ended.value.result.status == "interrupted"
    assert_same_end(run(go_on, stopped, name, reseed=79), whole)
    assert difference(lines(stopped), lines(tmp_path / "whole")) is None
