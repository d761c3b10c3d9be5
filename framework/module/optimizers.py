"""What `configure_optimizers` may return: one optimizer, or several by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from framework.errors import ModuleError

if TYPE_CHECKING:
    from framework.module.declared import Declared

LONE = "main"
"""The name of an optimizer that has none."""

_SCHEDULERS = " Return schedulers from configure_schedulers(self, optimizers)."


def configured_optimizers(module: Declared) -> dict[str, Optimizer]:
    """Returns the optimizers that a module configures, by name.

    Raises:
        ModuleError: there is nothing to train, or `configure_optimizers` returned something else.
    """
    owner = type(module).__name__
    try:
        configured = module.configure_optimizers()
    except ValueError as error:
        if "empty parameter list" not in str(error):
            raise
        if next(module.parameters(), None) is None:
            raise ModuleError(
                f"{owner} has no parameters, so there is nothing to train. Assign its layers to self after super().__init__(); "
                "layers in a list or dict are not registered: use nn.ModuleList or nn.ModuleDict."
            ) from error
        raise ModuleError(
            f"{owner}.configure_optimizers gave an optimizer no parameters, though {owner} has "
            f"{sum(1 for _ in module.parameters())}. What picked them has found none, or a generator was used up before."
        ) from error
    optimizers = named_optimizers(configured, owner)
    held = [each for optimizer in optimizers.values() for group in optimizer.param_groups for each in group["params"]]
    if not any(each.requires_grad for each in held):
        raise ModuleError(
            f"{owner}: all parameters that its optimizers hold are frozen (requires_grad is False), so there is nothing to train. "
            "Call requires_grad_() on those that are to be trained before fit."
        )
    return optimizers


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
        raise ModuleError(
            f"{owner}.configure_optimizers should return a torch optimizer or a mapping from names to optimizers; "
            f"got {_came(configured)}.{_hint(configured)}"
        )
    for name, optimizer in optimizers.items():
        if not isinstance(optimizer, Optimizer):
            hint = _SCHEDULERS if "lr_scheduler" in optimizers else _hint(optimizer)  # Lightning's way
            raise ModuleError(f"{owner}.configure_optimizers: {name!r} should be a torch optimizer, got {_came(optimizer)}.{hint}")
        if not isinstance(name, str) or not name:
            raise ModuleError(f"{owner}.configure_optimizers: the name of an optimizer should be a text, got {name!r}.")
    return dict(optimizers)


def _came(value: Any) -> str:
    """Names what came, without the many lines that the repr of an optimizer has."""
    if isinstance(value, tuple | list):
        ends = "()" if isinstance(value, tuple) else "[]"
        return f"{ends[0]}{', '.join(_came(each) for each in value)}{ends[1]}"
    return type(value).__name__ if isinstance(value, Optimizer | LRScheduler) else repr(value)


def _hint(came: Any) -> str:
    """Returns what to do about something else than an optimizer, with a space before, or nothing."""
    if came is None:
        return " Did you forget to return it?"
    if isinstance(came, type) and issubclass(came, Optimizer):
        return f" It is the class: write {came.__name__}(self.parameters(), ...)."
    scheduled = isinstance(came, LRScheduler) or (isinstance(came, type) and issubclass(came, LRScheduler))
    if scheduled:
        return _SCHEDULERS
    if isinstance(came, Sequence) and not isinstance(came, str):
        return " Give each a name: {'generator': first, 'critic': second}; schedulers come from configure_schedulers."
    return ""


def needs_closure(optimizer: Optimizer) -> bool:
    """Tells whether an optimizer computes the loss itself: its `step` cannot be called without a closure. LBFGS is such a one."""
    closure = signature(type(optimizer).step).parameters.get("closure")  # Apex replaces the method of the object
    return closure is not None and closure.default is Parameter.empty
