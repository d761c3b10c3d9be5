"""The weights of a module in one file, which needs only torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from framework.checkpoint.sharded import is_dtensor, is_sharded
from framework.checkpoint.together import together
from framework.distributed.group import joined
from framework.errors import CheckpointError
from framework.module.resuming.placing import mesh_of


def export_weights(state: Mapping[str, Any], target: Path) -> None:
    """Writes tensors as one safetensors file. Where they are split over processes, all call this, and the first one writes.

    Args:
        state: tensors by name.
        target: the file.

    Raises:
        CheckpointError: the file cannot be written; one that was there before is as it was.
    """
    if not is_sharded(state):
        _write({name: _copied(value) for name, value in state.items()}, target)
        return
    with joined(torch.device(mesh_of(state).device_type), alone=True) as group:
        assert group is not None, "one that is alone is a group, too"
        whole = {}
        for name, value in state.items():  # one at a time lies whole on a device
            full = value.full_tensor() if is_dtensor(value) else value
            if group.is_main:
                whole[name] = _copied(full)
        together(group, f"the export to {target}", partial(_write, whole, target) if group.is_main else lambda: None)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone().contiguous()


def _write(state: dict[str, Tensor], target: Path) -> None:
    from safetensors.torch import save_file

    temporary = target.with_name(f".tmp-{target.name}-{os.getpid()}")
    try:
        save_file(state, temporary)
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        if temporary.exists():
            temporary.unlink()
        raise CheckpointError(
            f"Writing {target} failed: {error}. See that its folder exists, may be written to and has room."
        ) from error
