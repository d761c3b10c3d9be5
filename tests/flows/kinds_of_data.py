"""Kinds of runs that differ in where their batches come from."""

from itertools import count

import torch
from faulty_runs import Net, Noisy, loader
from kinds_of_runs import batches, kind
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler


@kind(accumulate=2)
def a_short_last_window():
    return Net(), loader()


@kind(accumulate=2)
def a_window_cut_short_by_the_data():
    return Net(), lambda: iter(batches())


@kind(epoch_length=2, max_epochs=4)
def epochs_shorter_than_a_pass():
    return Net(), loader()


@kind(epoch_length=5)
def epochs_longer_than_a_pass():
    return Net(), loader()


@kind(epoch_length=4, accumulate=3)
def epochs_of_windows_over_a_list():
    return Net(), batches()


@kind()
def a_list():
    return Net(), batches()


@kind()
def a_function_that_yields():
    def make():
        yield from batches()

    return Net(), make


@kind(max_epochs=4)
def passes_of_many_lengths():
    def make():
        yield from batches(int(torch.randint(1, 5, ())))

    return Net(), make


class Endless(IterableDataset):
    def __iter__(self):
        for number in count():
            yield torch.full((4,), number % 5 / 5), torch.tensor([number % 2.0])


@kind(epoch_length=3)
def an_endless_loader():
    return Net(), DataLoader(Endless(), batch_size=4)


@kind(epoch_length=3)
def an_endless_iterator():
    return Net(), iter(DataLoader(Endless(), batch_size=4))


@kind(epoch_length=3)
def no_data():
    class Module(Net):
        def training_step(self, batch):
            return F.mse_loss(self.net(torch.randn(4, 4)), torch.ones(4, 1))

    return Module(), None


@kind(data_order="sample")
def seeds_by_sample():
    return Net(), loader()


@kind(data_order="loader")
def the_loader_as_it_is():
    return Net(), loader(generator=torch.Generator().manual_seed(3))


@kind(limit_train_batches=2, max_epochs=3)
def some_batches_of_each_pass():
    return Net(), loader()


@kind(limit_train_batches=2, max_epochs=3)
def some_batches_of_each_call():
    return Net(), lambda: iter(batches())


class Own:
    """Batches in an order of its own, which it saves."""

    def __init__(self):
        self.batches, self.at, self.number = batches(), 0, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        while self.at < len(self.batches):
            self.at += 1
            yield self.batches[(self.at + self.number) % len(self.batches)]
        self.at, self.number = 0, self.number + 1

    def state_dict(self):
        return {"at": self.at, "number": self.number}

    def load_state_dict(self, state):
        self.at, self.number = state["at"], state["number"]


@kind(max_epochs=3)
def data_with_a_state():
    return Net(), Own()


@kind(max_epochs=3, limit_train_batches=2)
def some_batches_of_data_with_a_state():
    return Net(), Own()


class OfManySizes(Sampler):
    def __iter__(self):
        left = torch.randperm(12).tolist()
        while left:
            size = int(torch.randint(2, 5, ()))
            yield left[:size] if len(left) - size > 1 else left
            left = left[size:] if len(left) - size > 1 else []


@kind(max_epochs=3)
def batches_of_many_sizes():
    return Net(), DataLoader(Noisy(), batch_sampler=OfManySizes())


@kind(max_epochs=3)
def a_sampler_with_repetitions():
    sampler = BatchSampler(RandomSampler(Noisy(), replacement=True, num_samples=10), 4, drop_last=True)
    return Net(), DataLoader(Noisy(), batch_sampler=sampler)
