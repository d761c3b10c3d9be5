import random

import numpy as np
import pytest
import torch
from torch import nn

from framework import AMP, DataError, Plain, StepError, TrainModule
from framework.module.checks.declarations import takes_engine
from framework.module.evaluation import Evaluation, evaluating, logging_to, restore_modes, run_once
from framework.seeding import RandomStream, random_state

CPU = torch.device("cpu")


class Mean:
    """A metric: the mean of its predictions."""

    def __init__(self):
        self.reset()

    def update(self, prediction, target):
        self.values.append(prediction.mean().item())

    def compute(self):
        return sum(self.values) / len(self.values)

    def reset(self):
        self.values = []


def evaluation(step, metrics=None, stage="val", backend=None, **options):
    module = type(
        "Module", (TrainModule,), {"evaluation_step": step, "configure_metrics": lambda self: {} if metrics is None else metrics}
    )()
    return Evaluation(module, backend or Plain(CPU), stage, **options)


@pytest.fixture
def numbers():
    return [torch.tensor([1.0, 3.0]), torch.tensor([8.0])]


def test_scalars_are_means_over_samples(numbers):
    assert evaluation(lambda self, batch: {"mean": batch.mean(), "one": 1}).run(numbers) == {"val/mean": 4.0, "val/one": 1.0}


def test_a_pair_feeds_every_metric(numbers):
    results = evaluation(lambda self, batch: (batch, None), {"a": Mean(), "b": Mean()}).run(numbers)
    assert results == {"val/a": 5.0, "val/b": 5.0}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("count", [float, torch.tensor], ids=["number", "tensor"])
def test_a_loss_that_is_a_sum_is_weighted_by_what_it_counts(count, late):
    class Late(Plain):
        reads_cost_nothing = not late

    sums = [(torch.tensor(6.0), 3.0), (torch.tensor(8.0), 1.0), (torch.tensor(0.0), 0.0)]
    each = evaluation(lambda self, batch: {"loss": batch[0], "n": count(batch[1]), "other": 1.0}, backend=Late(CPU))
    assert each.run(sums) == {"val/loss": 14 / 4, "val/other": 1.0}


@pytest.mark.parametrize("loss", [1.0, None, torch.ones(2)], ids=["number", "None", "vector"])
def test_a_sum_has_to_be_a_scalar_tensor(loss):
    with pytest.raises(StepError, match=r"evaluation_step returned 'loss' beside 'n', which makes it a sum over n things"):
        evaluation(lambda self, batch: {"loss": loss, "n": 2}).run([1])


def test_a_metric_called_n_and_a_pair_called_loss_are_what_they_are(numbers):
    pair = (torch.ones(2), torch.ones(2))
    assert evaluation(lambda self, batch: {"loss": 2.0, "n": pair}, {"n": Mean()}).run([1]) == {"val/loss": 2.0, "val/n": 1.0}
    assert evaluation(lambda self, batch: {"loss": pair, "n": 4}, {"loss": Mean()}).run([1]) == {"val/n": 4.0, "val/loss": 1.0}


def test_a_mapping_may_hold_scalars_and_pairs_by_name(numbers):
    step = evaluation(
        lambda self, batch: {"loss": batch.sum(), "a": (batch, None), "b": [2 * batch, None]}, {"a": Mean(), "b": Mean()}
    )
    assert step.run(numbers) == {"val/loss": 16 / 3, "val/a": 5.0, "val/b": 10.0}


def test_none_is_allowed_beside_log(numbers):
    def step(self, batch):
        self.log("sum", batch.sum(), n=1)

    assert evaluation(step).run(numbers) == {"val/sum": 6.0}


def test_the_step_gets_the_engine_if_it_names_it(numbers):
    step = evaluation(lambda self, batch, engine: {"iteration": engine.state.iteration, "is_val": engine.state.stage == "val"})
    assert step.run(numbers) == {"val/iteration": 4 / 3, "val/is_val": 1.0}


def test_each_run_starts_from_nothing(numbers):
    runs = evaluation(lambda self, batch: {"x": batch.mean(), "a": (batch, None)}, {"a": Mean()})
    first = runs.run(numbers)
    assert runs.run(numbers) == first
    assert runs.engine.state.epoch == 1
    state = runs.engine.state
    assert (state.batch, state.output, state.dataloader) == (None, None, None)


def test_the_limit_takes_the_first_batches(counted):
    runs = evaluation(lambda self, batch: {"x": batch[0].mean()})
    assert runs.run(counted, 2) == {"val/x": pytest.approx(sum(x.mean().item() for x, _ in counted.batches[:2]) / 2)}
    assert counted.reads == 2
    runs.run(iter(counted.batches), 2)
    assert runs.engine.state.iteration == 2
    runs.run(counted.batches, 99)
    assert runs.engine.state.iteration == 6


def test_modes_are_put_back_for_each_submodule(numbers):
    class Module(TrainModule):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2))

        def evaluation_step(self, batch):
            assert not any(part.training for part in self.modules())
            assert not torch.is_grad_enabled()
            raise KeyError

    module = Module()
    module.first.eval()
    before = {name: part.training for name, part in module.named_modules()}
    with pytest.raises(KeyError):
        Evaluation(module, Plain(CPU), "val").run(numbers)
    assert {name: part.training for name, part in module.named_modules()} == before
    assert torch.is_grad_enabled()
    assert module._recorder is None


def test_random_streams_are_left_as_they_were(numbers):
    def step(self, batch):
        return {"torch": torch.rand(()), "numpy": np.random.rand(), "python": random.random()}

    before = random_state()
    first = evaluation(step, seed=1).run(numbers)
    after = random_state()
    assert torch.equal(before.pop("torch"), after.pop("torch"))
    assert str(before) == str(after)
    assert evaluation(step, seed=1).run(numbers) == first
    assert all(evaluation(step, seed=2).run(numbers)[name] != value for name, value in first.items())


def test_each_evaluation_of_a_run_draws_the_same_numbers(numbers):
    runs = evaluation(lambda self, batch: {"x": torch.rand(())}, seed=1)
    assert runs.run(numbers) == runs.run(numbers)


def test_the_verbs_work_from_any_seed_that_torch_may_have(line, batches):
    torch.manual_seed(-3)
    assert torch.initial_seed() == 2**64 - 3
    assert set(line().evaluate(batches)) == {"test/loss"}
    assert line().predict(batches).shape == (48, 1)
    line().fit(batches, batches, max_epochs=1, progress=False)


def test_several_sets_have_names(line, batches):
    result = line().fit(batches, {"all": batches, "one": batches[:1]}, max_epochs=1, progress=False)
    assert set(result.metrics) == {"train/loss", "val/all/loss", "val/one/loss"}
    assert result.metrics["val/all/loss"] != result.metrics["val/one/loss"]


def test_hooks_of_handlers_and_module_see_the_stage(numbers):
    seen = []

    class Handler:
        def on_evaluation_started(self, engine):
            seen.append(("handler", engine.state.stage))

    class Module(TrainModule):
        def evaluation_step(self, batch):
            return None

        def on_evaluation_started(self, engine):
            seen.append(("module", engine.state.stage))

        def on_started(self):
            seen.append("never")

    module = Module()
    Evaluation(module, Plain(CPU), "val/easy", [Handler()]).run(numbers)
    module.evaluate(numbers)
    assert seen == [("handler", "val"), ("module", "val"), ("module", "test")]


def test_an_error_is_raised_although_a_hook_saw_it(numbers):
    class Module(TrainModule):
        errors = ()

        def evaluation_step(self, batch):
            raise KeyError("broken")

        def on_evaluation_exception_raised(self, error):
            self.errors = (*self.errors, error)

    module = Module()
    with pytest.raises(KeyError, match="broken") as caught:
        module.evaluate(numbers)
    assert module.errors == (caught.value,)


def test_a_name_is_recorded_once(numbers):
    with pytest.raises(
        StepError, match=r"returned a scalar under 'a', which is a metric of configure_metrics. Return \{'a': \(y_p"
    ):
        evaluation(lambda self, batch: {"a": 1.0}, {"a": Mean()}).run(numbers)

    def step(self, batch):
        self.log("a", 1.0)
        return {"a": 2.0}

    with pytest.raises(StepError, match="val/a is recorded twice: by log and by what the step returns"):
        evaluation(step).run(numbers)


def test_a_metric_recorded_and_computed_is_refused(numbers):
    def step(self, batch):
        self.log("a", 1.0)
        return batch, None

    with pytest.raises(StepError, match=r"val/a is recorded twice: as a metric and by log"):
        evaluation(step, {"a": Mean()}).run(numbers)


def test_a_pair_needs_a_metric_of_its_name(numbers):
    with pytest.raises(StepError, match="returned a pair under 'f1', but configure_metrics has no metric 'f1'"):
        evaluation(lambda self, batch: {"f1": (batch, batch)}, {"a": Mean()}).run(numbers)


@pytest.mark.parametrize("output", [torch.ones(2), (1, 2, 3), "text", 3])
def test_what_a_step_may_not_return(numbers, output):
    with pytest.raises(StepError, match=r"evaluation_step should return \(y_pred, y\) for the metrics.*got"):
        evaluation(lambda self, batch: output).run(numbers)


@pytest.mark.parametrize(
    ("data", "name"),
    [(iter([]), "this list_iterator"), (lambda: iter([]), r"what <lambda>\(\) gives")],
    ids=["iterator", "function"],
)
def test_data_without_a_batch(line, data, name):
    with pytest.raises(DataError, match=rf"The test data gave no batch: {name} is empty, or was used up by an earlier pass"):
        line().evaluate(data)


def test_data_used_up_by_the_evaluation_before(line, batches):
    used = iter(batches)
    module = line()
    module.evaluate(used)
    with pytest.raises(DataError, match="The test data gave no batch"):
        module.evaluate(used)


def test_the_step_runs_in_the_backends_precision():
    seen = []
    runs = evaluation(lambda self, batch: seen.append((batch @ batch).dtype) or {"n": 1}, backend=AMP(CPU, "bf16"))
    runs.run([torch.ones(2, 2)])
    assert seen == [torch.bfloat16]


def test_batches_are_moved_to_the_device():
    devices = []
    runs = evaluation(lambda self, batch: devices.append(batch.device) or {"n": 1}, backend=Plain(torch.device("meta")))
    runs.run([torch.ones(1)])
    assert devices == [torch.device("meta")]


def test_an_evaluation_inside_of_fit_leaves_training_as_it_is(line, batches):
    class Module(line):
        def on_iteration_completed(self):
            if probing:
                self.evaluate(batches)
            assert self.training
            self.log("x", 1.0)

    weights = []
    for probing in (False, True):  # noqa: B007
        module = Module()
        module.fit(batches, max_epochs=1, progress=False)
        weights.append(module.layer.weight.detach())
    assert torch.equal(*weights)


def test_the_small_parts():
    assert takes_engine(lambda batch: batch)(3, None) == 3
    assert takes_engine(lambda batch, engine: engine)(3, 4) == 4
    module = TrainModule()
    with logging_to(module, "recorder"):
        assert module._recorder == "recorder"
    assert module._recorder is None
    with evaluating(module, None, RandomStream(0)):
        assert not module.training
    restore_modes({module: False})
    assert not module.training
    with pytest.raises(DataError, match="The test data gave no batch"):
        run_once(evaluation(lambda self, batch: None).engine, Plain(CPU), iter(()), None, "test")


class Said:
    """Says that it has four batches."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return 4

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("limit", [None, 3])
def test_data_that_is_shorter_than_it_says_is_not_taken_twice(numbers, limit):
    runs = evaluation(lambda self, batch: {"mean": batch.mean()})
    with pytest.raises(DataError, match=r"The val data says that it has 4 batches and gave 2\. Correct its __len__\."):
        runs.run(Said(numbers), limit)
    assert runs.run(Said(numbers), 2) == {"val/mean": 4.0}
    assert runs.run(numbers) == {"val/mean": 4.0}


def test_data_that_is_used_up(numbers):
    runs, data = evaluation(lambda self, batch: {"mean": batch.mean()}), Said(iter([*numbers, *numbers]))
    assert runs.run(data) == {"val/mean": 4.0}
    with pytest.raises(DataError, match="The val data gave no batch: this Said is empty, or was used up by an earlier pass"):
        runs.run(data)


def test_none_is_no_batch(numbers):
    with pytest.raises(DataError, match="The val data gave None as batch 2 of a pass"):
        evaluation(lambda self, batch: {"one": 1}).run([numbers[0], None])


def test_an_evaluation_has_a_result(numbers):
    with pytest.raises(StepError, match=r"The evaluation of val gave no result: evaluation_step returned None and logged nothing"):
        evaluation(lambda self, batch: None).run(numbers)


def test_a_hook_may_make_something_of_the_outputs(numbers):
    class Looks:
        def on_evaluation_completed(self, engine):
            self.seen = engine.state.iteration

    looks = Looks()
    assert evaluation(lambda self, batch: None, handlers=[looks]).run(numbers) == {}
    assert looks.seen == 2
