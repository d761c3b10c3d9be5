import io

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save
from states import filled

from framework import CheckpointError
from framework.checkpoint import tensor_file
from framework.checkpoint.tensor_file import DTYPES, read_tensors, write_tensors


def written(tensors):
    file = io.BytesIO()
    write_tensors(file.write, tensors)
    return file.getvalue()


def test_bytes_are_those_that_the_library_writes():
    tensors = {"b": torch.randn(3, 4), "a": torch.randn(5), "ö": torch.randn(()), "none": torch.randn(2, 0)}
    assert written(tensors) == save(tensors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_library_reads_each_type(dtype):
    tensors = {"x": filled(dtype, (2, 3)), "scalar": filled(dtype, (), 1), "empty": filled(dtype, (0, 2))}
    back = load(written(tensors))
    assert written(back) == written(tensors) == save(tensors)


def test_types_side_by_side_lie_at_multiples_of_their_sizes():
    tensors = {f"{n}{str(dtype)[6:]}": filled(dtype, (3,), n) for dtype in DTYPES for n in range(2)}
    data = written(tensors)
    back = load(data)
    assert set(back) == set(tensors)
    assert all(torch.equal(back[name].view(torch.uint8), tensor.view(torch.uint8)) for name, tensor in tensors.items())
    assert int.from_bytes(data[:8], "little") % 8 == 0


def test_any_strides():
    tensor = torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)
    assert torch.equal(load(written({"x": tensor, "one": torch.ones(1).expand(5)}))["x"], tensor)


def test_no_tensors_are_a_file_too():
    assert load(written({})) == {}


def test_a_tensor_under_two_names_is_written_once(tmp_path):
    tied = torch.randn(2)
    path = tmp_path / "x.safetensors"
    path.write_bytes(written({"b": tied, "a": tied, "c": torch.ones(1)}))
    assert set(load_file(path)) == {"b", "c"}
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "b"}
    back = read_tensors(path)
    assert back["a"] is back["b"]
    assert torch.equal(back["a"], tied)


def test_what_was_read_does_not_hang_on_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(written({"x": torch.ones(1000), "y": torch.ones(10)}))
    back = read_tensors(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert back["x"].sum() == 1000
    assert back["y"].untyped_storage().nbytes() == 40
    back["x"] += 1


def test_names_that_are_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(tensor_file, "_LARGEST_HEADER", 100)
    with pytest.raises(CheckpointError, match=r"The names of 2 tensors take 120 bytes, and a file can hold 100. Join"):
        written({"one": torch.ones(1), "another": torch.ones(1)})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_tensors_on_a_gpu(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(written({"x": torch.arange(6.0, device="cuda").reshape(2, 3).T}))
    assert torch.equal(read_tensors(path)["x"], torch.arange(6.0).reshape(2, 3).T)
