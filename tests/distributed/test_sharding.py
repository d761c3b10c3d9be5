import warnings

import pytest
import torch
import torch.distributed.fsdp  # once, not in each process that is forked
from little_model import CPU, SIZE, AfterBackward, Training, adamw, all_split, by_hand, is_split, made, tokens, without_dropout
from ranks import on_ranks
from torch import nn

from framework import AMP, DDP, FSDP, ModuleError, Plain, RankError, SettingError
from framework.backends import Clip
from framework.backends.ownership import refuse_foreign
from framework.distributed.blocks import find_blocks
from framework.distributed.group import joined


def _in_parts(rank):
    told = {}
    with joined(CPU) as group:
        net = without_dropout(made(seed=rank))  # that of rank 0 counts
        numbers = sum(each.numel() for each in net.parameters())
        training = Training(net, group, clip=Clip(norm=0.3))
        assert all_split(net)
        assert [type(part).__name__ for part in net.modules()] == [type(part).__name__ for part in made().modules()]
        assert list(net.state_dict()) == list(made().state_dict())
        assert net.head.weight is net.embedding.weight
        assert training.backend.mesh.size() == SIZE
        losses = training.run(range(3))
        told["norm"] = training.step.counter.grad_norms["main"]
        assert type(told["norm"]) is torch.Tensor
        assert [layer.seen[0] for layer in net.layers] == [nn.Parameter] * 3  # whole inside
        assert all_split(net)
        assert all(is_split(state["exp_avg"]) for state in training.optimizers["main"].state.values())
        told["share"] = sum(each.to_local().numel() for each in net.parameters()) / numbers
        told["state"] = sum(s["exp_avg"].to_local().numel() for s in training.optimizers["main"].state.values()) / numbers
        refuse_foreign(net, training.optimizers, CPU)
        told["buffers"] = {name: buffer.clone() for name, buffer in net.named_buffers()}
        told["weights"], told["losses"] = training.whole(), torch.stack(losses)
        before = tokens(9)
        evaluated = training.backend.inference_step(net, lambda batch, engine: net(batch) @ net.head.weight)
        net.eval()
        with torch.no_grad():
            told["evaluated"] = evaluated(before, None)
            assert all_split(net)
            told["called"] = net(before)  # as a hook may, on all ranks
            assert all_split(net)
        net.train()
    # a call that comes later joins anew, and finds the module as it is
    with joined(CPU) as group:
        again = Training(net, group, clip=Clip(norm=0.3))
        again.optimizers["main"].load_state_dict(training.optimizers["main"].state_dict())
        again.run(range(3, 5))
        told["later"] = again.whole()
    return told


def test_each_rank_has_a_part_and_all_train_as_one():
    one, two = on_ranks(SIZE, _in_parts)
    net = without_dropout(made())
    weights, norms = by_hand(net, range(3), clip=0.3)
    assert one["share"] + two["share"] == one["state"] + two["state"] == 1
    assert 0.45 < one["share"] < 0.55 or 0.45 < two["share"] < 0.55
    for name, weight in weights.items():
        torch.testing.assert_close(one["weights"][name], weight.detach(), rtol=0, atol=1e-6)
        assert torch.equal(one["weights"][name], two["weights"][name])
    assert one["norm"].item() == pytest.approx(norms[-1], abs=1e-6)
    for name, buffer in one["buffers"].items():  # else each would have its own
        assert torch.equal(buffer, two["buffers"][name])
    with torch.no_grad():
        torch.testing.assert_close(one["called"] @ one["weights"]["embedding.weight"], one["evaluated"])
    net = without_dropout(made())
    weights, _ = by_hand(net, range(5), clip=0.3)
    for name, weight in weights.items():
        torch.testing.assert_close(one["later"][name], weight.detach(), rtol=0, atol=1e-6)


def _in_bf16(rank):
    with joined(CPU) as group:
        net = without_dropout(made())
        training = Training(net, group, AMP(CPU, "bf16"))
        training.run(range(3))
        assert {layer.seen[1:] for layer in net.layers} == {(torch.bfloat16, torch.bfloat16)}
        assert {each.dtype for each in net.parameters()} == {torch.float32}
        low = training.whole()
        net = without_dropout(made())
        training = Training(net, group, AMP(CPU, "bf16"), FSDP(param_dtype=torch.float32, reduce_dtype=torch.bfloat16))
        training.run(range(3))
        assert {layer.seen[1] for layer in net.layers} == {torch.float32}
        return low, training.whole()


def test_blocks_are_gathered_in_the_precision():
    weights, _ = by_hand(without_dropout(made()), range(3))
    for low, high in on_ranks(SIZE, _in_bf16):
        for name, weight in weights.items():
            torch.testing.assert_close(low[name], weight.detach(), rtol=0, atol=0.05)
            torch.testing.assert_close(high[name], weight.detach(), rtol=0, atol=0.05)


def _inf_in_one_part(rank):
    with joined(CPU) as group, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that fp16 on the CPU is slow
        skipped = []
        for optimizers in (adamw, lambda net: {"a": torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)}):
            inner = AMP(CPU, "fp16", scaler=torch.amp.GradScaler("cpu", init_scale=64.0))
            training = Training(made(), group, inner, optimizers=optimizers)
            before = training.whole()

            def plant(net=training.net):
                weight = net.layers[1].linear.weight
                weight.grad.to_local()[0, 0] = float("inf") if rank == 1 else 0.0

            training.step.observer = AfterBackward(plant)
            training.run([0])
            training.step.counter.settle()
            (count,) = training.step.counter.skipped.values()
            unchanged = all(torch.equal(value, before[name]) for name, value in training.whole().items())
            skipped.append((count, unchanged, inner.scaler.get_scale()))
        return skipped


def test_an_inf_in_the_part_of_one_rank_makes_all_skip():
    assert on_ranks(SIZE, _inf_in_one_part) == [[(1, True, 32.0)] * 2] * SIZE


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2).half()


def _refused(rank):
    with joined(CPU) as group:
        with pytest.raises(ModuleError, match="The parameter scale of Single is a single number without a dimension"):
            Training(Single(), group)
        with pytest.raises(ModuleError, match=r"of several types: one.weight torch.float32 and two.weight torch.float16. Give"):
            Training(Mixed(), group)
        Training(Mixed(), group, blocks=lambda net: [net.two])
        with pytest.raises(RankError, match=r"parameter weight of Linear is float32 \(2, 3\) on rank 1 and float32 \(2, 2\)"):
            Training(nn.Linear(2 + rank, 2), group)
        with pytest.raises(SettingError, match=r"optimizer 'main' \(LBFGS\) needs a closure .* strategy='fsdp' does not allow"):
            Training(nn.Linear(2, 2), group, optimizers=lambda net: {"main": torch.optim.LBFGS(net.parameters())})
        net = made()
        Training(net, group)
        Training(net, group)
        with pytest.raises(SettingError, match=r"This Net is in parts by FSDP\(.* Use the same strategy and precision"):
            Training(net, group, AMP(CPU, "bf16"))
        with pytest.raises(SettingError, match="This Net is in parts over the processes, as strategy='fsdp' leaves it"):
            DDP().over(Plain(CPU), group, find_blocks).place(net)
    torch.distributed.destroy_process_group()
    message = "This Net is in parts over processes that have left each other since"
    with joined(CPU) as group, pytest.raises(SettingError, match=message):
        Training(net, group)


def test_what_cannot_be_split_is_refused():
    on_ranks(SIZE, _refused)
