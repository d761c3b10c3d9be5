"""Mistakes in what a class declares: most are found when it is made, before there is any data."""

import torch
from mistakes import Net, batches, mistake, watch
from torch import nn
from torch.nn import functional as F

from framework import Events, ModuleError, TrainModule, on


@mistake(ModuleError, "Mine.on_epoch_end is no hook", "Did you mean on_epoch_completed", found="class")
def hook_of_keras(run_dir):
    class Mine(Net):
        def on_epoch_end(self): ...


@mistake(ModuleError, "on_train_batch_end is no hook", "Did you mean on_iteration_completed", found="class")
def hook_of_lightning(run_dir):
    class Mine(Net):
        def on_train_batch_end(self, outputs, batch, batch_idx): ...


@mistake(ModuleError, "on_validation_epoch_end", "Did you mean on_evaluation_epoch_completed", found="class")
def evaluation_hook_of_lightning(run_dir):
    class Mine(Net):
        def on_validation_epoch_end(self): ...


@mistake(ModuleError, "on_step_end", "Did you mean on_iteration_completed", found="class")
def hook_of_hugging_face(run_dir):
    class Tell:
        def on_step_end(self, args, state, control, **kwargs): ...

    class Mine(Net, Tell): ...


@mistake(ModuleError, "on_epoch_complete is no hook", "on_epoch_completed", "@not_a_hook", found="class")
def misspelt_hook(run_dir):
    class Mine(Net):
        def on_epoch_complete(self, engine): ...


@mistake(ModuleError, "on_evaluation_complete", "Did you mean on_evaluation_completed", found="class")
def misspelt_evaluation_hook(run_dir):
    class Mine(Net):
        def on_evaluation_complete(self, engine): ...


@mistake(ModuleError, "on_warmup_end is no hook", "Mark a method that is meant to be something else", found="class")
def hook_of_no_event(run_dir):
    class Mine(Net):
        def on_warmup_end(self): ...


@mistake(ModuleError, "cannot be called as a hook", "on_epoch_completed(self, engine)", found="class")
def hook_with_too_many_arguments(run_dir):
    class Mine(Net):
        def on_epoch_completed(self, engine, logs): ...


@mistake(ModuleError, "on_exception_raised(self, engine, exception)", found="class")
def hook_without_self(run_dir):
    class Mine(Net):
        def on_exception_raised(): ...


@mistake(ModuleError, "on_started is a classmethod", "def on_started(self)", found="class")
def hook_as_a_classmethod(run_dir):
    class Mine(Net):
        @classmethod
        def on_started(cls): ...


@mistake(ModuleError, "Mine.on_started is an async def", "Write a plain def", found="class")
def hook_as_a_coroutine(run_dir):
    class Mine(Net):
        async def on_started(self, engine): ...


@mistake(ModuleError, "by its name and by @on(...)", "would run twice", found="class")
def hook_by_name_and_by_mark(run_dir):
    class Mine(Net):
        @on(Events.EPOCH_COMPLETED(every=2))
        def on_epoch_completed(self): ...


@mistake(ModuleError, "Mine.tell is marked with @on('epoch_end')", "Known are", "EPOCH_COMPLETED", "events = (MyEvents,)")
def mark_with_an_unknown_event(run_dir):
    class Mine(Net):
        @on("epoch_end")
        def tell(self): ...

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "validation_step would never be called", "Did you mean evaluation_step", found="class")
def validation_step(run_dir):
    class Mine(Net):
        def validation_step(self, batch): ...


@mistake(ModuleError, "predict_step would never be called", "Did you mean prediction_step", found="class")
def predict_step(run_dir):
    class Mine(Net):
        def predict_step(self, batch): ...


@mistake(ModuleError, "trainning_step", "Did you mean training_step", found="class")
def misspelt_step(run_dir):
    class Mine(TrainModule):
        def trainning_step(self, batch): ...


@mistake(ModuleError, "configure_optimizer would never be called", "Did you mean configure_optimizers", found="class")
def misspelt_configure_optimizers(run_dir):
    class Mine(Net):
        def configure_optimizer(self): ...


@mistake(ModuleError, "training_step(self, batch, batch_idx)", "engine.state.iteration", found="class")
def step_with_the_number_of_the_batch(run_dir):
    class Mine(Net):
        def training_step(self, batch, batch_idx): ...


@mistake(ModuleError, "training_step(batch) cannot be called", "training_step(self, batch)", found="class")
def step_without_self(run_dir):
    class Mine(Net):
        def training_step(batch): ...  # noqa: N805  # the mistake


@mistake(ModuleError, "Mine.training_step is an async def", "Write a plain def", found="class")
def step_as_a_coroutine(run_dir):
    class Mine(Net):
        async def training_step(self, batch): ...


@mistake(ModuleError, "configure_schedulers(self) cannot be called", "configure_schedulers(self, optimizers", found="class")
def schedulers_without_the_optimizers(run_dir):
    class Mine(Net):
        def configure_schedulers(self): ...


@mistake(ModuleError, "Mine redefines log, which TrainModule provides", "another name", found="class")
def own_log(run_dir):
    class Mine(Net):
        def log(self, message):
            self.messages.append(message)


@mistake(ModuleError, "Mine redefines device", "Leave it out", "self.device tells where it is", found="class")
def own_device(run_dir):
    class Mine(Net):
        device = "cuda"


@mistake(ModuleError, "Mine assigns self.log", "Give the attribute another name")
def attribute_called_log(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            watch(self)
            self.log = {}

    Mine().fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine assigns self.fit", "Give the attribute another name")
def layer_called_fit(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            watch(self)
            self.fit = nn.Linear(4, 2)

    Mine().fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine assigns self.training_step", "Write def training_step(self, ...) in the class")
def step_assigned_to_the_object(run_dir):
    class Mine(Net):
        def __init__(self):
            super().__init__()
            watch(self)
            self.training_step = lambda x, y: F.cross_entropy(self(x), y)

    Mine().fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "super().__init__()", "the first line of Mine.__init__", found="class")
def forgotten_init(run_dir):
    class Mine(Net):
        def __init__(self, width):
            self.width = width

    Mine(3).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "super().__init__()", "Make super().__init__() the first line", found="class")
def init_after_the_layers(run_dir):
    class Mine(Net):
        def __init__(self):
            self.layer = nn.Linear(4, 2)
            super().__init__()

    Mine().fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine has no training_step, which fit needs", "Define training_step")
def no_training_step(run_dir):
    class Mine(TrainModule):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine has no configure_optimizers, which fit needs")
def no_optimizers(run_dir):
    class Mine(TrainModule):
        def training_step(self, batch): ...

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "fit was called inside torch.no_grad()", "Call it outside")
def fit_without_gradients(run_dir):
    net = watch(Net())
    with torch.no_grad():
        net.fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Net has parameters that were made inside torch.inference_mode()", "Make Net outside of it")
def module_made_for_inference(run_dir):
    with torch.inference_mode():
        net = watch(Net())
    net.fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Net is in eval mode", "Call net.train() before fit")
def left_in_eval_mode(run_dir):
    net = Net().eval()
    watch(net).fit(batches(), max_epochs=1, run_dir=run_dir)
