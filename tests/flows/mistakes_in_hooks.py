"""Mistakes in what hooks and log are used for: found where they are made, or at the end of the epoch."""

from mistakes import Net, batches, mistake, watch
from torch import nn

from framework import ModuleError, StepError


@mistake(StepError, "'logits' should be a scalar", "mean()", found="run")
def logged_vector(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            self.log("logits", self(batch[0]))
            return super().training_step(batch)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "train/loss is recorded from what the step returns", "Log under another name", found="run")
def logged_the_loss_as_well(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            loss = super().training_step(batch)
            self.log("loss", loss)
            return loss

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "log(name, value) needs a non-empty text as name", "got 0.5", found="run")
def logged_value_first(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            self.log(0.5, "accuracy")
            return super().training_step(batch)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "log('width', ...) was called outside of a run", "in training_step, evaluation_step and hooks", found="run")
def logged_outside_of_a_run(run_dir):
    watch(Net()).log("width", 4)


@mistake(KeyError, "val/loss", "epoch 1", found="run", steps=3, frame="on_epoch_completed")
def hook_that_asks_for_no_metric(run_dir):
    class Mine(Net):
        def on_epoch_completed(self, engine):
            self.best = engine.state.metrics["val/loss"]

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "StopIteration was raised in on_epoch_started", "next(iterator, default)", found="run")
def hook_that_reads_on_its_own(run_dir):
    class Mine(Net):
        def on_epoch_started(self):
            self.scale = next(iter([]))

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ValueError, "'epoch_end' is not a valid event", "EPOCH_COMPLETED", found="run", frame="on_started")
def handler_added_to_an_unknown_event(run_dir):
    class Mine(Net):
        def on_started(self, engine):
            engine.add_event_handler("epoch_end", print)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "fit was called while another fit trains this Mine", "Train a copy", found="run")
def fit_inside_of_fit(run_dir):
    class Mine(Net):
        def on_epoch_started(self):
            self.fit(batches(), max_epochs=1)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Mine is in eval mode at the end of epoch 1", "Call train() after it", found="run", steps=3)
def left_in_eval_mode_by_a_hook(run_dir):
    class Mine(Net):
        def on_iteration_completed(self):
            self.eval()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "The optimizer 'main' got no gradients in iteration 1", "configure_optimizers", found="run", steps=1)
def layer_replaced_in_a_hook(run_dir):
    class Mine(Net):
        def on_epoch_started(self):
            self.layer = nn.Linear(4, 2)
            watch(self)

    Mine().fit(batches(), max_epochs=1)


@mistake(ModuleError, "(2, 4) that is not one of Mine's", "by the end of epoch 2", "Do it before fit", found="run", steps=3)
def layer_replaced_in_a_later_epoch(run_dir):
    class Mine(Net):
        def on_epoch_started(self, engine):
            if engine.state.epoch == 2:
                self.layer = nn.Linear(4, 2)
                watch(self)

    Mine().fit(batches(), max_epochs=3)
