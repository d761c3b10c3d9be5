import signal
from types import SimpleNamespace

import torch

from framework.distributed.group import joined
from framework.module.ranks import agreed
from framework.module.ranks.agreed import Agreed
from tests.distributed.ranks import on_ranks


def step(rank):
    """Rank 1 is told to stop in step 40, by SIGTERM; the clock of rank 0 says that a save is due from step 20 on."""
    clock = iter(0.001 * tick for tick in range(10**6))
    agreed.perf_counter = lambda: next(clock)
    signals, now, asked_at, saves = SimpleNamespace(asked=None), 0, [], []
    with joined(torch.device("cpu")) as group:
        wishes = Agreed(group, lambda: (signals.asked is not None, rank == 0 and now >= 20), signals)
        ask = wishes.ask
        wishes.ask = lambda: (asked_at.append(now), ask())
        for now in range(1, 200):  # the wishes look at it
            if rank == 1 and now == 40:
                signals.asked = signal.SIGTERM
            wishes.step()
            if wishes.save and not saves:
                saves.append(now)
            if wishes.stop:
                break
        return now, asked_at, saves, signals.asked


def test_all_ranks_stop_and_save_at_the_same_step_and_ask_rarely():
    first, second = on_ranks(2, step)
    assert first == second
    stopped, asked_at, saves, asked = first
    assert asked == signal.SIGTERM
    assert asked_at == [1, 5, 21, 85]  # four times as many steps each time, up to a second
    assert (saves, stopped) == ([21], 85)
