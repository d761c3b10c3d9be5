"""What one number of processes has saved goes on in any other, bit for bit."""

import pytest
import torch
import torch._dynamo  # DTensors import it, which takes seconds: once here, not in every process
import torch.distributed.checkpoint
from ranks import on_ranks
from safetensors.torch import load_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from framework import CheckpointError, TrainModule
from framework.checkpoint.folder import open_checkpoint
from framework.checkpoint.sharded import is_dtensor, is_sharded
from framework.checkpoint.store import CheckpointStore
from framework.distributed.group import joined
from framework.module.resuming.optimizer_state import dump_optimizer, load_optimizer
from framework.module.resuming.placing import load_module, placed_by_name, placed_by_shape, placed_like

CPU = torch.device("cpu")


class Net(TrainModule):
    """Sizes that no number of processes divides, tied weights, running means, a frozen parameter."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(7, 7), nn.Linear(7, 7)])
        self.norm = nn.BatchNorm1d(7)
        self.first = nn.Linear(7, 3, bias=False)
        self.second = nn.Linear(7, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x):
        for block in self.blocks:
            x = block(x).tanh()
        return (self.first(self.norm(x)) + self.second(x)) * self.scale


def made(group):
    """Returns a module, split where there is a group, the mesh, and optimizers."""
    torch.manual_seed(5)
    module, mesh = Net(), None
    if group is not None:
        mesh = init_device_mesh("cpu", (group.world_size,))
        for part in (*module.blocks, module):
            fully_shard(part, mesh=mesh)
    rest = [each for part in (module.norm, module.first) for each in part.parameters()]
    adamw = torch.optim.AdamW(module.blocks.parameters(), lr=0.01, amsgrad=True)
    return module, mesh, {"adamw": adamw, "sgd": torch.optim.SGD([*rest, module.scale], lr=0.1, momentum=0.9)}


def train(module, optimizers, steps):
    for step in steps:
        x = torch.randn(6, 7, generator=torch.Generator().manual_seed(step))
        module(x).square().mean().backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()


def parts_of(module, optimizers):
    names = {parameter: name for name, parameter in module.named_parameters()}
    averaged = {name: each.detach().clone() for name, each in module.state_dict().items()}
    return {
        "model": dict(module.state_dict()),
        "optimizer": {name: dump_optimizer(optimizer, names) for name, optimizer in optimizers.items()},
        "handlers": {"EMA/0": {"n_averaged": 3, "averaged": averaged}},
    }


def take_up(checkpoint, mesh, module, optimizers):
    """Puts back what a checkpoint holds; returns the state of the handlers."""
    parts = {part: checkpoint.read(part, mesh) for part in checkpoint.parts}
    load_module(module, parts["model"])
    for name, optimizer in optimizers.items():
        load_optimizer(optimizer, parts["optimizer"][name], dict(module.named_parameters()), name)
    return placed_by_name(parts["handlers"], module.state_dict())


def go_on(rank, folder, step, trained=0):
    """Goes on from the newest checkpoint, if there is one, and saves; returns the weights after two steps more."""
    with joined(CPU, alone=True) as group:
        module, mesh, optimizers = made(group if group.world_size > 1 else None)
        store = CheckpointStore(folder, keep=None)
        newest = store.newest()
        handlers = None if newest is None else take_up(newest, mesh, module, optimizers)
        train(module, optimizers, range(trained))
        parts = parts_of(module, optimizers)
        if handlers is not None:
            assert is_sharded(handlers) == (mesh is not None)
            parts["handlers"] = handlers
        assert is_sharded(parts) == (mesh is not None)
        store.save(step, parts, group=group if is_sharded(parts) else None)
        train(module, optimizers, range(trained, trained + 2))
        return whole(module)


def leaves(state, path=""):
    if isinstance(state, dict):
        return {name: leaf for key, value in state.items() for name, leaf in leaves(value, f"{path}/{key}").items()}
    if isinstance(state, list | tuple):
        return {name: leaf for key, value in enumerate(state) for name, leaf in leaves(value, f"{path}/{key}").items()}
    return {path: state}


@pytest.mark.fault(20)
def test_four_two_one_and_four_processes(tmp_path):
    sizes = (4, 2, 1, 4)
    after = [on_ranks(size, go_on, tmp_path, step, 0 if step else 3) for step, size in enumerate(sizes)]
    checkpoints = CheckpointStore(tmp_path).checkpoints()[::-1]
    assert [sum(file.name.startswith("shard-") for file in path.iterdir()) for path in checkpoints] == [4, 2, 0, 4]
    saved = [{part: open_checkpoint(path).read(part) for part in ("model", "optimizer", "handlers")} for path in checkpoints]
    first = leaves(saved[0])
    kept = {name.rpartition("/")[2] for name in first if "/state/" in name}
    assert kept == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"}
    assert all(first[name].count_nonzero() > 0 for name in first if "/state/" in name)
    for state in map(leaves, saved[1:]):
        assert state.keys() == first.keys()
        for name, one in first.items():
            other = state[name]
            same = one.dtype == other.dtype and torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
            assert same, name
    assert saved[3]["model"]["first.weight"] is saved[3]["model"]["second.weight"]
    on_any = [each for ranks in after[1:] for each in ranks]
    assert all(torch.allclose(each[name], on_any[0][name], atol=1e-6) for each in on_any for name in each)


def four_directions(rank):
    with joined(CPU) as group:
        mesh = init_device_mesh("cpu", (group.world_size,))
        values = torch.arange(10.0).reshape(5, 2)
        split = distribute_tensor(values, mesh, [Shard(0)], src_data_rank=None)
        across = distribute_tensor(torch.zeros(5, 2), mesh, [Shard(1)], src_data_rank=None)
        everywhere = distribute_tensor(torch.zeros(5, 2), mesh, [Replicate()], src_data_rank=None)
        assert placed_like(values, torch.zeros(5, 2)) is values
        for saved in (values, split):
            assert torch.equal(placed_like(saved, torch.zeros(5, 2)), values)
            for own in (split, across, everywhere):
                placed = placed_like(saved, own)
                assert (type(placed), placed.placements) == (DTensor, own.placements)
                assert torch.equal(placed.full_tensor(), values)
        part = placed_like(values, split).to_local()
        assert part.untyped_storage().nbytes() == part.nbytes  # the whole is not held
        state = {"exp_avg": values, "step": torch.tensor(3.0), "rows": [split[0], (1, "x")]}
        placed = placed_by_shape(state, split)
        assert (is_dtensor(placed["exp_avg"]), is_dtensor(placed["step"]), is_dtensor(placed["rows"][0])) == (True, False, True)
        placed = placed_by_shape(placed, torch.zeros(5, 2))
        assert not is_sharded(placed)
        assert torch.equal(placed["rows"][0], values[0])
        named = placed_by_name([{"w": values, "other": values, "x": [1]}], {"w": split, "other": torch.zeros(1)})
        assert (is_dtensor(named[0]["w"]), named[0]["other"] is values, named[0]["x"]) == (True, True, [1])
        return "done"


def test_saved_tensors_take_the_form_of_those_that_are_there():
    assert on_ranks(2, four_directions) == ["done"] * 2


def use_files(rank, folder, plain):
    """Loads from every kind of file into a split module, and exports it."""
    with joined(CPU) as group:
        module, _, optimizers = made(group)
        train(module, optimizers, range(2))
        parts, facts = (
            {"model": dict(module.state_dict()), "handlers": {}},
            {"class": "Net", "hparams": {"values": {}, "others": []}},
        )
        checkpoint = CheckpointStore(folder / "split" / "checkpoints").save(2, parts, group=group, facts=facts)
        module.export(folder / "split.safetensors")
        with pytest.raises(CheckpointError) as refused:
            module.export(folder / "none" / "split.safetensors")
        expected = whole(module)
        for path in (folder / "whole", folder / "split", checkpoint, folder / "whole.safetensors", folder / "split.safetensors"):
            other, *_ = made(group)
            before = {name: id(parameter) for name, parameter in other.named_parameters()}
            other.load_weights(path)
            assert {name: id(parameter) for name, parameter in other.named_parameters()} == before
            assert [name for name, each in other.state_dict().items() if is_dtensor(each)] == [*before, "second.weight"]
            assert same(whole(other), plain if path.stem == "whole" else expected), path
        other.blocks.append(nn.Linear(1, 1))
        with pytest.raises(CheckpointError, match=r"are not those of this [\s\S]*blocks.2.weight: missing in the checkpoint"):
            other.load_weights(folder / "split")
        return str(refused.value), expected


def whole(module):
    return {name: each.full_tensor() if is_dtensor(each) else each.clone() for name, each in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(each, other[name]) for name, each in one.items())


def test_weights_go_from_every_kind_of_file_into_every_kind_of_module(tmp_path):
    torch.manual_seed(6)
    plain = Net()
    for name in ("whole", "split"):
        CheckpointStore(tmp_path / name / "checkpoints").prepare()
    CheckpointStore(tmp_path / "whole" / "checkpoints").save(1, {"model": dict(plain.state_dict())})
    plain.export(tmp_path / "whole.safetensors")
    (first, expected), (second, _) = on_ranks(2, use_files, tmp_path, whole(plain))
    assert first.startswith("Writing ")
    assert second.startswith("Rank 0 could not do its part of the export to ")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "split", "whole.safetensors", "split.safetensors"}
    assert same(load_file(tmp_path / "split.safetensors"), expected)
    assert same(whole(Net.load(tmp_path / "split", which="last")), expected)  # in this process, which is alone
    plain.load_weights(tmp_path / "split")
    assert same(whole(plain), expected)
