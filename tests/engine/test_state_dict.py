import io
from collections.abc import Mapping

import pytest
import torch

from framework.engine import Engine, Events

contract = pytest.mark.contract


@contract(80)
def test_a_fresh_engine_has_three_entries(engine):
    state_dict = engine.state_dict()
    assert isinstance(state_dict, Mapping)
    assert len(state_dict) == 3
    assert dict(state_dict) == {"epoch_length": None, "max_epochs": None, "iteration": 0}


@contract(80)
def test_the_progress_and_the_target_are_saved(engine):
    engine.run(range(4), max_epochs=2)
    assert dict(engine.state_dict()) == {"epoch_length": 4, "max_epochs": 2, "iteration": 8}
    engine.state.max_epochs = None
    engine.run(range(4), max_iters=6)
    assert dict(engine.state_dict()) == {"epoch_length": 4, "max_iters": 6, "iteration": 6}


@contract(80)
def test_of_two_targets_the_iterations_win(engine, unsized):
    engine.run(unsized(3), max_iters=5)
    assert engine.state.max_epochs == 2
    assert dict(engine.state_dict()) == {"epoch_length": 3, "max_iters": 5, "iteration": 5}


@contract(81)
def test_the_users_keys_are_saved_and_required(engine):
    engine.state_dict_user_keys.append("alpha")
    engine.state.alpha = 0.1
    saved = engine.state_dict()
    assert saved["alpha"] == 0.1

    other = Engine(lambda engine, batch: None)
    other.state_dict_user_keys.append("alpha")
    other.load_state_dict(saved)
    assert other.state.alpha == 0.1
    with pytest.raises(ValueError, match="Required user state attribute 'alpha' is absent"):
        other.load_state_dict({"epoch_length": 3, "max_epochs": 2, "iteration": 0})


@contract(82)
@pytest.mark.parametrize("wrong", ["abc", 1, None, [("iteration", 0)]])
def test_a_state_is_a_mapping(engine, wrong):
    with pytest.raises(TypeError, match="Argument state_dict should be a dictionary, but given"):
        engine.load_state_dict(wrong)


@contract(82)
@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({}, "Required state attribute 'epoch_length' is absent"),
        ({"max_epochs": 2, "iteration": 0}, "Required state attribute 'epoch_length' is absent"),
        ({"epoch_length": 3, "max_epochs": 2}, "Required state attribute 'iteration' is absent"),
        ({"epoch_length": 3, "iteration": 0}, r"should contain exactly one of '\('max_epochs', 'max_iters'\)'"),
        (
            {"epoch_length": 3, "iteration": 0, "max_epochs": 2, "max_iters": 6},
            r"should contain exactly one of '\('max_epochs', 'max_iters'\)'",
        ),
        (
            {"epoch_length": 3, "iteration": 3, "epoch": 1, "max_epochs": 2},
            "State dictionary should contain only one of 'iteration' or 'epoch' keys",
        ),
        *(
            (
                {"epoch_length": length, key: 5, "max_epochs": 20},
                "epoch_length must be a positive integer to calculate missing 'iteration' or 'epoch' key.",
            )
            for length in (None, 0)
            for key in ("iteration", "epoch")
        ),
        ({"epoch_length": 3, "iteration": 9, "max_epochs": 2}, "greater than or equal to the start epoch it holds: 2 vs 3"),
        ({"epoch_length": 3, "epoch": 3, "max_epochs": 2}, "greater than or equal to the start epoch it holds: 2 vs 3"),
        ({"epoch_length": 3, "iteration": 9, "max_iters": 8}, "greater than or equal to the start iteration it holds: 8 vs 9"),
        ({"epoch_length": 3, "epoch": 3, "max_iters": 8}, "greater than or equal to the start iteration it holds: 8 vs 9"),
    ],
)
def test_a_state_that_contradicts_itself_is_refused_and_changes_nothing(engine, state_dict, message):
    engine.run(range(4), max_epochs=2)
    with pytest.raises(ValueError, match=message):
        engine.load_state_dict(state_dict)
    assert dict(engine.state_dict()) == {"epoch_length": 4, "max_epochs": 2, "iteration": 8}


@contract(83)
@pytest.mark.parametrize(
    ("progress", "iteration", "epoch"),
    [({"iteration": 6}, 6, 2), ({"iteration": 7}, 7, 2), ({"epoch": 2}, 6, 2), ({"iteration": 0}, 0, 0), ({"epoch": 0}, 0, 0)],
)
def test_the_missing_one_of_iteration_and_epoch_is_computed(engine, progress, iteration, epoch):
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 5, **progress})
    assert (engine.state.iteration, engine.state.epoch, engine.state.epoch_length) == (iteration, epoch, 3)


@contract(83)
def test_an_empty_state_loads_back(engine):
    engine.load_state_dict(Engine(lambda engine, batch: None).state_dict())
    assert engine.run(range(3)).iteration == 3


@contract(83)
def test_one_target_takes_the_place_of_the_other(engine):
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 5, "iteration": 3})
    engine.load_state_dict({"epoch_length": 3, "max_iters": 9, "iteration": 3})
    assert (engine.state.max_epochs, engine.state.max_iters) == (None, 9)
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 5, "iteration": 3})
    assert (engine.state.max_epochs, engine.state.max_iters) == (5, None)


@contract(84)
@pytest.mark.parametrize(("target", "ended"), [({}, 15), ({"max_epochs": 5}, 15), ({"max_epochs": 7}, 21)])
def test_a_loaded_engine_runs_on(engine, target, ended):
    started = []
    engine.add_event_handler(Events.STARTED, lambda engine: started.append((engine.state.epoch, engine.state.iteration)))
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 5, "iteration": 6})
    assert engine.run(range(3), **target).iteration == ended
    assert started == [(2, 6)]


@contract(84)
def test_a_loaded_engine_refuses_a_target_below_its_progress(engine):
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 5, "iteration": 6})
    with pytest.raises(ValueError, match="greater than or equal to the start epoch defined in the state: 1 vs 2"):
        engine.run(range(3), max_epochs=1)
    engine.load_state_dict({"epoch_length": 3, "max_iters": 9, "iteration": 6})
    with pytest.raises(ValueError, match="greater than or equal to the start iteration defined in the state: 5 vs 6"):
        engine.run(range(3), max_iters=5)


@contract(84)
def test_a_state_passes_through_a_file(engine):
    engine.state_dict_user_keys.append("alpha")
    engine.state.alpha = torch.tensor([0.5])
    engine.run(range(3), max_epochs=2)
    file = io.BytesIO()
    torch.save(engine.state_dict(), file)
    file.seek(0)
    assert torch.load(file) == engine.state_dict()


@contract(84)
def test_the_checkpoint_handler_of_ignite_saves_and_loads_an_engine(tmp_path):
    handlers = pytest.importorskip("ignite.handlers")
    engine = Engine(lambda engine, batch: None)
    saver = handlers.Checkpoint({"trainer": engine}, str(tmp_path), n_saved=None)
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), saver)
    engine.run(range(3), max_epochs=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trainer_12.pt", "trainer_6.pt"]

    other = Engine(lambda engine, batch: None)
    handlers.Checkpoint.load_objects({"trainer": other}, str(tmp_path / "trainer_6.pt"))
    assert dict(other.state_dict()) == {"epoch_length": 3, "max_epochs": 5, "iteration": 6}
    assert other.run(range(3)).iteration == 15
