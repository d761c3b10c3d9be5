"""Mistakes in optimizers and schedulers: what configure_optimizers returns, whose parameters it holds, when a scheduler steps."""

import torch
from mistakes import Net, batches, mistake, watch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from framework import DataError, ModuleError, Schedule, SettingError, StepError


@mistake(ModuleError, "configure_optimizers should return a torch optimizer", "got None", "Did you forget to return it?")
def forgot_to_return_the_optimizer(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            SGD(self.parameters(), lr=0.1)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "configure_optimizers", "a mapping from names to optimizers", "Give each a name")
def list_of_optimizers(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            return [SGD(self.parameters(), lr=0.1)]

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "got ([SGD], [StepLR])", "schedulers come from configure_schedulers")
def optimizers_and_schedulers_of_lightning(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), lr=0.1)
            return [optimizer], [StepLR(optimizer, 2)]

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "'lr_scheduler' should be a torch optimizer", "Return schedulers from configure_schedulers")
def mapping_of_lightning(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), lr=0.1)
            return {"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, 2)}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "It is the class", "write SGD(self.parameters(), ...)")
def optimizer_class(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            return SGD

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "got StepLR", "Return schedulers from configure_schedulers")
def scheduler_as_the_optimizer(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            return StepLR(SGD(self.parameters(), lr=0.1), 2)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine has no parameters, so there is nothing to train", "Assign its layers to self")
def module_without_parameters(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            del self.layer

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine.layers is a list that holds a Linear", "Use nn.ModuleList")
def layers_in_a_plain_list(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            del self.layer
            self.layers = [nn.Linear(4, 2)]

        def forward(self, x):
            return self.layers[0](x)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine.hidden is a list that holds a Linear", "Use nn.ModuleList")
def one_layer_in_a_plain_list(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            self.hidden = [nn.Linear(4, 4)]

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine.scale is a tensor that requires gradients", "Write nn.Parameter(...)")
def tensor_instead_of_a_parameter(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(1, requires_grad=True)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "all parameters that its optimizers hold are frozen", "Call requires_grad_()")
def everything_frozen(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            self.requires_grad_(False)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "a parameter of shape (2, 4) that is not one of Mine's", "from self.parameters()")
def optimizer_of_another_module(run_dir):
    teacher = Net()

    class Mine(Net):
        def configure_optimizers(self):
            return SGD(teacher.parameters(), lr=0.1)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "a parameter of shape (2, 4) that is not one of Mine's", "in configure_optimizers")
def optimizer_of_a_layer_that_was_replaced(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            self.optimizer = SGD(self.parameters(), lr=0.1)
            self.layer = nn.Linear(4, 2)

        def configure_optimizers(self):
            return self.optimizer

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Optimizers 'a' and 'b' both hold the parameter of shape (2, 4)", "Give each its own parameters")
def two_optimizers_of_the_same_parameters(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            return {name: SGD(self.parameters(), lr=0.1) for name in ("a", "b")}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "2 parameters of Net are on the meta device", "to_empty(device='cpu')")
def parameters_without_values(run_dir):
    with torch.device("meta"):
        net = Net()
    watch(net).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "OneCycleLR(total_steps=", "once an epoch", "Schedule(scheduler, every='step')")
def one_cycle_without_every_step(run_dir):
    class Cycles(Net):
        def configure_schedulers(self, optimizers, total_steps):
            return OneCycleLR(optimizers["main"], max_lr=0.1, total_steps=total_steps)

    watch(Cycles()).fit(batches(), max_epochs=2, run_dir=run_dir)


@mistake(ModuleError, "ReduceLROnPlateau needs a metric", "Schedule(scheduler, monitor='val/loss')")
def plateau_without_a_metric(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return ReduceLROnPlateau(optimizers["main"])

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "StepLR was made for an optimizer that fit does not step", "optimizers['main']")
def scheduler_of_an_optimizer_of_its_own(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return StepLR(self.configure_optimizers(), 2)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "got 'step' (str) under 'interval'", "Write Schedule(scheduler, every=")
def scheduler_mapping_of_lightning(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return {"scheduler": StepLR(optimizers["main"], 2), "interval": "step"}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Schedule(every='batch')", "'step', 'epoch'")
def schedule_every_batch(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return Schedule(StepLR(optimizers["main"], 2), every="batch")

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(DataError, "Schedule(monitor='val/loss') needs val_data", "Give val_data to fit")
def schedule_that_waits_for_no_validation(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return Schedule(ReduceLROnPlateau(optimizers["main"]), monitor="val/loss")

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Schedule(monitor='val/error')", "no such metric; it gives val/loss", found="run", steps=3)
def schedule_that_waits_for_no_metric(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return Schedule(ReduceLROnPlateau(optimizers["main"]), monitor="val/error")

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(KeyError, "adam", found="start", frame="configure_schedulers")
def optimizer_by_a_wrong_name(run_dir):
    class Mine(Net):
        def configure_schedulers(self, optimizers):
            return StepLR(optimizers["adam"], 2)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(SettingError, "'main' (LBFGS) needs a closure", "Leave accumulate out")
def lbfgs_with_accumulation(run_dir):
    class Mine(Net):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    watch(Mine()).fit(batches(), max_epochs=1, accumulate=2, run_dir=run_dir)


class Two(Net):
    """Two layers, and an optimizer for each."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(4, 2)

    def configure_optimizers(self):
        return {"actor": SGD(self.layer.parameters(), lr=0.1), "critic": SGD(self.critic.parameters(), lr=0.1)}


@mistake(StepError, "got the name 'judge'", "The optimizers are 'actor', 'critic'", found="run")
def loss_for_an_unknown_optimizer(run_dir):
    class Mine(Two):
        def training_step(self, batch):
            yield "judge", self(batch[0]).mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "for 'critic' depends on none of that optimizer's parameters", "Yield (name, loss)", found="run")
def loss_for_the_other_optimizer(run_dir):
    class Mine(Two):
        def training_step(self, batch):
            yield "critic", self(batch[0]).mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "The optimizer 'critic' got no gradients", "none of its parameters", found="run", steps=6)
def loss_that_leaves_an_optimizer_out(run_dir):
    class Mine(Two):
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1])

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "No optimizer stepped in epoch 1", "Yield (name, loss)", found="run")
def step_that_yields_nothing(run_dir):
    class Mine(Two):
        def training_step(self, batch):
            if len(batch[0]) > 100:
                yield "actor", self(batch[0]).mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)
