"""What loggers are told, by whom, and that none of them reaches back into the run."""

import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from framework import CSVLogger, DataError, Events, Logger, Plain, RunFacts, TrainModule
from framework.loggers import MetricsFile
from framework.loggers.base import VERBS
from framework.module.loggers import Loggers, facts_of

FACTS = RunFacts(verb="fit", module="Net", hparams={}, settings={}, seed=0)


class Told(Logger):
    """Writes down what it is told."""

    def __init__(self):
        self.seen = []

    def begin(self, facts):
        self.seen.append(("begin", facts))

    def points(self, iteration, epoch, time_s, values):
        self.seen.append(("points", iteration, epoch, dict(values)))

    def row(self, values):
        self.seen.append(("row", dict(values)))

    def close(self, status, reason):
        self.seen.append(("close", status, reason))

    def verbs(self):
        return [verb for verb, *_ in self.seen]


class Fails(Told):
    """Raises in one verb."""

    def __init__(self, verb):
        super().__init__()
        self.verb = verb

    def __getattribute__(self, name):
        if name in VERBS and name == object.__getattribute__(self, "verb"):
            return self.fail
        return object.__getattribute__(self, name)

    def fail(self, *given):
        self.seen.append((self.verb,))
        raise OSError(28, "No space left on device")


def everything(loggers):
    loggers.begin(FACTS)
    loggers.points(1, 1, 0.5, {"train/loss": 1.0})
    loggers.row({"epoch": 1})
    loggers.close("completed", "why")


def twice(loggers):
    everything(loggers)
    everything(loggers)


def run_into_an_error(logger, before):
    with Loggers([logger]) as loggers:
        before(loggers)
        raise ValueError("mine")


def test_each_is_told_everything():
    first, second = Told(), Told()
    with Loggers([first, second]) as loggers:
        everything(loggers)
    expected = [("begin", FACTS), ("points", 1, 1, {"train/loss": 1.0}), ("row", {"epoch": 1}), ("close", "completed", "why")]
    assert first.seen == second.seen == expected


@pytest.mark.parametrize("verb", VERBS)
def test_one_that_fails_is_left_out_with_one_warning(verb):
    first, failing, last = Told(), Fails(verb), Told()
    loggers = Loggers([first, failing, last])
    with pytest.warns(UserWarning, match="It gets nothing more") as warned:
        twice(loggers)
    assert str(warned[0].message).startswith(
        f"Fails.{verb} failed: OSError: [Errno 28] No space left on device (test_loggers.py, line "
    )
    assert str(warned[0].message).endswith(
        "). It gets nothing more of this run, which goes on without it. Mend the cause, or leave it out of loggers."
    )
    assert len(warned) == 2  # of two runs
    assert failing.verbs() == [*VERBS[: VERBS.index(verb) + 1]] * 2
    assert first.verbs() == last.verbs() == [*VERBS] * 2


def test_a_stop_from_outside_is_no_failure():
    class Stopped(Logger):
        def points(self, *given):
            raise KeyboardInterrupt

    told = Told()
    with pytest.raises(KeyboardInterrupt), Loggers([Stopped(), told]) as loggers:
        everything(loggers)
    assert told.verbs() == ["begin"]  # and nobody waits for it to close


def test_an_error_closes_them_as_failed():
    told = Told()
    with pytest.raises(ValueError, match="mine"):
        run_into_an_error(told, lambda loggers: loggers.begin(FACTS))
    assert told.seen[-1] == ("close", "failed", "ValueError: mine")


def test_what_has_not_begun_is_not_closed():
    told = Told()
    with pytest.raises(ValueError, match="mine"):
        run_into_an_error(told, lambda loggers: None)
    assert told.seen == []


def test_after_the_end_nothing_is_told():
    told = Told()
    with pytest.raises(ValueError, match="mine"):
        run_into_an_error(told, everything)
    assert told.verbs() == [*VERBS]


def test_each_gets_a_copy():
    class Greedy(Logger):
        def points(self, iteration, epoch, time_s, values):
            values.clear()

        def row(self, values):
            values.clear()

    told, points, row = Told(), {"train/loss": 1.0}, {"epoch": 1}
    loggers = Loggers([Greedy(), told])
    loggers.begin(FACTS)
    loggers.points(1, 1, 0.5, points)
    loggers.row(row)
    assert (points, row) == ({"train/loss": 1.0}, {"epoch": 1})
    assert told.seen[1:] == [("points", 1, 1, points), ("row", row)]


def test_random_numbers_that_a_logger_draws_are_its_own():
    class Draws(Told):
        def row(self, values):
            random.random(), np.random.rand(), torch.rand(1)
            raise OSError("and fails")

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with pytest.warns(UserWarning, match="and fails"):
        everything(Loggers([Draws()]))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])


# Of a run


def test_what_fit_tells(line, batches):
    told = Told()
    result = line().fit(batches, batches[:1], max_epochs=1, log_every=4, progress=False, seed=3, loggers=[told])
    assert told.verbs() == ["begin", "points", "points", "row", "close"]
    facts = told.seen[0][1]
    assert (facts.verb, facts.module, facts.seed, facts.run_dir, facts.goes_on_from) == ("fit", "Line", 3, None, None)
    assert (facts.points_until, facts.rows_until) == (-1, -1)
    curve = result.series["train/loss"]
    assert told.seen[1:3] == [("points", point.iteration, 1, {"train/loss": point.value, "train/lr": 0.05}) for point in curve]
    assert told.seen[3] == ("row", result.history[0])
    assert told.seen[4] == ("close", "completed", "max_epochs=1 was reached.")


def test_a_validation_inside_an_epoch_is_a_row(line, batches):
    told = Told()
    line().fit(batches, batches, max_epochs=1, validate_every=Events.ITERATION_COMPLETED(every=4), progress=False, loggers=[told])
    assert [entry[1]["iteration"] for entry in told.seen if entry[0] == "row"] == [4, 6]


def test_how_a_run_ends_early(line, batches):
    class Ends:
        def __init__(self, verb, **given):
            self.verb, self.given = verb, given

        def on_iteration_completed(self, engine):
            if engine.state.iteration == 2:
                getattr(engine, self.verb)(**self.given)

    for handler, status in ((Ends("terminate", reason="enough"), "stopped"), (Ends("interrupt"), "interrupted")):
        told = Told()
        result = line().fit(batches, max_epochs=1, progress=False, handlers=[handler], loggers=[told])
        assert told.seen[-1] == ("close", status, result.reason)


def test_an_error_of_the_user_ends_it_as_failed(line, batches):
    class Breaks(line):
        def training_step(self, batch):
            raise RuntimeError("broken")

    told = Told()
    with pytest.raises(RuntimeError, match="broken"):
        Breaks().fit(batches, max_epochs=1, progress=False, loggers=[told])
    assert told.verbs() == ["begin", "close"]
    assert told.seen[-1][1:] == ("failed", "RuntimeError: broken")


def test_a_mistake_that_is_found_first_is_not_told(line):
    told = Told()
    with pytest.raises(DataError):
        line().fit([], max_epochs=1, progress=False, loggers=[told])
    assert told.seen == []


def test_a_dry_run_tells_nothing(line, batches, capsys):
    told = Told()
    line().fit(batches, max_epochs=1, dry_run=True, loggers=[told])
    assert told.seen == []


def test_the_same_object_serves_one_run_after_the_other(line, batches):
    told = Told()
    for _ in range(2):
        line().fit(batches, max_epochs=1, progress=False, loggers=[told])
    assert told.verbs() == ["begin", "points", "row", "close"] * 2


def test_what_evaluate_tells(line, batches):
    told = Told()
    results = line().evaluate(batches, accelerator="cpu", limit_batches=2, loggers=[told])
    assert told.verbs() == ["begin", "row", "close"]
    facts = told.seen[0][1]
    assert (facts.verb, facts.module, facts.run_dir) == ("evaluate", "Line", None)
    assert facts.settings == {"accelerator": "cpu", "precision": None, "limit_batches": 2, "weights": "current"}
    assert told.seen[1:] == [("row", results), ("close", "completed", "The evaluation is over.")]


def test_an_evaluation_that_fails_is_told(line):
    told = Told()
    with pytest.raises(DataError):
        line().evaluate(lambda: iter([]), loggers=[told])
    assert told.seen[-1][:2] == ("close", "failed")


def test_a_logger_that_fails_leaves_evaluate_its_results(line, batches):
    module = line()
    with pytest.warns(UserWarning, match=r"Fails\.row failed"):
        results = module.evaluate(batches, loggers=[Fails("row")])
    assert results == module.evaluate(batches)


def test_facts_are_plain(batches):
    class Net(TrainModule):
        def __init__(self, width, names=("a",)):
            super().__init__()

    settings = {
        "number": 1,
        "text": "x",
        "none": None,
        "path": Path("a") / "b",
        "event": Events.EPOCH_COMPLETED,
        "backend": Plain(torch.device("cpu")),
        "handlers": [object()],
        "set": {"only"},
        "options": {"mode": Path("c")},
    }
    facts = facts_of("fit", Net(4), settings, 3)
    assert facts.hparams == {"width": 4, "names": ("a",)}
    assert facts.settings == {
        "number": 1,
        "text": "x",
        "none": None,
        "path": "a/b",
        "event": "EPOCH_COMPLETED",
        "backend": "cpu",
        "handlers": ["object"],
        "set": ["only"],
        "options": {"mode": "c"},
    }


def test_how_far_the_process_before_has_told_is_read_from_its_file(line, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = MetricsFile(tmp_path / "metrics.jsonl")
        file.points(4, 1, 0.5, {"train/loss": 1.0})
        file.row({"epoch": 1, "iteration": 6})
        file.points(8, 1, 0.5, {"train/norm": 1.0})
        file.close()
        text = (tmp_path / "metrics.jsonl").read_text()
        (tmp_path / "metrics.jsonl").write_text(f"{text}damaged\n")  # which the run says that goes on
        facts = facts_of("fit", line(), {}, 0, file, 2)
    assert (facts.run_dir, facts.goes_on_from, facts.points_until, facts.rows_until) == (tmp_path, 2, 8, 6)
    assert facts_of("fit", line(), {}, 0, file).points_until == -1  # a run that begins takes the file away


def test_settings_of_fit_are_told(line, batches):
    told = Told()
    line().fit(batches, max_epochs=1, progress=False, loggers=[told], validate_every=1)
    settings = told.seen[0][1].settings
    assert settings.keys() == line.fit.__kwdefaults__.keys()
    assert (settings["max_epochs"], settings["loggers"], settings["accelerator"]) == (1, ["Told"], "auto")


def test_with_a_run_folder_both_are_written(line, batches, tmp_path):
    line().fit(batches, max_epochs=1, progress=False, run_dir=tmp_path, loggers=[CSVLogger()])
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 2 + 1
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
