import json
import platform
from pathlib import Path

import pytest
import safetensors
import torch
from forging import manifest_of

import framework
from framework import CheckpointError
from framework.checkpoint import manifest
from framework.checkpoint.manifest import DamagedError, describe, order_of, parse, seal
from framework.checkpoint.writer import Entry

FOLDER = Path("run/step-00000001")
FILES = {"model.json": Entry(2, "ab"), "model.safetensors": Entry(3, "cd")}


def test_what_is_described_is_parsed():
    found = parse(describe(1, FILES, best=True, facts={"epoch": {"$tuple": [1, 2]}}), FOLDER)
    assert (found.step, found.best, found.facts, found.files) == (1, True, {"epoch": (1, 2)}, FILES)
    versions = {"framework": framework.__version__, "torch": torch.__version__}
    assert found.versions == {**versions, "safetensors": safetensors.__version__, "python": platform.python_version()}


def test_shards_make_it_another_format_which_older_frameworks_refuse():
    files = {**FILES, "shard-00002-model-00001-of-00001.safetensors": Entry(4, "ef")}
    data = describe(1, files, best=False, facts=None, sharded=["model"])
    assert (json.loads(data)["format"], json.loads(describe(1, FILES, best=False, facts=None))["format"]) == (2, 1)
    assert (parse(data, FOLDER).sharded, parse(data, FOLDER).files) == (("model",), files)


def test_a_manifest_has_a_limit(monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 100)
    with pytest.raises(CheckpointError, match=r"^The manifest of 2 files has \d+ bytes; 100 are allowed\. Use fewer processes\.$"):
        describe(1, FILES, best=False, facts=None)


@pytest.mark.fault(4)
def test_any_flipped_bit_is_found():
    data = describe(1, FILES, best=False, facts={"text": "a b", "number": 1.5})
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError):
            parse(bytes(flipped), FOLDER)


@pytest.mark.fault(3, 5)
@pytest.mark.parametrize(
    "data", [b"", b"\0" * 500, b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 100_000, b'{"sha256": "x"', b"1" * 5000]
)
def test_what_is_no_manifest_is_damaged(data):
    with pytest.raises(DamagedError, match=r"^run/step-00000001/manifest.json is damaged: it is no manifest"):
        parse(data, FOLDER)


@pytest.mark.fault(3)
def test_a_manifest_that_is_cut_is_damaged():
    data = describe(1, FILES, best=False, facts=None)
    for size in range(len(data)):
        with pytest.raises(DamagedError):
            parse(data[:size], FOLDER)


def test_a_manifest_that_was_edited_is_damaged():
    content = json.loads(seal(manifest_of({})))
    content["step"] = 2
    with pytest.raises(DamagedError, match=r"manifest.json is damaged: its content does not agree with its own SHA-256\."):
        parse(json.dumps(content, indent=1).encode(), FOLDER)


@pytest.mark.fault(36)
@pytest.mark.parametrize(("number", "advice"), [(3, "a newer"), (0, "the older"), (None, "the older")])
def test_other_formats_are_named_with_ours(number, advice):
    words = (
        rf"step-00000001 is a checkpoint of format {number}, written by framework 9.9. This framework, {framework.__version__}, "
        f"reads formats 1 and 2. Use {advice} framework for it."
    )
    with pytest.raises(CheckpointError, match=words) as refused:
        parse(seal(manifest_of({}, format=number)), FOLDER)
    assert type(refused.value) is CheckpointError  # not damaged: no other checkpoint should take its place


def test_another_format_may_lack_everything_else():
    with pytest.raises(CheckpointError, match="of format 'x', written by framework None"):
        parse(seal({"format": "x"}), FOLDER)


@pytest.mark.fault(37)
def test_a_manifest_belongs_to_the_step_of_its_folder():
    data = seal(manifest_of({}, step=7))
    with pytest.raises(DamagedError, match=r"manifest.json is damaged: it is of step 7, in a folder of step 1\."):
        parse(data, FOLDER)
    assert parse(data, Path("run/step-00000007.2")).step == parse(data, Path("copy")).step == 7


NO_NAMES = ["../x.json", "/etc/passwd", "a/b.json", "x.pt", "manifest.json", "X.json", "x.json\n", "x.json.json", ".json", ""]


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({"files": {name: {"size": 1, "sha256": ""}}}, "is no name of a part's file") for name in NO_NAMES),
        ({"files": {"model.safetensors": {"size": 1, "sha256": ""}}}, "model.safetensors comes without its .json"),
        ({"files": {"model.json": {"size": "1", "sha256": ""}}}, "has the size '1'"),
        ({"files": {"model.json": {"size": True, "sha256": ""}}}, "has the size True"),
        ({"files": {"model.json": {"size": 1, "sha256": None}}}, "and the sum None"),
        ({"files": {"model.json": {"size": 1}}}, "missing 1 required positional argument"),
        ({"files": {"model.json": {"size": 1, "sha256": "", "run": "os.system"}}}, "unexpected keyword argument"),
        ({"files": ["model.json"]}, "no attribute 'items'"),
        ({"files": None}, "no attribute 'items'"),
        ({"step": "x"}, "invalid literal"),
        ({"step": None}, "NoneType"),
        ({"facts": {"$tensor": "x"}}, "KeyError"),
        ({"facts": {"$object": "os.system"}}, r"'\$object' in an object"),
    ],
    ids=repr,
)
def test_what_else_a_manifest_may_not_say(changes, words):
    with pytest.raises(DamagedError, match=f"manifest.json is damaged: it is no manifest of format 1 .*{words}"):
        parse(seal(manifest_of({}, **changes)), FOLDER)


def test_names_and_their_order():
    names = ["step-00000002", "step-00000010", "step-00000010.1", "step-00000010.10", "step-00000010.9", "step-123456789"]
    assert sorted(names, key=order_of) == [
        *("step-00000002", "step-00000010", "step-00000010.1", "step-00000010.9", "step-00000010.10", "step-123456789"),
    ]
    others = [
        "step-1",
        "step-00000001.0",
        "step-00000001.x",
        ".step-00000001",
        "step-00000001/",
        "step-\u0660000000\u0661",
        ".tmp-1-2",
        "",
    ]
    assert [order_of(name) for name in others] == [None] * len(others)
