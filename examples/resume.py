"""Kills a run in the middle of an epoch, runs the same command again, and compares the weights: `python examples/resume.py`.

The program starts itself as a child that trains in a folder, kills it with SIGKILL, which no program can catch, and starts it again
with the same command. `fit(run_dir=...)` goes on where the newest checkpoint is. Then it trains in another folder without a
disturbance. The weights, metrics and curves of both have to be the same, bit for bit, though the images are shifted at random and
the network has dropout: the random numbers go on where they were as well.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from framework import EMA, Events, Schedule, TrainModule, on, seed_all

EPOCHS, KILLED_AT = 9, 60  # iterations; an epoch has 23


class Digits(Dataset):
    """Digits of 8x8 pixels, shifted and dimmed at random."""

    def __init__(self, first: int, last: int | None = None) -> None:
        digits = load_digits()
        self.images = torch.tensor(digits.images[first:last], dtype=torch.float32).unsqueeze(1) / 16
        self.labels = torch.tensor(digits.target[first:last])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        shift = int(torch.randint(-1, 2, ()))
        return self.images[index].roll(shift, dims=2) * torch.empty(()).uniform_(0.8, 1.2), self.labels[index]


class Net(TrainModule):
    def __init__(self, width: int = 32, lr: float = 4e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * width * 16, 10)),
        )

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"accuracy": (self.net(x).argmax(dim=1) == y).float().mean()}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizers["main"], self.lr, total_steps), every="step")


class Teller:
    """Tells the parent where the run is."""

    @on(Events.STARTED | Events.ITERATION_COMPLETED)
    def tell(self, engine):
        print(engine.state.iteration, flush=True)


def train(run_dir: Path, *handlers: object) -> str:
    """Trains in the folder, or goes on with the run that is there: nothing here tells which. Returns metrics and curves."""
    torch.set_num_threads(1)  # the same number each time: it can change the last bits
    seed_all(0)
    result = Net().fit(
        DataLoader(Digits(0, 1437), 64, shuffle=True),
        DataLoader(Digits(1437), 360),
        max_epochs=EPOCHS,
        accelerator="cpu",
        accumulate=2,
        handlers=[EMA(decay=0.9), *handlers],  # the averages are saved, too
        run_dir=run_dir,
        save_every=Events.ITERATION_COMPLETED(every=25),
        log_every=5,
        progress=False,
    )
    curves = {name: [(point.iteration, point.value) for point in points] for name, points in result.series.items()}
    return f"{result.metrics} {curves}"


def start(run_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, "--run-dir", run_dir], stdout=subprocess.PIPE, text=True)  # noqa: S603


def run_to_its_end(run_dir: Path) -> list[str]:
    """Returns the lines that a child printed."""
    with start(run_dir) as child:
        lines = child.stdout.read().splitlines()
    if child.returncode != 0:
        raise SystemExit(f"expected the run in {run_dir} to end well, got exit code {child.returncode}")
    return lines


def run_and_kill(run_dir: Path) -> None:
    """Kills a child that has said that it is at iteration `KILLED_AT`."""
    with start(run_dir) as child:
        for line in child.stdout:
            if line == f"{KILLED_AT}\n":
                child.kill()  # SIGKILL
    if child.returncode != -9:
        raise SystemExit(f"expected the run to be killed at iteration {KILLED_AT}, got exit code {child.returncode}")


def compare(killed: Path, undisturbed: Path) -> None:
    """Ends with an error unless the newest checkpoints of both runs have the same weights."""
    ours, theirs = (Net.load(run_dir, which="last").state_dict() for run_dir in (killed, undisturbed))
    different = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
    print(f"{len(theirs) - len(different)} of {len(theirs)} weights and buffers are the same, bit for bit")
    if different:
        raise SystemExit(f"expected the same weights, but these differ: {', '.join(different)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", type=Path, help="train in this folder, which is what the children do")
    arguments = parser.parse_args()
    if arguments.run_dir is not None:
        print(train(arguments.run_dir, Teller()))
        return

    with TemporaryDirectory() as folder:
        killed, undisturbed = Path(folder, "killed"), Path(folder, "undisturbed")
        run_and_kill(killed)
        print(f"killed at iteration {KILLED_AT}; checkpoints: {sorted(path.name for path in killed.glob('checkpoints/step-*'))}")
        went_on, *_, end = run_to_its_end(killed)
        print(f"the same command again went on after iteration {went_on}")
        other_end = train(undisturbed)
        compare(killed, undisturbed)
    print(f"curves and metrics are {'the same' if end == other_end else 'not the same'}")
    if end != other_end:
        raise SystemExit(f"expected the same curves and metrics, got\n{end}\nand\n{other_end}")


if __name__ == "__main__":
    main()
