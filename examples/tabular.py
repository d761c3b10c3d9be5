"""Tells benign from malignant tumours by 30 measurements, a table of 569 rows: `python examples/tabular.py [--accelerator amp]`.

An MLP with dropout learns from 341 rows of scikit-learn's breast cancer data. EarlyStopping ends the run when the loss on 114 other
rows no longer falls, the weights of the best evaluation are taken from the run's checkpoint, and these have to be right on at least
94 % of the 114 rows that neither has seen.
"""

import argparse
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from framework import EarlyStopping, TrainModule, seed_all


class Table(TrainModule):
    """A classifier of rows. Its buffers `mean` and `scale` standardise them, so that they are saved with the weights."""

    def __init__(self, columns: int = 30, width: int = 32, dropout: float = 0.3, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.net = nn.Sequential(
            *(nn.Linear(columns, width), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(width, 1),
        )

    def standardise(self, rows: torch.Tensor) -> None:
        """Takes mean and scale of the columns from rows: (n, columns), those to train on."""
        self.mean.copy_(rows.mean(dim=0))
        self.scale.copy_(rows.std(dim=0))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the log-odds, (n,), that a tumour is benign."""
        return self.net((rows - self.mean) / self.scale).squeeze(1)

    def training_step(self, batch):
        rows, benign = batch
        return F.binary_cross_entropy_with_logits(self(rows), benign)

    def evaluation_step(self, batch):
        rows, benign = batch
        odds = self(rows)
        probability = odds.sigmoid()
        return {
            "loss": F.binary_cross_entropy_with_logits(odds, benign),
            "accuracy": (probability, benign.int()),
            "auroc": (probability, benign.int()),
        }

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.01)

    def configure_metrics(self):
        return {"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC()}


def load() -> tuple[Subset, Subset, Subset]:
    """Returns 341 rows to train on, 114 to stop by and 114 held out, each with 1.0 for benign and 0.0 for malignant."""
    rows, benign = load_breast_cancer(return_X_y=True)
    dataset = TensorDataset(torch.tensor(rows, dtype=torch.float32), torch.tensor(benign, dtype=torch.float32))
    return random_split(dataset, [341, 114, 114], generator=torch.Generator().manual_seed(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=200, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(arguments.seed)
    train, val, test = load()
    model = Table()
    model.standardise(train[:][0])  # all of its rows
    with TemporaryDirectory() as run_dir:  # name a folder that lasts to keep the run
        result = model.fit(
            DataLoader(train, 32, shuffle=True),
            DataLoader(val, 114),
            max_epochs=arguments.epochs,
            accelerator=arguments.accelerator,
            handlers=[EarlyStopping("val/loss", patience=10)],
            run_dir=run_dir,
            monitor="val/loss",  # an evaluation that improves it writes a checkpoint
            progress=False,
        )
        print(f"{result.status} after {len(result.history)} epochs: {result.reason}")
        best = Table.load(run_dir)

    for row in result.history[::10]:
        print(f"epoch {row['epoch']:3}  train/loss {row['train/loss']:.4f}  val/loss {row['val/loss']:.4f}")
    test_data = DataLoader(test, 114)
    last, metrics = model.evaluate(test_data), best.evaluate(test_data)
    print(f"loss on unseen rows: {metrics['test/loss']:.4f} with the best weights, {last['test/loss']:.4f} with the last ones")
    print(f"on unseen rows: accuracy {metrics['test/accuracy']:.1%}, area under the ROC curve {metrics['test/auroc']:.3f}")
    if result.status != "stopped":
        raise SystemExit(f"expected early stopping to end the run, but {result.reason}")
    if metrics["test/accuracy"] < 0.94:
        raise SystemExit(f"expected at least 94 % of the unseen rows to be told right, got {metrics['test/accuracy']:.1%}")


if __name__ == "__main__":
    main()
