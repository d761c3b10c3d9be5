"""Which samples of a step are those of one process."""

import pytest

from framework.data.shares import Shares, differences
from framework.errors import SettingError


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", range(9))
def test_the_parts_of_all_ranks_are_the_step_as_even_as_can_be(world_size, samples):
    parts = [Shares(rank, world_size).part(samples) for rank in range(world_size)]
    assert [index for first, own in parts for index in range(first, first + own)] == list(range(samples))
    sizes = [own for _, own in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_there_is_not_is_refused(rank, world_size):
    with pytest.raises(SettingError, match=f"rank should be from 0 to world_size - 1, got rank={rank} and world_size={world_size}"):
        Shares(rank, world_size)


def test_the_size_of_a_step():
    assert Shares(1, 3).step_size(8) == 24
    assert Shares(1, 4, whole=True).step_size(8) == 8


@pytest.mark.parametrize(("size", "world_size", "nearest"), [(10, 4, "8 or 12"), (3, 4, "4"), (7, 3, "6 or 9")])
def test_a_whole_batch_that_cannot_be_split_is_refused_with_the_nearest_that_can(size, world_size, nearest):
    message = rf"batch_size={size} does not split into {world_size} parts of one size\. Use batch_size={nearest}, or another number"
    with pytest.raises(SettingError, match=message):
        Shares(0, world_size, whole=True).step_size(size)


def test_whole_batches_without_indices_cannot_be_split():
    Shares(0, 2).refuse_whole("a list")
    with pytest.raises(SettingError, match=r'batch="global" .* by its indices, which a list does not have\. Use batch="rank"'):
        Shares(0, 2, whole=True).refuse_whole("a list")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([{"samples": 5}, {"samples": 5}], None),
        ([{"samples": 5}, {"samples": 5}, {"samples": 6}], "rank 2 has 6 samples, rank 0 has 5"),
        ([{"samples": 5, "batch size": 2}, {"samples": 5, "batch size": 3}], "rank 1 has batch size 3, rank 0 has 2"),
        ([{"sampler": "A"}, {"sampler": "B"}], "rank 1 has sampler 'B', rank 0 has 'A'"),
        ([{}, {"batches": 3}], "rank 1 has 3 batches, rank 0 has None"),
        ([{"batches": None}, {}], None),
    ],
)
def test_what_differs_is_said_with_rank_and_name(facts, said):
    assert differences(facts) == said
