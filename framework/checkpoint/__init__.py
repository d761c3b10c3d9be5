"""How a run is written and read: whole or not at all, verified before it is read, and without pickle."""

from framework.checkpoint.background import BackgroundSaver
from framework.checkpoint.encoding import decode, encode
from framework.checkpoint.folder import Checkpoint, open_checkpoint, write_checkpoint
from framework.checkpoint.lock import FolderLock
from framework.checkpoint.manifest import DamagedError
from framework.checkpoint.prepared import PreparedSave, prepare_save
from framework.checkpoint.store import CheckpointStore

__all__ = [
    "BackgroundSaver",
    "Checkpoint",
    "CheckpointStore",
    "DamagedError",
    "FolderLock",
    "PreparedSave",
    "decode",
    "encode",
    "open_checkpoint",
    "prepare_save",
    "write_checkpoint",
]
