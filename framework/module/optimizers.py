"""What `configure_optimizers` may return: one optimizer, or several by name."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from torch.optim import Optimizer

from framework.errors import ModuleError

LONE = "main"
"""The name of an optimizer that has none."""


def named_optimizers(configured: Any, owner: str) -> dict[str, Optimizer]:
    """Returns the optimizers by name; a lone one is called "main".

    Args:
        configured: what `configure_optimizers` returned.
        owner: the module's class name, for the message.

    Raises:
        ModuleError: neither an optimizer nor a mapping of optimizers.
    """
    optimizers = {LONE: configured} if isinstance(configured, Optimizer) else configured
    if not isinstance(optimizers, Mapping) or not optimizers:
        hint = " Did you forget to return it?" if configured is None else ""
        raise ModuleError(
            f"{owner}.configure_optimizers should return a torch optimizer or a mapping from names to optimizers; "
            f"got {configured!r}.{hint}"
        )
    for name, optimizer in optimizers.items():
        if not isinstance(optimizer, Optimizer):
            raise ModuleError(f"{owner}.configure_optimizers: {name!r} should be a torch optimizer, got {optimizer!r}.")
    return dict(optimizers)


def needs_closure(optimizer: Optimizer) -> bool:
    """Tells whether an optimizer computes the loss itself: its `step` cannot be called without a closure. LBFGS is such a one."""
    closure = signature(type(optimizer).step).parameters.get("closure")  # Apex replaces the method of the object
    return closure is not None and closure.default is Parameter.empty
