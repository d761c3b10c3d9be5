"""The data: scikit-learn's 1,797 handwritten digits of 8x8 pixels."""

import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def load(batch_size: int = 64, noise: int = 32, draw: int = 100) -> dict[str, DataLoader]:
    """Returns batches of images (batch, 64), with pixels from 0 to 1: 1,437 to train, 360 val; and noise to draw from."""
    images = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    return {
        "train": DataLoader(TensorDataset(images[:1437]), batch_size, shuffle=True, drop_last=True),
        "val": DataLoader(TensorDataset(images[1437:]), 360),
        "predict": DataLoader(torch.randn(draw, noise, generator=torch.Generator().manual_seed(0)), 100),
    }


def show(file: str, count: int = 8) -> None:
    """Prints images that `predict` has drawn, side by side, from blank for paper to @ for ink."""
    images = load_file(file)["prediction"][:count].reshape(-1, 8, 8)
    for rows in images.transpose(0, 1):
        print("  ".join("".join(" .:-=+*#%@"[int(pixel * 9.99)] for pixel in row) for row in rows.tolist()))
