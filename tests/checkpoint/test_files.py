import errno
import json
import os

import pytest

import framework.checkpoint.files as files
from framework import CheckpointError


def test_a_new_folder_is_its_owners(tmp_path):
    files.make_folder(tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o700


def test_folders_that_know_no_sync_are_left_alone(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    files.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        files.sync_folder(tmp_path)


def test_windows_syncs_no_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "name", "nt")
    monkeypatch.setattr(files.os, "open", None)
    files.sync_folder(tmp_path)


def test_removal_follows_no_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "x" / "inner").mkdir(parents=True)
    (tmp_path / "x" / "inner" / "file").touch()
    (tmp_path / "x" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "x" / "broken").symlink_to(tmp_path / "nowhere")
    files.remove(tmp_path / "x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "outside"]


def test_json_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "last.json"
    files.write_json(path, {"a": 1})
    monkeypatch.setattr(files, "rename", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    monkeypatch.undo()
    files.write_json(path, {"a": 3})  # over what the other try has left
    assert json.loads(path.read_text()) == {"a": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_only_plain_files_are_regular(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert [name for name in ("file", "link", "pipe", ".", "missing") if files.is_regular(tmp_path / name)] == ["file"]


def test_a_link_is_not_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    with files.open_regular(tmp_path / "file") as file:
        assert file.read() == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        files.open_regular(tmp_path / "link")


@pytest.mark.fault(6, 7)
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "failed: the disk is full, or a quota .*No space left.*Earlier checkpoints are untouched. Make room"),
        (errno.EDQUOT, "failed: the disk is full"),
        (errno.EFBIG, "failed: the disk is full"),
        (
            errno.EACCES,
            r"^Saving step 3 as runs/x failed: .*Permission denied.*untouched. See that the folder exists and may be written",
        ),
    ],
)
def test_what_is_said_when_the_system_refuses(number, words):
    error = files.cannot_write("Saving step 3 as runs/x", OSError(number, os.strerror(number)))
    with pytest.raises(CheckpointError, match=words):
        raise error
