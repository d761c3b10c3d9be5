"""How often torch_xla compiles and runs: a forgotten mark_step or a read in each step would show here."""

from on_both import Net
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchmetrics.classification import MulticlassAccuracy

from framework import Schedule


class Whole(Net):
    """With a schedule, a metric and logged values: each of them could make every step another graph."""

    def training_step(self, batch):
        x, y = batch
        prediction = self(x)
        loss = F.mse_loss(prediction, y)
        self.log("size", prediction.square().mean())
        return {"loss": loss, "twice": 2 * loss}

    def evaluation_step(self, batch):
        x, y = batch
        return {"mse": F.mse_loss(self(x), y), "accuracy": (self(x), (y[:, 0] > 0).long())}

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(2, average="micro")}

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(CosineAnnealingLR(optimizers["main"], total_steps), every="step")


def counts_of_a_run(count, make_batches, iterations, width):
    # A width of its own: torch_xla keeps what it has compiled. Epochs of 9, so that runs are read at many different lengths.
    Whole(width=width).fit(
        make_batches(9), make_batches(3), max_iters=iterations, accelerator="tpu", progress=False, clip_norm=1.0, log_every=7
    )
    return count("CompileTime"), count("ExecuteTime"), count()


def test_a_longer_run_compiles_no_more(count, make_batches):
    from torch_xla.debug import metrics

    counts = []
    for iterations, width in ((10, 5), (10, 6), (60, 7)):
        metrics.clear_all()
        counts.append(counts_of_a_run(count, make_batches, iterations, width))
    _, (compiled, executed, fallbacks), (compiled_later, executed_later, fallbacks_later) = counts
    assert compiled_later == compiled <= 5
    validations = (2, 7)  # each with three batches, a metric to read, and what is left of that
    assert executed <= 10 + 5 * validations[0]
    assert executed_later <= 60 + 5 * validations[1]
    assert set(fallbacks_later) == set(fallbacks) <= {"aten::_local_scalar_dense"}
    assert sum(fallbacks_later.values()) <= validations[1]


def test_validation_with_metrics_leaves_the_training_step_as_it_was(count, make_batches):
    seen = []

    class Look:
        def on_iteration_completed(self, engine):
            seen.append(count("CompileTime"))

    Whole(width=8).fit(make_batches(4), make_batches(2), max_epochs=3, accelerator="tpu", progress=False, handlers=[Look()])
    first, second, *_ = seen
    assert 0 < first < second  # without and with the optimizer's state
    assert seen[1] == seen[2] == seen[3]
    assert seen[4:] == [seen[4]] * 8  # what validation compiled, and nothing else


def test_accumulation_compiles_one_graph_for_each_place_in_a_window(count, make_batches):
    Net(width=9).fit(make_batches(40), max_epochs=1, accelerator="tpu", progress=False, accumulate=4)
    assert count("CompileTime") <= 5
    assert count("ExecuteTime") <= 45


def test_each_shape_of_a_batch_is_compiled_once(count, make_batches):
    Net(width=10).fit(make_batches(10), max_epochs=1, accelerator="tpu", progress=False)
    alike = count("CompileTime")
    Net(width=10).fit(make_batches(10, last=3), max_epochs=3, accelerator="tpu", progress=False)
    assert count("CompileTime") == alike + 1


def test_prediction_runs_once_a_batch_whatever_it_returns(count, make_batches):
    class Several(Net):
        def prediction_step(self, batch):
            output = self(batch[0])
            return {"output": output, "shares": output.softmax(1), "largest": output.argmax(1)}

    predicted = Several(width=11).predict(make_batches(6), accelerator="tpu")
    assert {name: tuple(tensor.shape) for name, tensor in predicted.items()} == {
        "output": (96, 2),
        "shares": (96, 2),
        "largest": (96,),
    }
    assert all(tensor.device.type == "cpu" for tensor in predicted.values())
    assert (count("CompileTime"), count("ExecuteTime")) == (1, 6)
