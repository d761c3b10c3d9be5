"""Mistakes in data that come up while a run is under way: which data, which place in it, what to do, and no completed run."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler

from framework import DataError, StepError, TrainModule


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self(x), y)

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def net(**attributes):
    """Returns a module with other attributes than it has."""
    return type("Mine", (Net,), attributes)()


class Samples(Dataset):
    """Eight samples (x, y), of which the sixth is what it is told to be."""

    def __init__(self, sixth):
        self.sixth = sixth

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.sixth() if index == 5 else (torch.ones(4), torch.ones(1))


class Slips(IterableDataset):
    """Lets an IndexError out of its stream."""

    def __iter__(self):
        yield torch.ones(4), torch.ones(1)
        yield [][0]


def forgets(samples):
    torch.utils.data.default_collate(samples)


def unreadable():
    raise OSError(5, "Input/output error")


def told(error, *data, **settings):
    """Returns what a run says of its mistake."""
    with pytest.raises(error) as info:
        net(**settings.pop("module", {})).fit(*data, **{"max_epochs": 2, "progress": False, **settings})
    return "\n".join([str(info.value), *getattr(info.value, "__notes__", ())])


def careless(self, batch):
    """A step that does not look at its batch."""
    return self(torch.ones(2, 4)).mean()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collate_function_that_forgets_to_return(workers):
    loader = DataLoader(Samples(lambda: (torch.ones(4), torch.ones(1))), 4, collate_fn=forgets, num_workers=workers)
    text = told(DataError, loader, module={"training_step": careless})
    assert "train_data gave None as batch 1 of a pass. A collate_fn or a generator that forgets to return" in text
    text = told(DataError, [(torch.ones(2, 4), torch.ones(2, 1))], loader)
    assert "The val data gave None as batch 1 of a pass." in text


def test_without_data_each_step_gets_none():
    assert net(training_step=careless).fit(None, epoch_length=2, max_epochs=2, progress=False).status == "completed"


@pytest.mark.fault(26)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data_order", ["batch", "sample"])
def test_samples_that_make_no_batch(workers, data_order):
    loader = DataLoader(Samples(lambda: (torch.ones(3), torch.ones(1))), 4, num_workers=workers)
    text = told(RuntimeError, loader, data_order=data_order)
    assert "It was raised in putting samples 4, 5, 6, 7 of Samples into a batch." in text
    assert "The samples differ at [0]: float32 (4,) in sample 4 and float32 (3,) in sample 5." in text
    assert "While training: epoch 1, waiting for the batch of iteration 2" in text


@pytest.mark.fault(26)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_of_the_validation_data(workers):
    loader = DataLoader(Samples(unreadable), 4, num_workers=workers)
    text = told(OSError, [(torch.ones(2, 4), torch.ones(2, 1))], loader)
    assert "It was raised in sample 5 of Samples." in text
    assert "In the evaluation of val: waiting for the batch of iteration 2" in text


@pytest.mark.parametrize("workers", [0, 1])
def test_an_index_error_of_a_stream_is_not_its_end(workers):
    told(IndexError, DataLoader(Slips(), batch_size=1, num_workers=workers))


@pytest.mark.parametrize("place", ["training_step", "evaluation_step", "on_iteration_completed", "on_get_batch_started"])
@pytest.mark.parametrize(("raised", "error"), [(IndexError, IndexError), (StopIteration, RuntimeError)])
def test_errors_that_look_like_the_end_of_data(place, raised, error):
    def slip(self, *batch):
        raise raised("mine")

    batches = [(torch.ones(2, 4), torch.ones(2, 1))] * 2
    text = told(error, batches, batches, module={place: slip})
    assert text.startswith("mine" if error is IndexError else "StopIteration was raised in slip")


def test_an_evaluation_step_that_forgets_to_return():
    batches = [(torch.ones(2, 4), torch.ones(2, 1))]
    text = told(StepError, batches, batches, module={"evaluation_step": lambda self, batch: None})
    assert "The evaluation of val gave no result" in text


SAMPLES = Samples(lambda: (torch.ones(4), torch.ones(1)))
SAID = 'data_order="loader" leaves it as it is.'


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"shuffle": True}, None),
        ({}, None),
        (
            {"sampler": WeightedRandomSampler([1.0] * 8, 8)},
            f"train_data: WeightedRandomSampler -> order by seed and pass. {SAID}\n",
        ),
        ({"sampler": RandomSampler(SAMPLES, num_samples=4)}, f"train_data: RandomSampler -> order by seed and pass. {SAID}\n"),
    ],
)
def test_what_is_done_otherwise_than_the_loader_says_is_said_once(kept, said, capsys):
    net().fit(DataLoader(SAMPLES, 4, **kept), max_epochs=2, progress=True)
    out = capsys.readouterr().out
    assert out.count("train_data") == (said is not None)
    assert said is None or out.startswith(said)
    net().fit(DataLoader(SAMPLES, 4, **kept), max_epochs=2, progress=True, data_order="loader")
    assert "train_data" not in capsys.readouterr().out
