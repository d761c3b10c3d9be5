"""What `training_step` may return, and how the loss is taken out of it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from math import inf, isfinite
from numbers import Real
from types import GeneratorType
from typing import Any

from torch import Tensor

from framework.errors import NonFiniteError, StepError
from framework.steps.update import SummedLoss

_ALLOWED = "training_step should return the loss as a scalar tensor, or a mapping with it under 'loss' and other scalars beside it"
_YIELDED = (
    "training_step should yield (name, loss): the name of an optimizer, or a tuple of names, and a scalar tensor or "
    "{'loss': sum, 'n': count}"
)
_HINTS = {
    tuple: " Return {'loss': loss, 'name': scalar}.",
    int: " A number has no gradients: leave .item() out.",
    float: " A number has no gradients: leave .item() and float() out.",
    GeneratorType: " To pass its losses on write `yield from`; a decorator that hides a generator function has to go.",
}


LOOK_AT = (
    "Look at the learning rate, at the batch for NaN or infinite inputs, and at logarithms and divisions; clip_norm=1.0 limits "
    "exploding gradients."
)
DEBUG = "debug=True names the first bad module"


def split_output(returned: Any) -> tuple[Tensor | SummedLoss, Mapping[str, Any]]:
    """Returns the loss, and the other scalars by name.

    Raises:
        StepError: anything but a scalar tensor with gradients, or a mapping that has one under "loss" and, where it is a sum, the
            count of what it is summed over under "n".
    """
    if isinstance(returned, Mapping):
        if "loss" not in returned:
            raise StepError(f"{_ALLOWED}; got a mapping without 'loss', with the keys {list(returned)}.")
        rest = {name: value for name, value in returned.items() if name not in ("loss", "n")}
        loss = _checked(returned["loss"], _ALLOWED)
        return SummedLoss(loss, _count(returned["n"])) if "n" in returned else loss, rest
    return _checked(returned, _ALLOWED), {}


def split_evaluated(output: Mapping[str, Any], metrics: Container[str]) -> tuple[SummedLoss | None, Mapping[str, Any]]:
    """Returns the loss that is a sum, where `evaluation_step` returned one as `training_step` may, and everything else by name.

    Raises:
        StepError: it is no scalar tensor, or its count no number of things.
    """
    if "loss" not in output or "n" not in output or "n" in metrics or isinstance(output["loss"], tuple | list):
        return None, output
    loss = output["loss"]
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise StepError(
            f"evaluation_step returned 'loss' beside 'n', which makes it a sum over n things: a scalar tensor; got {_came(loss)}. "
            "Return the sum, or a mean without 'n'."
        )
    rest = {name: value for name, value in output.items() if name not in ("loss", "n")}
    return SummedLoss(loss.detach().reshape(()), _count(output["n"])), rest


def split_yielded(yielded: Any, optimizers: Collection[str]) -> tuple[tuple[str, ...], Tensor | SummedLoss]:
    """Returns the names of the optimizers, and the loss.

    Raises:
        StepError: anything but a pair of those.
    """
    if not isinstance(yielded, tuple) or len(yielded) != 2:
        raise StepError(f"{_YIELDED}; got {_came(yielded)}.")
    name, loss = yielded
    names = name if isinstance(name, tuple) else (name,)
    for each in names:
        if not isinstance(each, str) or each not in optimizers:
            known = ", ".join(map(repr, optimizers))
            raise StepError(f"{_YIELDED}; got the name {each!r}. The optimizers are {known}.")
    if not names or len(set(names)) < len(names):
        raise StepError(f"{_YIELDED}; got the names {names!r}.")
    if isinstance(loss, Mapping) and set(loss) == {"loss", "n"}:
        return names, SummedLoss(_checked(loss["loss"], _YIELDED), _count(loss["n"]))
    return names, _checked(loss, _YIELDED)


def split_end(returned: Any) -> Mapping[str, Any]:
    """Returns what a generator returned at its end: other scalars by name, or nothing.

    Raises:
        StepError: neither None nor a mapping.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise StepError(
            f"A training_step that yields its losses should return nothing or a mapping of other scalars; got {_came(returned)}."
        )
    return returned


def _count(n: Any) -> float | Tensor:
    right = "'n' beside 'loss' should be the number of things that the loss is a sum over"
    if isinstance(n, Tensor):
        if n.numel() != 1:
            raise StepError(f"{right}; got a tensor of shape {tuple(n.shape)}.")
        count = n.detach().reshape(())
        return _count(count.item()) if n.device.type == "cpu" else count
    if isinstance(n, bool) or not isinstance(n, Real) or not 0 <= float(n) < inf:
        raise StepError(f"{right}; got {n!r} ({type(n).__name__}).")
    return float(n)


def _came(value: Any) -> str:
    return (
        f"{value!r} ({type(value).__name__})"
        if isinstance(value, int | float | str) or value is None
        else f"a {type(value).__name__}"
    )


def _checked(loss: Any, allowed: str) -> Tensor:
    if loss is None:
        raise StepError(f"{allowed}; got None. Did you forget to return it?")
    if not isinstance(loss, Tensor):
        raise StepError(f"{allowed}; got {_came(loss)}.{_HINTS.get(type(loss), '')}")
    if loss.dim() != 0:
        raise StepError(f"{allowed}; got a tensor of shape {tuple(loss.shape)}. Reduce it with .mean() or .sum().")
    if not loss.requires_grad:
        if not loss.is_floating_point() and not loss.is_complex():
            dtype = str(loss.dtype).removeprefix("torch.")
            raise StepError(f"{allowed}; got a tensor of type {dtype}, which has no gradients. Compute the loss of floating point.")
        raise StepError(
            f"{allowed}; got a loss without gradients (requires_grad is False). It is detached: look for .detach(), .item(), "
            "torch.no_grad(), argmax and comparisons, or parameters that are all frozen."
        )
    return loss


def refuse_non_finite(value: float, iteration: int, epoch: int, optimizers: str = "") -> None:
    """Raises if a loss is NaN or infinite.

    Args:
        value: the loss.
        iteration, epoch: where it came up.
        optimizers: those that the loss is for, where there are several losses.

    Raises:
        NonFiniteError: naming the iteration.
    """
    if not isfinite(value):
        raise NonFiniteError(
            f"{said_of_loss(value, iteration, epoch, optimizers)} {LOOK_AT} {DEBUG}; nan='skip' leaves such steps out, "
            "nan='ignore' trains on regardless."
        )


def said_of_loss(value: float, iteration: int, epoch: int, optimizers: str = "") -> str:
    """Returns the sentence that says which loss is not finite. See `refuse_non_finite`."""
    return f"The loss{f' for {optimizers!r}' if optimizers else ''} is {value} in iteration {iteration} (epoch {epoch})."
