"""Events of your own, fired from a training step, with hooks and filters on them: `python examples/custom_events.py`.

A small network learns scikit-learn's handwritten digits. Its step fires MISREAD for each batch with a digit that it reads wrongly,
and a hook fires GRADUATED once nearly all held-out digits are read. Two handler objects and the module itself listen, and at the
end their counts are compared.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from framework import EventEnum, Events, TrainModule, on, seed_all


class Lesson(EventEnum):
    MISREAD = "misread", "digits"  # a hook for it is called on_misread; it may take the digits
    GRADUATED = "graduated"


class Pupil(TrainModule):
    events = (Lesson,)  # makes them known to the engine, and hooks on them known to the check for misspelt ones

    def __init__(self, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
        self.misread_batches = self.misread_digits = 0

    def training_step(self, batch, engine):  # a step may ask for the engine
        x, y = batch
        y_pred = self.net(x)
        wrong = y[y_pred.argmax(dim=1) != y]
        if len(wrong):
            self.misread_batches += 1
            self.misread_digits += len(wrong)
            engine.fire_event(Lesson.MISREAD, wrong)
        return F.cross_entropy(y_pred, y)

    def evaluation_step(self, batch):
        x, y = batch
        return self.net(x), y

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}

    def on_misread(self, digits):  # a hook on an event of one's own, as any other
        self.log("misread", len(digits), n=1)

    def on_epoch_completed(self, engine):
        if engine.state.metrics["val/accuracy"] > 0.96:
            engine.fire_event(Lesson.GRADUATED)

    def on_graduated(self, engine):
        engine.terminate(reason=f"Graduated in epoch {engine.state.epoch}.")


class Notebook:
    """A handler object: any object whose methods are hooks. It notes how often each digit was misread, and when."""

    events = (Lesson,)  # an object with hooks on them names them as well

    def __init__(self) -> None:
        self.misread = torch.zeros(10, dtype=torch.int64)
        self.pages: list[int] = []
        self.graduated_in: int | None = None

    def on_misread(self, digits):
        self.misread += digits.cpu().bincount(minlength=10)

    @on(Events.EPOCH_COMPLETED(every=3) | Events.COMPLETED)  # a filter, and a list of events: a method of any name
    def turn_the_page(self, engine):
        self.pages.append(engine.state.epoch)

    @on(
        Events.ITERATION_COMPLETED(event_filter=lambda engine, iteration: iteration & (iteration - 1) == 0)
    )  # a filter of one's own
    def tell(self, engine):
        print(f"iteration {engine.state.iteration}: {self.misread.sum()} misread so far")

    def on_graduated(self, engine):
        self.graduated_in = engine.state.epoch


class EveryTenth:
    """A handler object that looks at every tenth MISREAD only: a filter on an event of one's own counts its firings."""

    events = (Lesson,)

    def __init__(self) -> None:
        self.seen: list[int] = []

    @on(Lesson.MISREAD(every=10))
    def look(self, engine):
        self.seen.append(engine.state.misread_count)


def load() -> tuple[DataLoader, DataLoader]:
    """Returns the 1,797 images of 8x8 pixels in batches: 1,437 to train on, 360 held out."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16
    dataset = TensorDataset(images, torch.tensor(digits.target))
    train, held_out = random_split(dataset, [1437, 360], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, 64, shuffle=True), DataLoader(held_out, 360)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    train, held_out = load()
    pupil, notebook, every_tenth = Pupil(), Notebook(), EveryTenth()
    result = pupil.fit(train, held_out, max_epochs=30, accelerator=arguments.accelerator, handlers=[notebook, every_tenth])
    print(f"{result.status}: {result.reason}")

    print("misread:", ", ".join(f"{digit}: {count} times" for digit, count in enumerate(notebook.misread.tolist())))
    epochs, batches = result.state.epoch, pupil.misread_batches
    checks = {
        "the pupil graduates": result.status == "stopped" and notebook.graduated_in == epochs,
        "the notebook has every digit that the step has misread": notebook.misread.sum() == pupil.misread_digits,
        "every tenth event was looked at": every_tenth.seen == list(range(10, batches + 1, 10)),
        "a page is turned every third epoch and at the end": notebook.pages == [*range(3, epochs + 1, 3), epochs],
    }
    for check, held in checks.items():
        print(f"{check}: {'yes' if held else 'NO'}")
    if not all(checks.values()):
        raise SystemExit(f"expected all of these to hold, after {epochs} epochs with {batches} batches that had misread digits")


if __name__ == "__main__":
    main()
