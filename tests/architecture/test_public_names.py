"""The public surface: an explicit list, and what importing it costs."""

import subprocess
import sys

import pytest

import framework

PUBLIC = [
    "AMP",
    "AcceleratorError",
    "Apex",
    "Backend",
    "CSVLogger",
    "CallableEventWithFilter",
    "CheckpointError",
    "ConfigError",
    "DDP",
    "DataError",
    "DeterministicEngine",
    "DeviceMemory",
    "EMA",
    "EarlyStopping",
    "Engine",
    "EventEnum",
    "Events",
    "EventsList",
    "FSDP",
    "FitResult",
    "FrameworkError",
    "Interrupted",
    "Logger",
    "MLflowLogger",
    "MetricSet",
    "ModuleError",
    "NonFiniteError",
    "Norms",
    "Plain",
    "Progress",
    "RangeTest",
    "RankError",
    "Recorder",
    "Recording",
    "RemovableEventHandle",
    "ReproducibleBatchSampler",
    "ResumeError",
    "RunFacts",
    "RunRecord",
    "Schedule",
    "SettingError",
    "State",
    "StepError",
    "StepEvents",
    "Strategy",
    "TensorBoardLogger",
    "Timers",
    "TrackioLogger",
    "TrainModule",
    "WandbLogger",
    "XLA",
    "attach_metrics",
    "available_accelerators",
    "create_supervised_evaluator",
    "create_supervised_trainer",
    "find_lr",
    "keep_random_state",
    "main",
    "not_a_hook",
    "on",
    "rank",
    "read_run",
    "seed_all",
    "select_backend",
    "supervised_evaluation_step",
    "supervised_evaluation_step_amp",
    "supervised_training_step",
    "supervised_training_step_amp",
    "supervised_training_step_apex",
    "supervised_training_step_tpu",
    "update_dataloader",
    "verify_resume",
    "warmup_schedule",
    "world_size",
    "write_report",
]


def test_the_list_is_this_one():
    assert framework.__all__ == PUBLIC


def test_the_list_is_sorted():
    assert framework.__all__ == sorted(framework.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_can_be_imported(name):
    assert getattr(framework, name).__name__ == name


def test_dir_shows_the_list():
    assert {*PUBLIC, "__version__"} <= set(dir(framework))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'framework' has no attribute 'Trainer'"):
        _ = framework.Trainer
    with pytest.raises(ImportError, match="Trainer"):
        exec("from framework import Trainer")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_importing_the_front_door_wakes_no_other_library():
    woken = run_python("import sys, framework; print(*sorted({'torch', 'torchmetrics', 'tqdm', 'numpy'} & set(sys.modules)))")
    assert woken.strip() == ""


def test_every_public_name_together_wakes_neither_torchmetrics_nor_tqdm():
    woken = run_python(
        "import sys, torch\nbefore = set(sys.modules)\nfrom framework import *\nassert TrainModule\n"
        "optional = {'torchmetrics', 'tqdm', 'torch_xla', 'apex', 'matplotlib', 'tensorboard', 'wandb', 'mlflow', 'trackio'}\n"
        "print(*sorted(optional & (set(sys.modules) - before)))"
    )
    assert woken.strip() == ""
