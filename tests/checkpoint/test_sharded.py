"""Checkpoints of tensors of which each process holds a part. What several real processes do is in tests/distributed."""

import gc
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from children import in_child
from forging import forge
from safetensors.torch import save as safetensors_of
from states import canonical, filled
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from framework import CheckpointError
from framework.checkpoint import files, sharded
from framework.checkpoint.background import BackgroundSaver
from framework.checkpoint.folder import open_checkpoint, write_checkpoint
from framework.checkpoint.manifest import DamagedError, is_shard
from framework.checkpoint.prepared import prepare_save
from framework.checkpoint.sharded import is_dtensor, is_sharded
from framework.checkpoint.store import CheckpointStore
from framework.checkpoint.tensor_file import DTYPES
from framework.distributed.group import joined


@pytest.fixture
def group():
    with joined(torch.device("cpu"), alone=True) as group:
        yield group


@pytest.fixture
def mesh(group):
    return init_device_mesh("cpu", (1,))


@pytest.fixture
def split(mesh):
    return lambda tensor, *placements: distribute_tensor(tensor, mesh, placements or [Shard(0)], src_data_rank=None)


def shards_in(path):
    return sorted(file.name for file in path.iterdir() if is_shard(file.name))


def shard(pieces):
    """Returns the bytes of a shard file; of each piece the tensor and where it begins."""
    places = json.dumps({key: {"saved_offsets": start} for key, (_, start) in pieces.items()})
    return safetensors_of({key: tensor for key, (tensor, _) in pieces.items()}, {"DCP_SHARDING_INFO": places})


NAME = "shard-{:05d}-model-00001-of-00001.safetensors"
WEIGHT = torch.arange(12.0).reshape(4, 3)
STATE = {"shapes": {"w": [4, 3]}, "state": {"w": {"$tensor": "w"}, "step": 3}}


def forged(folder, *shards, state=STATE, **changes):
    """Makes a sharded checkpoint of these shard files; returns its folder."""
    made = {NAME.format(number): data for number, data in enumerate(shards, 1)}
    text = state if isinstance(state, bytes) else json.dumps(state).encode()
    return forge(folder / "step-00000001", {"x.json": text, **made}, **{"format": 2, "sharded": ["x"], **changes})


def rows(*cuts, key="x/w", tensor=WEIGHT):
    """Returns shard files of rows, as FSDP cuts them."""
    return [shard({key: (tensor[a:b].clone(), [a, 0])}) for a, b in zip((0, *cuts), (*cuts, len(tensor)), strict=True)]


def test_a_state_comes_back_whole_without_a_group_and_split_with_one(tmp_path, group, mesh, split):
    tied = split(filled(torch.float32, (5, 2)))
    state = {
        "types": {str(dtype): split(filled(dtype, (3, 2))) for dtype in DTYPES},
        "tied": [tied, (tied, {7: tied.detach()})],
        "strided": split(torch.arange(6.0).reshape(2, 3).mT),
        "everywhere": split(torch.tensor(3), Replicate()),
        "empty": split(torch.zeros(0, 4)),
        "parameter": torch.nn.Parameter(split(torch.ones(2))),
        "plain": [torch.ones(3), 1.5, None],
    }
    path = write_checkpoint(tmp_path, prepare_save(1, {"model": state, "run": {"lr": 0.1}}, facts=[1]), group)
    assert shards_in(path) == [NAME.format(1)]
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["format"], manifest["sharded"]) == (2, ["model"])
    checkpoint = open_checkpoint(path)
    assert (checkpoint.parts, checkpoint.facts) == (("model", "run"), [1])
    whole = checkpoint.read("model")
    assert canonical(whole) == canonical(_map(state, lambda tensor: tensor.to_local() if is_dtensor(tensor) else tensor))
    assert whole["tied"][0] is whole["tied"][1][0] is whole["tied"][1][1][7]
    assert (is_sharded(state), is_sharded(whole), is_sharded([0, (state,)])) == (True, False, True)
    on_mesh = checkpoint.read("model", mesh)
    assert on_mesh["strided"].placements == (Shard(0),)
    assert on_mesh["everywhere"].placements == (Replicate(),)
    assert type(on_mesh["plain"][0]) is torch.Tensor
    assert canonical(_map(on_mesh, lambda tensor: tensor.to_local() if is_dtensor(tensor) else tensor)) == canonical(whole)
    assert checkpoint.read("run", mesh) == {"lr": 0.1}


def _map(state, function):
    if isinstance(state, dict):
        return {key: _map(value, function) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_map(value, function) for value in state)
    return function(state)


def test_without_such_tensors_everything_is_as_it_was(tmp_path, group):
    alone = write_checkpoint(tmp_path, prepare_save(1, {"run": {"x": torch.ones(2)}}))
    together = write_checkpoint(tmp_path, prepare_save(1, {"run": {"x": torch.ones(2)}}), group)
    contents = [{file.name: file.read_bytes() for file in sorted(path.iterdir())} for path in (alone, together)]
    assert contents[0] == contents[1]
    assert b'"format": 1,' in contents[0]["manifest.json"]
    assert b"sharded" not in contents[0]["manifest.json"]


def test_large_shards_take_several_files_and_never_many(tmp_path, group, split, monkeypatch):
    monkeypatch.setattr(sharded, "_FILE_BYTES", 100)
    state = {str(number): split(torch.full((10,), float(number))) for number in range(20)}
    path = write_checkpoint(tmp_path, prepare_save(1, {"model": state}), group)
    assert shards_in(path) == [f"shard-00001-model-{number:05d}-of-00010.safetensors" for number in range(1, 11)]
    assert canonical(open_checkpoint(path).read("model")) == canonical(_map(state, DTensor.to_local))
    monkeypatch.setattr(sharded, "_FILE_BYTES", 1)
    path = write_checkpoint(tmp_path, prepare_save(2, {"model": state}), group)
    assert len(shards_in(path)) == 16
    assert canonical(open_checkpoint(path).read("model")) == canonical(_map(state, DTensor.to_local))


def test_all_processes_have_to_save_together(tmp_path, split):
    store = CheckpointStore(tmp_path)
    parts = {"model": {"weight": split(WEIGHT)}}
    words = "Step 1 holds model/weight, of which each process has a part"
    with pytest.raises(CheckpointError, match=rf"{words}: all of them have to save it, together\. Pass group\."):
        store.save(1, parts)
    saver = BackgroundSaver(store)
    with pytest.raises(
        CheckpointError, match=rf"{words}, and such a save cannot be made in the background\. Use .*; with fit, async_save=False\."
    ):
        saver.save(1, parts)
    assert saver.close() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(34)
def test_what_cannot_be_stored(mesh, split):
    unsummed = DTensor.from_local(WEIGHT, mesh, [Partial()])
    with pytest.raises(
        CheckpointError, match=r"model\.w is a DTensor whose sum over the processes is not made yet, .* Store its full_tensor\(\)\."
    ):
        prepare_save(1, {"model": {"w": unsummed}})
    with pytest.raises(CheckpointError, match=r"model\.w is a DTensor of torch.complex64, .* or keep it whole in each process\."):
        prepare_save(1, {"model": {"w": split(torch.ones(2, dtype=torch.complex64))}})
    with pytest.raises(CheckpointError, match=r"facts hold tensors \(w\)"):
        prepare_save(1, {}, facts={"w": split(WEIGHT)})


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("raised", "error", "words"),
    [
        (OSError(28, "No space left on device"), CheckpointError, "Saving step 2 as .* failed: the disk is full"),
        (ValueError("odd"), CheckpointError, r"^The shards of rank 0 could not be written: ValueError: odd$"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
    ids=["disk", "torch", "Ctrl-C"],
)
def test_a_shard_that_cannot_be_written(tmp_path, group, split, monkeypatch, raised, error, words):
    store = CheckpointStore(tmp_path)
    before = store.save(1, {"model": {"w": split(WEIGHT)}}, group=group)

    def fail(*args):
        raise raised

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem.FileSystem.create_stream", fail)
    with pytest.raises(error, match=words):
        store.save(2, {"model": {"w": split(WEIGHT)}}, group=group)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.json", before.name]
    assert torch.equal(store.newest().read("model")["w"], WEIGHT)


def test_every_shard_file_is_synced(tmp_path, group, split, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", lambda file: synced.append(file.name.rpartition("/")[2]))
    write_checkpoint(tmp_path, prepare_save(1, {"model": {"w": split(WEIGHT)}}), group)
    assert synced == [NAME.format(1), "model.json", "manifest.json"]


@pytest.mark.parametrize("cuts", [(), (2,), (1, 2, 3), (2, 4, 4), (0, 3)], ids=str)
def test_shards_of_any_number_of_processes_are_read(tmp_path, mesh, cuts):
    checkpoint = open_checkpoint(forged(tmp_path, *rows(*cuts)))
    assert canonical(checkpoint.read("x")) == canonical({"w": WEIGHT, "step": 3})
    assert torch.equal(checkpoint.read("x", mesh)["w"].to_local(), WEIGHT)


@pytest.mark.fault(4)
def test_any_flipped_bit_is_found_and_the_checkpoint_before_is_used(tmp_path, group, split):
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, {"model": {"w": split(WEIGHT + step)}}, group=group)
    path = tmp_path / "step-00000002" / NAME.format(1)
    good = path.read_bytes()
    for bit in range(0, len(good) * 8, 97):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        with pytest.raises(DamagedError, match=r"shard-00001-.* is damaged: its SHA-256 is not the one that was written\."):
            open_checkpoint(path.parent)
    with pytest.warns(UserWarning, match=r"shard-00001-.* is damaged: .*step-00000001 is used instead\."):
        assert torch.equal(store.newest().read("model")["w"], WEIGHT + 1)
    path.unlink()
    with pytest.raises(DamagedError, match=r"shard-00001-.* is damaged: it is missing\."):
        open_checkpoint(path.parent)


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return self.flag.mkdir, ()


def no_shards(flag):
    """Returns shard files and structures that are wrong, by what is wrong with them."""
    good = rows(2)
    return {
        "one is missing": (good[:1], STATE),
        "the first is missing": (good[1:], STATE),
        "one comes twice": ([*good, good[1]], STATE),
        "they overlap": ([good[0], shard({"x/w": (WEIGHT[1:].clone(), [1, 0])})], STATE),
        "beyond the shape": ([good[0], shard({"x/w": (WEIGHT[2:].clone(), [3, 0])})], STATE),
        "before the start": ([good[1], shard({"x/w": (WEIGHT[:2].clone(), [-2, 0])})], STATE),
        "other dimensions": ([good[0], shard({"x/w": (WEIGHT[2:].reshape(-1).clone(), [2])})], STATE),
        "another type": ([good[0], shard({"x/w": (WEIGHT[2:].half(), [2, 0])})], STATE),
        "another name": (rows(2, key="y/w"), STATE),
        "no place": ([good[0], safetensors_of({"x/w": WEIGHT[2:].clone()}, {"DCP_SHARDING_INFO": "{}"})], STATE),
        "no places": ([good[0], safetensors_of({"x/w": WEIGHT[2:].clone()})], STATE),
        "a deep place": ([good[0], safetensors_of({"x/w": WEIGHT[2:].clone()}, {"DCP_SHARDING_INFO": "[" * 50_000})], STATE),
        "pickle": ([good[0], pickle.dumps(Evil(flag))], STATE),
        "pickle as places": ([good[0], safetensors_of({"x/w": WEIGHT[2:].clone()}, {"DCP_SHARDING_INFO": "\x80\x04."})], STATE),
        "nothing": ([good[0], b""], STATE),
        "a huge header": ([good[0], (2**62).to_bytes(8, "little") + b"{}"], STATE),
        "cut": ([good[0], good[1][:-1]], STATE),
        "a huge shape": (good, {**STATE, "shapes": {"w": [2**40, 2**20]}}),
        "a negative shape": (good, {**STATE, "shapes": {"w": [-4, -3]}}),
        "a shape of texts": (good, {**STATE, "shapes": {"w": ["4", "3"]}}),
        "a shape of fractions": (good, {**STATE, "shapes": {"w": [4.0, 3.0]}}),
        "no shape": (good, {**STATE, "shapes": {}}),
        "no shapes": (good, {"state": {}}),
        "no state": (good, {"shapes": {"w": [4, 3]}}),
        "a list": (good, []),
        "shapes in a list": (good, {**STATE, "shapes": ["w"]}),
        "a tensor of none": (good, {**STATE, "shapes": {"w": [4, 3], "v": [1]}}),
    }


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", no_shards(Path()))
def test_shards_that_are_none(tmp_path, name):
    flag = tmp_path / "flag"
    made, state = no_shards(flag)[name]
    with pytest.raises(DamagedError, match=r"step-00000001/x is damaged or not the framework's: "):
        open_checkpoint(forged(tmp_path, *made, state=state)).read("x")
    assert not flag.exists()


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 1}, "is no name of a part's file"),
        ({"sharded": []}, "is no name of a part's file"),
        ({"sharded": ["y"]}, "'y' is sharded, and no part"),
        ({"sharded": None}, "NoneType"),
        ({"sharded": [["x"]]}, r"\['x'\] is sharded"),
    ],
    ids=str,
)
def test_what_a_manifest_may_not_say_of_shards(tmp_path, changes, words):
    with pytest.raises(DamagedError, match=f"it is no manifest of format . .*{words}"):
        open_checkpoint(forged(tmp_path, *rows(2), **changes))


@pytest.mark.fault(32)
def test_nothing_that_is_not_listed_is_read_and_nothing_is_run(tmp_path):
    flag = tmp_path / "flag"
    folder = forged(tmp_path, *rows(2))
    evil = pickle.dumps(Evil(flag))
    for name in (".metadata", "__0_0.distcp", NAME.format(9), "model.safetensors", "model.safetensors.index.json"):
        (folder / name).write_bytes(evil)
    (folder / NAME.format(3)).write_bytes(rows(2)[0])  # a good one, which would come twice
    bad = [forged(tmp_path / str(n), *made, state=state) for n, (made, state) in enumerate(no_shards(flag).values())]

    def read_them_all(say):
        gc.disable()  # groups that the parent may have left are not for this process to end
        assert torch.equal(open_checkpoint(folder).read("x")["w"], WEIGHT)  # what reading needs is imported now
        seen = []
        watched = {"import", "exec", "compile", "marshal.loads", "pickle.find_class", "os.system", "os.mkdir", "subprocess.Popen"}
        sys.addaudithook(lambda event, args: seen.append((event, args)) if event in watched else None)
        assert torch.equal(open_checkpoint(folder).read("x")["w"], WEIGHT)
        for each in bad:
            with pytest.raises(DamagedError):
                open_checkpoint(each).read("x")
        say(str(seen))

    assert in_child(read_them_all) == "[]\n"
    assert not flag.exists()
