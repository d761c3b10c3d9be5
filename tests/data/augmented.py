"""Data with random numbers of three libraries in it, and what compares passes. A file of its own: spawned workers import it."""

import random
import threading

import numpy
import torch
from torch.utils.data import Dataset, IterableDataset

from framework.seeding import random_state


class Augmented(Dataset):
    """Samples that say their index, with numbers of torch, numpy and Python beside it."""

    def __init__(self, n=23):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        drawn = float(torch.rand(())), float(numpy.random.normal()), random.random(), random.gauss(0.0, 1.0)
        return torch.tensor([float(index), *drawn], dtype=torch.float64)


class AtOnce(Augmented):
    """Gets the samples of a batch together."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Stream(IterableDataset):
    """Batches or samples that can only be read from the start."""

    def __init__(self, n=9):
        self.n = n

    def __iter__(self):
        return (torch.rand(2) + index for index in range(self.n))


class Bad(Dataset):
    """A dataset with one bad sample."""

    def __init__(self, error, n=100, bad=77):
        self.error, self.n, self.bad = error, n, bad

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index == self.bad:
            raise self.error
        return index


class Stuck(Dataset):
    """A dataset in which the samples from the fifth on never come. `entered` is a semaphore that counts the workers that wait."""

    def __init__(self, entered):
        self.entered = entered

    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index >= 4:
            self.wait_for_ever()
        return index

    def wait_for_ever(self):
        self.entered.release()
        threading.Event().wait()


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def indices(batches):
    return [int(index) for batch in batches for index in batch[:, 0]]


def same(one, other):
    """Tells whether two states of the random streams are the same."""
    return (
        str(one["python"]) == str(other["python"]) and one["numpy"] == other["numpy"] and torch.equal(one["torch"], other["torch"])
    )


def states():
    return random_state()


def scramble():
    """Puts the global streams somewhere else, with a normal number in store in each."""
    random.seed(torch.seed())
    numpy.random.seed(random.randrange(2**32))
    random.gauss(0.0, 1.0)
    numpy.random.normal()
