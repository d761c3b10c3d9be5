"""What was recorded, added up over the processes of a run: once for each point, and the same on all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from framework.distributed.group import Group
from framework.errors import RankError
from framework.metrics.channel import Sums
from framework.metrics.metric_set import Feeding

_TAG = "values recorded under "


class RecordedOverRanks:
    """Adds up the sums of a recorder, for its `over_ranks`, and tells how metrics were fed, for `MetricSet.compute`.

    Args:
        group: the processes.
    """

    def __init__(self, group: Group) -> None:
        self._group = group

    def __call__(self, stage: str, sums: Mapping[str, Sums]) -> dict[str, Sums]:
        """Returns the sums over all ranks.

        Raises:
            RankError: a rank has recorded other names.
        """
        names = sorted(sums)
        try:
            added = self._group.sums(f"{_TAG}{stage}/: {', '.join(names)}", [number for name in names for number in sums[name]])
        except RankError as error:
            places = re.findall('"([^"]*)"', str(error))
            if len(places) < 2 or not all(place.startswith(f"{_TAG}{stage}/: ") for place in places):
                raise  # one place: a rank that never comes there
            raise _other_names(self._group.exchange(f"names recorded under {stage}/", names), stage) from None
        return {name: (added[2 * index], added[2 * index + 1]) for index, name in enumerate(names)}

    def feeding(self, own: Feeding) -> list[Feeding]:
        """Returns how each metric was fed in each process."""
        return self._group.exchange(f"metrics fed: {', '.join(own)}", own)


def _other_names(of_ranks: list[list[str]], stage: str) -> RankError:
    """Returns the error that says which rank lacks which name."""
    every = {name: None for names in of_ranks for name in names}
    lines = [
        f"rank {rank} has not recorded {', '.join(f'{stage}/{name}' for name in every if name not in names)}"
        for rank, names in enumerate(of_ranks)
        if len(names) < len(every)
    ]
    return RankError(
        f"The ranks have recorded different names since the last point of the curves: {'; '.join(lines)}. Record the same names on "
        "each rank, in the same steps; where one has nothing to say, log(name, 0.0, n=0) counts for nothing. A handler that logs "
        "runs on every rank: give its class all_ranks = True."
    )
