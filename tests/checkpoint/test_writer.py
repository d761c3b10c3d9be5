import errno
import threading
from hashlib import sha256

import numpy as np
import pytest

import framework.checkpoint.files as files
from framework.checkpoint import writer
from framework.checkpoint.writer import Entry, HashingWriter


def test_what_is_written_and_its_sum(tmp_path):
    with HashingWriter(tmp_path / "x") as file:
        file.write(b"head")
        file.write(np.arange(256, dtype=np.uint8).data)
        file.write(b"")
    data = b"head" + bytes(range(256))
    assert (tmp_path / "x").read_bytes() == data
    assert file.entry == Entry(260, sha256(data).hexdigest())


def test_large_data_goes_in_pieces_and_is_synced_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_PIECE", 10)
    monkeypatch.setattr(writer, "_SYNC_EVERY", 40)
    calls = []
    for name in ("write", "sync", "close"):
        call = getattr(files, name)
        monkeypatch.setattr(files, name, lambda *args, name=name, call=call: calls.append(name) or call(*args))
    with HashingWriter(tmp_path / "x") as file:
        file.write(bytes(range(95)))
    assert calls == ["write"] * 4 + ["sync"] + ["write"] * 4 + ["sync"] + ["write"] * 2 + ["sync", "close"]
    assert (tmp_path / "x").read_bytes() == bytes(range(95))
    assert file.entry == Entry(95, sha256(bytes(range(95))).hexdigest())


def test_an_existing_file_is_not_written_over(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileExistsError), HashingWriter(tmp_path / "x"):
        pass
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["write", "sync"])
def test_an_error_leaves_no_thread_and_no_sum(tmp_path, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, call, full)
    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"), HashingWriter(tmp_path / "x") as file:
        file.write(b"data")
    assert threading.active_count() == before
    assert not hasattr(file, "entry")
