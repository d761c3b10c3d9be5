"""Runs whose files are damaged, forged, of another version, or copied about."""

import json
import os
import pickle
from hashlib import sha256

import pytest
import torch
from faulty_runs import (
    Died,
    Does,
    assert_ends_as,
    checkpoints,
    die,
    difference,
    fit,
    go_on,
    status,
)

from framework import CheckpointError, Events, ResumeError, __version__
from framework.checkpoint.manifest import seal

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def killed(tmp_path):
    """A run that was killed in iteration 5, with checkpoints of the iterations 2 and 4."""
    with pytest.raises(Died):
        fit(tmp_path, Does(5, do=die), save_every=Events.ITERATION_COMPLETED(every=2))
    assert checkpoints(tmp_path) == ["step-00000004", "step-00000002", "last.json"]
    return tmp_path


def newest(run_dir):
    return run_dir / "checkpoints" / "step-00000004"


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


DAMAGES = {
    "cut to half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "cut to nothing": lambda data: b"",
    "a bit at its end": lambda data: flip(data, len(data) - 3),
    "a bit in the middle": lambda data: flip(data, len(data) // 2),
    "zeros": lambda data: bytes(len(data)),
    "something else": lambda data: b"\x80\x02}q\x00." * (len(data) // 6),
}


@pytest.mark.fault(3, 4, 5)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "run.json", "manifest.json"])
def test_the_newest_is_damaged(killed, whole, name, damage):
    file = newest(killed) / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.warns(UserWarning, match=rf"step-00000004/{name} is damaged.*step-00000002 is used instead\.") as warned:
        ended = go_on(killed, save_every=100)
    assert not any("weights_only" in str(each.message) for each in warned)
    assert_ends_as(whole, killed, ended)


@pytest.mark.fault(3)
@pytest.mark.parametrize("gone", ["optimizer.safetensors", "run.json", "manifest.json"])
def test_a_file_of_the_newest_is_gone(killed, whole, gone):
    (newest(killed) / gone).unlink()
    with pytest.warns(UserWarning, match=rf"(04/{gone} is damaged: it is missing|it has no {gone}).*02 is used instead"):
        ended = go_on(killed)
    assert_ends_as(whole, killed, ended)


@pytest.mark.fault(3, 5)
def test_the_damaged_one_does_not_count(killed, whole):
    """`keep` whole ones stay; the damaged one goes with those that are older than the new ones."""
    file = newest(killed) / "model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.warns(UserWarning, match="is used instead"), pytest.raises(Died):
        go_on(killed, Does(5, do=die), save_every=Events.ITERATION_COMPLETED(every=1))
    assert checkpoints(killed) == ["step-00000004.1", "step-00000003", "last.json"]
    assert_ends_as(whole, killed, go_on(killed))


@pytest.mark.fault(3, 4, 5)
@pytest.mark.parametrize("resume", ["auto", "must"])
def test_all_are_damaged(killed, resume):
    for number, name in ((4, "model.safetensors"), (2, "run.json")):
        file = killed / "checkpoints" / f"step-0000000{number}" / name
        file.write_bytes(flip(file.read_bytes(), 100))
    before = (killed / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"No checkpoint in .* is whole: .*04/model\.safetensors.* .*02/run\.json is d"):
        go_on(killed, resume=resume)
    assert (killed / "metrics.jsonl").read_bytes() == before
    assert checkpoints(killed) == ["step-00000004", "step-00000002", "last.json"]


@pytest.mark.fault(5)
@pytest.mark.parametrize("text", [b"", b"{", bytes(50), b"[]", b"\xff"])
def test_the_status_is_damaged(killed, whole, text):
    (killed / "run.json").write_bytes(text)
    with pytest.raises(ResumeError, match=r"run\.json (cannot be read: .*\. Remove it|has format None; this version reads 1)"):
        go_on(killed)
    (killed / "run.json").unlink()
    assert_ends_as(whole, killed, go_on(killed))


@pytest.mark.fault(5)
def test_the_hints_are_only_hints(killed, whole):
    (killed / "checkpoints" / "last.json").write_bytes(bytes(20))
    assert_ends_as(whole, killed, go_on(killed))


@pytest.mark.fault(3)
def test_the_curves_are_cut(killed, whole):
    """What is lost of them is said, and the run ends as it would have."""
    (killed / "metrics.jsonl").write_bytes((killed / "metrics.jsonl").read_bytes()[:30])
    with pytest.warns(UserWarning, match=r"metrics\.jsonl has 0 bytes and should have \d+: the curves before this moment"):
        module, result = go_on(killed)
    assert difference(dict(module.state_dict()), dict(whole[0][0].state_dict())) is None
    assert result.metrics == whole[0][1].metrics


# Forged ones, whose sums are right


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def forge(folder, changed, **manifest):
    """Puts files in place of a checkpoint's own, None for removed, and makes its manifest agree."""
    for name, data in changed.items():
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)
    content = json.loads((folder / "manifest.json").read_bytes())
    del content["sha256"]
    there = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    content["files"] = {name: {"size": len(data), "sha256": sha256(data).hexdigest()} for name, data in there.items()}
    (folder / "manifest.json").write_bytes(seal({**content, **manifest}))


def tensors(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def hostile(flag, run_part):
    """Returns changed files and what the refusal says, by what is wrong with them."""
    evil = pickle.dumps(Evil(flag))
    progress = {**run_part["progress"], "after": "os.system"}
    huge = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}
    ours = "step-00000004/{} is damaged or not the framework's"
    return {
        "pickle for JSON": ({"run.json": evil}, ours.format("run")),
        "pickle for tensors": ({"model.safetensors": evil}, ours.format("model")),
        "pickle among the tensors": ({"optimizer.safetensors": tensors({"x": huge}, evil)}, ours.format("optimizer")),
        "huge tensor": ({"model.safetensors": tensors({"net.0.weight": huge}, bytes(4))}, ours.format("model")),
        "an object": ({"handlers.json": b'{"$py/object": "os.mkdir"}'}, ours.format("handlers")),
        "deep lists": ({"run.json": b"[" * 100_000}, ours.format("run")),
        "no part of ours": ({"run.json": None, "run.safetensors": None}, "it has no run as fit writes it"),
        "a list for a part": ({"handlers.json": b"[]"}, "it has no handlers as fit writes it"),
        "an empty part": ({"run.json": b"{}", "run.safetensors": None}, r"it has no run\.progress as fit writes it"),
        "code for an event": (
            {"run.json": json.dumps({**run_part, "progress": progress}).encode()},
            r"it has no run\.progress\.after as fit writes it",
        ),
    }


HOSTILE = list(hostile("", {"progress": {}}))


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_checkpoint_is_refused(killed, tmp_path, name):
    flag = tmp_path / "flag"
    folder = newest(killed)
    changed, message = hostile(flag, json.loads((folder / "run.json").read_bytes()))[name]
    forge(folder, changed)
    with pytest.raises(CheckpointError, match=message) as refused:
        go_on(killed, Does(*range(9), do=die))
    assert "weights_only" not in str(refused.value)
    assert not flag.exists()
    assert status(killed) == "running"


@pytest.mark.fault(32)
@pytest.mark.parametrize("facts", [None, {"limits": ["os.system"]}, {"class": "os.system"}])
def test_forged_facts_are_refused(killed, facts):
    forge(newest(killed), {}, facts=facts)
    with pytest.raises(CheckpointError, match=r"step-00000004 is no checkpoint that fit has written: it has no facts\.limits"):
        go_on(killed)


@pytest.mark.fault(32)
def test_links_lead_nowhere(killed, whole, tmp_path):
    secret = tmp_path / "secret.json"
    (newest(killed) / "run.json").rename(secret)
    (newest(killed) / "run.json").symlink_to(secret)
    with pytest.warns(UserWarning, match=r"run\.json is damaged or not the framework's: it is a link or a folder.*02 is used"):
        assert_ends_as(whole, killed, go_on(killed))


# Other versions


@pytest.mark.fault(36)
@pytest.mark.parametrize(("version", "which"), [(3, "a newer"), (0, "the older"), ("x", "the older")])
def test_another_format_of_checkpoints(killed, version, which):
    forge(newest(killed), {}, format=version, versions={"framework": "9.9"})
    with pytest.raises(
        CheckpointError,
        match=rf"step-00000004 is a checkpoint of format {version!r}, written by framework 9\.9\. "
        rf"This framework, {__version__}, reads formats 1 and 2\. Use {which} framework for it\.",
    ):
        go_on(killed)
    assert checkpoints(killed) == ["step-00000004", "step-00000002", "last.json"]


@pytest.mark.fault(36)
@pytest.mark.parametrize("version", [0, 2, None])
def test_another_format_of_runs(killed, version):
    content = {**json.loads((killed / "run.json").read_text()), "format": version}
    (killed / "run.json").write_text(json.dumps(content))
    with pytest.raises(ResumeError, match=rf"run\.json has format {version}; this version reads 1\."):
        go_on(killed)


# Times


@pytest.mark.fault(37)
@pytest.mark.parametrize("reverse", [True, False])
def test_times_of_files_mean_nothing(killed, whole, reverse):
    for order, path in enumerate(sorted(killed.rglob("*"), reverse=reverse)):
        os.utime(path, (1e9 + order, 1e9 + order))
    (newest(killed).parent / "step-00000002" / "manifest.json").touch()
    ended = go_on(killed, Does(1, 2, 3, 4, do=die))
    assert_ends_as(whole, killed, ended)
    assert torch.isfinite(ended[0].net[0].weight).all()
