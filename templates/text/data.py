"""The data: 465,000 characters of Python's own help, which come with the standard library. Any other text will do."""

from pydoc_data.topics import topics

import torch
from torch.utils.data import DataLoader, TensorDataset


def load(length: int = 64, batch_size: int = 16, prompt: str = "The class ") -> dict[str, DataLoader]:
    """Returns batches of text (batch, length) and the characters that follow each, by topics: 8 of 10 to train, val, test.

    Besides, for `predict`, a batch of three prompts.
    """
    texts = [topics[name] for name in sorted(topics)]
    val, test = texts[0::10], texts[5::10]
    train = [text for number, text in enumerate(texts) if number % 5]
    return {
        "train": DataLoader(pieces(train, length), batch_size, shuffle=True),
        "val": DataLoader(pieces(val, length), 64),
        "test": DataLoader(pieces(test, length), 64),
        "predict": DataLoader(encode(prompt).repeat(3, 1), 3),
    }


def pieces(texts: list[str], length: int) -> TensorDataset:
    """Returns the texts, one after the other, in pieces of `length` characters, each with the same moved on by one."""
    text = encode("\n".join(texts))
    n = (len(text) - 1) // length
    return TensorDataset(text[: n * length].reshape(n, length), text[1 : n * length + 1].reshape(n, length))


def encode(text: str) -> torch.Tensor:
    """Returns the ASCII codes of a text."""
    return torch.tensor(list(text.encode("ascii", "replace")))


def decode(codes: torch.Tensor) -> str:
    """Returns the text of ASCII codes."""
    return bytes(codes.tolist()).decode("ascii")
