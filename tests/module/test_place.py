"""The note on an error: where the run was."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from framework import CheckpointError, DataError, Events, StepError, TrainModule, on
from framework.backends import Plain
from framework.engine.engine import Engine
from framework.module.place import advised, batch_of, doing, note_place, surroundings
from framework.module.step_events import StepEvents, register_step_events
from framework.tracebacks import FULL


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch):
        return self.layer(batch["x"]).square().mean()

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class FailedError(Exception):
    pass


class FailsAt:
    """A handler that raises at an event of an iteration."""

    def __init__(self, event, iteration):
        self._iteration = iteration
        self.seen = []
        type(self).fail = on(event)(lambda this, engine: this._fail(engine))

    def _fail(self, engine):
        if engine.state.iteration == self._iteration:
            raise FailedError

    def on_exception_raised(self, engine, e):
        self.seen += e.__notes__


def handler(event, iteration):
    return type("FailsAt", (FailsAt,), {})(event, iteration)


BATCHES = [{"x": torch.ones(2, 4)} for _ in range(3)]
BATCH = " with the batch {x: float32 (2, 4)}"
FOLDED = "Frames of the framework are left out of the traceback; FRAMEWORK_FULL_TRACEBACK=1 in the environment shows them."
HERE = "; on device cpu, rank 0 of 1, without a run_dir."


def notes(kind, module, *data, **settings):
    with pytest.raises(kind) as info:
        module.fit(*(data or [BATCHES]), max_epochs=2, progress=False, **settings)
    return info.value.__notes__


PLACES = {
    Events.STARTED: (0, "epoch 0, iteration 0, after the event STARTED began"),
    Events.EPOCH_STARTED: (3, "epoch 2, iteration 3, after the event EPOCH_STARTED began"),
    Events.GET_BATCH_STARTED: (1, "epoch 1, waiting for the batch of iteration 2"),
    Events.GET_BATCH_COMPLETED: (4, f"epoch 2, iteration 4, after the event GET_BATCH_COMPLETED began{BATCH}"),
    Events.ITERATION_STARTED: (4, f"epoch 2, in the step of iteration 4{BATCH}"),
    StepEvents.LOSS_COMPUTED: (4, f"epoch 2, iteration 4, after the event LOSS_COMPUTED began{BATCH}"),
    Events.ITERATION_COMPLETED: (4, f"epoch 2, iteration 4, after the event ITERATION_COMPLETED began{BATCH}"),
    Events.EPOCH_COMPLETED: (3, "epoch 1, iteration 3, after the event EPOCH_COMPLETED began"),
    Events.COMPLETED: (6, "epoch 2, iteration 6, after the event COMPLETED began"),
}


@pytest.mark.parametrize("event", PLACES, ids=[event.name for event in PLACES])
def test_the_note_says_where_training_was(event):
    iteration, where = PLACES[event]
    failing = handler(event, iteration)
    if event is StepEvents.LOSS_COMPUTED:
        failing = type("Fails", (), {"on_loss_computed": lambda self, engine, loss: FailsAt._fail(self, engine)})()
        failing._iteration = iteration
    found = notes(FailedError, Net(), handlers=[failing])
    assert found[0] == f"While training: {where}{HERE}"
    assert found[1].startswith("Frames of the framework are left out")


def test_a_handler_of_the_error_sees_the_note_too():
    failing = handler(Events.EPOCH_COMPLETED, 3)
    first = notes(FailedError, Net(), handlers=[failing])[0]
    assert failing.seen == [first]
    assert "EPOCH_COMPLETED began" in first


class Broken(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 3:
            raise FailedError
        return {"x": torch.ones(4)}


def test_the_note_of_an_evaluation_comes_before_that_of_the_run():
    found = notes(FailedError, Net(), BATCHES, {"easy": BATCHES, "hard": DataLoader(Broken(), 2)})
    assert found[1:3] == [
        "In the evaluation of val/hard: waiting for the batch of iteration 2.",
        f"While training: epoch 1, after iteration 3{HERE}",
    ]


def test_verbs_without_training_note_where_they_were():
    class Wrong(Net):
        def evaluation_step(self, batch):
            raise FailedError

        prediction_step = evaluation_step

    for verb, begin in (("evaluate", "In the evaluation of test: "), ("predict", "While predicting: ")):
        with pytest.raises(FailedError) as info:
            getattr(Wrong(), verb)(BATCHES)
        assert info.value.__notes__[0] == f"{begin}in the step of iteration 1{BATCH}."


def test_the_last_checkpoint_is_named(tmp_path):
    found = notes(FailedError, Net(), run_dir=tmp_path, handlers=[handler(Events.ITERATION_STARTED, 5)])
    assert found[0].endswith(f"; on device cpu, rank 0 of 1, last checkpoint {tmp_path}/checkpoints/step-00000003.")


class Store:
    def __init__(self, answer):
        self.store = self
        self.last = answer


def test_a_run_without_a_checkpoint_says_so():
    def unreadable():
        raise CheckpointError("It cannot be searched.")

    backend = Plain(torch.device("cpu"))
    assert surroundings(backend, Store(lambda: None)) == "on device cpu, rank 0 of 1, no checkpoint yet"
    assert surroundings(backend, Store(unreadable)).endswith("last checkpoint unknown: It cannot be searched")


def test_the_rank_is_that_of_the_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        assert surroundings(Plain(torch.device("cpu")), None) == "on device cpu, rank 0 of 1, without a run_dir"
    finally:
        torch.distributed.destroy_process_group()


def test_no_batch_is_told_of_after_an_evaluation():
    note = notes(FailedError, Net(), BATCHES, BATCHES, handlers=[handler(StepEvents.EVALUATED, 3)])[0]
    assert note == f"While training: epoch 1, iteration 3, after the event EVALUATED began{HERE}"


def test_errors_of_the_framework_get_the_note_and_no_word_on_frames():
    class Forgets(Net):
        def training_step(self, batch):
            super().training_step(batch)

    (note,) = notes(StepError, Forgets())
    assert note == f"While training: epoch 1, in the step of iteration 1{BATCH}{HERE}"
    with pytest.raises(DataError) as info:
        Net().fit([], max_epochs=1)
    assert not hasattr(info.value, "__notes__")  # found before anything ran


def test_an_error_is_noted_once_though_a_run_goes_on_in_a_hook():
    class Nested(Net):
        def on_epoch_completed(self):
            Net().evaluate([{}])

    with pytest.raises(KeyError) as info:
        Nested().fit(BATCHES, max_epochs=1, progress=False)
    assert [note.partition(":")[0] for note in info.value.__notes__] == [
        "In the evaluation of test",
        FOLDED,
        "While training",
    ]


def test_an_error_that_is_raised_again_is_noted_once():
    error = FailedError()

    class Same(Net):
        def training_step(self, batch):
            raise error

    for _ in range(3):
        with pytest.raises(FailedError):
            Same().fit(BATCHES, max_epochs=1, progress=False)
    assert [note.partition(":")[0] for note in error.__notes__] == ["While training", FOLDED]


def test_the_whole_traceback_comes_without_a_word_on_frames(monkeypatch):
    monkeypatch.setenv(FULL, "1")
    (note,) = notes(FailedError, Net(), handlers=[handler(Events.ITERATION_STARTED, 1)])
    assert note.startswith("While training: ")


def test_an_error_that_refuses_notes_gets_them_and_keeps_its_type():
    class RefusingError(Exception):
        def __setattr__(self, name, value):
            if name == "__notes__":
                raise AttributeError(name)
            super().__setattr__(name, value)

    class Refuses(Net):
        def training_step(self, batch):
            raise RefusingError

    assert [note.partition(":")[0] for note in notes(RefusingError, Refuses())] == ["While training", FOLDED]


def test_what_is_no_error_gets_no_note():
    engine = Engine(lambda engine, batch: None)
    note_place(engine, doing)
    engine.add_event_handler(Events.STARTED, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt) as info, advised():
        engine.run([1])
    assert not hasattr(info.value, "__notes__")


def test_the_words_for_an_engine_that_has_not_run():
    engine = Engine(lambda engine, batch: None)
    register_step_events(engine)
    assert doing(engine) == "iteration 0, after the event None began"
    assert batch_of(engine) == ""
