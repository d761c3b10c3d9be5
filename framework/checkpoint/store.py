"""The checkpoints of one run: which there are, which one counts, and which ones go."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import framework.checkpoint.files as files
from framework.checkpoint.folder import Checkpoint, open_checkpoint, read_manifest, write_checkpoint
from framework.checkpoint.manifest import DamagedError, order_of
from framework.checkpoint.prepared import PreparedSave, prepare_save
from framework.checkpoint.together import Peers
from framework.errors import CheckpointError, SettingError

_STRAY = re.compile(r"\.(?:tmp|del)-.+-([0-9]+)")


class CheckpointStore:
    """The checkpoints in the folder of a run.

    Which is newest follows from the steps in the names; nothing is believed of the times of files. `last.json` and `best.json` name
    the last and the best one for people and scripts; the store itself looks at the checkpoints.

    One process at a time may use a folder: see `FolderLock`.

    Args:
        folder: of the run; `prepare` makes it.
        keep: how many of the newest stay; the best one stays beside them. None: all stay.

    Raises:
        SettingError: `keep` is no such number.

    Example:
        >>> import torch
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint import CheckpointStore
        >>> with TemporaryDirectory() as folder:
        ...     store = CheckpointStore(Path(folder, "run"), keep=2)
        ...     store.prepare()
        ...     for step in (1, 2, 3):
        ...         path = store.save(step, {"model": {"weight": torch.full((2,), step)}}, best=step == 1)
        ...     [path.name for path in store.checkpoints()], store.best().name, store.newest().read("model")
        (['step-00000003', 'step-00000002', 'step-00000001'], 'step-00000001', {'weight': tensor([3, 3])})
    """

    def __init__(self, folder: Path, keep: int | None = 2) -> None:
        if keep is not None and (type(keep) is not int or keep < 1):
            raise SettingError(f"keep should be an integer of at least 1, or None to keep every checkpoint; got {keep!r}.")
        self.folder = folder
        self.keep = keep
        self._damaged: set[str] = set()

    def prepare(self) -> None:
        """Makes the folder, sees that it can be written to, and removes what killed saves have left. Call it before the first save.

        Raises:
            CheckpointError: the folder cannot be made or written to.
        """
        try:
            self._make_folder()
            probe = self.folder / f".tmp-probe-{os.getpid()}"
            files.write_anew(probe, b"probe")
            files.remove_file(probe)
            strays = [path for path in self.folder.iterdir() if (match := _STRAY.fullmatch(path.name)) and _is_over(int(match[1]))]
        except OSError as error:
            raise files.cannot_write(f"Preparing {self.folder} for checkpoints", error) from error
        for path in strays:
            self._remove(path)

    def save(
        self, step: int, parts: Mapping[str, Any], *, best: bool = False, facts: Any = None, group: Peers | None = None
    ) -> Path:
        """Writes a checkpoint, then removes those that `keep` leaves out, and returns its folder.

        Args:
            step: of the run. One that was saved before gets a folder with a number.
            parts: states by name; a name is made of a-z and _. See `encode` for what a state may hold.
            best: whether no earlier checkpoint of the run is as good.
            facts: a small state without tensors, to be read without the parts.
            group: the processes that save together, each with a store of the same folder; None for this one alone.

        Raises:
            CheckpointError: a state cannot be stored, or the checkpoint not be written. Earlier ones are untouched.
        """
        return self.write(prepare_save(step, parts, best=best, facts=facts), group)

    def write(self, save: PreparedSave, group: Peers | None = None) -> Path:
        """Writes what `prepare_save` has made ready; otherwise as `save`."""
        path = write_checkpoint(self.folder, save, group)
        if group is not None and not group.is_main:
            return path
        self._hint("last.json", path)
        if save.best:
            self._hint("best.json", path)
        if self.keep is not None:
            self._rotate(path, self.keep)
        return path

    def checkpoints(self) -> list[Path]:
        """Returns the folders of all checkpoints, newest first; damaged ones too.

        Raises:
            CheckpointError: the folder cannot be read.
        """
        try:
            found = [path for path in self.folder.iterdir() if order_of(path.name) and path.is_dir() and not path.is_symlink()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.folder} cannot be searched for checkpoints: {error}.") from error
        return sorted(found, key=_order, reverse=True)

    def newest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole, verified; None where there is none at all. A damaged one is warned of.

        Raises:
            CheckpointError: all are damaged, or the newest is of another format: it is not damaged, so none replaces it.
        """
        damages = []
        for path in self.checkpoints():
            try:
                checkpoint = open_checkpoint(path)
            except DamagedError as error:
                damages.append(str(error))
                self._damaged.add(path.name)
                continue
            if damages:
                warnings.warn(f"{' '.join(damages)} {path} is used instead.", stacklevel=2)
            return checkpoint
        if damages:
            raise CheckpointError(f"No checkpoint in {self.folder} is whole: {' '.join(damages)}")
        return None

    def last(self) -> Path | None:
        """Returns the folder of the newest checkpoint, not verified; None where there is none."""
        return next(iter(self.checkpoints()), None)

    def best(self) -> Path | None:
        """Returns the folder of the newest checkpoint that was saved as the best one, not verified; None where there is none."""
        return next((path for path in self.checkpoints() if _was_best(path)), None)

    def _make_folder(self) -> None:
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            files.sync_folder(folder.parent)

    def _hint(self, name: str, path: Path) -> None:
        """Writes a hint anew. The checkpoint is safe already: a hint that cannot be written is no reason to stop."""
        try:
            files.write_json(self.folder / name, {"checkpoint": path.name, "step": _order(path)[0]})
        except OSError as error:
            warnings.warn(f"{path} is saved, but {name} does not name it: {error}.", stacklevel=4)

    def _rotate(self, written: Path, keep: int) -> None:
        """Removes what is older than `written`, but the newest `keep` that are not known as damaged, and the best."""
        older = [path for path in self.checkpoints() if _order(path) <= _order(written)]
        kept = {self.best(), *[path for path in older if path.name not in self._damaged][:keep]}
        for path in reversed(older):
            if path not in kept:
                doomed = self.folder / f".del-{path.name}-{os.getpid()}"
                self._remove(path, doomed)

    def _remove(self, path: Path, doomed: Path | None = None) -> None:
        try:
            if doomed is not None:  # renamed first: what is half removed should look like no checkpoint
                files.rename(path, doomed)
            files.remove(doomed or path)
        except OSError as error:
            warnings.warn(f"{path} could not be removed: {error}. Remove it by hand.", stacklevel=4)


def _order(path: Path) -> tuple[int, int]:
    order = order_of(path.name)
    assert order is not None
    return order


def _was_best(path: Path) -> bool:
    try:
        return read_manifest(path).best
    except CheckpointError:  # `newest` tells of it; as the best one it is of no use
        return False


def _is_over(pid: int) -> bool:
    """Says whether a process has ended; this one has no save under way when it asks."""
    if pid == os.getpid() or os.name == "nt":  # Windows cannot be asked so; the folder is ours alone
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return False
