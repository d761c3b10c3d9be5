"""The engine without a TrainModule: a model, an optimizer and a loss function of one's own. `python examples/engine_only.py`.

An `Engine` calls a function for each batch of some data and fires events on the way; that is all it knows. Here one measures the
mean and spread of scikit-learn's handwritten digits, one trains a plain torch model, and one evaluates it every fifth epoch. It has
to read at least 96 % of the held-out digits. `framework.engine` has the interface of `ignite.engine`.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from framework import Engine, Events, create_supervised_evaluator, create_supervised_trainer, seed_all


def load() -> tuple[DataLoader, DataLoader]:
    """Returns the 1,797 images of 8x8 pixels in batches: 1,437 to train on, 360 held out."""
    digits = load_digits()
    dataset = TensorDataset(torch.tensor(digits.images, dtype=torch.float32), torch.tensor(digits.target))
    train, held_out = random_split(dataset, [1437, 360], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, 64, shuffle=True), DataLoader(held_out, 120)


def measure(data: DataLoader) -> tuple[float, float]:
    """Returns mean and standard deviation of all pixels, by an engine whose function is a few lines of one's own."""

    def add_up(engine: Engine, batch: list[torch.Tensor]) -> int:
        images, _ = batch
        engine.state.sums += torch.stack([torch.tensor(images.numel()), images.sum(), images.square().sum()])
        return len(images)  # is engine.state.output until the next batch

    engine = Engine(add_up)

    @engine.on(Events.STARTED)
    def begin(engine):
        engine.state.sums = torch.zeros(3, dtype=torch.float64)  # state takes any attribute

    @engine.on(Events.COMPLETED)
    def conclude(engine):
        count, total, squares = engine.state.sums
        engine.state.mean, engine.state.spread = (total / count).item(), (squares / count - (total / count) ** 2).sqrt().item()

    state = engine.run(data)
    return state.mean, state.spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--amp-mode", default=None, choices=["amp"], help="for mixed precision")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    train, held_out = load()
    mean, spread = measure(train)
    print(f"pixels: mean {mean:.2f}, standard deviation {spread:.2f}")

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)).to(arguments.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=30 * len(train))

    def prepare(batch, device, non_blocking):  # from what the data gives to (x, y), on the device
        images, labels = batch
        return ((images - mean) / spread).to(device, non_blocking=non_blocking), labels.to(device, non_blocking=non_blocking)

    settings = {"device": arguments.device, "prepare_batch": prepare, "amp_mode": arguments.amp_mode}
    trainer = create_supervised_trainer(model, optimizer, nn.functional.cross_entropy, **settings)
    metrics = {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}  # or one of Ignite's, or your own
    evaluator = create_supervised_evaluator(model, metrics, **settings)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())  # a handler may leave the engine out

    @trainer.on(Events.EPOCH_COMPLETED(every=5))
    def evaluate(engine):
        accuracy = evaluator.run(held_out).metrics["accuracy"]
        print(f"epoch {engine.state.epoch}: loss of the last batch {engine.state.output:.4f}, accuracy {accuracy:.1%}")
        if accuracy > 0.99:
            engine.terminate(reason="The accuracy is above 99 %.")

    state = trainer.run(train, max_epochs=30)
    accuracy = evaluator.state.metrics["accuracy"]
    print(f"{state.iteration} iterations in {state.epoch} epochs, {state.times['COMPLETED']:.1f} s")
    print(f"accuracy on held-out digits: {accuracy:.1%}")
    if accuracy < 0.96:
        raise SystemExit(f"expected at least 96 % of the held-out digits to be read, got {accuracy:.1%}")


if __name__ == "__main__":
    main()
