"""What is looked at before anything is written."""

import pytest
import torch
from states import a_state

from framework import CheckpointError
from framework.checkpoint import prepared
from framework.checkpoint.prepared import prepare_save


def test_a_save_holds_the_tensors_of_the_states_themselves():
    state = a_state(1)
    save = prepare_save(1, state)
    assert save.parts["model"].tensors["net.weight"].data_ptr() == state["model"]["net.weight"].data_ptr()
    assert save.shards == {}
    assert torch.equal(save.parts["model"].tensors["net.bias"], state["model"]["net.bias"])


@pytest.mark.parametrize("step", [-1, 1.0, True, None, "1"])
def test_a_step_is_a_number(step):
    with pytest.raises(CheckpointError, match="A checkpoint is of a step, an integer from 0; got "):
        prepare_save(step, {})


@pytest.mark.parametrize("name", ["Model", "a-b", "", "../x", "manifest", "a.json", 3])
def test_names_of_parts(name):
    with pytest.raises(CheckpointError, match=r"cannot be the name of a part\. Use a-z and _, and not 'manifest'"):
        prepare_save(1, {name: 1})


def test_a_structure_has_a_limit(monkeypatch):
    monkeypatch.setattr(prepared, "LARGEST_JSON", 100)
    with pytest.raises(
        CheckpointError, match=r"The part 'run' has 202 bytes beside its tensors; 100 are allowed. Store lists as tensors."
    ):
        prepare_save(1, {"run": "x" * 200})


def test_facts_have_a_limit(monkeypatch):
    monkeypatch.setattr(prepared, "LARGEST_FACTS", 500)
    with pytest.raises(CheckpointError, match=r"^facts have \d+ bytes; 500 are allowed\. Store them in a part\."):
        prepare_save(1, {}, facts="x" * 500)
