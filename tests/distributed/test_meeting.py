from datetime import timedelta
from threading import Thread

import pytest
from torch.distributed import HashStore

from framework import RankError
from framework.distributed.meeting import meet, tell_end


def meet_all(store, size):
    names = {}
    threads = [Thread(target=lambda rank=rank: names.update({rank: meet(store, rank, size)})) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [names[rank] for rank in range(size)]


def test_all_ranks_get_one_name_and_another_each_time():
    store = HashStore()
    names = [meet_all(store, size) for size in (1, 3, 3, 2, 4)]  # torchrun may start other numbers of processes again
    assert [len({*each}) for each in names] == [1] * 5
    assert len({each[0] for each in names}) == 5


def test_what_a_killed_process_has_left_is_answered_and_waited_for_no_more():
    store = HashStore()
    with pytest.raises(RankError):
        meet(store, 1, 2, timedelta(seconds=0))
    store.set("word/2", "of one that was killed")
    assert len({*meet_all(store, 3)}) == 1


@pytest.mark.parametrize(("rank", "size", "missing"), [(1, 2, "rank 0 has"), (0, 2, "rank 1 has"), (0, 4, "ranks 1, 2, 3 have")])
def test_who_does_not_come_is_named(rank, size, missing):
    with pytest.raises(RankError, match=f"After 0:00:00 {missing} not come. fit, evaluate and predict work together"):
        meet(HashStore(), rank, size, timedelta(seconds=0))


def test_who_has_ended_since_the_last_time_is_waited_for_no_more():
    store = HashStore()
    (name,) = {*meet_all(store, 3)}
    tell_end(store, 2, name)
    with pytest.raises(RankError, match=r"This rank waits for others, and rank 2 has ended. fit, evaluate and predict work"):
        meet(store, 0, 3, before=name)
    tell_end(store, 0, name)
    with pytest.raises(RankError, match="and rank 0 has ended"):
        meet(store, 1, 3, before=name)
