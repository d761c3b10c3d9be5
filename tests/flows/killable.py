"""A program that trains, for tests that kill it, send it signals or let it hang: `python killable.py PLAN`, the plan in JSON.

It says on its output where it is, a line each, and may do something at one of these places, such as wait for a byte on its input.
"""

import json
import os
import random
import select
import signal
import sys
import threading
from collections import Counter

import numpy
import torch
from processes import FILE_CALLS
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torchmetrics.classification import MulticlassAccuracy

import framework.checkpoint.files as files
from framework import Events, Schedule, TrainModule, on, seed_all
from framework.handlers import EMA, EarlyStopping

TRAIN, VAL, SEED = 120, 60, 5
DIGITS = load_digits()


def say(text):
    os.write(1, f"{text}\n".encode())


def wait():
    """Until the parent says so; signals are handled meanwhile.

    Each also writes a byte that ends the wait: one that comes just before the system's wait begins would else be handled after it.
    """
    if threading.current_thread() is not threading.main_thread():  # which handles no signals
        say("waits")
        os.read(0, 1)
        return
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    before = signal.set_wakeup_fd(wakes)
    try:
        say("waits")
        while 0 not in select.select([0, woken], [], [])[0]:
            os.read(woken, 1)
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wakes)
    os.read(0, 1)


def wait_for_ever():
    """In a worker."""
    say("waits")
    hang()


def hang():
    threading.Event().wait()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def pause():
    """Not as long as the watchdog of the tests allows."""
    threading.Event().wait(1.5)


def dawdle():
    """Longer than that."""
    threading.Event().wait(4.0)


class Places:
    """Says each place as it is passed, with a number, and does there what the plan says: {"step": [3, 4, "pause"]}."""

    def __init__(self, plan):
        self._plan = plan
        self._passed = Counter()

    def __call__(self, name):
        self._passed[name] += 1
        say(f"{name} {self._passed[name]}")
        *numbers, action = self._plan.get(name, ("",))
        if self._passed[name] in numbers:
            globals()[action]()

    def watch_files(self):
        """Makes each call of a save to the system a place, and the start of a thread; also as, say, "write of save 2"."""
        for name in FILE_CALLS:
            setattr(files, name, self._told(name, getattr(files, name)))
        start = threading.Thread.start
        threading.Thread.start = lambda thread: (start(thread), self("thread"), self(self._of_save("thread")))[0]

    def _of_save(self, name):
        return f"{name} of save {self._passed['make_folder']}"  # what a save begins with

    def _told(self, name, call):
        def told(*arguments):
            self("file")
            self(name)
            self(self._of_save(name))
            return call(*arguments)

        return told


class Digits(Dataset):
    """Digits of 8 x 8 pixels, shifted, dimmed and noisy at random, by the random numbers of three libraries.

    Args:
        first, last: which of them.
        place: told of each sample that the main process makes.
        in_worker: what a worker does before a sample, by its index.
    """

    def __init__(self, first, last, place, in_worker=None):
        self.images = torch.tensor(DIGITS.images[first:last], dtype=torch.float32)[:, None] / 16
        self.labels = torch.tensor(DIGITS.target[first:last])
        self.place = place
        self.in_worker = in_worker or {}

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if get_worker_info() is None:
            self.place("sample")
        elif str(index) in self.in_worker:
            globals()[self.in_worker[str(index)]]()
        image = self.images[index].roll(int(numpy.random.randint(-1, 2)), 2) + 0.1 * torch.randn(1, 8, 8)
        return image * random.uniform(0.8, 1.2), self.labels[index]


class Net(TrainModule):
    def __init__(self, place=None):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10))
        )
        self.seen = MulticlassAccuracy(num_classes=10, average="micro")  # of the epoch; its sums are part of the state
        self.place = place

    def training_step(self, batch, engine):
        x, y = batch
        self.place("step")
        y_pred = self.net(x)
        self.seen.update(y_pred, y)
        overflow = 1e4 if engine.state.iteration in (2, 13) else 1.0  # in float16: the scaler has to skip the step
        return F.cross_entropy(y_pred, y) * overflow

    def evaluation_step(self, batch):
        x, y = batch
        self.place("evaluation")
        y_pred = self.net(x)
        return {"loss": F.cross_entropy(y_pred, y) + 0.01 * torch.rand(()), "accuracy": (y_pred, y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)

    def configure_schedulers(self, optimizers):
        lr = torch.optim.lr_scheduler
        plateau = lr.ReduceLROnPlateau(optimizers["main"], patience=0, factor=0.7, threshold=0.5)
        return {
            "steps": Schedule(lr.ExponentialLR(optimizers["main"], 0.97), every="step"),
            "plateau": Schedule(plateau, monitor="val/loss"),
        }

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}

    def on_epoch_completed(self):
        self.log("seen", self.seen.compute())
        self.seen.reset()

    @on(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.TERMINATE, Events.INTERRUPT, Events.COMPLETED, Events.EXCEPTION_RAISED)
    def tell(self, engine):
        self.place(engine.last_event_name.name)

    def on_closed(self):
        self.place("CLOSED")


def train(plan):
    """Trains as the plan says, writes what came out, and returns the result of `fit`."""
    place = Places(plan.get("at", {}))
    seed_all(plan.get("seed", SEED))
    module, ema = Net(place), EMA(decay=0.8)
    workers = plan.get("workers", 0)
    train_data = Digits(0, TRAIN, place, plan.get("in_worker"))
    val_data = Digits(TRAIN, TRAIN + VAL, lambda name: None, plan.get("in_val_worker"))
    train_loader = DataLoader(train_data, batch_size=16, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    val_loader = DataLoader(val_data, batch_size=20, num_workers=min(workers, 1), persistent_workers=workers > 0)
    handlers = [ema, EarlyStopping("val/loss", patience=5, min_delta=9.0)]  # five evaluations after the first
    settings = {"max_epochs": 3, "accumulate": 3, "clip_norm": 1.0, "log_every": 3, "progress": False}
    if "run_dir" in plan:
        settings.update(run_dir=plan["run_dir"], monitor="val/loss", save_every=Events.ITERATION_COMPLETED(every=2))
    settings.update(plan.get("settings", {}))
    place.watch_files()
    place("ready")
    result = module.fit(
        train_loader,
        val_loader,
        accelerator="cpu",
        precision="fp16",
        seed=SEED,
        validate_every=Events.ITERATION_COMPLETED(every=5) | Events.EPOCH_COMPLETED,
        handlers=handlers,
        **settings,
    )
    if "outcome" in plan:
        write_outcome(plan["outcome"], module, ema, result)
    return result


def write_outcome(path, module, ema, result):
    """Writes all that a run gives its caller, but the times."""
    torch.save(
        {
            "weights": module.state_dict(),
            "averages": ema.state_dict(),
            "status": result.status,
            "reason": result.reason,
            "metrics": result.metrics,
            "history": [{name: value for name, value in row.items() if name != "time_s"} for row in result.history],
            "series": {name: [tuple(point[:3]) for point in points] for name, points in result.series.items()},
        },
        path,
    )


def main(plan):
    """Runs the program, with the signals of a usual one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(plan.get("environment", {}))
    torch.set_num_threads(1)
    result = train(plan)
    say(f"{result.status}: {result.reason}")
    if plan.get("leave_at_once"):  # to take an interpreter apart takes longer than the run
        os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
