"""What `self.log` records, and how means are weighted, checked against means computed by hand: `python examples/logging_values.py`.

A linear model learns 300 handwritten digits in batches of 64, the last of which has only 44. Values are logged in the steps and in
hooks, with and without a weight. Then a plain loop with the same weights computes every one of them again, and all must agree.
"""

import argparse
from collections import defaultdict
from copy import deepcopy
from math import isclose

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from framework import StepError, TrainModule, seed_all

EPOCHS, LOG_EVERY = 3, 2


class Linear(TrainModule):
    def __init__(self, lr: float = 0.5) -> None:
        super().__init__()
        self.lr = lr
        self.layer = nn.Linear(64, 10)

    def training_step(self, batch):
        x, y = batch
        y_pred = self.layer(x)
        ink = x[x > 0]
        self.log("brightness", x.mean())  # weighted by the samples in the batch: the mean over an epoch is over its samples
        self.log("ink", ink.mean(), n=len(ink))  # weighted by n: a mean over all inked pixels of the epoch
        self.log("batch/size", len(x), n=1)  # each batch counts alike; a name may hold slashes
        accuracy = (y_pred.argmax(dim=1) == y).float().mean()
        return {"loss": F.cross_entropy(y_pred, y), "accuracy": accuracy}  # what is returned is weighted by the samples

    def evaluation_step(self, batch):
        x, y = batch
        self.log("brightness", x.mean())  # val/brightness under fit, test/brightness under evaluate
        return {"loss": F.cross_entropy(self.layer(x), y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def on_optimizer_step_completed(self, optimizer):
        self.log("weight_norm", self.layer.weight.norm(), n=1)  # a tensor stays on its device; nothing waits for it

    def on_evaluation_iteration_completed(self, engine):
        self.log("darkest", engine.state.batch[0].mean(dim=1).min(), n=1)  # in a hook of the evaluation

    def on_epoch_completed(self, engine):
        self.log("gap", engine.state.metrics["val/loss"] - engine.state.metrics["train/loss"])  # once an epoch: it is its own mean


Values = dict[str, list[tuple[float, float]]]
"""By name, pairs of a value and its weight."""


def means(values: Values) -> dict[str, float]:
    return {name: sum(value * n for value, n in pairs) / sum(n for _, n in pairs) for name, pairs in values.items()}


@torch.no_grad()
def evaluate_by_hand(model: Linear, batches: list, stage: str) -> dict[str, float]:
    values: Values = defaultdict(list)
    for x, y in batches:
        values[f"{stage}/brightness"].append((x.mean().item(), len(x)))
        values[f"{stage}/loss"].append((F.cross_entropy(model.layer(x), y).item(), len(x)))
        values[f"{stage}/darkest"].append((x.mean(dim=1).min().item(), 1))
    return means(values)


def train_by_hand(model: Linear, train: list, val: list) -> tuple[list[dict[str, float]], dict[int, float]]:
    """Returns the means of each epoch, and the curve of train/ink: by iteration, the mean since the point before."""
    optimizer, history, curve, iteration, since = model.configure_optimizers(), [], {}, 0, []
    for _ in range(EPOCHS):
        values: Values = defaultdict(list)
        for x, y in train:
            iteration += 1
            optimizer.zero_grad()
            y_pred = model.layer(x)
            loss = F.cross_entropy(y_pred, y)
            loss.backward()
            optimizer.step()
            ink = x[x > 0]
            values["train/loss"].append((loss.item(), len(x)))
            values["train/accuracy"].append(((y_pred.argmax(dim=1) == y).float().mean().item(), len(x)))
            values["train/brightness"].append((x.mean().item(), len(x)))
            values["train/ink"].append((ink.mean().item(), len(ink)))
            values["train/batch/size"].append((len(x), 1))
            values["train/weight_norm"].append((model.layer.weight.norm().item(), 1))
            since.append(values["train/ink"][-1])
            if iteration % LOG_EVERY == 0 or iteration % len(train) == 0:  # and at the end of an epoch
                curve[iteration] = means({"ink": since})["ink"]
                since.clear()
        row = means(values) | evaluate_by_hand(model, val, "val")
        history.append({**row, "train/gap": row["val/loss"] - row["train/loss"]})
    return history, curve


def differing(ours: dict, by_hand: dict) -> list:
    """Returns the names, or iterations, whose values are not the same in both; up to the order in which they were added up."""
    both = ours.keys() & by_hand.keys()
    return sorted(ours.keys() ^ by_hand.keys()) + [name for name in both if not isclose(ours[name], by_hand[name], rel_tol=1e-12)]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    images, digits = (torch.tensor(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16
    train = list(zip(images[:300].split(64), digits[:300].split(64), strict=True))
    val = list(zip(images[300:500].split(64), digits[300:500].split(64), strict=True))
    model = Linear()
    twin = deepcopy(model)
    result = model.fit(train, val, max_epochs=EPOCHS, log_every=LOG_EVERY, accelerator="cpu")
    history, curve = train_by_hand(twin, train, val)

    wrong = []
    for row, expected in zip(result.history, history, strict=True):
        wrong += differing({name: value for name, value in row.items() if name.startswith(("train/", "val/"))}, expected)
    for name, value in history[-1].items():
        print(f"{name:20} {result.metrics[name]:.9f}, by hand {value:.9f}")  # result.metrics holds the last of each
    points = {point.iteration: point.value for point in result.series["train/ink"]}
    print("curve of train/ink:", ", ".join(f"{value:.4f} at {iteration}" for iteration, value in points.items()))
    wrong += differing(points, curve) + differing(model.evaluate(val), evaluate_by_hand(twin, val, "test"))
    try:
        model.log("late", 1.0)
        wrong.append("log outside of a run")
    except StepError as error:
        print(error)
    if wrong:
        raise SystemExit(f"expected every mean to be as computed by hand; these are not: {', '.join(map(str, wrong))}")
    print(f"all of {len(history[-1])} means in {EPOCHS} epochs are as computed by hand")


if __name__ == "__main__":
    main()
