"""Checkpoints that somebody else made: every sum is right, and nothing else has to be."""

from hashlib import sha256

from framework.checkpoint.manifest import seal


def manifest_of(files, /, step=1, **changes):
    """Returns the content of a manifest that lists `files`, by name their bytes."""
    listed = {name: {"size": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()}
    versions = {"framework": "9.9", "torch": "2", "safetensors": "1", "python": "3"}
    return {"format": 1, "step": step, "best": False, "facts": None, "versions": versions, "files": listed, **changes}


def forge(folder, files, /, **changes):
    """Makes a checkpoint of these files, by name their bytes; returns its folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_bytes(seal(manifest_of(files, **changes)))
    return folder
