"""Trains a small GPT, character by character, on the texts of Python's own help: `python examples/gpt.py [--accelerator amp]`.

The texts are `pydoc_data.topics` of the standard library, 465,000 characters on 79 topics; every tenth topic is held out. A text is
cut into chunks, the last of which is short. So batches hold unlike numbers of characters, and the loss is given as a sum over a
count: the mean is over characters, also where several batches make one step. It has to come well below that of guessing.
"""

import argparse
from math import log
from pydoc_data.topics import topics

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from framework import Schedule, TrainModule, seed_all

TEXTS = [topics[name] for name in sorted(topics)]
CHARACTERS = sorted(set("".join(TEXTS)))
NUMBERS = {character: number for number, character in enumerate(CHARACTERS)}
NOTHING = -1  # what follows the end of a text


class Block(nn.Module):
    """Attention to what came before, then a layer for each character. x: (batch, length, width); returns the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.attend(self.norms[0](x)).unflatten(2, (3, self.heads, -1))  # (batch, length, 3, head, width of a head)
        query, key, value = parts.transpose(1, 3).unbind(2)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.join(seen.transpose(1, 2).flatten(2))
        return x + self.think(self.norms[1](x))


class GPT(TrainModule):
    def __init__(self, width: int = 64, depth: int = 2, heads: int = 4, length: int = 64, lr: float = 8e-3) -> None:
        super().__init__()
        self.length, self.lr = length, lr
        self.character, self.place = nn.Embedding(len(CHARACTERS), width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.guess = nn.Linear(width, len(CHARACTERS))
        for embedding in (self.character, self.place):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns for each of x: (batch, length) how likely each character is to follow: (batch, length, characters), logits."""
        return self.guess(self.blocks(self.character(x) + self.place.weight[: x.shape[1]]))

    def training_step(self, batch):
        x, following = batch
        loss = F.cross_entropy(self(x).flatten(0, 1), following.flatten(), ignore_index=NOTHING, reduction="sum")
        return {"loss": loss, "n": (following != NOTHING).sum().item()}  # a sum over n: with `accumulate`, all sums by all n

    def evaluation_step(self, batch):
        return self.training_step(batch)

    def prediction_step(self, text):  # what `predict` runs: goes on with text: (batch, length)
        while text.shape[1] < 200:
            following = self(text[:, -self.length :])[:, -1].div(0.7).softmax(dim=1)
            text = torch.cat([text, torch.multinomial(following, 1)], dim=1)
        return text

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, betas=(0.9, 0.99))

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizers["main"], self.lr, total_steps), every="step")


def encode(text: str) -> torch.Tensor:
    return torch.tensor([NUMBERS[character] for character in text])


def chunks(texts: list[str], length: int) -> TensorDataset:
    """Returns the texts in chunks (x, following), each (length,): the characters, and for each of them the one that follows."""
    known, following = [], []
    for text in map(encode, texts):
        for start in range(0, len(text) - 1, length):
            x, y = text[start : start + length + 1][:-1], text[start + 1 : start + length + 1]
            known.append(F.pad(x, (0, length - len(x))))
            following.append(F.pad(y, (0, length - len(y)), value=NOTHING))
    return TensorDataset(torch.stack(known), torch.stack(following))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains little from more
    seed_all(0)
    model = GPT()
    train = chunks([text for number, text in enumerate(TEXTS) if number % 10], model.length)
    val = chunks(TEXTS[::10], model.length)
    print(f"{len(train)} chunks to train on, {len(val)} held out, of {model.length} characters at most")
    result = model.fit(
        DataLoader(train, 8, shuffle=True),
        DataLoader(val, 64),
        max_iters=2 * arguments.steps,
        epoch_length=250,  # batches; by default one pass over the data
        limit_val_batches=10,
        accumulate=2,  # two batches of 8 make one step, as one of 16 would
        clip_norm=1.0,
        accelerator=arguments.accelerator,
    )
    print(f"{result.status}: {result.reason}")

    prompts = encode("The class ").repeat(3, 1)
    for written in model.predict([prompts]):
        print("".join(CHARACTERS[number] for number in written), end="\n---\n")
    loss, guessing = result.metrics["val/loss"], log(len(CHARACTERS))
    print(f"loss on held-out texts: {loss:.2f} a character; guessing costs {guessing:.2f}")
    if loss > guessing / 2:
        raise SystemExit(f"expected a loss of at most half that of guessing, {guessing / 2:.2f}, got {loss:.2f}")


if __name__ == "__main__":
    main()
