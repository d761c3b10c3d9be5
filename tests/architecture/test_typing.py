"""A user's program, typed strictly, that uses events, decorators, handlers and a module: mypy accepts it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from framework import (
    CallableEventWithFilter, DeterministicEngine, Engine, EventEnum, Events, EventsList, FitResult, RemovableEventHandle, State,
    TrainModule, create_supervised_evaluator, create_supervised_trainer, keep_random_state, on, seed_all,
)


class TextEvents(EventEnum):
    SENTENCE_READ = "sentence_read"


def step(engine: Engine, batch: Tensor) -> float:
    engine.fire_event(TextEvents.SENTENCE_READ)
    return float(batch.sum())


trainer = Engine(step)
trainer.register_events(*TextEvents, "plain", event_to_attr={TextEvents.SENTENCE_READ: "sentences"})
filtered: CallableEventWithFilter = Events.ITERATION_COMPLETED(every=10, after=3)
both: EventsList = Events.EPOCH_COMPLETED(once=[1, 2]) | Events.COMPLETED | TextEvents.SENTENCE_READ(every=2)


@trainer.on(filtered)
@trainer.on(both)
@trainer.on("plain")
def tell(engine: Engine) -> None:
    print(engine.state.iteration, engine.state.sentences)


@trainer.on(Events.EXCEPTION_RAISED)
def complain(engine: Engine, error: BaseException) -> None:
    raise error


tell(trainer)  # the decorators leave the function what it is
handle: RemovableEventHandle = trainer.add_event_handler(Events.STARTED, lambda engine, text: print(text), "hello")
with handle:
    state: State = trainer.run([torch.ones(2)], max_epochs=2)
trainer.load_state_dict(trainer.state_dict())
trainer.terminate(reason="enough")
resumable = DeterministicEngine(step, deterministic=False)


@keep_random_state
def evaluate(engine: Engine, rounds: int) -> int:
    return rounds


rounds: int = evaluate(trainer, 3)


class Digits(TrainModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        self.log("norm", x.norm())
        return nn.functional.cross_entropy(self.net(x), y)

    def evaluation_step(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.net(batch[0]), batch[1]

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    @on(Events.ITERATION_COMPLETED(every=5))
    def tell(self, engine: Engine) -> None:
        print(engine.state.output)

    def on_epoch_completed(self, engine: Engine) -> None:
        engine.terminate()


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.randn(3, 4), torch.zeros(3, dtype=torch.long)


seed_all(1)
model = Digits()
result: FitResult = model.fit(batches, list(batches()), max_epochs=2, validate_every=Events.ITERATION_COMPLETED(every=2))
accuracy: float = model.evaluate(list(batches()))["test/accuracy"]
optimizer = model.configure_optimizers()
create_supervised_trainer(model.net, optimizer, nn.functional.mse_loss, gradient_accumulation_steps=2).run(None, epoch_length=1)
create_supervised_evaluator(model.net).run([(torch.ones(1, 4), torch.ones(1, 2))])
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Runs mypy over a program; torch is read once for all tests."""
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n")

    def run(program):
        (folder / "program.py").write_text(program)
        options = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(folder / "cache")]
        command = [sys.executable, "-m", "mypy", *options, str(folder / "program.py")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def test_mypy_strict_accepts_a_users_program(check):
    run = check(PROGRAM)
    assert run.returncode == 0, run.stdout


def test_mypy_sees_mistakes(check):
    run = check(PROGRAM + '\ntrainer.run([1], max_epochs="three")\nEvents.STARTED(every="two")\nmodel.fit(batches, epochs=3)\n')
    assert run.stdout.count("[arg-type]") == 3
    assert 'Argument "epochs" to "fit" of "TrainModule" has incompatible type "int"; expected "Never"' in run.stdout
