"""How a run may end: limits, terminate, interrupt, errors."""

import pytest


@pytest.mark.parametrize("progress", [False, True])
def test_an_error_is_seen_by_every_hook_and_raised_again(line, batches, trace, progress):
    class Saw:
        def __init__(self):
            self.errors = []

        def on_exception_raised(self, engine, e):
            self.errors.append((e, engine.state.iteration))

    class Module(line):
        def __init__(self):
            super().__init__()
            self.errors = []

        def training_step(self, batch, engine):
            if engine.state.iteration == 2:
                raise KeyError("no such thing")
            return super().training_step(batch)

        def on_exception_raised(self, e):
            self.errors.append(e)

    module, saw = Module(), Saw()
    with pytest.raises(KeyError, match="no such thing") as caught:
        module.fit(batches, max_epochs=1, handlers=[saw, trace], progress=progress)
    assert saw.errors == [(caught.value, 2)]
    assert module.errors == [caught.value]
    assert trace.seen == ["started", "epoch_started", "iteration_completed", "closed"]


def test_an_error_in_the_evaluation_is_raised(line, batches, trace):
    class Module(line):
        def evaluation_step(self, batch):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Module().fit(batches, batches, max_epochs=1, handlers=[trace], progress=False)
    assert trace.seen[-1] == "closed"
    assert trace.seen.count("closed") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_requests_to_leave_are_raised_too(line, batches, trace, error):
    class Module(line):
        def on_iteration_completed(self):
            raise error

    with pytest.raises(error):
        Module().fit(batches, max_epochs=1, handlers=[trace], progress=False)
    assert trace.seen[-1] == "closed"


def test_terminate_gives_its_reason(line, batches, trace):
    class Module(line):
        def on_epoch_completed(self, engine):
            if engine.state.epoch == 2:
                engine.terminate(reason="Solved.")

    result = Module().fit(batches, max_epochs=9, handlers=[trace], progress=False)
    assert (result.status, result.reason, result.state.epoch) == ("stopped", "Solved.", 2)
    assert trace.seen[-3:] == ["terminate", "completed", "closed"]
    assert len(result.history) == 2


def test_terminate_in_the_middle_of_an_epoch_leaves_a_partial_row(line, batches, trace):
    class Module(line):
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 8:
                engine.terminate()

    result = Module().fit(batches, batches, max_epochs=9, handlers=[trace], progress=False)
    assert (result.status, result.reason) == ("stopped", "terminate() was called in iteration 8.")
    assert trace.seen.count("epoch_completed") == 1
    assert trace.seen.count("evaluation_completed") == 2
    assert [(row["epoch"], row["iteration"]) for row in result.history] == [(1, 6), (2, 8)]
    assert {"train/loss", "val/loss", "time_s"} <= result.history[1].keys()


def test_the_reason_of_terminate_wins_over_the_limit_reached_with_it(line, batches):
    class Module(line):
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 3:
                engine.terminate(reason="Solved.")

    result = Module().fit(batches, max_iters=3, progress=False)
    assert (result.status, result.reason) == ("stopped", "Solved.")


@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_iters": 12}])
def test_interrupt_returns_at_once(line, batches, trace, limits):
    class Module(line):
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 4:
                engine.interrupt()

    result = Module().fit(batches, handlers=[trace], progress=False, **limits)
    assert (result.status, result.reason) == ("interrupted", "interrupt() was called in iteration 4.")
    assert trace.seen[-2:] == ["interrupt", "closed"]


def test_max_iters_inside_an_epoch_gives_a_partial_row_and_no_epoch_completed(line, batches, trace):
    result = line().fit(batches, batches[:1], max_iters=8, handlers=[trace], progress=False)
    assert (result.status, result.reason, result.state.iteration) == ("completed", "max_iters=8 was reached.", 8)
    assert trace.seen.count("epoch_completed") == 1
    assert trace.seen.count("completed") == 1
    assert [(row["epoch"], row["iteration"]) for row in result.history] == [(1, 6), (2, 8)]
    assert "val/loss" in result.history[1]


@pytest.mark.parametrize(
    ("limits", "epochs", "reason"),
    [
        ({"max_epochs": 2, "max_iters": 12}, 2, "max_iters=12 was reached."),
        ({"max_epochs": 3, "max_iters": 12}, 2, "max_iters=12 was reached."),
        ({"max_epochs": 2, "max_iters": 99}, 2, "max_epochs=2 was reached."),
        ({"max_iters": 12}, 2, "max_iters=12 was reached."),
    ],
)
def test_an_epoch_that_ends_with_the_run_is_completed(line, batches, trace, limits, epochs, reason):
    result = line().fit(batches, handlers=[trace], progress=False, **limits)
    assert trace.seen.count("epoch_completed") == epochs
    assert len(result.history) == epochs
    assert (result.status, result.reason) == ("completed", reason)


def test_an_error_while_closing_does_not_take_the_place_of_the_one_under_way(line, batches):
    class Fails(line):
        def training_step(self, batch):
            raise ConnectionError("gone")

        def on_closed(self):
            raise ValueError("not open")

    with pytest.raises(ConnectionError, match="gone") as caught:
        Fails().fit(batches, max_epochs=1, progress=False)
    assert caught.value.__notes__[1] == "Besides, an on_closed hook raised ValueError('not open')."
