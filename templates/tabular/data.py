"""The data: 569 tumours by 30 measurements, and whether each is benign, from scikit-learn."""

import torch
from sklearn.datasets import load_breast_cancer
from torch.utils.data import DataLoader, TensorDataset, random_split


def load(batch_size: int = 32) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Returns batches of rows (batch, 30) and answers (batch,), 1.0 for yes and 0.0 for no: 341 to train, 114 val, 114 test."""
    rows, answers = load_breast_cancer(return_X_y=True)
    table = TensorDataset(torch.tensor(rows, dtype=torch.float32), torch.tensor(answers, dtype=torch.float32))
    train, val, test = random_split(table, [341, 114, 114], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size, shuffle=True, drop_last=True), DataLoader(val, 114), DataLoader(test, 114)
