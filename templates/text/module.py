"""The model and how it trains: a small GPT that reads and writes character by character."""

import torch
from data import decode
from torch import nn
from torch.nn import functional as F

from framework import TrainModule, warmup_schedule


class GPT(TrainModule):
    def __init__(self, width: int = 64, depth: int = 2, heads: int = 4, length: int = 64, lr: float = 8e-3) -> None:
        super().__init__()
        self.length, self.lr = length, lr
        self.character, self.place = nn.Embedding(128, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.guess = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 128))
        for embedding in (self.character, self.place):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Returns scores of what follows each character, (batch, length, 128). text: (batch, length), ASCII codes."""
        x = self.character(text) + self.place.weight[: text.shape[1]]
        future = nn.Transformer.generate_square_subsequent_mask(text.shape[1], device=x.device)  # is not to be seen
        for block in self.blocks:
            x = block(x, src_mask=future, is_causal=True)
        return self.guess(x)

    def training_step(self, batch):
        text, following = batch
        return F.cross_entropy(self(text).flatten(0, 1), following.flatten())

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}  # numbers by name are averaged

    def prediction_step(self, text):
        while text.shape[1] < 200:  # goes on with the text, a character at a time
            scores = self(text[:, -self.length :])[:, -1]
            text = torch.cat([text, torch.multinomial((scores / 0.7).softmax(dim=1), 1)], dim=1)
        return [decode(codes) for codes in text]  # a list has an entry for each sample

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, betas=(0.9, 0.99))

    def configure_schedulers(self, optimizers, total_steps):
        return warmup_schedule(optimizers["main"], total_steps)  # up for a tenth of the run, then down by a cosine
