import re

import pytest

from framework.module.checks.foreign_settings import FOREIGN_ARGUMENTS, FOREIGN_SETTINGS
from framework.module.checks.unknown_settings import SETTINGS

LIGHTNING = [
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "precision",
    "logger",
    "callbacks",
    "fast_dev_run",
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "num_sanity_val_steps",
    "log_every_n_steps",
    "enable_checkpointing",
    "enable_progress_bar",
    "enable_model_summary",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "deterministic",
    "benchmark",
    "inference_mode",
    "use_distributed_sampler",
    "profiler",
    "detect_anomaly",
    "plugins",
    "sync_batchnorm",
    "reload_dataloaders_every_n_epochs",
    "default_root_dir",
]


@pytest.mark.parametrize("name", LIGHTNING)
def test_every_setting_of_lightning_has_its_counterpart(name):
    assert name in FOREIGN_SETTINGS or name in SETTINGS


@pytest.mark.parametrize(("name", "remedy"), FOREIGN_SETTINGS.items(), ids=FOREIGN_SETTINGS)
def test_a_remedy_is_a_sentence_that_names_what_fit_has(name, remedy):
    assert name not in SETTINGS
    assert name == name.lower()
    assert remedy.endswith(".")
    named = re.findall(r"\b([a-z]+(?:_[a-z]+)+)=", remedy) + re.findall(r"^Use ([a-z_]+)[ ,.=:]", remedy)
    assert set(named) <= {*SETTINGS, "train_data", "val_data", "batch_size", "limit_batches"}


@pytest.mark.parametrize(("name", "remedy"), FOREIGN_ARGUMENTS.items(), ids=FOREIGN_ARGUMENTS)
def test_so_it_is_for_the_other_verbs(name, remedy):
    assert name not in ("accelerator", "precision", "limit_batches")
    assert remedy.endswith(".")
