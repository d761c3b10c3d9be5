import errno
import os
from pathlib import Path

import pytest
import torch
from forging import forge
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file
from states import STATES, a_state, canonical
from torch import nn

import framework.checkpoint.files as files
from framework import CheckpointError
from framework.checkpoint import folder as folder_module
from framework.checkpoint.folder import open_checkpoint, read_manifest, write_checkpoint
from framework.checkpoint.manifest import DamagedError
from framework.checkpoint.prepared import prepare_save

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support", "ignore:Generating overly large repr")


def save(parent, step=1, parts=None, **more):
    return write_checkpoint(parent, prepare_save(step, a_state(step) if parts is None else parts, **more))


def read_all(checkpoint):
    return {part: checkpoint.read(part) for part in checkpoint.parts}


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path)


def test_what_is_on_the_disk(saved):
    names = ["manifest.json", "model.json", "model.safetensors", "run.json", "run.safetensors"]
    assert saved.name == "step-00000001"
    assert sorted(path.name for path in saved.iterdir()) == names
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_checkpoint_comes_back(saved):
    checkpoint = open_checkpoint(saved)
    assert (checkpoint.path, checkpoint.step, checkpoint.parts, checkpoint.facts) == (saved, 1, ("model", "run"), None)
    assert checkpoint.versions["torch"] == torch.__version__
    assert canonical(read_all(checkpoint)) == canonical(a_state(1))
    model = checkpoint.read("model")
    assert model["net.weight"] is model["head.weight"]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(state=STATES)
def test_any_state_comes_back_from_the_disk(tmp_path_factory, state):
    path = save(tmp_path_factory.mktemp("run"), parts={"run": state})
    assert canonical(open_checkpoint(path).read("run")) == canonical(state)


def test_facts_are_read_without_the_parts(tmp_path):
    path = save(tmp_path, best=True, facts={"epoch": 3, "loss": float("inf"), "shape": (1, 2)})
    (path / "model.json").unlink()
    manifest = read_manifest(path)
    assert (manifest.step, manifest.best, manifest.facts) == (1, True, {"epoch": 3, "loss": float("inf"), "shape": (1, 2)})


def test_the_weights_load_into_plain_pytorch(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    path = save(tmp_path, parts={"model": model.state_dict()})
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other.load_state_dict(load_file(path / "model.safetensors"))
    assert canonical(other.state_dict()) == canonical(model.state_dict())


def test_a_part_without_tensors_has_no_file_for_them(tmp_path):
    path = save(tmp_path, parts={"run": {}})
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "run.json"]
    assert read_all(open_checkpoint(path)) == {"run": {}}


def test_a_checkpoint_may_have_no_parts(tmp_path):
    checkpoint = open_checkpoint(save(tmp_path, parts={}))
    assert checkpoint.parts == ()
    with pytest.raises(CheckpointError, match=r"has no part 'model'\. It has none."):
        checkpoint.read("model")


def test_a_part_that_is_not_there(saved):
    with pytest.raises(CheckpointError, match=r"step-00000001 has no part 'optimizer'\. It has model, run\."):
        open_checkpoint(saved).read("optimizer")


def test_a_step_saved_again_gets_a_number_above_all(tmp_path):
    names = [save(tmp_path).name for _ in range(3)]
    assert names == ["step-00000001", "step-00000001.1", "step-00000001.2"]
    files.remove(tmp_path / "step-00000001.1")
    files.remove(tmp_path / "step-00000001")
    assert save(tmp_path).name == "step-00000001.3"
    assert save(tmp_path, 123456789).name == "step-123456789"


@pytest.mark.fault(34)
def test_a_state_that_cannot_be_stored_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"run\.hparams\.root is a PosixPath, which a checkpoint cannot hold. Store str\(...\)"
    ):
        save(tmp_path, parts={"model": {}, "run": {"hparams": {"root": Path("x")}}})
    with pytest.raises(CheckpointError, match=r"facts\.root is a PosixPath"):
        save(tmp_path, facts={"root": Path("x")})
    with pytest.raises(CheckpointError, match=r"facts hold tensors \(loss\). Store them in a part, or numbers in their place."):
        save(tmp_path, facts={"loss": torch.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_facts_of_the_largest_size_are_read_again(tmp_path):
    facts = [0] * 100_000
    path = save(tmp_path, facts=facts)
    assert (path / "manifest.json").stat().st_size > 250_000
    assert read_manifest(path).facts == facts


def test_there_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*/none\. Give a folder such as runs/a/step-00000012\."):
        open_checkpoint(tmp_path / "none")
    with pytest.raises(DamagedError, match=r"is no checkpoint, or damaged: it has no manifest.json\."):
        open_checkpoint(tmp_path)


def damage(path, kind):
    data = path.read_bytes()
    made = {
        "half": data[: len(data) // 2],
        "one byte less": data[:-1],
        "empty": b"",
        "one byte more": data + b" ",
        "zeros": bytes(len(data)),
        "garbage": bytes(byte * 7 % 256 ^ 0x5A for byte in range(len(data))),
    }
    path.write_bytes(made[kind])


@pytest.mark.fault(3, 5)
@pytest.mark.parametrize("kind", ["half", "one byte less", "empty", "one byte more", "zeros", "garbage"])
@pytest.mark.parametrize("name", ["manifest.json", "model.json", "model.safetensors", "run.json"])
def test_damage_is_found_and_called_so(saved, name, kind):
    damage(saved / name, kind)
    with pytest.raises(DamagedError, match=rf"step-00000001/{name} is damaged: ") as found:
        open_checkpoint(saved)
    assert not any(word in str(found.value) for word in ("weights_only", "pickle", "torch.load"))


@pytest.mark.fault(3)
def test_what_is_said_of_sizes_and_sums(saved):
    damage(saved / "model.json", "one byte less")
    size = (saved / "model.json").stat().st_size
    with pytest.raises(DamagedError, match=rf"model.json is damaged: it has {size} bytes, and {size + 1} were written\."):
        open_checkpoint(saved)
    damage(saved / "run.safetensors", "zeros")
    with pytest.raises(DamagedError, match=r"model.json is damaged: it has"):  # sizes come first: they cost nothing
        open_checkpoint(saved)
    (saved / "model.json").unlink()
    with pytest.raises(DamagedError, match=r"model.json is damaged: it is missing\."):
        open_checkpoint(saved)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"))


def nothing_is_parsed(*args, **more):
    raise AssertionError("parsed before it was verified")


@pytest.mark.fault(4)
@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(
    place=st.floats(0, 1, exclude_max=True),
    name=st.sampled_from(["model.json", "model.safetensors", "run.json", "run.safetensors"]),
)
def test_a_flipped_bit_is_found_before_anything_is_parsed(one, place, name):
    path = one / name
    data = path.read_bytes()
    bit = int(place * len(data) * 8)
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for function in ("decode", "read_tensors"):
                patch.setattr(folder_module, function, nothing_is_parsed)
            with pytest.raises(DamagedError, match=rf"{name} is damaged: its SHA-256 is not the one that was written\."):
                open_checkpoint(one)
    finally:
        path.write_bytes(data)


def test_a_disk_that_cannot_be_read(saved, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    checkpoint = open_checkpoint(saved)
    read, (sizes, sums) = files.open_regular, ("run.json", "model.json")
    monkeypatch.setattr(files, "open_regular", lambda path: broken(path) if path.name == sums else read(path))
    with pytest.raises(DamagedError, match=r"model.json cannot be read: .*Input/output error"):
        open_checkpoint(saved)
    monkeypatch.setattr(files, "open_regular", lambda path: broken(path) if path.name == sizes else read(path))
    with pytest.raises(DamagedError, match=r"run.json cannot be read: .*Input/output error"):
        checkpoint.read("run")


def test_a_checkpoint_that_was_removed_meanwhile(saved):
    checkpoint = open_checkpoint(saved)
    files.remove(saved)
    with pytest.raises(DamagedError, match=r"model is damaged or not the framework's: .*model.json is damaged: it is missing"):
        checkpoint.read("model")


@pytest.mark.parametrize("call", ["make_folder", "create", "write", "sync", "sync_folder", "rename"])
def test_an_error_removes_what_was_begun(tmp_path, monkeypatch, call):
    save(tmp_path, 1)

    def refuse(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, call, refuse)
    with pytest.raises(
        CheckpointError, match=r"^Saving step 2 as .*/step-00000002 failed: .*Input/output error.*untouched"
    ) as error:
        save(tmp_path, 2)
    assert isinstance(error.value.__cause__, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    open_checkpoint(tmp_path / "step-00000001")


def test_an_interruption_removes_what_was_begun(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "sync_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_told_and_is_no_hindrance_later(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync", refuse)
    monkeypatch.setattr(files, "remove_file", refuse)
    with pytest.raises(CheckpointError) as error:
        save(tmp_path)
    assert error.value.__cause__.__notes__ == ["What was begun could not be removed either: [Errno 5] Input/output error"]
    assert [path.name for path in tmp_path.iterdir()] == [f".tmp-1-{os.getpid()}"]
    monkeypatch.undo()
    assert save(tmp_path).name == "step-00000001"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_forged_checkpoint_reads_as_a_saved_one(tmp_path):
    assert read_all(open_checkpoint(forge(tmp_path / "step-00000001", {"run.json": b"[1, 2]"}))) == {"run": [1, 2]}
