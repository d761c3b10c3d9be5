"""Folders made to harm whoever reads them."""

import io
import json
import os
import pickle
import sys

import pytest
import torch
from children import in_child
from forging import forge, manifest_of
from states import a_state

from framework.checkpoint import folder as folder_module, manifest as manifest_module
from framework.checkpoint.folder import open_checkpoint, write_checkpoint
from framework.checkpoint.manifest import DamagedError, seal
from framework.checkpoint.prepared import prepare_save

pytestmark = pytest.mark.fault(32)


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def torch_saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def tensor_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TENSOR = b'{"x": {"$tensor": "x"}}'


def hostile_parts(flag):
    """Returns the files of one part each, by what is wrong with them."""
    evil = Evil(flag)
    return {
        "pickle": {"x.json": pickle.dumps(evil)},
        "pickle as tensors": {"x.json": TENSOR, "x.safetensors": pickle.dumps(evil)},
        "torch file": {"x.json": torch_saved(evil)},
        "torch file as tensors": {"x.json": TENSOR, "x.safetensors": torch_saved({"x": evil})},
        "torch file in a tensor's place": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry()}, torch_saved(evil))},
        "unknown tag": {"x.json": b'{"$py/object": "os.mkdir"}'},
        "deep lists": {"x.json": b"[" * 100_000 + b"]" * 100_000},
        "deep tags": {"x.json": b'{"$tuple":[' * 50_000 + b"]}" * 50_000},
        "long number": {"x.json": b"1" * 100_000},
        "no text": {"x.json": b"\xff\xff"},
        "two values": {"x.json": b"1 2"},
        "not a number": {"x.json": b"[NaN]"},
        "missing tensor": {"x.json": b'{"x": {"$tensor": "y"}}', "x.safetensors": tensor_file({"x": entry()}, b"\0" * 4)},
        "no tensors at all": {"x.json": TENSOR},
        "empty tensor file": {"x.json": TENSOR, "x.safetensors": b""},
        "huge header": {"x.json": TENSOR, "x.safetensors": (2**62).to_bytes(8, "little") + b"{}"},
        "header beyond the end": {"x.json": TENSOR, "x.safetensors": (1000).to_bytes(8, "little") + b"{}"},
        "huge tensor": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry(shape=(2**40, 2**20))}, b"\0" * 4)},
        "overflowing shape": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry(shape=(2**63, 2, 2))}, b"\0" * 4)},
        "offsets outside": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry(offsets=(0, 2**40))}, b"\0" * 4)},
        "offsets backwards": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry(offsets=(4, 0))}, b"\0" * 4)},
        "offsets overlap": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry(), "y": entry()}, b"\0" * 4)},
        "unknown dtype": {"x.json": TENSOR, "x.safetensors": tensor_file({"x": entry("os.mkdir")}, b"\0" * 4)},
        "alias of nothing": {
            "x.json": TENSOR,
            "x.safetensors": tensor_file({"__metadata__": {"x": "os.mkdir"}, "y": entry()}, b"\0" * 4),
        },
        "deep header": {"x.json": TENSOR, "x.safetensors": tensor_file(b"[" * 50_000)},
    }


@pytest.mark.parametrize("name", hostile_parts(""))
def test_parts_that_are_none(tmp_path, name):
    flag = tmp_path / "flag"
    checkpoint = open_checkpoint(forge(tmp_path / "step-00000001", hostile_parts(flag)[name]))
    with pytest.raises(DamagedError, match=r"step-00000001/x is damaged or not the framework's: ") as refused:
        checkpoint.read("x")
    assert not any(word in str(refused.value) for word in ("weights_only", "torch.load"))
    assert not flag.exists()


def test_a_name_of_code_is_a_text_like_any_other(tmp_path):
    state = {"_instantiator": "os.mkdir", "_target_": "os.mkdir", "__class__": "os.mkdir", "!!python/object/apply": "os.mkdir"}
    checkpoint = open_checkpoint(forge(tmp_path / "step-00000001", {"run.json": json.dumps(state).encode()}))
    assert checkpoint.read("run") == state


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "manifest.json"])
@pytest.mark.parametrize("kind", ["link to its own copy", "folder", "pipe"])
def test_files_are_plain_files(tmp_path, name, kind):
    path = write_checkpoint(tmp_path, prepare_save(1, a_state(1))) / name
    copy = path.rename(tmp_path / "copy")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(copy)
    with pytest.raises(
        DamagedError, match=rf"{name} is damaged or not the framework's: it is a link or a folder, not a plain file\."
    ):
        open_checkpoint(path.parent)


def test_nothing_outside_the_folder_is_read(tmp_path):
    (tmp_path / "secret.json").write_bytes(b"1")
    folder = forge(tmp_path / "step-00000001", {})
    (folder / "manifest.json").write_bytes(seal(manifest_of({"../secret.json": b"1"})))
    with pytest.raises(DamagedError, match=r"'../secret.json' is no name of a part's file"):
        open_checkpoint(folder)


def test_what_the_manifest_does_not_list_is_not_read(tmp_path):
    folder = forge(tmp_path / "step-00000001", {"run.json": b"1"})
    (folder / "other.json").write_bytes(b"2")
    (folder / "run.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "flag")))
    checkpoint = open_checkpoint(folder)
    assert checkpoint.parts == ("run",)
    assert checkpoint.read("run") == 1
    assert not (tmp_path / "flag").exists()


@pytest.mark.parametrize("size", [10**18, -1, 2**70])
def test_claimed_sizes_are_compared_and_not_believed(tmp_path, size):
    folder = forge(tmp_path / "step-00000001", {"run.json": b"1"}, files={"run.json": {"size": size, "sha256": ""}})
    with pytest.raises(DamagedError, match=rf"run.json is damaged: it has 1 bytes, and {size} were written\."):
        open_checkpoint(folder)


def test_large_json_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "LARGEST_JSON", 100)
    folder = forge(tmp_path / "step-00000001", {"run.json": b" " * 101})
    with pytest.raises(DamagedError, match=r"run.json is damaged or not the framework's: it has 101 bytes; 100 are allowed\."):
        open_checkpoint(folder)
    monkeypatch.setattr(manifest_module, "LARGEST", 100)
    with pytest.raises(DamagedError, match=r"manifest.json is damaged or not the framework's: it is larger than 100 bytes\."):
        open_checkpoint(folder)


def test_nothing_is_imported_compiled_or_run(tmp_path):
    flag = tmp_path / "flag"
    write_checkpoint(tmp_path, prepare_save(7, a_state(7)))
    folders = [forge(tmp_path / name / "step-00000001", parts) for name, parts in hostile_parts(flag).items()]

    def read_them_all(say):
        for part in ("model", "run"):  # a good one first: what reading needs is there then
            open_checkpoint(tmp_path / "step-00000007").read(part)
        with pytest.raises(DamagedError):
            open_checkpoint(folders[0]).read("x")
        seen = []
        watched = {
            "import",
            "exec",
            "compile",
            "marshal.loads",
            "pickle.find_class",
            "os.system",
            "os.exec",
            "os.mkdir",
            "subprocess.Popen",
        }
        sys.addaudithook(lambda event, args: seen.append((event, args)) if event in watched else None)
        for folder in folders:
            with pytest.raises(DamagedError):
                open_checkpoint(folder).read("x")
        say(f"{len(folders)} folders, {seen}")
        eval("1")  # the hook does see
        say(f"{len(seen)} then")

    assert in_child(read_them_all).splitlines() == [f"{len(folders)} folders, []", "2 then"]
    assert not flag.exists()
