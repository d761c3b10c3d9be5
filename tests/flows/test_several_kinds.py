"""Trainings of all kinds on several processes: each equals that of one process at the same global batch."""

import pytest
import torch

from tests.distributed.ranks import on_ranks
from tests.flows.several import furthest
from tests.flows.several_cases import CASES, OWN_CURVES, ROUGH, normalised, sharded

pytestmark = pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")


SOME = ("fp16", "gan", "summed_accumulated", "skips", "lists", "by_whole_batch", "few_samples", "metrics")


def run_all(rank, size, names):
    torch.set_num_threads(1)
    return {name: CASES[name](size) for name in names}


@pytest.fixture(scope="module")
def alone():
    return run_all(0, 1, CASES)


@pytest.mark.parametrize(("size", "names"), [(2, tuple(CASES)), (4, SOME)], ids=["2", "4"])
def test_each_kind_equals_one_process(alone, size, names):
    ranks = on_ranks(size, run_all, size, names, timeout_s=300)
    for name in names:
        assert_same(name, alone[name], [each[name] for each in ranks])


def assert_same(name, expected, ranks):
    within = ROUGH.get(name, 1e-6)
    numbers = ("metrics", "curves", "weights")
    for each in ranks:
        assert furthest(each["weights"], expected["weights"]) < within, name
        assert furthest(each["weights"], ranks[0]["weights"]) == 0, name
        assert {key: value for key, value in each.items() if key not in numbers} == {
            key: value for key, value in expected.items() if key not in numbers
        }, name
        assert (each["metrics"], each["curves"]) == (ranks[0]["metrics"], ranks[0]["curves"]), name
        if name in OWN_CURVES:
            continue
        assert each["metrics"].keys() == expected["metrics"].keys(), name
        for key, values in expected["curves"].items():
            assert each["curves"][key] == pytest.approx(values, abs=10 * within), (name, key)


def test_what_the_kinds_are_about_has_happened(alone):
    assert alone["fp16"]["steps"] == {"main": 50}
    assert alone["skips"]["skipped"] == 3
    assert alone["schedule"]["total_steps"] == 13 * 2
    assert alone["limited"]["iteration"][:2] == alone["carried_over"]["iteration"][:2] == (17, 51)


def run_beside(rank, size):
    torch.set_num_threads(1)
    plain = sharded(size, "ddp")
    return plain, sharded(size, "fsdp"), normalised(size)


@pytest.mark.parametrize("size", [2, 4])
def test_fsdp_equals_ddp_and_recomputing_changes_no_bit_and_buffers_are_the_same_on_all(size):
    ranks = on_ranks(size, run_beside, size, timeout_s=120)
    for ddp, fsdp, normal in ranks:
        for name, each in fsdp.items():
            assert_same(name, ddp[name], [each])
        assert furthest(ddp["recomputed"]["weights"], ddp["plain"]["weights"]) == 0
        assert furthest(fsdp["recomputed"]["weights"], fsdp["plain"]["weights"]) == 0
        for key in ("weights", "averages"):
            assert furthest(normal[key], ranks[0][2][key]) == 0
        assert normal["metrics"] == ranks[0][2]["metrics"]
        assert normal["weights"]["norm.num_batches_tracked"] == 9
