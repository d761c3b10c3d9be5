"""Mistakes in training steps: found in the first that makes them, before its update."""

import warnings

import torch
from mistakes import Net, Samples, batches, mistake, watch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from framework import NonFiniteError, StepError


@mistake(StepError, "got None", "Did you forget to return it?", found="run")
def forgot_to_return_the_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            F.cross_entropy(self(batch[0]), batch[1])

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "A number has no gradients", "leave .item() and float() out", found="run")
def loss_as_a_number(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1]).item()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "a loss without gradients", "look for .detach()", found="run")
def detached_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]).detach(), batch[1])

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "a loss without gradients", "torch.no_grad()", found="run")
def step_without_gradients(run_dir):
    class Mine(Net):
        @torch.no_grad()
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1])

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "a loss without gradients", "argmax and comparisons", found="run")
def accuracy_as_the_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return (self(batch[0]).argmax(1) != batch[1]).float().mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "got a tensor of shape (8,)", ".mean() or .sum()", found="run")
def loss_of_each_sample(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1], reduction="none")

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "got a tensor of shape (8, 2)", "Reduce it", found="run")
def predictions_as_the_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return self(batch[0])

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "a mapping without 'loss', with the keys ['nll', 'accuracy']", found="run")
def mapping_without_a_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return {"nll": self(batch[0]).mean(), "accuracy": 0.5}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "got a tuple", "Return {'loss': loss, 'name': scalar}", found="run")
def loss_and_predictions(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            y_pred = self(batch[0])
            return F.cross_entropy(y_pred, batch[1]), y_pred

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "'logits' should be a scalar, got a tensor of shape (8, 2)", "mean()", found="run")
def predictions_beside_the_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            y_pred = self(batch[0])
            return {"loss": F.cross_entropy(y_pred, batch[1]), "logits": y_pred}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(NonFiniteError, "The loss is nan in iteration 1 (epoch 1)", "nan='ignore'", found="run")
def loss_that_is_nan(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return (self(batch[0]) - 1e9).log().mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


class Log(nn.Module):
    def forward(self, x):
        return (x - 1e9).log()


@mistake(NonFiniteError, "The loss is nan in iteration 1", "the operation log in layer.1 (Log)", found="run")
def logarithm_of_a_negative_number(run_dir):
    net = Net()
    net.layer = nn.Sequential(net.layer, Log())
    watch(net).fit(batches(), max_epochs=1, debug=True, run_dir=run_dir)


@mistake(NonFiniteError, "All 3 steps of epoch 1 were left out (nan='skip')", "debug=True names the first bad module", found="run")
def nothing_but_nan(run_dir):
    net = Net()
    net.layer = nn.Sequential(net.layer, Log())
    with warnings.catch_warnings(action="ignore"):
        watch(net).fit(batches(), max_epochs=1, nan="skip", run_dir=run_dir)


@mistake(NonFiniteError, "The loss is inf in iteration 5 (epoch 2)", "debug=True", found="run", steps=4)
def loss_that_becomes_infinite(run_dir):
    class Mine(Net):
        def training_step(self, batch, engine):
            return F.cross_entropy(self(batch[0]), batch[1]) / (engine.state.iteration != 5)

    watch(Mine()).fit(batches(), max_epochs=2, log_every=1, run_dir=run_dir)


@mistake(RuntimeError, "backward through the graph a second time", "fit calls loss.backward() itself", found="run")
def backward_by_hand(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            loss = super().training_step(batch)
            loss.backward()
            return loss

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "gradients gathered in a window of accumulation were gone", "Leave it out", found="run")
def gradients_cleared_by_hand(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            self.zero_grad()
            return super().training_step(batch)

    watch(Mine()).fit(batches(), max_epochs=1, accumulate=3, run_dir=run_dir)


@mistake(RuntimeError, "backward through the graph a second time", "state = state.detach()", found="run", steps=1)
def state_carried_with_its_graph(run_dir):
    class Mine(Net):
        state = torch.zeros(())

        def training_step(self, batch):
            self.state = self.state + super().training_step(batch)
            return self.state

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "its input (3) is not its in_features (4)", "float32 (8, 3)", found="run", frame="forward")
def features_of_another_width(run_dir):
    watch(Net()).fit([(torch.randn(8, 3), torch.zeros(8).long())], max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "must have the same dtype", "x = x.float()", "float64 (8, 4)", found="run", frame="forward")
def features_in_double(run_dir):
    watch(Net()).fit([(torch.randn(8, 4).double(), torch.zeros(8).long())], max_epochs=1, run_dir=run_dir)


@mistake(IndexError, "Target 2 is out of bounds", "epoch 1", "(8,)", found="run", frame="training_step")
def labels_that_start_at_one(run_dir):
    watch(Net()).fit([(torch.randn(8, 4), torch.arange(8) % 2 + 1)], max_epochs=1, run_dir=run_dir)


@mistake(ValueError, "too many values to unpack", "epoch 1", found="run", frame="training_step")
def batch_of_three(run_dir):
    watch(Net()).fit([(torch.randn(8, 4), torch.zeros(8), torch.ones(8))], max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "StopIteration was raised in training_step", "next(iterator, default)", found="run")
def step_that_reads_on_its_own(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return super().training_step(next(iter([])))

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(IndexError, "list index out of range", "iteration 3", found="run", steps=2, frame="training_step")
def step_that_looks_beyond_a_list(run_dir):
    class Mine(Net):
        def training_step(self, batch, engine):
            return super().training_step(batch) * [1.0, 0.5][engine.state.iteration - 1]

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "leaf Variable that requires grad", "in-place", found="run", frame="training_step")
def weights_changed_in_place(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            self.layer.weight.mul_(0.9)
            return super().training_step(batch)

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "training_step should yield (name, loss)", "got a Tensor", found="run")
def yields_a_loss_alone(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            yield super().training_step(batch)

    watch(Mine()).fit(DataLoader(Samples(), 4), max_epochs=1, run_dir=run_dir)


@mistake(TypeError, "must be real number, not complex", ".abs()", found="run")
def complex_loss(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return torch.fft.fft(self(batch[0])).mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "'n' beside 'loss'", "got -8", found="run")
def negative_count(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return {"loss": self(batch[0]).sum(), "n": -len(batch[0])}

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)


@mistake(RuntimeError, "Memory ran out. Give smaller batches", "accumulate", "float32 (8, 4)", found="run", frame="training_step")
def more_memory_than_there_is(run_dir):
    class Mine(Net):
        def training_step(self, batch):
            return (self(batch[0]).sum() * torch.zeros(1 << 50)).mean()

    watch(Mine()).fit(batches(), max_epochs=1, run_dir=run_dir)
