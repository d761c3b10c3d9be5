"""A changed copy of a loader, with workers of its own."""

import pytest
from augmented import Augmented, Stream
from torch.utils.data import DataLoader

from framework.data.loader_copy import LoaderPasses, changed, is_map_style, is_plain


class Own(DataLoader):
    def __iter__(self):
        return super().__iter__()


def test_what_iterates_as_torchs_does():
    assert is_plain(DataLoader(Stream()))
    assert not is_map_style(DataLoader(Stream()))
    assert is_map_style(DataLoader(Augmented()))
    assert not is_plain(Own(Augmented()))
    assert not is_plain([1])


def test_a_copy_takes_changes_that_a_loader_refuses_and_shares_no_workers():
    loader = DataLoader(Augmented(), batch_size=2, num_workers=1, persistent_workers=True)
    batches = iter(loader)
    other = changed(loader, batch_sampler=[[1]], drop_last=True)
    assert other.batch_sampler == [[1]]
    assert other.drop_last
    assert other._iterator is None
    assert loader._iterator is batches
    assert not loader.drop_last
    batches._shutdown_workers()


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_stay_and_others_do_not(persistent):
    passes = LoaderPasses(DataLoader(Augmented(), batch_size=8, num_workers=1, persistent_workers=persistent))
    pids = []
    for reuse in (True, True, False):
        batches = passes.open(reuse)
        pids += [worker.pid for worker in passes.workers()]
        assert len(list(batches)) == 3
        assert len(passes.workers()) == persistent
    assert len(set(pids)) == (2 if persistent else 3)
    passes.close()
    assert passes.workers() == []
    passes.close()


def test_workers_that_cannot_be_used_again_are_ended(monkeypatch):
    passes = LoaderPasses(DataLoader(Augmented(), batch_size=8, num_workers=1, persistent_workers=True))
    passes.open(reuse=False)
    (worker,) = passes.workers()

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(passes._batches), "_reset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        passes.open(reuse=True)
    monkeypatch.undo()
    assert not worker.is_alive()
    assert len(list(passes.open(reuse=True))) == 3
    passes.close()


def test_without_workers_there_is_nothing_to_end():
    passes = LoaderPasses(DataLoader(Augmented(), batch_size=8))
    assert len(list(passes.open(reuse=True))) == 3
    assert passes.workers() == []
    passes.close()
