"""Trains a diffusion model to draw the digit it is asked for: `python examples/diffusion_digits.py [--accelerator amp]`.

It learns from 1,437 of scikit-learn's real handwritten digits, then draws 20 of each. A classifier that learned from the same
images reads the drawings, and must find the digit asked for in at least 90 % of them. This measures that the drawings can be read
and are what was asked for; not that they are as varied as real digits, nor that they differ from those learned from. The other 360
real digits are held out: "val/loss" is the model's loss on them, and they tell how far the classifier can be trusted.
"""

import argparse
from math import cos, pi, sin

import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

from framework import Schedule, TrainModule, seed_all


class Block(nn.Module):
    """Two layers beside a straight way through. x and told, what it has to know: (batch, width); returns the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        return x + self.layers(self.norm(x) + told)


class Diffusion(TrainModule):
    """A quarter turn leads from an image to noise: x = cos(angle) * image + sin(angle) * noise, with angle from 0 to pi / 2.

    The network sees x, angle and digit, and predicts the velocity dx / d angle = cos(angle) * noise - sin(angle) * image. With it
    the way can be gone back, from noise to a new image.

    See: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models" (2022), appendix D.
    """

    def __init__(self, width: int = 256, depth: int = 2, lr: float = 4e-3, drawing_steps: int = 50) -> None:
        super().__init__()
        self.lr = lr
        self.drawing_steps = drawing_steps
        self.first = nn.Linear(64, width)
        self.tell_angle = nn.Linear(16, width)
        self.tell_digit = nn.Embedding(10, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.last = nn.Linear(width, 64)

    def forward(self, x: torch.Tensor, angle: torch.Tensor, digit: torch.Tensor) -> torch.Tensor:
        """Returns the velocity, (batch, 64), at x: (batch, 64) and angle: (batch, 1), for digit: (batch,)."""
        waves = angle * torch.arange(1, 9, device=angle.device)
        told = self.tell_angle(torch.cat([waves.sin(), waves.cos()], dim=1)) + self.tell_digit(digit)
        x = self.first(x)
        for block in self.blocks:
            x = block(x, told)
        return self.last(x)

    def training_step(self, batch):
        image, digit = batch
        noise = torch.randn_like(image)
        angle = torch.rand(len(image), 1, device=image.device) * pi / 2
        x = angle.cos() * image + angle.sin() * noise
        return F.mse_loss(self(x, angle, digit), angle.cos() * noise - angle.sin() * image)

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}

    def prediction_step(self, digit):  # what `predict` runs: digits in, drawings out
        turn = pi / 2 / self.drawing_steps
        x = torch.randn(len(digit), 64, device=digit.device)  # at pi / 2 all is noise
        for step in range(self.drawing_steps, 0, -1):
            angle = x.new_full((len(x), 1), step * turn)
            x = cos(turn) * x - sin(turn) * self(x, angle, digit)  # DDIM: turn back a little
        return x.clamp(-1, 1)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizers["main"], self.lr, total_steps), every="step")


def load() -> tuple[Subset, Subset]:
    """Returns the 1,797 images of 8x8 pixels from -1 to 1, and their digits: 1,437 to train on, 360 held out."""
    images, digits = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(digits))
    return random_split(dataset, [1437, 360], generator=torch.Generator().manual_seed(0))


def show(images: torch.Tensor) -> None:
    """Prints images side by side, in ten shades. images: (n, 64), from -1 for paper to 1 for ink."""
    shades = ((images + 1) * 4.99).int().reshape(-1, 8, 8)
    for row in shades.transpose(0, 1).tolist():
        print("  ".join("".join(2 * " .:-=+*#%@"[shade] for shade in pixels) for pixels in row).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    train, held_out = load()
    model = Diffusion()
    result = model.fit(
        DataLoader(train, 128, shuffle=True),
        DataLoader(held_out, 360),
        max_epochs=arguments.epochs,
        epoch_length=100,  # batches; a pass over the data has only 12
        accelerator=arguments.accelerator,
    )
    print(f"{result.status}: {result.reason}")

    asked = torch.arange(10).repeat(20)
    drawings = model.predict([asked])  # all in one batch
    show(drawings[:5])
    print()
    show(drawings[5:10])

    classifier = SVC().fit(*train[:])  # all of it, as one batch
    print(f"the classifier is right on {classifier.score(*held_out[:]):.1%} of the held-out real digits")
    agreement = classifier.score(drawings, asked)
    print(f"it finds the digit asked for in {agreement:.1%} of the {len(asked)} drawings")
    if agreement < 0.9:
        raise SystemExit(f"expected at least 90 % of the drawings to be read as the digit asked for, got {agreement:.1%}")


if __name__ == "__main__":
    main()
