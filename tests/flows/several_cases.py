"""Trainings of all kinds, each the same on one process as on several at the same global batch."""

import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset
from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy

from framework import DDP, EMA, Events, Schedule, TrainModule, rank, seed_all
from tests.flows.several import CLASSES, GLOBAL, Net, dataset, loader, made, weights

QUIET = {"progress": False, "seed": 3, "accelerator": "cpu"}
STEPS = 52


def held_out(size, samples=41):
    return loader(GLOBAL // size, samples=samples, seed=2, shuffle=False)


def run(module, size, train=None, val=None, **settings):
    """Trains a module; returns all that has to be the same on each rank, and on one process."""
    train = loader(GLOBAL // size) if train is None else train
    settings = {**QUIET, "max_iters": STEPS, **settings}
    result = module.fit(train, held_out(size) if val is None else val, **settings)
    state = result.state
    return {
        "weights": whole(module),
        "metrics": result.metrics,
        "steps": dict(state.optimizer_steps),
        "skipped": state.skipped_steps,
        "iteration": (state.epoch, state.iteration, result.reason),
        "curves": {name: [point.value for point in points] for name, points in result.series.items()},
        "history": [row["iteration"] for row in result.history],
    }


def whole(module):
    """Returns the weights, put together where each rank has a part."""
    return {name: value.full_tensor() if hasattr(value, "full_tensor") else value for name, value in weights(module).items()}


def new(kind, *arguments, **named):
    seed_all(0)
    return kind(*arguments, **named)


class Overflows(Net):
    """Has infinite gradients on one rank, the last, in two steps."""

    def training_step(self, batch, engine):
        loss = super().training_step(batch)
        if engine.state.iteration in (7, 30) and rank() == self.size - 1:
            return loss + (loss - loss.detach()) * 1e30
        return loss


def fp16(size):
    module = new(Overflows)
    module.size = size
    return run(module, size, precision="fp16")


def bf16(size):
    return run(made(), size, precision="bf16")


class GAN(TrainModule):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
        self.critic = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

    def training_step(self, batch):
        x, _ = batch
        fake = self.generator(x.roll(1, 1))
        yield "critic", F.softplus(self.critic(fake.detach())).mean() + F.softplus(-self.critic(x)).mean()
        yield "generator", F.softplus(-self.critic(fake)).mean()
        return {"spread": fake.square().mean()}

    def evaluation_step(self, batch):
        return {"spread": self.generator(batch[0]).square().mean()}

    def configure_optimizers(self):
        return {
            "critic": torch.optim.AdamW(self.critic.parameters(), lr=0.01),
            "generator": torch.optim.SGD(self.generator.parameters(), lr=0.05, momentum=0.9),
        }


def gan(size):
    return run(new(GAN), size, accumulate=2, clip_norm=0.5)


class TwoOptimizers(Net):
    def configure_optimizers(self):
        return {
            "into": torch.optim.SGD(self.into.parameters(), lr=0.1),
            "rest": torch.optim.AdamW([*self.layers.parameters(), *self.out.parameters()], lr=1e-2),
        }


def two_optimizers(size):
    return run(new(TwoOptimizers), size, clip_norm=0.3)


class Summed(Net):
    """The number of things that count differs from rank to rank, and is 0 for some."""

    def training_step(self, batch):
        x, y = batch
        chosen = x[:, 2] > -0.4
        return {"loss": F.cross_entropy(self(x)[chosen], y[chosen], reduction="sum"), "n": chosen.sum()}


def summed(size):
    return run(new(Summed), size)


def summed_accumulated(size):
    return run(new(Summed), size, accumulate=3)


class Spoilt(Net):
    """Has a loss that is not a number on one rank, or of one process, in two steps."""

    def training_step(self, batch, engine):
        loss = super().training_step(batch)
        spoilt = engine.state.iteration in (5, 6, 33) and rank() == self.size - 1
        return loss * float("nan") if spoilt else loss


def skips(size):
    module = new(Spoilt)
    module.size = size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run(module, size, nan="skip")


class SecondOrder(Net):
    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


def lbfgs(size):
    return run(new(SecondOrder).double(), size, data64(GLOBAL // size), data64(41), max_iters=20)


def data64(batch):
    data = dataset()
    return DataLoader(TensorDataset(data.tensors[0].double(), data.tensors[1]), batch_size=batch, shuffle=True)


class Cycled(Net):
    def configure_schedulers(self, optimizers, total_steps):
        self.total_steps = total_steps
        (optimizer,) = optimizers.values()
        return Schedule(OneCycleLR(optimizer, max_lr=0.2, total_steps=total_steps), every="step")


def schedule(size):
    module = new(Cycled)
    done = run(module, size, max_iters=None, max_epochs=13, accumulate=2)
    return {**done, "total_steps": module.total_steps}


def ema(size):
    average = EMA(0.9)
    return run(made(), size, handlers=[average])


def limited(size):
    return run(made(), size, max_iters=None, max_epochs=17, limit_train_batches=3, limit_val_batches=1)


def carried_over(size):
    return run(made(), size, max_iters=None, max_epochs=17, epoch_length=3)


def validated_between(size):
    return run(made(), size, max_iters=26, validate_every=Events.ITERATION_COMPLETED(every=7), log_every=3)


def batches(size, samples=103):
    """Whole batches, of which each rank takes every size-th: those of one process, cut into parts."""
    tensors = dataset(samples).tensors
    parts = zip(*(tensor.split(GLOBAL // size) for tensor in tensors), strict=True)
    return [tuple(part) for part in parts]


def lists(size):
    return run(made(), size, batches(size), batches(size, samples=41))


def generator_function(size):
    return run(made(), size, lambda: iter(batches(size)), lambda: iter(batches(size, samples=41)))


class Stream(IterableDataset):
    def __iter__(self):
        yield from dataset()


def iterable(size):
    return run(made(), size, DataLoader(Stream(), batch_size=GLOBAL // size))


def by_loader(size):
    own = batches(size)[rank() :: size] if size > 1 else batches(1)
    return run(made(), size, own[: 96 // GLOBAL], data_order="loader")


def by_whole_batch(size):
    return run(made(), size, loader(GLOBAL), batch="global")


def with_workers(size):
    data = loader(GLOBAL // size, num_workers=2, persistent_workers=True)
    return run(made(), size, data, loader(GLOBAL // size, samples=41, seed=2, shuffle=False, num_workers=1), max_iters=9)


def batch_sampler(size):
    sampler = BatchSampler(SequentialSampler(range(103)), GLOBAL // size, drop_last=False)
    return run(made(), size, DataLoader(dataset(), batch_sampler=sampler), max_iters=9)


def few_samples(size):
    """The last step of a pass has fewer samples than there are ranks, and so has a validation set."""
    val = {"usual": held_out(size), "one": held_out(size, samples=1), "odd": held_out(size, samples=GLOBAL + 1)}
    return run(made(), size, loader(GLOBAL // size, samples=GLOBAL * 2 + 1), val, max_iters=18)


def few_samples_accumulated(size):
    return run(made(), size, loader(GLOBAL // size, samples=GLOBAL * 2 + 1), accumulate=2, clip_norm=0.1)


class Counted:
    """A metric of the user's own: how many are right."""

    higher_is_better = True

    def reset(self):
        self.right = self.all = 0

    def update(self, prediction, y):
        self.right += int((prediction.argmax(1) == y).sum())
        self.all += len(y)

    def synchronize(self):
        both = torch.tensor([self.right, self.all])
        torch.distributed.all_reduce(both)
        self.right, self.all = both.tolist()

    def compute(self):
        return {"share": self.right / self.all, "all": float(self.all)}


class Area(BinaryAUROC):
    def update(self, prediction, y):
        super().update(prediction.softmax(1)[:, 0], (y == 0).long())


class Measured(Net):
    def configure_metrics(self):
        return {"own": Counted(), "area": Area(), "accuracy": MulticlassAccuracy(CLASSES, average="macro")}


def metrics(size):
    val = {"usual": held_out(size), "one": held_out(size, samples=1), "three": held_out(size, samples=3)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples")
        return run(new(Measured), size, val=val)


def recomputed(size):
    return run(made(), size, checkpoint_activations=True)


class Normalised(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        return self.out(self.norm(self.into(x)))


def normalised(size):
    """Each rank normalises over its own batch; what all have in the end are the buffers of rank 0."""
    average = EMA(0.9)
    module = new(Normalised)
    data = loader(GLOBAL // size, samples=104)  # none of one sample
    done = run(module, size, data, handlers=[average], max_iters=9, strategy=DDP(find_unused_parameters=True))
    with average.evaluation_weights(module):
        return {**done, "averages": whole(module)}


FSDP_SETTINGS = {
    "plain": {},
    "accumulated": {"accumulate": 3},
    "clipped": {"clip_norm": 0.1, "accumulate": 2},
    "recomputed": {"checkpoint_activations": True},
}


def sharded(size, strategy):
    return {name: run(made(optimizer="adamw"), size, strategy=strategy, **given) for name, given in FSDP_SETTINGS.items()}


CASES = {
    each.__name__: each
    for each in (
        fp16, bf16, gan, two_optimizers, summed, summed_accumulated, skips, lbfgs, schedule, ema, limited, carried_over,
        validated_between, lists, generator_function, iterable, by_loader, by_whole_batch, with_workers, batch_sampler,
        few_samples, few_samples_accumulated, metrics, recomputed,
    )
}  # fmt: skip
ROUGH = {"fp16": 5e-3, "bf16": 5e-2}  # what the others keep to within 1e-6
OWN_CURVES = ("skips",)  # a step left out: the ranks whose loss was finite have recorded it
