import pytest

from framework.loggers.run_ids import keep_id, kept_id


def test_each_service_has_its_own(tmp_path):
    assert kept_id(tmp_path, "wandb/digits") is None
    keep_id(tmp_path, "wandb/digits", "one")
    keep_id(tmp_path, "mlflow/digits", "two")
    keep_id(tmp_path, "wandb/digits", "three")
    assert (kept_id(tmp_path, "wandb/digits"), kept_id(tmp_path, "mlflow/digits"), kept_id(tmp_path, "x")) == ("three", "two", None)
    assert [path.name for path in tmp_path.iterdir()] == ["loggers.json"]


def test_without_a_folder_nothing_is_kept():
    keep_id(None, "wandb/digits", "one")
    assert kept_id(None, "wandb/digits") is None


@pytest.mark.parametrize(
    ("text", "what"), [("{", "Expecting"), ("[]", "it should hold texts by name"), ('{"a": 1}', "it should hold texts by name")]
)
def test_a_damaged_file_is_named(tmp_path, text, what):
    (tmp_path / "loggers.json").write_text(text)
    with pytest.raises(ValueError, match=rf"loggers\.json is damaged: {what}.*\. Remove it; the services then get a new run\."):
        kept_id(tmp_path, "a")
