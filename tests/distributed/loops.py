"""Training loops as one writes them by hand for one process, and the same training through our steps on several."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import torch._dynamo  # DistributedDataParallel imports it, for seconds, in each process that has not yet
from torch import nn

from framework import AMP, DDP, Plain, Strategy
from framework.backends import Clip
from framework.distributed.group import joined
from framework.steps.closure import ClosureStep
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place
from framework.steps.update import SummedLoss
from framework.steps.yielded_losses import YieldedLosses

CPU = torch.device("cpu")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BATCH = 8  # samples in a step, over all ranks
INF = float("inf")


class Net(nn.Module):
    """Two parts, which may have an optimizer each."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.body(x)).squeeze(1)


def errors(net, batch):
    x, y, weights = batch
    return weights * (net(x) - y).square()


def mean_loss(net, batch):
    return errors(net, batch).mean()


def head_loss(net, batch):
    return mean_loss(net, batch) + 0.1 * net.head.weight.square().sum()


def sgd(net):
    return {"main": torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)}


def adamw(net):
    return {"main": torch.optim.AdamW(net.parameters(), lr=0.01)}


def lbfgs(net):
    return {"main": torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")}


def two(net):
    return {
        "body": torch.optim.SGD(net.body.parameters(), lr=0.1, momentum=0.9),
        "head": torch.optim.AdamW(net.head.parameters(), lr=0.01),
    }


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        kind: of the step: "returned", "summed", "yielded" or "closure".
        optimizers: makes them.
        sizes: the samples of each batch, over all ranks.
        accumulate: batches of a window; the last may have less.
        knows_end: the step is told of a last window that is shorter, else it is finished from outside.
        precision, clip: as for `fit`.
        bad: the numbers of batches with an infinite loss, on the last rank alone.
        left_out: the numbers of windows that are not there.
        before: called with net and optimizers before the batch of each number.
        dtype: of everything.
        strategy: how the ranks work together.
    """

    kind: str = "returned"
    optimizers: Callable[[nn.Module], dict[str, Any]] = sgd
    sizes: tuple[int, ...] = (BATCH,) * 50
    accumulate: int = 1
    knows_end: bool = True
    precision: str = "fp32"
    clip: Clip | None = None
    bad: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    before: dict[int, Callable[[nn.Module, dict[str, Any]], None]] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    strategy: Strategy = DDP()  # noqa: RUF009  # frozen

    def batches(self):
        made = torch.Generator().manual_seed(1)
        for number, size in enumerate(self.sizes):
            x = torch.randn(size, 6, generator=made)
            weights = torch.rand(size, generator=made)
            if self.kind == "summed":
                weights = (weights > 0.6).float()
                weights[0] = 1.0  # the other ranks may have none
            if number in self.bad:
                weights[-1] = INF
            yield tuple(each.to(self.dtype) for each in (x, x.sum(1).sin(), weights))

    def windows(self):
        batches, number = self.batches(), 0
        while window := list(islice(batches, self.accumulate)):
            if number not in self.left_out:
                yield window
            number += 1

    def made(self):
        torch.manual_seed(0)
        net = Net().to(self.dtype)
        return net, self.optimizers(net)

    def scaler(self):
        return torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10, enabled=self.precision == "fp16")

    def backend(self):
        if self.precision == "fp32":
            return Plain(CPU)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that fp16 on the CPU is slow
            return AMP(CPU, self.precision, scaler=self.scaler())


@dataclass
class Trained:
    """What a training leaves.

    Attributes:
        weights: of the module, by name.
        skipped: steps that the gradient scaler has left out, by optimizer.
        scale: the loss scale at the end.
    """

    weights: dict[str, torch.Tensor]
    skipped: dict[str, int]
    scale: float


def by_hand(case, parts=1):
    """Trains in this process. In mixed precision the batches are taken in as many parts as there are ranks: it rounds each."""
    net, optimizers = case.made()
    scaler = case.scaler()
    cast = contextlib.nullcontext
    if case.precision in DTYPES:
        cast = lambda: torch.autocast("cpu", dtype=DTYPES[case.precision])  # noqa: E731
    skipped = dict.fromkeys(optimizers, 0)
    number = 0
    losses = {"body": mean_loss, "head": head_loss} if case.kind == "yielded" else {None: mean_loss}

    def step(name):
        optimizer = optimizers[name]
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        finite = all(each.grad.isfinite().all() for each in parameters if each.grad is not None)
        skipped[name] += not finite
        scaler.step(optimizer)

    def limit(names):
        parameters = [each for name in names for group in optimizers[name].param_groups for each in group["params"]]
        for name in names if case.clip is not None else ():
            scaler.unscale_(optimizers[name])
        if case.clip is not None and case.clip.norm is not None:
            nn.utils.clip_grad_norm_(parameters, case.clip.norm)
        if case.clip is not None and case.clip.value is not None:
            nn.utils.clip_grad_value_(parameters, case.clip.value)

    for window in case.windows():
        if case.kind == "closure":
            (batch,), (optimizer,) = window, optimizers.values()

            def closure(batch=batch, optimizer=optimizer):
                optimizer.zero_grad()
                loss = mean_loss(net, batch)
                loss.backward()
                return loss

            optimizer.step(closure)
            continue
        things = sum(batch[2].sum() for batch in window)
        for place, batch in enumerate(window):
            case.before.get(number, lambda *_: None)(net, optimizers)
            number += 1
            for name, loss_of in losses.items():
                names = list(optimizers) if name is None else [name]
                for each in names if place == 0 else ():
                    optimizers[each].zero_grad()
                for part in zip(*(each.chunk(parts) for each in batch), strict=True):
                    with cast():
                        loss = (
                            errors(net, part).sum() / things if case.kind == "summed" else loss_of(net, part) / len(window) / parts
                        )
                    wanted = None if name is None else list(getattr(net, name).parameters())
                    scaler.scale(loss).backward(inputs=wanted)
                if place == len(window) - 1:
                    limit(names)
                    for each in names:
                        step(each)
        scaler.update()
    return Trained(dict(net.named_parameters()), skipped, scaler.get_scale())


class Source:
    """Stands for the data: says what the batch at hand counts."""

    share = 1.0


def share_of(batch, rank, size):
    """Returns this rank's samples of a step, and what they count: the first ranks have one more; one without any has the last."""
    count = len(batch[0])
    numbers = [count // size + (each < count % size) for each in range(size)]
    begin = sum(numbers[:rank])
    own = tuple(each[begin : begin + numbers[rank]] if numbers[rank] else each[-1:] for each in batch)
    return own, numbers[rank] * size / count


def on_all(rank, size, cases):
    """Trains each case through our steps as one of `size` ranks."""
    with joined(CPU, alone=True) as group:
        return [ours(case, group) for case in cases]


def ours(case, group, guard=None):
    net, optimizers = case.made()
    inner = case.backend()
    backend = case.strategy.over(inner, group, lambda module: [module.body])
    backend.adopt(net, optimizers, backend.place(net))
    source = backend.source = Source()
    places = []
    step = step_of(case, backend, net, optimizers, (lambda engine: places[-1]) if case.accumulate > 1 else None, guard)
    number = 0
    for window in case.windows():
        known = len(window) if case.knows_end else case.accumulate
        for place, batch in enumerate(window):
            case.before.get(number, lambda *_: None)(net, optimizers)
            number += 1
            own, source.share = share_of(batch, group.rank, group.world_size)
            places.append(Place(place == 0, place == known - 1, known))
            step.run(None, own)
        if len(window) < known:
            step.finish_window()
    scale = inner.scaler.get_scale() if case.precision == "fp16" else 1.0
    return Trained({name: whole(each) for name, each in net.named_parameters()}, step.counter.skipped, scale)


def whole(tensor):
    """Returns all of a tensor, also of one that is split over the ranks."""
    return tensor.full_tensor().detach() if hasattr(tensor, "full_tensor") else tensor.detach()


def step_of(case, backend, net, optimizers, place, guard=None):
    if case.kind == "yielded":

        def losses(engine, batch):
            yield ("body",), mean_loss(net, batch)
            yield ("head",), head_loss(net, batch)

        return YieldedLosses(backend, optimizers, losses, place=place, clip=case.clip, guard=guard)

    def loss_of(batch, engine):
        if case.kind != "summed":
            return mean_loss(net, batch)
        return {"loss": errors(net, batch).sum(), "n": batch[2].sum().item()}

    parallel = backend.parallel_step(net, loss_of)

    def forward(engine, batch):
        loss = parallel(batch, engine)
        return (SummedLoss(loss["loss"], loss["n"]) if isinstance(loss, dict) else loss), None

    if case.kind == "closure":
        return ClosureStep(backend, optimizers, forward, contextlib.nullcontext, clip=case.clip, guard=guard)
    return ReturnedLoss(backend, optimizers, forward, place=place, clip=case.clip, guard=guard)
