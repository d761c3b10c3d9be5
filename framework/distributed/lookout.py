"""How the ranks of a run end together: the first failure is shown once, by the rank that failed, and no rank stays behind."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from types import TracebackType

from torch.distributed import Store  # type: ignore[attr-defined]  # public, though not in its list

from framework.distributed.exchange import name_ranks
from framework.distributed.failure import EXIT_HUNG, Failure, PeerFailed, is_broken_connection
from framework.distributed.heartbeat import Heartbeat
from framework.distributed.whereabouts import Whereabouts, never_meet, wait_for_others
from framework.errors import RankError

_LOOK_S = 0.5
_ANSWER_S = 2.0  # what a living rank has to answer, several looks
_WAITED_S = 5.0  # after so long in an exchange a rank asks where the others are
_GRACE_S = 3.0  # what the rank that failed has to show its error: whoever started the ranks ends all as soon as one has ended
_STUCK_S = 5.0  # then a rank that waits for the one that failed is ended
_UNWINDING_S = 30.0  # and one that does something else: it may be closing its files
_FLUSH_S = 1.0


class Lookout:
    """Looks out for the failure of other ranks while the block runs, and tells them of that of this one.

    Their words are in a store. An error that leaves the block is shown as ever, unless another rank has failed first with the same,
    or it says only that another is gone: then PeerFailed leaves the block. Threads end the process where its main thread waits
    for a rank that has failed. A rank that dies without a word, or is heard of no more, is told of by another in one line.

    Args:
        store: for the words of this block alone, over a connection that nothing else waits on.
        rank, world_size: of this process.
        keeps_store: the store ends with the process of rank 0.

    Attributes:
        where: tells where this rank is. Called in the thread; it must read the iteration before the exchanges.
        failure: of another rank; None while there is none.
    """

    def __init__(self, store: Store, rank: int, world_size: int, *, keeps_store: bool) -> None:
        self.where: Callable[[], Whereabouts] = Whereabouts
        self.failure: Failure | None = None
        self._store = store
        self._rank, self._size = rank, world_size
        self._keeps_store = keeps_store
        self._seen_at = 0.0
        self._next_question_s = _WAITED_S
        self._before: dict[int, Whereabouts] = {}
        self._heart = Heartbeat(store, rank, world_size)
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._reached = 0  # how often the store has answered
        self._threads = [threading.Thread(target=each, name="lookout", daemon=True) for each in (self._watch, self._watch_ends)]

    def __enter__(self) -> Lookout:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            first = None if error is None or isinstance(error, PeerFailed) else self._first_failure(error)
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(_STUCK_S)  # the store may be out of reach
            self.where = Whereabouts  # they hold each other, and what torch has: as garbage it would hang a process that is forked
            self._let_go("left" if error is None else "seen")
        if first is not None:
            raise PeerFailed(first) from None

    def look(self, waited_s: float) -> None:
        """Looks up while this rank waits in an exchange; to be called about once a second.

        Raises:
            PeerFailed: another rank has failed, and has had the time to show it.
            RankError: the exchange can never come about, as another rank is past it.
        """
        if self.failure is not None:
            if monotonic() - self._seen_at >= _GRACE_S:
                raise PeerFailed(self.failure)
            return
        if waited_s < self._next_question_s:
            if waited_s < _WAITED_S:
                self._next_question_s = _WAITED_S
                self._before = {}
            return
        self._next_question_s = min(1.5 * waited_s, waited_s + 60)
        here, there = self.where(), self.ask()
        lost = [rank for rank, where in there.items() if never_meet(here, where) and self._before.get(rank) == where]
        self._before = there
        if lost:
            error = RankError(_lost(self._rank, here, lost[0], there[lost[0]]))
            if self._claim(Failure.of(self._rank, error)).rank == self._rank:
                raise error

    def ask(self) -> dict[int, Whereabouts]:
        """Returns where the other ranks are, of those that answer in time."""
        question, deadline = self._store.add("asked", 1), monotonic() + _ANSWER_S
        missing, there = {*range(self._size)} - {self._rank}, {}
        while missing and monotonic() < deadline:
            sleep(0.02)
            self._answer(0)  # the others may ask at the same time
            for rank in [rank for rank in missing if self._store.check([f"at/{rank}"])]:
                answered, *where = json.loads(self._store.get(f"at/{rank}"))
                if answered >= question:
                    there[rank] = Whereabouts(*where)
                    missing.remove(rank)
        return there

    def _first_failure(self, error: BaseException) -> Failure | None:
        """Returns the failure of another rank that `error` follows from; None where it is this rank's own."""
        mine = Failure.of(self._rank, error)
        broken = is_broken_connection(error)
        try:
            first = (self._find() if broken else None) or self._claim(mine)
            if first == mine:
                return None
            return first if broken else self._after(first, mine)
        except RuntimeError:  # the store is gone
            return self._note_store_gone() if broken else None

    def _after(self, first: Failure, mine: Failure) -> Failure | None:
        """Returns `first` where `mine` is the same, when the other rank has had the time to show it; else None."""
        if mine.leaves or first.leaves:
            return None
        self._over.wait(_GRACE_S)
        return first if first.what == mine.what else None

    def _find(self) -> Failure | None:
        """Returns the failure behind a connection that broke; None where all ranks are alive."""
        if self.failure is not None:
            return self.failure
        asks = self._store.compare_set("broken", "", str(self._rank)).decode() == str(self._rank)
        if not asks:
            deadline = monotonic() + 2 * _ANSWER_S
            while not self._store.check(["failed"]) and monotonic() < deadline:
                sleep(0.02)
            return self._read()
        if (found := self._read()) is not None:
            return found
        there = self.ask()
        dead = [rank for rank in range(self._size) if rank not in there and rank != self._rank]
        if not dead:
            return self._read()
        return self._claim_of(dead, "ended without a word: killed, out of memory, or its machine gone?")

    def _claim_of(self, dead: list[int], what: str) -> Failure:
        """Tells of ranks that cannot do so themselves, unless there is a failure already; returns the first."""
        mine = Failure(dead[0], f"{what} (says rank {self._rank})")
        first = self._claim(mine)
        if first == mine:
            has = "has" if len(dead) == 1 else "have"
            _tell(f"{name_ranks(dead).capitalize()} {has} {what} The other ranks end too.")
        return first

    def _claim(self, mine: Failure) -> Failure:
        """Tells of a failure, unless there is one already; returns the first."""
        return Failure.read(self._store.compare_set("failed", "", mine.text()))

    def _read(self) -> Failure | None:
        return Failure.read(self._store.get("failed")) if self._store.check(["failed"]) else None

    def _let_go(self, count: str) -> None:
        """Waits a little, where the store ends with this process, until the others need it no more."""
        with suppress(RuntimeError):  # they have ended first, and it with them
            if count == "left" and self._rank != 0:
                self._store.add(count, 1)
            deadline = monotonic() + _ANSWER_S
            while self._keeps_store and self._rank == 0 and monotonic() < deadline and self._store.add(count, 0) < self._size - 1:
                sleep(0.02)

    # In threads

    def _watch(self) -> None:
        """Talks with the store, which takes for ever where the network is gone."""
        answered = 0
        while self.failure is None and not self._over.wait(_LOOK_S):
            try:
                answered = self._answer(answered)
                self._note(self._read())
                if self._heart.beat():
                    self._note_silent()
            except RuntimeError:
                if not self._over.is_set():
                    self._note_store_gone()

    def _watch_ends(self) -> None:
        """Ends the process where it has to. What counts as silence is the turns of this thread: C code may have let none run."""
        reached, silent_s = 0, 0.0
        while not self._over.wait(_LOOK_S):
            silent_s = silent_s + _LOOK_S if reached == self._reached else 0.0
            reached = self._reached
            if self.failure is None and silent_s >= self._heart.silent_s:
                since = f"for {self._heart.silent_s:g} s"
                _tell(f"Rank {self._rank} cannot reach the store of the run {since}: is the network gone? It ends.")
                self._note_store_gone(told=True)
            if self.failure is not None and self._must_end(self.failure):
                _end(self.failure.code)

    def _answer(self, answered: int) -> int:
        question: int = self._store.add("asked", 0)
        self._reached += 1
        if question > answered:
            self._store.set(f"at/{self._rank}", json.dumps([question, *self.where()]))
        return question

    def _note(self, found: Failure | None) -> None:
        if found is not None and found.rank != self._rank:
            self._seen_at = monotonic()
            self.failure = found
            self._store.add("seen", 1)

    def _note_silent(self) -> None:
        there = self.ask()
        if silent := [rank for rank in range(self._size) if rank not in there and rank != self._rank]:
            what = f"not been heard of for {self._heart.silent_s:g} s: is the machine gone, or the network?"
            self._note(self._claim_of(silent, what))

    def _note_store_gone(self, *, told: bool = False) -> Failure:
        if self.failure is None:
            self._seen_at = monotonic()
            self.failure = Failure(0, "the store of the run is gone")
            if not told and self._rank == min(1, self._size - 1):  # they cannot agree on who tells
                _tell(
                    "The process that keeps the store of the run, torchrun or rank 0, has ended without a word. The ranks end too."
                )
        return self.failure

    def _must_end(self, failure: Failure) -> bool:
        """Tells whether the main thread has had its time to end by itself."""
        since_s = monotonic() - self._seen_at
        if wait_for_others(self._watched) is not None and failure.code != EXIT_HUNG:  # that its own watchdog will tell of
            return since_s >= _STUCK_S
        return since_s >= _UNWINDING_S and not failure.leaves


def _lost(rank: int, here: Whereabouts, other: int, there: Whereabouts) -> str:
    return (
        f'Rank {rank} waits at "{here.tag}" after iteration {here.iteration}; rank {other} is in iteration {there.iteration} and '
        "never comes there: its data has more batches, or a hook or handler exchanges values on some ranks only. Give all ranks "
        "the same number of batches, and exchange on all of them, in the same order."
    )


def _tell(line: str) -> None:
    with suppress(OSError):  # nobody reads it
        os.write(2, f"{line}\n".encode())


def _end(code: int) -> None:
    """Ends the process, whatever its main thread does."""
    anyway = threading.Timer(_FLUSH_S, os._exit, (code,))
    anyway.daemon = True
    anyway.start()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
