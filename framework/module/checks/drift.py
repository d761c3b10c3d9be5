"""Modules that change while they are trained, so that training no longer reaches them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from framework.backends.ownership import refuse_foreign
from framework.engine.engine import Engine
from framework.errors import ModuleError


class Drift:
    """Looks at each epoch's end whether the module is still in train mode and made of what the optimizers step.

    Args:
        module: the module.
        optimizers: by name.
        device: where the step runs.
    """

    def __init__(self, module: nn.Module, optimizers: Mapping[str, Optimizer], device: torch.device) -> None:
        self._module = module
        self._optimizers = optimizers
        self._device = device
        try:
            refuse_foreign(module, optimizers, device)
        except ModuleError:  # the backend has given them copies of its own, as Apex does in O2
            self._optimizers = {}

    def end(self, engine: Engine) -> None:
        """Refuses a module that was left in eval mode, or whose parameters were replaced.

        Raises:
            ModuleError: saying which.
        """
        module, epoch = self._module, engine.state.epoch
        if not any(part.training for part in module.modules()):
            raise ModuleError(
                f"{type(module).__name__} is in eval mode at the end of epoch {epoch}: a step or a hook has called eval(), and "
                "dropout and batch normalisation did not train from there on. Call train() after it; to keep a part in eval mode "
                "call eval() of that part."
            )
        try:
            refuse_foreign(module, self._optimizers, self._device)
        except ModuleError as error:
            error.add_note(
                f"That was not so when fit began: by the end of epoch {epoch} a step or a hook has replaced or moved a part of "
                "the module, which then no longer trains. Do it before fit."
            )
            raise
