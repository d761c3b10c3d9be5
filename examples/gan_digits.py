"""Trains a GAN on scikit-learn's handwritten digits: two optimizers, each with a loss of its own that `training_step` yields.

`python examples/gan_digits.py [--accelerator amp]`. It checks its own result by the nearest real digit of each image it draws: that
has to be about as near as it is for real digits kept aside, and all ten digits have to be among those found.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from framework import TrainModule, seed_all

NOISE = 32
SHADES = " .:-=+*#%@"


class DigitsGAN(TrainModule):
    def __init__(self, width: int = 192, lr: float = 1e-3) -> None:
        super().__init__()
        self.lr = lr
        self.generator = nn.Sequential(
            nn.Linear(NOISE, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 64),
            nn.Sigmoid(),
        )
        self.critic = nn.Sequential(
            nn.Linear(64, width),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(width, 1),
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.generator(noise)

    def training_step(self, batch):
        (real,) = batch
        drawn = self(torch.randn(len(real), NOISE, device=self.device))
        loss = F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(drawn.detach())).mean()
        yield "critic", loss  # a backward pass for the critic's parameters only, and a step of its optimizer
        yield "generator", F.softplus(-self.critic(drawn)).mean()  # computed with the critic as that step has left it

    def configure_optimizers(self):
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), lr=self.lr, betas=(0.5, 0.999)),
            "generator": torch.optim.Adam(self.generator.parameters(), lr=self.lr, betas=(0.5, 0.999)),
        }


def as_text(images: torch.Tensor) -> str:
    """Returns a row of images (count, 64) drawn with characters."""
    shades = (images * (len(SHADES) - 1)).round().int().reshape(-1, 8, 8)
    return "\n".join("  ".join("".join(SHADES[shade] for shade in image[row]) for image in shades) for row in range(8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(arguments.seed)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    known, aside = images[:1437], images[1437:]
    model = DigitsGAN()
    batches = DataLoader(TensorDataset(known), 64, shuffle=True, drop_last=True)
    model.fit(batches, max_epochs=arguments.epochs, accelerator=arguments.accelerator)

    drawn = model.predict([torch.randn(1000, NOISE)])
    print(as_text(drawn[:10]))
    nearest = torch.cdist(drawn, known).min(dim=1)
    ratio = (nearest.values.median() / torch.cdist(aside, known).min(dim=1).values.median()).item()
    shares = torch.bincount(torch.tensor(digits.target)[nearest.indices], minlength=10) / len(drawn)
    print(f"distance to the nearest real digit: {ratio:.2f} times that of real digits kept aside")
    print("share of each digit:", ", ".join(f"{digit}: {share:.0%}" for digit, share in enumerate(shares)))
    assert ratio <= 1.35, f"expected at most 1.35 times the distance of real digits, got {ratio:.2f}"
    assert shares.min() >= 0.02, f"expected each digit in at least 2 % of the images, got {shares.min():.1%}"


if __name__ == "__main__":
    main()
