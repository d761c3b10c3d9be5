"""The data: here scikit-learn's digits, 64 pixels each. Put your own in its place."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def load(batch_size: int = 64) -> tuple[DataLoader, DataLoader]:
    """Returns the batches to train on, and those held out."""
    images, targets = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(targets))
    train, held_out = random_split(dataset, [0.8, 0.2], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(held_out, batch_size)
