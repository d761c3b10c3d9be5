"""Several processes train what one trains at the same global batch."""

import pytest
from safetensors.torch import load_file

from framework import CSVLogger, EarlyStopping
from tests.distributed.ranks import on_ranks, run_ranks
from tests.flows.several import furthest, loader, made, weights

GLOBAL = 32
QUIET = {"progress": False, "seed": 3, "accelerator": "cpu"}


def train(rank, size, arguments, settings):
    module = made(**arguments)
    result = module.fit(loader(GLOBAL // size), loader(8, samples=41, seed=2, shuffle=False), **QUIET, **settings)
    return weights(module), result.metrics, result.history, result.series


VARIANTS = {
    "sgd": ({}, {}),
    "adamw": ({"optimizer": "adamw"}, {}),
    "accumulated": ({}, {"accumulate": 3}),
    "clipped": ({}, {"clip_norm": 0.1}),
    "clipped by value, accumulated": ({"optimizer": "adamw"}, {"clip_value": 0.01, "accumulate": 2}),
}


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ddp_equals_one_process(size, variant):
    arguments, settings = VARIANTS[variant]
    settings = {**settings, "max_iters": 52}
    alone = train(0, 1, arguments, settings)
    ranks = on_ranks(size, train, size, arguments, settings)
    for trained, metrics, history, series in ranks:
        assert furthest(trained, alone[0]) < 1e-6
        assert furthest(trained, ranks[0][0]) == 0
        assert metrics == ranks[0][1]
        assert metrics == pytest.approx(alone[1], abs=1e-6)
        assert [row["iteration"] for row in history] == [row["iteration"] for row in alone[2]]
        assert {name: [point.value for point in points] for name, points in series.items()} == {
            name: [pytest.approx(point.value, abs=1e-6) for point in points] for name, points in alone[3].items()
        }


def evaluate_and_predict(rank, size):
    module = made()
    held_out = loader(GLOBAL // size, samples=41, seed=2, shuffle=False)
    results = module.evaluate(held_out)
    batches = list(module.predict_batches(loader(8, samples=41, seed=2, shuffle=False)))
    return results, module.predict(x_only(8)), [len(prediction) for prediction in batches]


def x_only(batch):
    return [x for x, _ in loader(batch, samples=41, seed=2, shuffle=False)]


@pytest.mark.parametrize("size", [2, 4])
def test_evaluation_and_prediction_are_those_of_one_process(size):
    results, predictions, _ = evaluate_and_predict(0, 1)
    for of_rank, predicted, lengths in on_ranks(size, evaluate_and_predict, size):
        assert of_rank == pytest.approx(results, abs=1e-6)
        assert predicted.shape == predictions.shape == (41, 3)  # no sample that only fills up
        assert (predicted - predictions).abs().max() < 1e-6
        assert sum(lengths) == 41


class Notes:
    """Writes down what runs where."""

    def __init__(self, all_ranks=None):
        if all_ranks is not None:
            self.all_ranks = all_ranks
        self.heard = []

    def on_epoch_completed(self, engine):
        self.heard.append(engine.state.epoch)


def quietly(rank, size, folder):
    module, mine, everyones = made(), Notes(), Notes(all_ranks=True)
    logger = CSVLogger()
    result = module.fit(
        loader(8),
        loader(8, samples=41, seed=2),
        max_epochs=2,
        accelerator="cpu",
        seed=0,
        run_dir=folder / "run",
        handlers=[mine, everyones],
        loggers=[logger],
    )
    return mine.heard, everyones.heard, str(result.last_checkpoint), result.history


def test_files_lines_and_loggers_are_of_rank_0_and_handlers_may_ask_for_all(tmp_path, capfd):
    ranks = on_ranks(2, quietly, 2, tmp_path)
    assert [heard for heard, *_ in ranks] == [[1, 2], []]
    assert [heard for _, heard, *_ in ranks] == [[1, 2], [1, 2]]
    assert ranks[0][2] == ranks[1][2]
    untimed = [[{name: value for name, value in row.items() if name != "time_s"} for row in each[3]] for each in ranks]
    assert untimed[0] == untimed[1]
    out = capfd.readouterr().out
    assert out.count("epoch 1/2") == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")) == [
        "checkpoints",
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "metrics.jsonl",
        "report.html",
        "run.json",
        "run.lock",
    ]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) > 0


def stop_early(rank, size):
    stopping = EarlyStopping("val/loss", patience=1, mode="max")  # which gets better the wrong way round
    result = made().fit(loader(8), loader(8, samples=41, seed=2), max_epochs=9, handlers=[stopping], **QUIET)
    return result.status, result.reason, stopping.best


def test_early_stopping_is_the_same_on_all_ranks():
    first, second = on_ranks(2, stop_early, 2)
    assert first == second
    assert first[0] == "stopped"


def sharded_and_after(rank, size, folder):
    module = made(optimizer="adamw")
    module.fit(loader(GLOBAL // size), max_iters=6, strategy="fsdp" if size > 1 else "auto", clip_norm=0.5, **QUIET)
    held_out = loader(8, samples=41, seed=2, shuffle=False)
    results, predictions = module.evaluate(held_out), module.predict(x_only(8))
    module.fit(loader(GLOBAL // size), max_iters=4, strategy="fsdp" if size > 1 else "auto", **QUIET)  # again, as it is
    module.export(folder / f"{size}.safetensors")
    return results, predictions


def test_after_fsdp_a_module_evaluates_predicts_trains_and_exports(tmp_path):
    results, predictions = sharded_and_after(0, 1, tmp_path)
    for of_rank, predicted in on_ranks(2, sharded_and_after, 2, tmp_path):
        assert of_rank == pytest.approx(results, abs=1e-5)
        assert (predicted - predictions).abs().max() < 1e-5
    assert furthest(load_file(tmp_path / "1.safetensors"), load_file(tmp_path / "2.safetensors")) < 1e-5


def look_at_one(rank):
    module, heads = made(), []
    for prediction in module.predict_batches(x_only(8)):
        heads.append(len(prediction))
        break
    return heads, len(module.predict(x_only(8)))


def test_the_first_predictions_may_be_enough():
    assert on_ranks(2, look_at_one) == [([16], 41)] * 2


class OwnData:
    """Batches of this rank alone, in an order of its own, at a position of its own."""

    def __init__(self, rank):
        self.rank, self.done = rank, 0

    def __iter__(self):
        for batch in list(loader(8, samples=64, seed=rank_seed(self.rank), shuffle=False))[self.done :]:
            self.done += 1
            yield batch
        self.done = 0

    def __len__(self):
        return 8

    def state_dict(self):
        return {"done": self.done, "rank": self.rank}

    def load_state_dict(self, state):
        assert state["rank"] == self.rank
        self.done = state["done"]


def rank_seed(rank):
    return 10 + rank


def own_data(rank, folder, limits):
    for limit in limits:
        module = made()
        module.fit(OwnData(rank), max_iters=limit, run_dir=folder, data_order="loader", **QUIET)
    return weights(module)


def test_data_that_each_rank_brings_goes_on_where_that_rank_was(tmp_path):
    whole, parts = on_ranks(2, own_data, tmp_path / "whole", [20]), on_ranks(2, own_data, tmp_path / "parts", [11, 20])
    assert furthest(whole[0], parts[0]) == furthest(whole[1], parts[1]) == 0


def refused(rank):
    made().fit(OwnData(rank), max_epochs=1, **QUIET)


def test_data_that_save_their_own_position_are_not_given_whole_to_each_rank():
    ended = run_ranks(2, refused)
    told = "".join(each.stderr for each in ended)
    assert (
        told.count("SettingError: train_data, of class OwnData, saves its own position with state_dict, so fit cannot split it")
        == 1
    )
    assert [each.code for each in ended] == [1, 1]


def evaluated(rank):
    return len(made().predict(OwnData(0), accelerator="cpu")), made().evaluate(OwnData(0), accelerator="cpu")


def test_evaluations_deal_them_like_any_other():
    alone = evaluated(0)
    assert alone[0] == 64
    for each in on_ranks(2, evaluated):
        assert each[0] == 64
        assert each[1] == pytest.approx(alone[1], abs=1e-6)
