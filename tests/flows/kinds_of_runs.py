"""Runs of many kinds: each a module, its data and its settings, made anew for each process that works on the run."""

import torch

KINDS = {}


def kind(**settings):
    """Registers a function that returns the module, the data to train on and perhaps more settings."""

    def register(make):
        KINDS[make.__name__] = make, settings
        return make

    return register


def batches(n=3):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(4, 4, generator=generator), torch.rand(4, 1, generator=generator)) for _ in range(n)]
