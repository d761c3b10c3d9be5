"""What all ranks have to be alike in, looked at when a run begins and at the end of each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from framework.distributed.group import Group
from framework.engine.engine import Engine
from framework.errors import RankError
from framework.module.loggers import facts_of

if TYPE_CHECKING:
    from framework.module.settings import FitSettings
    from framework.module.train_module import TrainModule

_OWN = ("handlers", "loggers", "progress")  # of which each rank has its own
_NEAR = 1e-4  # relative: devices of different kinds round differently


def refuse_other_settings(group: Group, module: TrainModule, settings: FitSettings) -> None:
    """Refuses ranks that were given different modules or settings.

    Args:
        group: the processes.
        module, settings: of this rank.

    Raises:
        RankError: naming the rank and what differs.
    """
    facts = facts_of("fit", module, settings.as_given(), seed=0)
    given = {name: value for name, value in facts.settings.items() if name not in _OWN}
    of_ranks = group.exchange("what the ranks were given", {"module": facts.module, "arguments": repr(facts.hparams), **given})
    for name, own in of_ranks[0].items():
        for rank, other in enumerate(of_ranks):
            if other.get(name) != own:
                raise RankError(
                    f"Rank {rank} was given another {name} than rank 0: {other.get(name)!r} there, {own!r} on rank 0. All ranks "
                    "run the same script with the same arguments; fit itself gives each its share of the data."
                )


class Agreement:
    """Looks, at the end of each epoch, whether the ranks still train the same model, and lets all end where one wants to.

    A handler that runs on rank 0 alone may have changed what the ranks have to share.

    Args:
        group: the processes.
        module: that is trained.
    """

    def __init__(self, group: Group, module: nn.Module) -> None:
        self._group = group
        self._module = module

    def end_epoch(self, engine: Engine) -> None:
        """EPOCH_COMPLETED, after all hooks.

        Raises:
            RankError: naming the rank and what differs.
        """
        state = engine.state
        rates = {
            f"the learning rate of {name!r} in group {index}": float(group["lr"])
            for name, optimizer in state.optimizers.items()
            for index, group in enumerate(optimizer.param_groups)
            if "lr" in group
        }
        own = {
            "exact": {**rates, **{f"the steps of {name!r}": steps for name, steps in state.optimizer_steps.items()}},
            "norm": _norm(self._module),
            "ends": (engine.should_terminate, engine.terminate_reason),
        }
        of_ranks = self._group.exchange(f"end of epoch {state.epoch}", own)
        _refuse_differences([each["exact"] for each in of_ranks], state.epoch)
        _refuse_drifted([each["norm"] for each in of_ranks], state.epoch)
        ends = [each["ends"] for each in of_ranks if each["ends"][0]]
        if ends and not engine.should_terminate:
            asked, reason = ends[0]
            engine.terminate(asked == "skip_completed", reason=reason)


def _refuse_differences(of_ranks: Sequence[Mapping[str, float]], epoch: int) -> None:
    for rank, other in enumerate(of_ranks):
        for name in {**of_ranks[0], **other}:
            one, two = of_ranks[0].get(name), other.get(name)
            if one != two:
                raise RankError(
                    f"At the end of epoch {epoch} rank {rank} has another value of {name} than rank 0: {two} there, {one} on rank "
                    "0. A handler that changes the training has to run on every rank: give its class all_ranks = True."
                )


def _refuse_drifted(norms: Sequence[float | None], epoch: int) -> None:
    first = norms[0]
    for rank, norm in enumerate(norms):
        if norm is None or first is None or norm == first or norm != norm or abs(norm - first) <= _NEAR * max(norm, first):
            continue
        raise RankError(
            f"At the end of epoch {epoch} the weights of rank {rank} are not those of rank 0: their norm is {norm:.6g} there, "
            f"{first:.6g} on rank 0. Something has changed the weights, or the gradients, on some ranks only: a hook that asks "
            "for the rank, or a handler without all_ranks = True."
        )


@torch.no_grad()
def _norm(module: nn.Module) -> float | None:
    """Returns the norm of all weights that this rank has whole; None where there are none, as under FSDP."""
    whole = [each for each in module.parameters() if type(each.data) is torch.Tensor and each.is_floating_point()]
    if not whole:
        return None
    norms = torch._foreach_norm([each.float() if each.dtype.itemsize < 4 else each for each in whole])
    return float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms])))
