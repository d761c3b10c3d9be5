"""A wish to stop, or to save since time is up, that all ranks follow at the same step, though each hears of it at another time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import perf_counter

from framework.distributed.group import Group
from framework.module.stopping.signals import StopSignals

EVERY_S = 1.0
"""How often the ranks ask each other, in seconds."""
_GROWTH = 4  # of the number of steps between two questions: steps may become slower again


class Agreed:
    """Asks all ranks about once a second, at the same step on each of them.

    Args:
        group: the processes.
        wishes: returns what this rank wants: whether to stop, and whether to save.
        signals: of this rank; one that another rank has received counts as received here.

    Attributes:
        stop: a rank wants the run to stop.
        save: a rank wanted to save, when asked last; whoever saves takes it back.
    """

    def __init__(self, group: Group, wishes: Callable[[], tuple[bool, bool]], signals: StopSignals) -> None:
        self._group = group
        self._wishes = wishes
        self._signals = signals
        self._left = self._between = 1  # steps
        self._asked = perf_counter()
        self.stop = self.save = False

    def step(self) -> None:
        """Counts a step of training or evaluation, and asks where that is due: each rank calls it at the same steps."""
        self._left -= 1
        if self._left <= 0:
            self.ask()

    def begin_pace(self) -> None:
        """Begins to find out anew how many steps a second has: those of an evaluation are not those of training."""
        self._left = self._between = 1
        self._asked = perf_counter()

    def ask(self) -> None:
        """Asks now: where all ranks are at the same place anyway."""
        now = perf_counter()
        stop, save = self._wishes()
        taken = self._between - self._left
        sums = self._group.sums("whether to stop", [float(stop), float(save), now - self._asked])
        self.save = sums[1] > 0
        if sums[0] > 0 and not self.stop:
            self.stop = True
            share_signal(self._group, self._signals)
        if taken > 0:  # all ranks have taken as many, and reckon with the same seconds
            seconds = sums[2] / self._group.world_size / taken
            self._between = max(1, min(int(EVERY_S / max(seconds, 1e-9)), _GROWTH * self._between))
        self._left = self._between
        self._asked = now


def share_signal(group: Group, signals: StopSignals) -> None:
    """Lets a signal that one rank has received count as received by all, so that all leave in the same way."""
    for number in group.exchange("the signal that ends the run", None if signals.asked is None else int(signals.asked)):
        if number is not None and signals.asked is None:
            signals.asked = signal.Signals(number)
