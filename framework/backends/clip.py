"""How gradients are limited before a step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Clip:
    """How gradients are limited before a step.

    Attributes:
        norm: largest total 2-norm over all parameters of the step, None for no limit.
        value: largest absolute value of each entry, None for no limit.
    """

    norm: float | None = None
    value: float | None = None


def clip_gradients(parameters: list[nn.Parameter], clip: Clip) -> Tensor | None:
    """Limits the gradients in place: their norm first, then their entries. Returns the norm before, where it was limited."""
    norm = None if clip.norm is None else nn.utils.clip_grad_norm_(parameters, clip.norm)
    if clip.value is not None:
        nn.utils.clip_grad_value_(parameters, clip.value)
    return norm
