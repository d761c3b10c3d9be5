"""docs/distributed.md: its torchrun runs, its shell and YAML can be read, and its metric counts over processes."""

import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import pytest
import yaml
from page_blocks import DOCS, blocks_of, words_and_numbers
from torch.distributed.run import get_args_parser
from torch.utils.data import DataLoader

import framework
from framework import DDP
from framework.module.settings import FitSettings
from tests.distributed.ranks import on_ranks

BLOCKS = blocks_of((DOCS / "distributed.md").read_text())
SCRIPT, *PYTHON = [block for block in BLOCKS if block.language == "python"]
BASH = [block for block in BLOCKS if block.language == "bash"]
YAML = [block for block in BLOCKS if block.language == "yaml"]


def test_the_script_runs_in_one_and_in_two_processes_and_prints_what_is_shown(tmp_path):
    with redirect_stdout(StringIO()) as alone:
        exec(compile(SCRIPT.code, "distributed.md", "exec"), {"__name__": "__main__"})
    (tmp_path / "train.py").write_text(SCRIPT.code)
    command = BASH[0].code.split()
    assert command[0] == "torchrun"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *command[1:]],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    shown_words, shown_numbers = words_and_numbers(BASH[0].shown)
    for printed in (alone.getvalue(), done.stdout):
        words, numbers = words_and_numbers(printed)
        assert words == shown_words, printed
        assert numbers == pytest.approx(shown_numbers, rel=0.02), printed


def test_the_shell_is_shell_and_torchrun_knows_its_options():
    parser = get_args_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    for block in BASH:
        assert subprocess.run(["bash", "-n"], input=block.code, text=True, check=False).returncode == 0, block.line
        for options in re.findall(r"^(?:srun )?torchrun (.*?)$", block.code.replace("\\\n", " "), flags=re.MULTILINE):
            new = {"--signals-to-handle", "--shutdown-timeout"} if "--signals-to-handle" in options else set()
            if new <= known:
                assert parser.parse_args(options.removesuffix("&").split()).training_script == "train.py"


def test_the_settings_of_the_configuration_exist():
    fit = yaml.safe_load(YAML[0].code)["fit"]
    assert set(fit) <= set(FitSettings.__dataclass_fields__)
    assert DDP(**fit["strategy"]["init_args"]).find_unused_parameters
    page = (DOCS / "distributed.md").read_text()
    for name, argument in re.findall(r"`(DDP|FSDP)\((\w+)=", page):
        assert argument in getattr(framework, name).__dataclass_fields__


def test_the_job_of_kubernetes_is_whole():
    job = yaml.safe_load(YAML[1].code)
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    pod = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][0] == "torchrun"
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def accuracy(rank):
    names = {"__name__": "page"}
    for block in (SCRIPT, next(block for block in PYTHON if "class Share" in block.code)):
        exec(compile(block.code, "distributed.md", "exec"), names)

    class Measured(names["Net"]):
        def evaluation_step(self, batch):
            x, y = batch
            return {"share": (self(x), y), **super().evaluation_step(batch)}

        def configure_metrics(self):
            return {"share": names["Share"]()}

    framework.seed_all(0)
    return Measured().evaluate(DataLoader(names["data"](41), batch_size=4), accelerator="cpu")


def test_the_metric_counts_over_processes():
    alone = accuracy(0)
    assert alone["test/share"] == pytest.approx(alone["test/accuracy"], abs=1e-6)
    for of_rank in on_ranks(2, accuracy):
        assert of_rank == pytest.approx(alone, abs=1e-6)
