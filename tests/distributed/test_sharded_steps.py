"""What happens around the steps of a module that is split over processes."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed.fsdp  # once, not in each process that is forked
from little_model import CPU, SIZE, AfterBackward, Training, all_split, by_hand, loss_of, made, tokens, without_dropout
from ranks import on_ranks
from torch import nn

from framework import FSDP, Norms, SettingError
from framework.distributed.activations import checkpoint_activations
from framework.distributed.blocks import find_blocks
from framework.distributed.group import joined
from framework.handlers import EMA
from framework.module.place import advised
from framework.steps.finite import all_finite, which_finite
from framework.steps.returned_loss import ReturnedLoss

NAN = float("nan")


def _looked_at(rank):
    with joined(CPU) as group:
        net = made()
        training = Training(net, group)
        ema, norms = EMA(decay=0.5), Norms(every=1, layers=True)
        state = SimpleNamespace(module=net, iteration=0, optimizers=training.optimizers)
        ema.on_started(SimpleNamespace(state=state))
        history = []
        for step in range(3):
            training.run([step])
            ema.on_optimizer_step_completed()
            ema.on_iteration_completed()
            history.append(training.whole())
        own = training.whole()
        with ema.evaluation_weights(net):
            averaged = training.whole()
            with torch.no_grad():
                training.backend.inference_step(net, lambda batch, engine: net(batch))(tokens(0), None)
        assert all(torch.equal(value, own[name]) for name, value in training.whole().items())
        with pytest.raises(SettingError, match=r"EMA\.averaged copies the module, and strategy='fsdp' has split it"):
            ema.averaged(net)
        loaded = EMA(decay=0.5)
        loaded.load_state_dict(ema.state_dict())
        with loaded.evaluation_weights(net):
            assert all(torch.equal(value, averaged[name]) for name, value in training.whole().items())
        found = {name: norm.item() for name, norm in norms._measure(training.optimizers["main"], "", net).items()}
        gradients = [each.grad.full_tensor() for each in net.parameters()]
        assert all_finite(net.parameters())
        assert which_finite(list(net.parameters()), CPU) == [True] * len(gradients)
        with torch.no_grad():
            if rank == 1:
                net.layers[2].linear.bias.to_local()[0] = NAN
        names = [name for name, _ in net.named_parameters()]
        finite = dict(zip(names, which_finite(list(net.parameters()), CPU), strict=True))
        assert not all_finite(net.parameters())
        assert all_finite([net.norm.weight])
        return history, averaged, found, [each.norm().item() for each in gradients], [n for n in names if not finite[n]]


def test_averages_norms_and_nan_are_those_of_the_whole():
    for history, averaged, norms, gradients, bad in on_ranks(SIZE, _looked_at):
        for name, value in averaged.items():
            expected = 0.5 * (0.5 * history[0][name] + 0.5 * history[1][name]) + 0.5 * history[2][name]
            torch.testing.assert_close(value, expected)
        assert norms["grad_norm"] == pytest.approx(sum(each**2 for each in gradients) ** 0.5, rel=1e-5)
        whole = [value.norm().item() for value in history[2].values()]
        assert norms["param_norm"] == pytest.approx(sum(each**2 for each in whole) ** 0.5, rel=1e-5)
        assert norms["layer_param_norm/norm"] == pytest.approx(
            sum(history[2][f"norm.{name}"].norm().item() ** 2 for name in ("weight", "bias")) ** 0.5, rel=1e-5
        )
        assert bad == ["layers.2.linear.bias"]


def _stale(rank):
    with joined(CPU) as group:
        net = without_dropout(made())
        training = Training(net, group)

        def look():
            with torch.no_grad():
                net(tokens(0))  # gathers, right before the weights change

        training.step.observer = AfterBackward(look)
        net.norm.eval()  # what is looked at should not count
        training.run(range(3))
        weights = training.whole()

        def fails(net, batch):
            loss_of(net, batch)
            raise KeyError

        training.loss = fails
        with pytest.raises(KeyError):
            training.run([3])
        assert all_split(net)
        training.loss = lambda net, batch: torch.nn.functional.linear(net(batch), net.layers[0].linear.weight)
        with pytest.raises(RuntimeError) as caught, advised():
            training.run([3])
        assert "Return from configure_sharding(self) what is called as one" in caught.value.__notes__[0]
        return weights


def test_no_step_goes_on_with_weights_of_before():
    net = without_dropout(made())
    net.norm.eval()
    expected, _ = by_hand(net, range(3))
    for weights in on_ranks(SIZE, _stale):
        for name, weight in expected.items():
            torch.testing.assert_close(weights[name], weight.detach(), rtol=0, atol=1e-6)


class Guard:
    """Takes what is finite."""

    judges_gradients, judges_each_backward = True, False

    def __init__(self):
        self.left_out = self.made = 0

    def takes_loss(self, names, loss):
        return bool(loss.isfinite())

    def takes_gradients(self, names, optimizers):
        return all_finite([each.grad for group in optimizers[0].param_groups for each in group["params"]])

    def refuse_elsewhere(self, names, what):
        pass

    def note_step(self, names):
        self.made += 1

    def note_left_out(self, names):
        self.left_out += 1


def _left_out(rank):
    with joined(CPU) as group:
        net = without_dropout(made())
        training, guard = Training(net, group), Guard()
        parallel = training.backend.parallel_step(net, lambda batch, engine: training.loss(net, batch))
        forward = lambda engine, batch: (parallel(batch, engine), None)  # noqa: E731
        training.step = ReturnedLoss(training.backend, training.optimizers, forward, guard=guard)
        training.run([0])

        def bad(net, batch):
            return loss_of(net, batch) * (NAN if rank == 1 else 1)

        training.loss = bad
        training.run([7])
        assert all_split(net)
        training.loss = loss_of
        training.step.observer = AfterBackward(lambda: net.layers[2].linear.weight.grad.to_local().mul_(NAN if rank == 1 else 1))
        training.run([8])
        training.step.observer = None
        net.norm.reset_running_stats()
        training.run([1, 2])
        return training.whole(), guard.left_out, guard.made


def test_steps_that_are_left_out_leave_nothing_behind():
    expected, _ = by_hand(without_dropout(made()), range(3))
    for weights, left_out, steps in on_ranks(SIZE, _left_out):
        assert (left_out, steps) == (2, 3)
        for name, weight in expected.items():
            torch.testing.assert_close(weights[name], weight.detach(), rtol=0, atol=1e-6)


def _recomputed(rank, strategy):
    with joined(CPU) as group:
        torch.manual_seed(5)
        runs = []
        for recomputes in (False, True):
            net = made()
            training = Training(net, group, strategy=strategy)
            torch.manual_seed(rank)
            if recomputes:
                with checkpoint_activations(net, find_blocks(net)):
                    training.run(range(3))
            else:
                training.run(range(3))
            runs.append((training.whole(), [layer.calls for layer in net.layers], list(net.state_dict())))
        (weights, calls, names), (same, twice, again) = runs
        assert (calls, twice, names) == ([3] * 3, [6] * 3, again)
        return all(torch.equal(value, same[name]) for name, value in weights.items())


@pytest.mark.parametrize("strategy", [FSDP(), FSDP(reshard_after_forward=False)], ids=str)
def test_activations_computed_anew_give_the_same_bits(strategy):
    assert on_ranks(SIZE, _recomputed, strategy) == [True, True]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        return self.encoder(x)

    def configure_sharding(self):
        return [*self.encoder.layers, self.encoder]  # one in another


def _nested(rank):
    with joined(CPU) as group:
        torch.manual_seed(0)
        net, same = Encoder(), Encoder()
        same.load_state_dict(net.state_dict())
        training = Training(net, group, optimizers=lambda net: {"main": torch.optim.SGD(net.parameters(), lr=0.1)})
        training.loss = lambda net, batch: net(batch)[..., 0].sin().mean()
        x = torch.randn(SIZE, 3, 8)
        with checkpoint_activations(net, find_blocks(net)):
            training.step.run(None, x[rank : rank + 1])
        net.eval()
        with torch.no_grad():
            evaluated = training.backend.inference_step(net, lambda batch, engine: net(batch))(x, None)
        optimizer = torch.optim.SGD(same.parameters(), lr=0.1)
        same(x)[..., 0].sin().mean().backward()
        optimizer.step()
        for name, value in same.named_parameters():
            torch.testing.assert_close(training.whole()[name], value.detach(), rtol=0, atol=1e-6)
        torch.testing.assert_close(evaluated, same.eval()(x).detach(), rtol=0, atol=1e-5)


def test_blocks_may_be_nested_and_torchs_own():
    on_ranks(SIZE, _nested)
