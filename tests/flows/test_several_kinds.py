"""Trainings of all kinds on several processes: each equals that of one process at the same global batch."""

import pytest
import torch
from tests.distributed.ranks import on_ranks
from tests.flows.several import furthest
from tests.flows.several_cases import CASES, GLOBAL, OWN_CURVES, ROUGH, run

from framework import TrainModule

pytestmark = pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")


def run_all(rank, size):
    torch.set_num_threads(1)
    return {name: case(size) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def alone():
    return run_all(0, 1)


@pytest.mark.parametrize("size", [2, 4])
def test_each_kind_equals_one_process(alone, size):
    ranks = on_ranks(size, run_all, size, timeout_s=300)
    for name, expected in alone.items():
        assert_same(name, expected, [each[name] for each in ranks])


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
    assert alone["fp16"]["steps"] == {"optimizer": 50}
    assert alone["skips"]["skipped"] == 3
    assert alone["schedule"]["total_steps"] == 13 * 2
    assert alone["limited"]["iteration"][:2] == alone["carried_over"]["iteration"][:2] == (17, 51)
