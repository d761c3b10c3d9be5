"""Mistakes in evaluation, prediction and metrics: the weights are those that training has left, and no result is returned."""

import torch
from mistakes import Net, Samples, batches, mistake, watch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from framework import AcceleratorError, CheckpointError, DataError, ModuleError, SettingError, StepError, TrainModule


class Scored(Net):
    """Feeds predictions to a metric."""

    def evaluation_step(self, batch):
        x, y = batch
        return self(x), y

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=2)}


class Stepless(TrainModule):
    """Can be trained, and no more."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def training_step(self, batch):
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@mistake(ModuleError, "Stepless has no evaluation_step, which val_data needs", "leave val_data out")
def forgot_the_evaluation_step(run_dir):
    watch(Stepless()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "Stepless has no evaluation_step, which evaluate needs", "Define it in the class")
def evaluate_without_a_step(run_dir):
    watch(Stepless()).evaluate(batches())


@mistake(ModuleError, "Stepless has no forward and no prediction_step", "Define forward(self, x)")
def predict_without_a_forward(run_dir):
    watch(Stepless()).predict(batches())


@mistake(StepError, "should return (y_pred, y)", "got Tensor", found="run", steps=3)
def predictions_alone(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            return self(batch[0])

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "got tuple of length 3", found="run", steps=3)
def three_instead_of_a_pair(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            return self(batch[0]), batch[1], 0.5

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "there is no metric to feed them to", "Define configure_metrics", found="run", steps=3)
def pair_without_a_metric(run_dir):
    class Mine(Scored):
        def configure_metrics(self):
            return {}

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "configure_metrics has no metric 'f1'", found="run", steps=3)
def pair_for_an_unknown_metric(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            return {"f1": (self(batch[0]), batch[1])}

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "The metric 'accuracy' got no predictions", "leave the metric out", found="run", steps=3)
def forgot_to_return_the_predictions(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            self(batch[0])

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "a scalar under 'accuracy', which is a metric", "rename one", found="run", steps=3)
def scalar_under_the_name_of_a_metric(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            return {"accuracy": (self(batch[0]).argmax(1) == batch[1]).float().mean()}

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "val/accuracy is recorded twice", "Rename one", found="run", steps=3)
def logged_under_the_name_of_a_metric(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            self.log("accuracy", 0.5)
            return super().evaluation_step(batch)

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(StepError, "'confusion' should be a scalar, got a tensor of shape (2, 2)", found="run")
def matrix_instead_of_a_scalar(run_dir):
    class Mine(Net):
        def evaluation_step(self, batch):
            return {"confusion": torch.eye(2)}

    watch(Mine()).evaluate(batches())


@mistake(ModuleError, "configure_metrics should return a mapping from names to metrics", "{'accuracy': MulticlassAccuracy(10)}")
def list_of_metrics(run_dir):
    class Mine(Scored):
        def configure_metrics(self):
            return [MulticlassAccuracy(num_classes=2)]

    watch(Mine()).fit(batches(), batches(), max_epochs=1, run_dir=run_dir)


@mistake(ModuleError, "configure_metrics", "got None")
def forgot_to_return_the_metrics(run_dir):
    class Mine(Scored):
        def configure_metrics(self):
            MulticlassAccuracy(num_classes=2)

    watch(Mine()).evaluate(batches())


@mistake(ModuleError, "The metric 'accuracy' (function) has no update and no compute and no reset", "torchmetrics")
def function_as_a_metric(run_dir):
    def accuracy(y_pred, y):
        return (y_pred.argmax(1) == y).float().mean()

    class Mine(Scored):
        def configure_metrics(self):
            return {"accuracy": accuracy}

    watch(Mine()).evaluate(batches())


@mistake(ModuleError, "The metric 'accuracy' is the class MulticlassAccuracy", "Write MulticlassAccuracy(...)")
def class_as_a_metric(run_dir):
    class Mine(Scored):
        def configure_metrics(self):
            return {"accuracy": MulticlassAccuracy}

    watch(Mine()).evaluate(batches())


@mistake(ValueError, "the metric 'accuracy' (MulticlassAccuracy), fed with float32 (8, 3) and int64 (8,)", found="run")
def metric_of_another_number_of_classes(run_dir):
    class Mine(Scored):
        def evaluation_step(self, batch):
            return torch.cat([self(batch[0]), torch.ones(8, 1)], dim=1), batch[1]

    watch(Mine()).evaluate(batches())


@mistake(ZeroDivisionError, "division by zero", "compute() of the metric 'ratio'", found="run", frame="compute")
def metric_that_raises(run_dir):
    class Ratio(Metric):
        def update(self, y_pred, y): ...

        def compute(self):
            return 1 / 0

    class Mine(Scored):
        def configure_metrics(self):
            return {"ratio": Ratio()}

    watch(Mine()).evaluate(batches())


@mistake(RuntimeError, "does not require grad", found="run", frame="evaluation_step")
def gradients_in_an_evaluation(run_dir):
    class Mine(Net):
        def evaluation_step(self, batch):
            loss = super().training_step(batch)
            (gradient,) = torch.autograd.grad(loss, [self.layer.bias])
            return {"norm": gradient.norm()}

    watch(Mine()).evaluate(batches())


@mistake(RuntimeError, "StopIteration was raised in evaluation_step", "next(iterator, default)", found="run")
def evaluation_that_reads_on_its_own(run_dir):
    class Mine(Net):
        def evaluation_step(self, batch):
            return super().evaluation_step(next(iter([])))

    watch(Mine()).evaluate(batches())


@mistake(DataError, "data is a bare Samples", "DataLoader(dataset, batch_size=32")
def evaluate_a_dataset(run_dir):
    watch(Net()).evaluate(Samples())


@mistake(DataError, "data is a bare Samples", "DataLoader(dataset, batch_size=32")
def predict_a_dataset(run_dir):
    watch(Net()).predict(Samples())


@mistake(AcceleratorError, "accelerator='gpu' is unknown", "Did you mean 'cuda'")
def predict_on_an_unknown_accelerator(run_dir):
    watch(Net()).predict(batches(), accelerator="gpu")


@mistake(DataError, "The test data gave no batch", "used up by an earlier pass")
def evaluate_a_used_generator(run_dir):
    used = iter([])
    watch(Net()).evaluate(used)


@mistake(DataError, "For several data sets make one call each")
def evaluate_several_sets_at_once(run_dir):
    watch(Net()).evaluate({"easy": batches(), "hard": batches()})


@mistake(SettingError, "limit_batches=0", "at least 1")
def evaluate_no_batch(run_dir):
    watch(Net()).evaluate(batches(), limit_batches=0)


@mistake(StepError, "predictions of 2 batches cannot be joined", "predict_batches yields them one by one", found="run")
def predictions_of_different_widths(run_dir):
    class Mine(Net):
        def prediction_step(self, batch):
            return torch.ones(2, len(batch))

    watch(Mine()).predict([torch.ones(3, 4), torch.ones(5, 4)])


@mistake(DataError, "predict on gave no batch")
def predict_on_nothing(run_dir):
    watch(Net()).predict(iter([]))


@mistake(CheckpointError, "runs/best is neither a run, nor a checkpoint", "Give the run_dir of fit")
def weights_of_a_run_that_never_was(run_dir):
    net = watch(Net())
    net.load_weights("runs/best")
    net.evaluate(batches())


@mistake(RuntimeError, "same dtype", "In the evaluation of test", "x = x.float()", found="run", frame="evaluation_step")
def validation_data_in_double(run_dir):
    loader = DataLoader(Samples(), batch_size=4, collate_fn=lambda samples: torch.ones(4, 4).double())

    class Mine(Net):
        def evaluation_step(self, batch):
            return {"mean": self(batch).mean()}

    watch(Mine()).evaluate(loader)
