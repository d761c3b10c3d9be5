"""Mistakes in what fit is given: the type of the error, the words that name it and its remedy, and no batch read in vain."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from framework import AcceleratorError, DataError, Events, ModuleError, SettingError, on


class Nothing(IterableDataset):
    def __iter__(self):
        return iter(())


class Hooked:
    def on_started(self): ...


class Misspelt:
    def on_epoch_end(self): ...


class Hookless:
    def run(self): ...


class Marked:
    @on("no_such_event")
    def act(self): ...


SETTINGS = {
    "no end": ({"max_epochs": None}, "fit needs an end: give max_epochs, max_iters or max_time_s"),
    "max_epochs range": ({"max_epochs": 0}, "max_epochs should be a whole number of at least 1 or None, got 0 (int)"),
    "max_epochs type": ({"max_epochs": 1.5}, "max_epochs should be a whole number of at least 1 or None, got 1.5 (float)"),
    "max_iters": ({"max_iters": -1}, "max_iters should be a whole number of at least 1 or None, got -1 (int)"),
    "epoch_length": ({"epoch_length": "all"}, "epoch_length should be a whole number of at least 1 or None, got 'all' (str)"),
    "validate_every": ({"validate_every": 0}, "or an event such as Events.ITERATION_COMPLETED(every=500)"),
    "validate_every event": ({"validate_every": "no_such"}, "validate_every='no_such' is no event of this run"),
    "limit_train_batches": ({"limit_train_batches": 0.5}, "limit_train_batches should be a whole number"),
    "limit_val_batches": ({"limit_val_batches": 0}, "limit_val_batches should be a whole number"),
    "two lengths": ({"epoch_length": 2, "limit_train_batches": 2}, "contradict each other"),
    "log_every": ({"log_every": 0}, "log_every should be a whole number of at least 1, got 0 (int)"),
    "accumulate": ({"accumulate": 0}, "accumulate should be a whole number of at least 1, got 0 (int)"),
    "clip_norm": ({"clip_norm": -1}, "clip_norm should be a number above 0, or None for no limit"),
    "clip_value": ({"clip_value": "1"}, "clip_value should be a number above 0, or None for no limit"),
    "seed": ({"seed": -1}, "seed should be a whole number from 0 to 9223372036854775807 or None, got -1 (int)"),
    "deterministic": ({"deterministic": 1}, "deterministic should be True or False, got int"),
    "nan": ({"nan": "raise"}, "nan='raise' is unknown: it is 'stop' or 'ignore'"),
    "progress": ({"progress": "bar"}, "progress should be True or False, got str"),
    "handlers": ({"handlers": Hooked()}, "handlers should be a list of objects with on_<event> methods"),
    "handler class": ({"handlers": [Hooked]}, "handlers should hold objects, got the class Hooked. Write Hooked(...)."),
    "handler without hooks": ({"handlers": [Hookless()]}, "has no on_<event> method and none marked with @on(...)"),
    "handler function": ({"handlers": [print]}, "has no on_<event> method"),
}


@pytest.mark.parametrize(("settings", "words"), SETTINGS.values(), ids=SETTINGS)
def test_settings(loader, settings, words, refused):
    refused(SettingError, words, train=loader, val=loader, **settings)
    assert loader.passes == 0


def test_an_unknown_setting_is_a_type_error(loader, net):
    with pytest.raises(TypeError, match="unexpected keyword argument 'epochs'"):
        net().fit(loader, epochs=3)


def test_a_handler_with_a_misspelt_hook(loader, refused):
    refused(ModuleError, "Misspelt.on_epoch_end is no hook. Did you mean on_epoch_completed?", train=loader, handlers=[Misspelt()])
    assert loader.passes == 0


def test_a_handler_marked_with_an_unknown_event(loader, refused):
    words = "Marked has a method that cannot be registered. Event 'no_such_event' is not a valid event"
    refused(ModuleError, words, train=loader, handlers=[Marked()])
    assert loader.passes == 0


ACCELERATORS = {
    "unknown": ("gpu", "accelerator='gpu' is unknown.", "The accelerators are:\n  'auto': available\n  'cpu': available"),
    "near": ("cdua", "Did you mean 'cuda'?", "The accelerators are:"),
    "number": (3, "accelerator=3 is neither a name nor a Backend.", "The accelerators are:"),
    "cpu:7": ("cpu:7", "this machine has 1 cpu device(s), numbered from 0"),
}


@pytest.mark.parametrize("case", ACCELERATORS.values(), ids=ACCELERATORS)
def test_accelerators(loader, case, refused):
    accelerator, *words = case
    refused(AcceleratorError, *words, train=loader, accelerator=accelerator)
    assert loader.passes == 0


@pytest.mark.parametrize(
    ("accelerator", "words"),
    [("apex", "Nothing is lost with accelerator='amp'"), ("tpu", "To debug on the CPU set PJRT_DEVICE=CPU")],
)
def test_accelerators_that_are_not_installed(loader, monkeypatch, accelerator, words, refused):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    refused(AcceleratorError, f"accelerator='{accelerator}'", words, train=loader, accelerator=accelerator)
    assert loader.passes == 0


def test_an_unknown_precision(loader, refused):
    words = "precision='fp8' is unknown. It is one of fp32, bf16, fp16, or None for the default."
    refused(AcceleratorError, words, train=loader, precision="fp8")
    assert loader.passes == 0


def endless():
    while True:
        yield torch.ones(8, 4), torch.ones(8, 1)


DATA = {
    "none": (None, "train_data=None needs epoch_length"),
    "number": (3, "train_data should be an iterable of batches such as a DataLoader, got 3 (int)"),
    "dataset": (TensorDataset(torch.ones(8, 4)), "Write train_data=DataLoader(dataset, batch_size=32, shuffle=True)"),
    "tensor": (torch.ones(8, 4), "got one Tensor. Wrap it: [batch]"),
    "mapping": ({"x": torch.ones(8, 4)}, "got one dict. Wrap it: [batch]"),
    "empty list": ([], "train_data is empty: len(list) is 0"),
    "empty loader": (DataLoader(TensorDataset(torch.ones(3)), 4, drop_last=True), "drop_last with a batch_size above it"),
    "empty iterable": (DataLoader(Nothing()), "train_data gave no batch: this DataLoader is empty"),
    "empty function": (lambda: iter(()), "train_data gave no batch"),
    "function of nothing": (lambda: None, "<lambda>() should return an iterable of batches, got None (NoneType). Did you forget"),
    "function with arguments": (lambda name: [], "it is called for each pass, without arguments"),
    "class": (DataLoader, "got the class DataLoader. Write DataLoader(...)"),
    "used-up iterator": (iter([]), "train_data gave no batch: this list_iterator is empty, or was used up by an earlier pass"),
}


@pytest.mark.parametrize(("train", "words"), DATA.values(), ids=DATA)
def test_training_data(train, words, refused):
    refused(DataError, words, train=train)


def test_a_loader_of_length_zero_is_not_even_opened(refused, loader_of):
    loader = loader_of(batches=0)
    refused(DataError, "train_data is empty: len(Loader) is 0", train=loader)
    refused(DataError, "val_data is empty: len(Loader) is 0", train=loader_of(), val=loader)
    assert loader.passes == 0


@pytest.mark.parametrize("settings", [{"max_epochs": 2}, {"max_epochs": None, "max_iters": 3}])
def test_an_iterator_for_several_epochs(settings, refused):
    refused(
        DataError, "train_data is a generator, which gives its batches only once", "or epoch_length", train=endless(), **settings
    )


VALIDATION = {
    "iterator": (iter([1]), "val_data is a list_iterator, which gives its batches only once"),
    "iterator by name": ({"easy": iter([1])}, "val_data['easy'] is a list_iterator"),
    "dataset": (TensorDataset(torch.ones(8, 4)), "Write val_data=DataLoader(dataset, batch_size=32, shuffle=False)"),
    "no names": ({}, "val_data as a mapping should hold batches by name"),
    "a batch": ({0: torch.ones(8, 4)}, "got the keys [0]"),
    "number": (3, "val_data should be an iterable of batches such as a DataLoader, got 3 (int)"),
}


@pytest.mark.parametrize(("val", "words"), VALIDATION.values(), ids=VALIDATION)
def test_validation_data(loader, val, words, refused):
    refused(DataError, words, train=loader, val=val)
    assert loader.passes == 0


def test_validation_data_without_a_batch(loader, net):
    with pytest.raises(DataError, match="The val data gave no batch: this DataLoader is empty"):
        net().fit(loader, DataLoader(Nothing()), max_epochs=1, progress=False)


def test_verbs_check_as_fit_does(loader, net):
    for verb in (net().evaluate, net().predict):
        with pytest.raises(SettingError, match="limit_batches should be a whole number"):
            verb(loader, limit_batches=0)
        with pytest.raises(AcceleratorError, match="accelerator='gpu' is unknown"):
            verb(loader, accelerator="gpu")
        with pytest.raises(DataError, match="data is a bare TensorDataset"):
            verb(TensorDataset(torch.ones(1)))
        with pytest.raises(DataError, match="gave no batch"):
            verb(DataLoader(Nothing()))
    assert loader.passes == 0


def test_a_good_program_passes(loader, net):
    result = net().fit(loader, loader, max_epochs=1, validate_every=Events.EPOCH_COMPLETED, handlers=[Hooked()], progress=False)
    assert result.status == "completed"
    assert loader.reads == 8
