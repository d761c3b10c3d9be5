import signal
from itertools import pairwise
from types import SimpleNamespace

import torch

from framework.distributed.group import joined
from framework.module.ranks import agreed
from framework.module.ranks.agreed import Agreed, share_signal
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


def save_by_the_clock(rank, folder):
    from tests.flows.several import loader, made

    saved = []
    result = made().fit(
        loader(8),
        max_iters=60,
        progress=False,
        accelerator="cpu",
        seed=0,
        run_dir=folder,
        save_every=100,
        save_every_s=0.05,
        keep=None,
    )
    saved += sorted(int(path.name[5:13]) for path in (folder / "checkpoints").glob("step-*"))
    return saved, result.state.iteration


def test_a_save_that_the_clock_asks_for_is_made_once(tmp_path):
    (first, iteration), (second, _) = on_ranks(2, save_by_the_clock, tmp_path)
    assert first == second
    assert iteration == 60
    assert not any(two - one == 1 for one, two in pairwise(first) if two > 6)  # the first questions come step by step


def stop_in_evaluation(rank):
    signals, asked_at = SimpleNamespace(asked=None), []
    clock = iter(0.001 * tick for tick in range(10**6))
    agreed.perf_counter = lambda: next(clock)
    with joined(torch.device("cpu")) as group:
        wishes = Agreed(group, lambda: (signals.asked is not None, False), signals)
        for _ in range(100):
            wishes.step()
        wishes.begin_pace()
        signals.asked = signal.SIGTERM if rank == 1 else None
        for batch in range(1, 50):
            wishes.step()
            if wishes.stop:
                asked_at.append(batch)
                break
        share_signal(group, signals)
        return asked_at, signals.asked


def test_an_evaluation_finds_its_own_pace():
    assert on_ranks(2, stop_in_evaluation) == [([1], signal.SIGTERM)] * 2
