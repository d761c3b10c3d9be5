"""The model and how it trains: a GAN, which is two networks, each with an optimizer and a loss of its own."""

import torch
from torch import nn
from torch.nn import functional as F

from framework import TrainModule


class GAN(TrainModule):
    def __init__(self, pixels: int = 64, noise: int = 32, width: int = 128, lr: float = 1e-3) -> None:
        super().__init__()
        self.noise, self.lr = noise, lr
        self.generator = nn.Sequential(
            *(nn.Linear(noise, width), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Linear(width, pixels), nn.Sigmoid()),
        )
        self.critic = nn.Sequential(
            *(nn.Linear(pixels, width), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
            *(nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
            nn.Linear(width, 1),
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Returns drawn images, (batch, pixels). noise: (batch, noise)."""
        return self.generator(noise)

    def training_step(self, batch):
        (real,) = batch
        drawn = self(torch.randn(len(real), self.noise, device=self.device))
        yield "critic", F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(drawn.detach())).mean()
        yield "generator", F.softplus(-self.critic(drawn)).mean()  # by the critic as the step above has left it

    def evaluation_step(self, batch):
        """Measures how far drawn images are from real ones: the energy distance, 0 where they are spread alike."""
        (real,) = batch
        drawn = self(torch.randn(len(real), self.noise, device=self.device))
        between, within = torch.cdist(real, drawn).mean(), [torch.cdist(images, images).mean() for images in (real, drawn)]
        return {"distance": 2 * between - sum(within)}

    def configure_optimizers(self):
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), lr=self.lr, betas=(0.5, 0.999)),
            "generator": torch.optim.Adam(self.generator.parameters(), lr=self.lr, betas=(0.5, 0.999)),
        }
