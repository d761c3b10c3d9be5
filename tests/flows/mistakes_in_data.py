"""Mistakes in data: most are found before a batch is read, the rest name the data, the place in it and what to do."""

from functools import partial

import torch
from mistakes import Net, Samples, batches, mistake, watch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from framework import DataError


@mistake(DataError, "train_data is a bare Samples", "Write train_data=DataLoader(dataset, batch_size=32, shuffle=True)")
def dataset_instead_of_a_loader(run_dir):
    watch(Net()).fit(Samples(), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "val_data is a bare TensorDataset", "val_data=DataLoader(dataset, batch_size=32, shuffle=False)")
def dataset_to_validate_on(run_dir):
    watch(Net()).fit(batches(), TensorDataset(torch.ones(8, 4)), max_epochs=1, run_dir=run_dir)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


@mistake(DataError, "train_data is a bare Stream", "batch_size=None where it gives batches itself")
def stream_instead_of_a_loader(run_dir):
    watch(Net()).fit(Stream(), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data is one tuple of 2 tensors", "DataLoader(TensorDataset(*data), batch_size=32)")
def whole_data_as_a_tuple(run_dir):
    watch(Net()).fit((torch.randn(64, 4), torch.arange(64) % 2), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "got one ndarray", "[batch] is an iterable of one batch")
def array_as_data(run_dir):
    watch(Net()).fit(torch.randn(64, 4).numpy(), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data is the module Net", "module.fit(train_data, val_data)")
def module_as_data(run_dir):
    watch(Net()).fit(Net(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "got the text 'data/train'", "give a DataLoader over what lies there")
def folder_as_data(run_dir):
    watch(Net()).fit("data/train", max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data=None needs epoch_length")
def no_data(run_dir):
    watch(Net()).fit(None, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "got the class Samples", "Write Samples(...)")
def class_as_data(run_dir):
    watch(Net()).fit(Samples, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data is empty", "drop_last with a batch_size above it")
def loader_that_drops_its_only_batch(run_dir):
    watch(Net()).fit(DataLoader(Samples(), batch_size=32, drop_last=True), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data is empty: len(list) is 0")
def empty_list(run_dir):
    watch(Net()).fit([], max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data gave no batch", "this DataLoader is empty")
def stream_without_samples(run_dir):
    watch(Net()).fit(DataLoader(Stream()), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "The val data gave no batch", found="run", steps=3)
def validation_without_samples(run_dir):
    watch(Net()).fit(batches(), DataLoader(Stream()), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data is a generator, which gives its batches only once", "without the brackets")
def generator_for_several_epochs(run_dir):
    watch(Net()).fit((batch for batch in batches()), max_epochs=2, run_dir=run_dir)


@mistake(DataError, "val_data is a generator, which gives its batches only once", "a DataLoader")
def generator_to_validate_on(run_dir):
    watch(Net()).fit(batches(), (batch for batch in batches()), max_epochs=2, run_dir=run_dir)


@mistake(DataError, "make() should return an iterable of batches, got None", "Did you forget to return them?")
def function_that_returns_nothing(run_dir):
    def make():
        batches()  # neither returned nor yielded

    watch(Net()).fit(make, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "make(size)", "without arguments", "Write train_data=lambda: ")
def function_with_arguments(run_dir):
    def make(size):
        yield from list(batches())[:size]

    watch(Net()).fit(make, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "val_data as a mapping should hold batches by name", "{'easy': loader}")
def batch_to_validate_on(run_dir):
    watch(Net()).fit(batches(), {0: batches()}, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "val_data['easy'] is a list_iterator, which gives its batches only once")
def iterator_to_validate_on(run_dir):
    watch(Net()).fit(batches(), {"easy": iter([])}, max_epochs=1, run_dir=run_dir)


@mistake(DataError, "val_data is empty: len(DataLoader) is 0")
def empty_loader_to_validate_on(run_dir):
    watch(Net()).fit(batches(), DataLoader(Samples(), batch_size=32, drop_last=True), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "train_data says that it has 5 batches and gave 3", "Correct its __len__", found="run", steps=3)
def loader_shorter_than_it_says(run_dir):
    class Loader:
        def __len__(self):
            return 5

        def __iter__(self):
            return iter(batches())

    watch(Net()).fit(Loader(), max_epochs=1, run_dir=run_dir)


class Once:
    """Gives its batches only once, but does not look like it."""

    def __init__(self):
        self.left = iter(batches())

    def __iter__(self):
        return self.left


@mistake(DataError, "In epoch 2 train_data gave no batch", "used up by an earlier pass", found="run", steps=3)
def loader_used_up_after_an_epoch(run_dir):
    watch(Net()).fit(Once(), max_epochs=2, run_dir=run_dir)


@mistake(DataError, "In epoch 2 train_data gave no batch", "makes the batches anew", found="run", steps=3)
def function_that_returns_the_same_generator(run_dir):
    left = (batch for batch in batches())
    watch(Net()).fit(lambda: left, max_epochs=2, run_dir=run_dir)


@mistake(DataError, "A new pass in epoch 1 over train_data gave no batch", "used up", found="run", steps=3)
def epoch_longer_than_the_data(run_dir):
    watch(Net()).fit(Once(), max_epochs=1, epoch_length=10, run_dir=run_dir)


@mistake(DataError, "train_data gave None as batch 1", "forgets to return", found="run")
def collate_that_returns_nothing(run_dir):
    def collate(samples):
        default_collate(samples)

    watch(Net()).fit(DataLoader(Samples(), 4, collate_fn=collate), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "The val data gave None as batch 1", "forgets to return", found="run", steps=3)
def collate_that_returns_nothing_to_validate_on(run_dir):
    def collate(samples):
        default_collate(samples)

    watch(Net()).fit(batches(), DataLoader(Samples(), 4, collate_fn=collate), max_epochs=1, run_dir=run_dir)


class Ragged(Samples):
    def __getitem__(self, index):
        return torch.ones(4 + (index == 6)), index % 2


@mistake(RuntimeError, "samples 4, 5, 6, 7 of Ragged", "(4,) in sample 4", "(5,) in sample 6", "pad_sequence", found="run", steps=1)
def ragged_samples(run_dir):
    watch(Net()).fit(DataLoader(Ragged(), 4), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "samples 4, 5, 6, 7 of Ragged", "(5,) in sample 6", "collate_fn", found="run", steps=1)
def ragged_samples_in_a_worker(run_dir):
    watch(Net()).fit(DataLoader(Ragged(), 4, num_workers=1), max_epochs=1, run_dir=run_dir)


class Holey(Samples):
    def __getitem__(self, index):
        return (torch.ones(4), index % 2) if index != 5 else None


@mistake(TypeError, "samples 4, 5, 6, 7 of Holey", "sample 5", "NoneType", found="run", steps=1)
def sample_of_none(run_dir):
    watch(Net()).fit(DataLoader(Holey(), 4), max_epochs=1, run_dir=run_dir)


class Damaged(Samples):
    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        if index == 9:
            raise self.error("damaged")
        return super().__getitem__(index)


@mistake(ValueError, "damaged", "sample 9 of Damaged", found="run", steps=2, frame="__getitem__")
def bad_sample(run_dir):
    watch(Net()).fit(DataLoader(Damaged(ValueError), 4), max_epochs=1, run_dir=run_dir)


@mistake(ValueError, "damaged", "sample 9 of Damaged", found="run", steps=2, frame="__getitem__")
def bad_sample_in_a_worker(run_dir):
    watch(Net()).fit(DataLoader(Damaged(ValueError), 4, num_workers=1), max_epochs=1, run_dir=run_dir)


@mistake(IndexError, "damaged", "sample 9 of Damaged", found="run", steps=2, frame="__getitem__")
def index_beyond_a_list_in_a_sample(run_dir):
    watch(Net()).fit(DataLoader(Damaged(IndexError), 4), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "StopIteration was raised in sample 9 of Damaged", "next(iterator, default)", found="run", steps=2)
def stop_iteration_in_a_sample(run_dir):
    watch(Net()).fit(DataLoader(Damaged(StopIteration), 4), max_epochs=1, run_dir=run_dir)


@mistake(IndexError, "damaged", found="run", steps=2, frame="read")
def index_beyond_a_list_in_a_sequence_of_batches(run_dir):
    def read(index):
        if index == 2:
            raise IndexError("damaged")
        return next(iter(batches()))

    class Sequence:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return read(index)

    watch(Net()).fit(Sequence(), max_epochs=1, run_dir=run_dir)


@mistake(ZeroDivisionError, "own collate_fn", "samples 0, 1, 2, 3 of Samples", found="run", frame="collate")
def collate_that_raises(run_dir):
    def collate(samples, scale):
        return default_collate(samples) / scale if scale else 1 / scale

    watch(Net()).fit(DataLoader(Samples(), 4, collate_fn=partial(collate, scale=0)), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "StopIteration was raised in", "next(iterator, default)", found="run")
def collate_that_reads_on_its_own(run_dir):
    watch(Net()).fit(DataLoader(Samples(), 4, collate_fn=lambda samples: next(iter([]))), max_epochs=1, run_dir=run_dir)
