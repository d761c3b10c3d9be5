"""Map-style loaders of every kind, and runs over them that stop and go on."""

import json
import random

import torch
from augmented import AtOnce, Augmented, scramble
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from framework.data import ordered

KINDS = {
    "shuffled": lambda n, **kept: DataLoader(Augmented(n), shuffle=True, **kept),
    "in order": lambda n, **kept: DataLoader(AtOnce(n), **kept),
    "subset": lambda n, **kept: DataLoader(Augmented(n), sampler=SubsetRandomSampler(range(0, n, 2)), **kept),
    "weighted": lambda n, **kept: DataLoader(Augmented(n), sampler=WeightedRandomSampler(torch.arange(1.0, n + 1), 2 * n), **kept),
    "replaced": lambda n, **kept: DataLoader(Augmented(n), sampler=RandomSampler(Augmented(n), replacement=True), **kept),
    "distributed": lambda n, **kept: DataLoader(Augmented(n), sampler=DistributedSampler(Augmented(n), 2, 1), **kept),
    "custom": lambda n, **kept: DataLoader(Augmented(n), sampler=Custom(n), **kept),
}


class Custom:
    """Draws from the global streams."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __iter__(self):
        return iter(random.sample(range(self.n), self.n))


def read(data, passes=2):
    return [list(data) for _ in range(passes)]


def resumed(make, saved, seed=7, **settings):
    """Returns data in a new process, so to speak, where everything has another seed."""
    scramble()
    data = ordered(make(), seed, **settings)
    data.load_position(json.loads(json.dumps(saved)))
    return data


def stopped_at(make, batches, seed=7, passes_before=0, **settings):
    data = ordered(make(), seed, **settings)
    for _ in range(passes_before):
        list(data)
    reading = iter(data)
    for _ in range(batches):
        next(reading)
    saved = data.position()
    data.close()
    return saved
