import io
import sys

import pytest
import torch
from screens import Terminal

from framework import Engine, Events, Progress, Recorder, TrainModule
from framework.handlers import progress as progress_module
from framework.module.hooks import register_hooks


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "perf_counter", clock)
    return clock


def run(stream, step=lambda engine, batch: None, recorder=None, data=range(4), **limits):
    engine = Engine(step)
    register_hooks(engine, Progress(recorder, stream))
    engine.run(data, **limits)
    return stream.getvalue()


def test_one_line_an_epoch_where_there_is_no_terminal(clock):
    lines = run(io.StringIO(), max_epochs=2).splitlines()
    assert [line.rsplit("  ", 1)[0] for line in lines] == ["epoch 1/2  4 iterations", "epoch 2/2  8 iterations"]
    assert all(line.endswith(" s") for line in lines)


def test_a_line_shows_the_metrics_that_are_numbers(clock):
    stream, engine = io.StringIO(), Engine(lambda engine, batch: None)
    engine.state.metrics = {"train/loss": 0.123456, "confusion": torch.ones(2, 2)}
    register_hooks(engine, Progress(stream=stream))
    engine.run([0])
    assert stream.getvalue().startswith("epoch 1/1  1 iterations  train/loss 0.1235  0.")


def test_a_long_epoch_gets_lines_by_time(clock):
    recorder = Recorder("train")

    def step(engine, batch):
        clock.now += 20.0
        recorder.log("loss", float(batch))
        recorder.flush(engine.state.iteration, 1)

    lines = run(io.StringIO(), step, recorder, max_epochs=1).splitlines()
    assert lines[:2] == ["epoch 1/1  2/4  train/loss 1", "epoch 1/1  4/4  train/loss 3"]
    assert len(lines) == 3


def test_the_length_is_left_out_while_it_is_unknown(clock):
    def step(engine, batch):
        clock.now += 31.0

    assert run(io.StringIO(), step, data=iter(range(2)), max_epochs=1).startswith("epoch 1/1  1\nepoch 1/1  2\n")


def test_the_number_of_epochs_is_left_out_where_there_is_none(clock):
    assert run(io.StringIO(), max_iters=8).startswith("epoch 1  4 iterations")


def test_a_terminal_gets_a_bar(clock):
    def step(engine, batch):
        clock.now += 1.0

    terminal = Terminal()
    bars = [part for part in run(terminal, step, max_epochs=2).replace("\n", "\r").split("\r") if part.strip()]
    assert bars[0].startswith("epoch 1/2   0%|          | 0/4 [")
    assert any(bar.startswith("epoch 1/2") and "100%" in bar and "4/4" in bar for bar in bars)
    assert any(bar.startswith("epoch 2/2") and "100%" in bar and "4/4" in bar for bar in bars)
    assert terminal.lines == ["epoch 1/2  4 iterations  4.0 s", "epoch 2/2  8 iterations  4.0 s", ""]


def test_a_bar_without_a_length_counts(clock):
    def step(engine, batch):
        clock.now += 1.0

    shown = run(Terminal(), step, data=iter(range(3)), max_epochs=1)
    assert "epoch 1/1 3 [" in shown
    assert "%" not in shown


def test_a_bar_shows_the_newest_means(clock):
    recorder = Recorder("train")

    def step(engine, batch):
        clock.now += 1.0
        recorder.log("loss", float(batch))
        recorder.flush(engine.state.iteration, 1)

    assert "train/loss 2" in run(Terminal(), step, recorder, max_epochs=1)


@pytest.mark.parametrize(("seconds", "draws"), [(0.0, 0), (0.06, 5), (0.2, 10)])
def test_a_bar_is_drawn_by_time_and_not_by_step(clock, monkeypatch, seconds, draws):
    drawn = []
    monkeypatch.setattr(Progress, "_show", lambda self, engine: drawn.append(engine.state.iteration) or self._wait())
    monkeypatch.setattr(Progress, "_wait", lambda self: setattr(self, "_next", clock.now + 0.1), raising=False)

    def step(engine, batch):
        clock.now += seconds

    run(Terminal(), step, data=range(10), max_epochs=1)
    assert len(drawn) == draws


def test_no_device_is_read_while_an_epoch_runs(clock):
    class ReadError(Exception):
        pass

    class Unreadable(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function in (torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__float__, torch.Tensor.__format__):
                raise ReadError
            return super().__torch_function__(function, types, args, kwargs)

    recorder = Recorder("train")

    def step(engine, batch):
        clock.now += 100.0
        recorder.log("loss", torch.tensor(1.0).as_subclass(Unreadable))

    assert "2/2" in run(io.StringIO(), step, recorder, data=range(2), max_epochs=1)
    with pytest.raises(ReadError):
        recorder.flush(1, 1)


def evaluated(stream, clock, seconds, length=4, *, inside=True):
    """What is shown after each iteration of an evaluation, in which each takes some seconds."""
    progress, seen = Progress(stream=stream), []
    evaluator = Engine(lambda engine, batch: setattr(clock, "now", clock.now + seconds))
    evaluator.state.stage = "val"
    register_hooks(evaluator, progress, evaluation=True)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(stream.getvalue()))
    engine = Engine(lambda engine, batch: None)
    data = range(length) if length is not None else iter(range(4))
    engine.add_event_handler(Events.EPOCH_COMPLETED if inside else Events.STARTED, lambda: evaluator.run(data) and None)
    register_hooks(engine, progress)
    engine.run(range(2))
    return seen


def test_a_long_evaluation_has_a_bar_in_place_of_that_of_the_epoch(clock):
    terminal = Terminal()
    seen = evaluated(terminal, clock, 1.0)
    assert "epoch 1/1 val  25%|██▌       | 1/4 [" in seen[0]
    assert "epoch 1/1 val 100%|██████████| 4/4 [" in seen[3]
    assert terminal.lines == ["epoch 1/1  2 iterations  4.0 s", ""]


def test_a_short_evaluation_has_none(clock):
    assert "val" not in evaluated(Terminal(), clock, 0.02)[-1]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("length", "of"), [(4, "/4"), (None, "")])
def test_a_long_evaluation_gets_lines_by_time(clock, inside, length, of):
    seen = evaluated(io.StringIO(), clock, 20.0, length, inside=inside)
    title = "epoch 1/1 val" if inside else "val"
    assert seen == ["", *(f"{title}  2{of}\n",) * 2, f"{title}  2{of}\n{title}  4{of}\n"]


class Logging(TrainModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return self.weight.sum()

    def evaluation_step(self, batch):
        return {"loss": self.weight.sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def on_epoch_completed(self, engine):
        self.log("pages", 7.0 * engine.state.epoch)
        sys.stdout.write(f"the hook of epoch {engine.state.epoch}\n")


def test_the_line_has_what_the_hooks_of_the_epochs_end_have_logged(capsys):
    result = Logging().fit(range(2), range(2), max_epochs=2)
    assert [line.rpartition("  ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "",
        "epoch 1/2  2 iterations  train/loss 1  val/loss 1  train/pages 7",
        "",
        "epoch 2/2  4 iterations  train/loss 1  val/loss 1  train/pages 14",
    ]
    assert [row["train/pages"] for row in result.history] == [7.0, 14.0]


def test_what_hooks_print_stands_on_lines_of_its_own(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Logging().fit(range(2), max_epochs=2)
    assert [line.split("  ")[0] for line in terminal.lines] == [
        "the hook of epoch 1",
        "epoch 1/2",
        "the hook of epoch 2",
        "epoch 2/2",
        "",
    ]
    assert sys.stdout is terminal


class Broken(TrainModule):
    def __init__(self, ending):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.ending = ending

    def training_step(self, batch, engine):
        if engine.state.iteration == 2:
            self.ending(engine)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fail(engine):
    raise KeyError("broken")


@pytest.mark.parametrize("ending", [fail, lambda engine: engine.terminate(), lambda engine: engine.interrupt()])
def test_the_bar_is_closed_however_the_run_ends(ending):
    stream = Terminal()
    progress = Progress(stream=stream)
    try:
        Broken(ending).fit(range(4), max_epochs=1, handlers=[progress], progress=False)
    except KeyError:
        assert ending is fail
    assert progress._bar is None
    assert stream.getvalue().endswith("\n")


def test_progress_does_not_take_errors_on_an_engine_of_ones_own():
    engine = Engine(lambda engine, batch: fail(engine))
    register_hooks(engine, Progress(stream=io.StringIO()))
    with pytest.raises(KeyError, match="broken"):
        engine.run([0])


def test_the_standard_output_is_looked_up_late(monkeypatch):
    progress = Progress()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, progress)
    engine.run([0])
    assert sys.stdout.getvalue().startswith("epoch 1/1  1 iterations")


def test_fit_shows_lines_by_default(capsys):
    Broken(lambda engine: None).fit(range(2), max_epochs=1)
    assert capsys.readouterr().out.startswith("epoch 1/1  2 iterations  train/loss 0.9")


def test_a_run_that_ends_inside_an_epoch_gets_its_line_too(clock):
    stream = io.StringIO()
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, Progress(stream=stream))
    engine.run(range(4), max_iters=6)
    assert [line.split("  ")[:2] for line in stream.getvalue().splitlines()] == [
        ["epoch 1", "4 iterations"],
        ["epoch 2", "6 iterations"],
    ]
