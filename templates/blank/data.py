"""The data: here scikit-learn's 1,797 digits of 8x8 pixels. Put your own in its place."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def load(batch_size: int = 64) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Returns batches of x (batch, 64), with values from 0 to 1, and y (batch,): 1,197 to train, 300 val, 300 test."""
    x, y = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    train, val, test = random_split(dataset, [1197, 300, 300], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, 300), DataLoader(test, 300)
