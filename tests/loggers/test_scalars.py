import math

import numpy as np
import torch

from framework.loggers.scalars import row_scalars, scalars


def test_numbers_of_every_kind():
    values = {"a": 1, "b": 0.5, "c": True, "d": np.float32(2), "e": torch.tensor(3), "f": torch.tensor(4.0), "g": np.array(5)}
    assert scalars(values) == {"a": 1.0, "b": 0.5, "c": 1.0, "d": 2.0, "e": 3.0, "f": 4.0, "g": 5.0}
    assert {type(value) for value in scalars(values).values()} == {float}


def test_what_is_not_finite_is_a_number():
    found = scalars({"a": math.nan, "b": torch.tensor(math.inf)})
    assert math.isnan(found["a"])
    assert found["b"] == math.inf


def test_lists_and_mappings_give_a_number_each():
    values = {"recall": torch.tensor([0.5, 1.0]), "pair": (1, torch.tensor(2)), "per": {"cat": torch.tensor(0.25), "dog": "none"}}
    assert scalars(values) == {"recall/0": 0.5, "recall/1": 1.0, "pair/0": 1.0, "pair/1": 2.0, "per/cat": 0.25}


def test_what_is_no_number_is_left_out():
    assert scalars({"text": "x", "none": None, "matrix": torch.eye(2), "empty": [], "object": object()}) == {}


def test_a_row_without_its_place_and_with_names_of_its_own_for_the_means():
    row = {"epoch": 2, "iteration": 12, "time_s": 0.5, "train/loss": 0.5, "val/loss": 0.4, "val/easy/train/loss": 1}
    assert row_scalars(row) == {"train_epoch/loss": 0.5, "val/loss": 0.4, "val/easy/train/loss": 1.0}
