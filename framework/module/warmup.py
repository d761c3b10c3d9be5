"""The usual schedule: the learning rate rises for a while, then falls over the rest of the run."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from framework.errors import SettingError
from framework.module.schedules import Schedule
from framework.module.settings import whole

_DECAYS = ("cosine", "linear", "constant")


def warmup_schedule(
    optimizer: Optimizer, total_steps: int | None, *, warmup: float | int = 0.1, decay: str = "cosine", final: float = 0.0
) -> Schedule:
    """Returns a schedule that raises the learning rate linearly for a while, and then lets it fall to the end of the run.

    It follows the steps that the optimizer really makes. With w steps of warm-up, step i (the first is 0) takes the optimizer's own
    rate times (i + 1) / (w + 1), and step w the whole of it; after `total_steps` it stays at `final`. Of several optimizers, each
    gets its own: `{name: warmup_schedule(each, total_steps) for name, each in optimizers.items()}`.

    Inside is torch's LambdaLR: LinearLR and CosineAnnealingLR in a SequentialLR give the same numbers to rounding, but the second
    rises again after its last step, and they multiply from step to step what here follows from the number of the step alone. So it
    does not go together with another schedule of the same optimizer, whose changes it would overwrite.

    Args:
        optimizer: whose rates change, those of all its groups alike.
        total_steps: of the whole run, as `configure_schedulers` is told.
        warmup: steps, or below 1 as a float a share of `total_steps`; 0 for none.
        decay: "cosine", "linear" or "constant".
        final: what is left at the end, a share of the optimizer's rate; a constant rate does not fall to it.

    Raises:
        SettingError: a value of a wrong type or out of range, or `total_steps` is unknown.

    See: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2016), arXiv:1608.03983, for the cosine;
    Goyal et al., "Accurate, Large Minibatch SGD" (2017), arXiv:1706.02677, for the warm-up.

    Example:
        >>> import torch
        >>> from framework import warmup_schedule
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> schedule, rates = warmup_schedule(optimizer, 6, warmup=1, decay="linear"), []
        >>> for _ in range(6):  # in a module, configure_schedulers returns it, and fit steps it
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 2))
        ...     optimizer.step(); schedule.scheduler.step()
        >>> rates
        [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    if not isinstance(optimizer, Optimizer):
        raise SettingError(
            f"warmup_schedule(optimizer, ...) takes one optimizer, such as optimizers['main'], got {type(optimizer).__name__}. For "
            "several return {name: warmup_schedule(each, total_steps) for name, each in optimizers.items()}."
        )
    if total_steps is None:
        raise SettingError(
            "warmup_schedule needs total_steps, which fit does not know here: the length of the data is unknown, or max_time_s "
            "alone ends the run. Give fit epoch_length, or max_iters alone, or warmup_schedule a number of steps of your own."
        )
    total = whole("total_steps", total_steps)
    assert total is not None
    if decay not in _DECAYS:
        raise SettingError(f"decay={decay!r} is unknown: it is one of {', '.join(map(repr, _DECAYS))}.")
    if isinstance(final, bool) or not isinstance(final, int | float) or not 0 <= final <= 1:
        raise SettingError(f"final={final!r}: final should be a share of the optimizer's rate, a number from 0 to 1.")
    warm = _warm_steps(warmup, total)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if decay == "constant":
            return 1.0
        gone = min((step - warm) / (total - warm), 1.0)
        left = 1 - gone if decay == "linear" else (1 + cos(pi * gone)) / 2
        return final + (1 - final) * left

    return Schedule(LambdaLR(optimizer, factor), every="step")


def _warm_steps(warmup: Any, total: int) -> int:
    """Returns the steps of warm-up."""
    if isinstance(warmup, float) and 0 <= warmup < 1:
        return int(warmup * total)
    if isinstance(warmup, int) and not isinstance(warmup, bool) and 0 <= warmup < total:
        return warmup
    raise SettingError(
        f"warmup={warmup!r}: warmup should be a whole number of steps below total_steps={total}, or a share of them as a float "
        "from 0 to below 1, such as 0.1."
    )
