"""Random streams and unfinished sums, of which each rank has its own: kept in a checkpoint for all of them, and given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.distributed.group import Group
from framework.errors import ResumeError
from framework.metrics.recorder import Recorder
from framework.seeding import derive_seed, random_state, seed_all, set_random_state


def seed_of_rank(seed: int, group: Group | None) -> int:
    """Returns the seed of a random stream of which each rank has its own; that of the first is the one of a single process."""
    return seed if group is None or group.is_main else derive_seed(seed, group.rank)


def seed_apart(seed: int, group: Group, *parts: int) -> None:
    """Gives every rank but the first a random stream of its own: else all would draw the same dropout.

    Args:
        seed: of the run.
        group: the processes.
        *parts: numbers that the streams follow from as well, such as an iteration.
    """
    if not group.is_main or parts:
        seed_all(derive_seed(seed, group.rank, *parts))


def gather_own(group: Group, recorder: Recorder, data: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Returns by rank what a checkpoint has to hold of each.

    Args:
        group: the processes.
        recorder: with what was recorded since the last point.
        data: the position in data that each rank brings for itself; None where all have the same.
    """
    own = {"random": random_state(), "pending": recorder.pending(), "data": data}
    return group.exchange("states of the ranks for a checkpoint", own)


def position_of_rank(run: Mapping[str, Any], group: Group | None) -> Any:
    """Returns the position in the data at which this rank goes on.

    Args:
        run: that part of a checkpoint.
        group: the processes that go on; None for one.

    Raises:
        ResumeError: each rank has brought data of its own, and now there are more or fewer ranks.
    """
    ranks = run.get("ranks")
    if not ranks or ranks[0].get("data") is None:
        return run["data"]
    size = 1 if group is None else group.world_size
    if len(ranks) != size:
        now = "is 1" if size == 1 else f"are {size}"
        raise ResumeError(
            f"Each of {len(ranks)} ranks has brought data of its own to the run, and now there {now}: "
            "nobody can tell who has seen which samples. Go on with as many processes, or give all ranks the same data, without "
            "data_order='loader'."
        )
    return ranks[0 if group is None else group.rank]["data"]


def give_back(saved: list[Mapping[str, Any]], group: Group | None, recorder: Recorder, seed: int, iteration: int) -> None:
    """Puts back what `gather_own` has returned.

    With another number of ranks the streams begin anew, from the seed and the iteration, and the first rank takes what all had
    recorded; the others take the names alone, so that all of them know the same.
    """
    rank, size = (0, 1) if group is None else (group.rank, group.world_size)
    if len(saved) == size:
        set_random_state(saved[rank]["random"])
        recorder.load_pending([saved[rank]["pending"]])
        return
    if rank == 0:
        set_random_state(saved[0]["random"])
    else:
        assert group is not None
        seed_apart(seed, group, iteration)
    recorder.load_pending([each["pending"] for each in saved], counts=rank == 0)
