"""Runs in which a step, a sample, a handler or the memory fails: what is raised, what is left, and how they go on."""

import multiprocessing
import signal

import pytest
import torch
from faulty_runs import (
    Does,
    Net,
    Noisy,
    assert_ends_as,
    assert_same_end,
    checkpoints,
    fit,
    go_on,
    loader,
    status,
)

import framework.checkpoint.files as files
from framework import Events, NonFiniteError, seed_all
from framework.backends import Recording
from framework.checkpoint import FolderLock, open_checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")


class Late(Recording):
    """A backend on which reading a number would make something wait, as on a GPU."""

    reads_cost_nothing = False


class Breaks(Net):
    """Does something to its loss or its gradients in some iterations, once it is told to."""

    at, how, explodes = (), None, ()

    def training_step(self, batch, engine):
        loss = super().training_step(batch)
        return self.how(loss) if engine.state.iteration in self.at else loss

    def on_backward_completed(self, engine):
        if engine.state.iteration in self.explodes:
            self.net[4].weight.grad.fill_(float("inf"))


def made(*at, kind=Breaks, how=lambda loss: loss * float("nan"), explodes=()):
    """Returns a module that breaks in these iterations."""
    seed_all(5)
    module = kind()
    module.at, module.how, module.explodes = at, how, explodes
    return module


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return fit(run_dir, module=made()), run_dir


def go_on_mended(run_dir, **changes):
    return go_on(run_dir, module=made(), **changes)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def every(count):
    return {"save_every": Events.ITERATION_COMPLETED(every=count)}


def assert_all_finite(run_dir):
    for folder in (run_dir / "checkpoints").glob("step-*"):
        assert all(value.isfinite().all() for value in open_checkpoint(folder).read("model").values())


# Rows 21 and 22


@pytest.mark.fault(21)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_not_finite(tmp_path, whole, value):
    seen = {}
    module = made(5, how=lambda loss: loss * 0 + float(value))
    keep = Does(4, do=lambda engine: seen.update(weights(module)))
    with pytest.raises(NonFiniteError, match=rf"The loss is {value} in iteration 5 \(epoch 2\)\. Look at the learning rate"):
        fit(tmp_path, keep, module=module, **every(2))
    assert all(torch.equal(parameter, seen[name]) for name, parameter in module.named_parameters())
    assert checkpoints(tmp_path) == ["step-00000004", "step-00000002", "last.json"]
    assert_all_finite(tmp_path)
    with pytest.raises(NonFiniteError, match="in iteration 5"):  # as long as the cause is there
        go_on(tmp_path, module=made(5))
    assert_ends_as(whole, tmp_path, go_on_mended(tmp_path))


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("at", "left"),
    [(2, [0]), (3, [0]), (5, [3, 0]), (6, [3, 0])],
)
def test_a_loss_that_is_read_late(tmp_path, at, left):
    """Weights are damaged then before anyone knows, but no file is."""
    expected = fit(None, module=made(), accelerator=Late(), log_every=100)
    with pytest.raises(NonFiniteError, match=rf"The loss is nan in iteration {at} \(epoch {1 + at // 4}\)\."):
        fit(tmp_path, module=made(at), accelerator=Late(), log_every=100)
    assert checkpoints(tmp_path) == [*(f"step-{step:08d}" for step in left), "last.json"]
    assert_all_finite(tmp_path)
    assert_same_end(go_on_mended(tmp_path, accelerator=Late(), log_every=100), expected)


@pytest.mark.fault(21)
def test_a_loss_of_several_optimizers_names_its_own(tmp_path):
    class Two(Breaks):
        def training_step(self, batch, engine):
            yield "one", self.net(batch[0]).square().mean()
            yield "two", Breaks.training_step(self, batch, engine)

        def configure_optimizers(self):
            return {name: torch.optim.SGD(self.net[place].parameters(), lr=0.1) for name, place in (("one", 0), ("two", 4))}

    with pytest.raises(NonFiniteError, match=r"The loss for 'two' is nan in iteration 4 \(epoch 2\)"):
        fit(tmp_path, module=made(4, kind=Two))
    assert_all_finite(tmp_path)


@pytest.mark.fault(21)
def test_losses_that_are_ignored(tmp_path):
    module, result = fit(tmp_path, module=made(5), nan="ignore")
    assert (result.status, result.state.iteration) == ("completed", 6)
    assert module.net[0].weight.isnan().all()
    assert open_checkpoint(result.last_checkpoint).read("model")["net.0.weight"].isnan().all()  # as asked


@pytest.mark.fault(22)
def test_weights_that_are_not_finite_are_not_saved(tmp_path, whole):
    with pytest.raises(
        NonFiniteError,
        match=r"1 of 6 parameters are not finite after iteration 4, the first is net\.4\.weight\. No checkpoint was written; the "
        r"one before is whole\. Look at the learning rate and the gradients; clip_norm=1\.0 limits them",
    ):
        fit(tmp_path, module=made(explodes=(4,)), **every(1))
    assert checkpoints(tmp_path) == ["step-00000003", "step-00000002", "last.json"]
    assert_all_finite(tmp_path)
    assert_ends_as(whole, tmp_path, go_on_mended(tmp_path))


@pytest.mark.fault(22)
def test_weights_that_are_not_finite_show_in_the_next_loss(tmp_path):
    with pytest.raises(NonFiniteError, match=r"The loss is nan in iteration 5 \(epoch 2\)"):
        fit(tmp_path, module=made(explodes=(4,)))
    assert checkpoints(tmp_path) == ["step-00000003", "step-00000000", "last.json"]
    assert_all_finite(tmp_path)


@pytest.mark.fault(22)
def test_weights_that_are_not_finite_at_the_end_are_not_saved(tmp_path):
    with pytest.raises(NonFiniteError, match="1 of 6 parameters are not finite after iteration 6"):
        fit(tmp_path, module=made(explodes=(6,)))
    assert (status(tmp_path), checkpoints(tmp_path)) == ("running", ["step-00000003", "step-00000000", "last.json"])


# Row 26


class Broken(Noisy):
    def __getitem__(self, index):
        if index == 7:
            raise LookupError("no such picture")
        return super().__getitem__(index)


@pytest.mark.fault(26)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample(tmp_path, whole, workers):
    broken = torch.utils.data.DataLoader(Broken(), batch_size=4, shuffle=True, num_workers=workers)
    with pytest.raises(LookupError, match="no such picture") as caught:
        fit(tmp_path, module=made(), train=broken)
    assert type(caught.value) is LookupError
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "It was raised in sample 7 of Broken." in said
    assert multiprocessing.active_children() == []
    assert_ends_as(whole, tmp_path, go_on_mended(tmp_path, train=loader(num_workers=2 - workers)))


# Row 27


def run_out(loss):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def run_out_in_python(loss):
    raise MemoryError("no room for a list")


def allocate(loss):
    return loss + torch.empty(2**50).sum()


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        (run_out, torch.OutOfMemoryError, "CUDA out of memory"),
        (run_out_in_python, MemoryError, "no room for a list"),
        (allocate, RuntimeError, "can't allocate memory"),
    ],
)
def test_out_of_memory(tmp_path, whole, how, error, text):
    with pytest.raises(error, match=text) as caught:
        fit(tmp_path, module=made(5, how=how), **every(2))
    assert type(caught.value) is error
    note = "\n".join(caught.value.__notes__)
    assert "in the step of iteration 5 with the batch [float32 (4, 4), float32 (4, 1)]" in note
    assert f"last checkpoint {tmp_path}/checkpoints/step-00000004" in note
    assert "accumulate" in note
    assert checkpoints(tmp_path) == ["step-00000004", "step-00000002", "last.json"]
    assert_ends_as(whole, tmp_path, go_on_mended(tmp_path))


# Row 29

HOOKS = ("on_started", "on_epoch_started", "on_get_batch_completed", "on_iteration_completed", "on_epoch_completed", "on_evaluated")
HOOKS += ("on_evaluation_iteration_completed", "on_completed", "on_closed")


def raising(hook, at, closed):
    """A handler whose hook raises when it runs for the `at`-th time, and that notes its end."""

    class Raises:
        count = 0

        def on_exception_raised(self, engine, e):
            closed.append(type(e))

        def on_closed(self):
            closed.append("closed")
            if hook == "on_closed":
                raise ConnectionError("gone")

    def run_hook(self, engine):
        self.count += 1
        if self.count == at:
            raise ConnectionError("gone")

    if hook != "on_closed":
        setattr(Raises, hook, run_hook)
    return Raises()


@pytest.mark.fault(29)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_handler_raises(tmp_path, hook):
    val = loader(shuffle=False)
    expected = fit(None, module=made(), val=val)
    closed, old = [], {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    at = 1 if hook in ("on_started", "on_completed") else 2
    module = made()
    with pytest.raises(ConnectionError, match=r"^gone") as caught:
        fit(tmp_path, raising(hook, at, closed), module=module, train=loader(num_workers=2, persistent_workers=True), val=val)
    assert type(caught.value) is ConnectionError
    assert str(caught.value) == "gone"
    assert closed == (["closed"] if hook == "on_closed" else [ConnectionError, "closed"])
    assert multiprocessing.active_children() == []
    assert {number: signal.getsignal(number) for number in old} == old
    assert status(tmp_path) == "running"
    assert module.training
    with FolderLock(tmp_path):
        pass
    assert_same_end(go_on_mended(tmp_path, val=val), expected)


@pytest.mark.fault(29)
def test_an_error_while_a_save_is_under_way_stays_the_error(tmp_path, whole, monkeypatch):
    """The save fails too, which is told with the error, and does not take its place."""

    def refused(path):
        raise OSError(28, "No space left on device")

    def fail(engine):
        raise ConnectionError("gone")

    monkeypatch.setattr(files, "make_folder", refused)
    with pytest.raises(ConnectionError, match="gone") as caught:
        fit(tmp_path, Does(2, do=fail), module=made(), async_save=True)
    assert "Saving step 0 as" in "\n".join(caught.value.__notes__)
    assert checkpoints(tmp_path) == []
