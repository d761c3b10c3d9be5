"""Right but unusual programs that the tests share: how they are collected, a plain module, and modules of every build."""

import copy
import dataclasses
import functools

import torch
from torch import nn
from torch.nn import functional as F

from framework import TrainModule, seed_all

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(3))
Y = (X.sum(1) > 0).long()
BATCHES = list(zip(X.split(4), Y.split(4), strict=True))
PROGRAMS = {}


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def evaluation_step(self, batch):
        return {"loss": Net.training_step(self, batch)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def program(made):
    """Collects a function that returns a module, or a module and its data, or those and settings."""

    @functools.wraps(made)
    def whole():
        seed_all(0)
        got = made()
        module, *rest = got if isinstance(got, tuple) else (got,)
        return module, *rest, *(BATCHES, {})[len(rest) :]

    PROGRAMS[made.__name__] = whole
    return whole


@program
def optimizers_take_turns_by_epoch():
    class Turns(Net):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)

        def forward(self, x):
            return self.net(self.first(x))

        def on_epoch_started(self, engine):
            self.begin(engine.state.epoch)

        def begin(self, epoch):
            self.first.requires_grad_(epoch % 2 == 1)
            self.net.requires_grad_(epoch % 2 == 0)

        def configure_optimizers(self):
            return {name: torch.optim.SGD(getattr(self, name).parameters(), lr=0.1) for name in ("first", "net")}

    return Turns()


@program
def backbone_is_unfrozen():
    class Unfrozen(Net):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(4, 4).requires_grad_(False)

        def forward(self, x):
            return self.net(self.backbone(x))

        def on_epoch_started(self, engine):
            self.begin(engine.state.epoch)

        def begin(self, epoch):
            self.backbone.requires_grad_(epoch > 1)

    return Unfrozen()


@program
def helpers_called_like_steps():
    class Helpers(Net):
        def __init__(self):
            super().__init__()
            self.configure_head()

        def configure_head(self):
            self.head = nn.Linear(2, 2)

        def _training_step(self, batch):
            return F.cross_entropy(self.head(self(batch[0])), batch[1])

        def validation_step(self, batch):
            return {"loss": self._training_step(batch)}

        def training_step(self, batch):
            return self._training_step(batch)

        def evaluation_step(self, batch):
            return self.validation_step(batch)

    return Helpers()


@program
def names_that_are_the_users_own():
    class Named(Net):
        name, stage, lr = "x", "fit", 0.1
        on_policy = True

        def __init__(self):
            super().__init__()
            self.loss, self.optimizer, self.metrics, self.history = nn.CrossEntropyLoss(), None, {}, []
            self.step, self.data, self.events, self.config, self.result, self.engine = 0, [1], [], {"a": 1}, None, None

        def denoise_step(self, batch):
            return self.loss(self(batch[0]), batch[1])

        def on_the_fly(self, batch):
            return self.denoise_step(batch)

        def training_step(self, batch):
            self.step += 1
            self.events.append("step")
            return self.on_the_fly(batch)

    return Named()


@program
def a_trained_module_with_what_its_steps_left():
    class Keeps(Net):
        def __init__(self):
            super().__init__()
            self.snapshots = []

        def training_step(self, batch):
            self.x = batch[0].clone().requires_grad_()
            return super().training_step((self.x, batch[1]))

        def on_epoch_completed(self):
            self.snapshots.append(copy.deepcopy(self.net))

    module = Keeps()
    module.fit(BATCHES, max_epochs=1, accelerator="cpu", progress=False)
    return module


@program
def teacher_outside_of_the_tree():
    class Student(Net):
        def __init__(self):
            super().__init__()
            self.teacher = [copy.deepcopy(self.net).requires_grad_(False)]

        def training_step(self, batch):
            return F.mse_loss(self(batch[0]), self.teacher[0](batch[0]) + 1)

    return Student()


@program
def lists_of_registered_modules():
    class Ordered(Net):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.order, self.by_name = [self.first, self.net], {"first": [self.first]}

        def forward(self, x):
            return self.order[1](self.order[0](x))

    return Ordered()


@program
def scripted_network():
    class Scripted(Net):
        def __init__(self):
            super().__init__()
            self.net = torch.jit.script(self.net)

    return Scripted()


@program
def compiled_step():
    class Compiled(Net):
        @torch.compile(backend="eager")
        def training_step(self, batch):
            return F.cross_entropy(self.net(batch[0]), batch[1])

    return Compiled()


@program
def weight_norm_and_lazy_layers():
    class Layers(Net):
        def __init__(self):
            super().__init__()
            self.lazy = nn.LazyLinear(4)
            self.net = nn.utils.parametrizations.weight_norm(self.net)

        def forward(self, x):
            return self.net(self.lazy(x))

    return Layers()


@program
def mixins_and_a_dataclass():
    class Steps:
        def training_step(self, batch):
            return F.cross_entropy(self.net(batch[0]), batch[1])

    @dataclasses.dataclass(eq=False)
    class Model(Steps, TrainModule):
        width: int = 2

        def __post_init__(self):
            super().__init__()
            self.net = nn.Linear(4, self.width)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    return Model()
