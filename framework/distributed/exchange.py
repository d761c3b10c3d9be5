"""How the processes of a run tell each other small things, in step: who comes with another key is told so."""

from __future__ import annotations

import pickle  # between processes of one run, which trust each other
from array import array
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import blake2b
from struct import Struct
from time import monotonic
from typing import Any

import torch
from torch.distributed import ProcessGroup, Work, all_gather, broadcast

from framework.errors import RankError

_HEADER = Struct("=q8sq")  # number of the exchange, what it is, size of what is told
_FIRST = 2048  # bytes that every exchange begins with; what fits into them needs no more
_INLINE = _FIRST - _HEADER.size
_LOOK = timedelta(seconds=1)


class Exchange:
    """Exchanges values between all ranks: one collective of fixed size, and a second one for what is larger.

    The first one says what each rank comes with. So ranks that are at different points meet, and all of them raise.

    Args:
        group: of processes, whose backend is gloo. Used by nothing else, so that nothing else can meet here.
        look: called once a second while others are waited for, with the seconds so far; it may raise.

    Attributes:
        made: how many exchanges this rank has begun.
        tag: what it waits in; None while it does not.
    """

    def __init__(self, group: ProcessGroup, look: Callable[[float], None]) -> None:
        self.made = 0
        self.tag: str | None = None
        self._group = group
        self._rank, self._size = group.rank(), group.size()
        self._look = look
        self._sent = bytearray(_FIRST)
        self._received = bytearray(_FIRST * self._size)
        self._send = torch.frombuffer(self._sent, dtype=torch.uint8)
        self._receive = _rows(self._received, _FIRST)

    def values(self, tag: str, value: Any) -> list[Any]:
        """Returns the values of all ranks, in their order."""
        return [pickle.loads(each) for each in self._run(tag, pickle.dumps(value))]  # noqa: S301  # see its import

    def from_main(self, tag: str, value: Any) -> Any:
        """Returns the value of rank 0."""
        told = pickle.dumps(value) if self._rank == 0 else b""
        return pickle.loads(self._run(f"{tag} (of rank 0)", told, main=True)[0])  # noqa: S301  # see its import

    def sums(self, tag: str, numbers: Sequence[float]) -> list[float]:
        """Returns the sums over ranks, added in their order."""
        told = [array("d", each) for each in self._run(f"{tag} (sums)", array("d", numbers).tobytes())]
        if len({len(each) for each in told}) > 1:
            raise RankError(
                f'The ranks give different amounts of numbers for the sums of "{tag}": '
                f"{_by_rank([f'{len(each)}' for each in told], 'gives', 'give')}. Each rank must give the same."
            )
        total, *others = told
        for each in others:
            total = array("d", map(float.__add__, total, each))
        return total.tolist()

    def _run(self, what: str, told: bytes, *, main: bool = False) -> list[bytes]:
        """Returns what all ranks tell; of rank 0 alone where the others have nothing to say (`main`)."""
        self.made += 1
        self.tag = what
        size = len(told)
        _HEADER.pack_into(self._sent, 0, self.made, blake2b(what.encode(), digest_size=8).digest(), size)
        if size <= _INLINE:
            self._sent[_HEADER.size : _HEADER.size + size] = told
        self._wait(all_gather(self._receive, self._send, group=self._group, async_op=True))
        heads = [_HEADER.unpack_from(self._received, rank * _FIRST) for rank in range(self._size)]
        if len({head[:2] for head in heads}) > 1:
            self._refuse(what)
        sizes = [head[2] for head in heads]
        if max(sizes) <= _INLINE:
            starts = range(_HEADER.size, len(self._received), _FIRST)
            parts = [bytes(self._received[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
        else:
            parts = self._main(told, sizes[0]) if main else self._all(told, sizes)
        self.tag = None
        return parts

    def _all(self, told: bytes, sizes: list[int]) -> list[bytes]:
        sent, received = bytearray(told.ljust(max(sizes), b"\0")), bytearray(max(sizes) * self._size)
        parts = _rows(received, max(sizes))
        self._wait(all_gather(parts, torch.frombuffer(sent, dtype=torch.uint8), group=self._group, async_op=True))
        return [bytes(memoryview(received)[rank * max(sizes) :][:size]) for rank, size in enumerate(sizes)]

    def _main(self, told: bytes, size: int) -> list[bytes]:
        passed = bytearray(told or size)
        self._wait(broadcast(torch.frombuffer(passed, dtype=torch.uint8), group=self._group, group_src=0, async_op=True))
        return [bytes(passed)]

    def _refuse(self, what: str) -> None:
        """Tells where each rank is; on all of them, as all have seen that they are at different points."""
        self._sent[:] = what.encode()[:_FIRST].ljust(_FIRST, b"\0")
        self._wait(all_gather(self._receive, self._send, group=self._group, async_op=True))
        rows = [bytes(self._received[start : start + _FIRST]) for start in range(0, len(self._received), _FIRST)]
        texts = [row.rstrip(b"\0").decode(errors="replace") for row in rows]
        self.tag = None
        quoted = [f'"{text}"' for text in texts]
        raise RankError(
            f"The ranks are at different points: {_by_rank(quoted, 'is at', 'are at')}. A hook or handler that "
            "exchanges values must run on all ranks, in the same order."
        )

    def _wait(self, work: Work | None) -> None:
        """Waits for a collective, looking up once a second: signals are handled then, and a failure of others is seen."""
        assert work is not None
        started = monotonic()
        while True:
            try:
                work.wait(_LOOK)
                return
            except RuntimeError:
                if work.is_completed():
                    work.wait()  # raises what is wrong with it, unless it has just been done
                    return
            self._look(monotonic() - started)


def _rows(buffer: bytearray, size: int) -> list[torch.Tensor]:
    """Returns the parts of `size` bytes of a buffer as tensors, which share its memory."""
    return [*torch.frombuffer(buffer, dtype=torch.uint8).view(-1, size)]


def _by_rank(texts: Sequence[str], verb: str, verbs: str) -> str:
    """Returns such as `rank 1 is at "b", ranks 0 and 2 are at "a"`, from what each rank says: what the fewest say first."""
    said = sorted(set(texts), key=lambda text: (texts.count(text), -texts.index(text)))
    groups = [[rank for rank, each in enumerate(texts) if each == text] for text in said]
    parts = zip(groups, said, strict=True)
    return ", ".join(f"{name_ranks(group)} {verb if len(group) == 1 else verbs} {text}" for group, text in parts)


def name_ranks(ranks: Sequence[int]) -> str:
    """Returns such as `rank 1`, or `ranks 0, 2 and 3`."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
