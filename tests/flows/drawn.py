"""Runs a drawing: with the real module, data and torch, and with stand-ins for what only `fit` has."""

import ast
import itertools
from unittest.mock import MagicMock

import torch
from torch import nn

from framework.backends.ownership import parameters_of
from framework.data import ordered
from framework.engine import Events
from framework.module.step_events import StepEvents
from framework.seeding import RandomStream, seed_all

EVENTS = [*Events, *StepEvents]


class Terminated(BaseException):
    pass


class EpochTerminated(BaseException):
    pass


class Paused(BaseException):
    pass


class Asked:
    """Stands for the engine and for the boundary, which is the last to look at it after an iteration."""

    def __init__(self):
        self.state = MagicMock()
        self.request = None

    def terminate(self):
        self.request = Terminated

    def terminate_epoch(self):
        self.request = EpochTerminated

    def interrupt(self):
        self.request = Paused

    def at_iteration(self, engine):
        if self.request is not None:
            request, self.request = self.request, None
            raise request

    def __getattr__(self, name):
        return MagicMock()


def run(text, module, train_data, val_data=None, **objects):
    """Runs a drawing; `objects` are what it calls by these names."""
    engine = Asked()
    names = {
        **{name: MagicMock(name=name) for name in owners_in(text)},
        "refuse_non_finite": lambda values: None,
        "all_finite": lambda values: True,
        "gradients": None,
        "evaluator": None,
        **{name: getattr(torch.optim, name) for name in ("SGD", "Adam", "AdamW", "LBFGS")},
        "engine": engine,
        "boundary": engine,
        "metrics": {},
        "Terminated": Terminated,
        "EpochTerminated": EpochTerminated,
        "Paused": Paused,
        "torch": torch,
        "seed_all": seed_all,
        "seed": 3,
        "RandomStream": RandomStream,
        "ordered": ordered,
        "islice": itertools.islice,
        "count": itertools.count,
        "clip_grad_norm_": nn.utils.clip_grad_norm_,
        "clip_grad_value_": nn.utils.clip_grad_value_,
        "parameters_of": parameters_of,
        "trainable": lambda optimizer: [each for each in parameters_of([optimizer]) if each.requires_grad],
        "stepped": lambda optimizer: True,
        "train_data": train_data,
        "val_data": val_data,
        type(module).__name__: lambda **arguments: module,
        **objects,
    }
    exec(text, names)
    return names


def owners_in(text):
    """Returns the names of the objects whose methods a drawing calls."""
    tree = ast.walk(ast.parse(text))
    return {each.value.id for each in tree if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)}


def tracer():
    """Returns a handler of every event, for training and evaluation, that writes down what is called."""

    def hook(name):
        def method(self, engine):
            self.seen.append(name)
            self.act(name, engine)

        return method

    events = [f"on_{event.value}" for event in EVENTS] + [f"on_evaluation_{event.value}" for event in Events]

    class Tracer:
        def __init__(self):
            self.seen = []
            self.act = lambda name, engine: None

    for name in events:
        setattr(Tracer, name, hook(name))
    return Tracer()
