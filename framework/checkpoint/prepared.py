"""What is to be written of a save: its states taken apart, looked through, and ready."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from framework.checkpoint.encoding import encode, to_json
from framework.checkpoint.manifest import seal
from framework.checkpoint.sharded import is_dtensor, key_of
from framework.errors import CheckpointError

LARGEST_JSON = 64 << 20
"""Bytes of one part's structure."""
LARGEST_FACTS = 1 << 19
_PART = re.compile(r"[a-z_]+")


class Part(NamedTuple):
    """One part, ready to be written.

    Attributes:
        text: its structure as JSON; of one with shards {"shapes": of the tensors in them, "state": its structure}.
        tensors: those that are whole in each process, by name.
        shards: those of which each process holds a part, by name.
    """

    text: bytes
    tensors: dict[str, Tensor]
    shards: dict[str, Tensor]


class PreparedSave(NamedTuple):
    """Everything of a save, looked through and ready to be written."""

    step: int
    parts: dict[str, Part]
    facts: Any
    best: bool

    @property
    def shards(self) -> dict[str, Tensor]:
        """The tensors of which each process holds a part, by their keys in the shard files."""
        return {key_of(name, inner): each for name, part in self.parts.items() for inner, each in part.shards.items()}


def prepare_save(step: int, parts: Mapping[str, Any], *, best: bool = False, facts: Any = None) -> PreparedSave:
    """Returns a save with its states encoded, its tensors still those of the states.

    Args:
        step: at which the states are those given, 0 or more.
        parts: states by name; a name is made of a-z and _.
        best: whether no earlier checkpoint of the run is as good.
        facts: a small state without tensors, to be read without the parts.

    Raises:
        CheckpointError: a step or name that cannot be, or a state that cannot be stored.
    """
    if type(step) is not int or step < 0:
        raise CheckpointError(f"A checkpoint is of a step, an integer from 0; got {step!r} ({type(step).__name__}).")
    encoded = {}
    for name, state in parts.items():
        if not isinstance(name, str) or not _PART.fullmatch(name) or name == "manifest":
            raise CheckpointError(f"{name!r} cannot be the name of a part. Use a-z and _, and not 'manifest'.")
        skeleton, tensors = encode(state, name)
        shards = {key: tensors.pop(key) for key in list(tensors) if is_dtensor(tensors[key])}
        shapes = {key: list(tensor.shape) for key, tensor in shards.items()}
        text = to_json({"shapes": shapes, "state": skeleton} if shards else skeleton)
        if len(text) > LARGEST_JSON:
            raise CheckpointError(
                f"The part {name!r} has {len(text)} bytes beside its tensors; {LARGEST_JSON} are allowed. Store lists as tensors."
            )
        encoded[name] = Part(text, tensors, shards)
    skeleton, tensors = encode(facts, "facts")
    if tensors:
        raise CheckpointError(f"facts hold tensors ({', '.join(tensors)}). Store them in a part, or numbers in their place.")
    if (size := len(seal({"facts": skeleton}))) > LARGEST_FACTS:
        raise CheckpointError(f"facts have {size} bytes; {LARGEST_FACTS} are allowed. Store them in a part.")
    return PreparedSave(step, encoded, skeleton, best)
