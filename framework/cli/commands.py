"""The commands: what each does, and the arguments that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command.

    Args:
        does: one line, for the help.
        example: how to call it.
        arguments: by name, what argparse's `add_argument` is told of each.
        overrides: whether it takes settings of the configuration, such as `--fit.max_epochs 3`.
    """

    does: str
    example: str
    arguments: Mapping[str, Mapping[str, Any]]
    overrides: bool = True


_RUN: dict[str, Any] = {"metavar": "RUN", "help": "the folder of a run: what fit.run_dir was"}
_PROJECT: dict[str, dict[str, Any]] = {
    "--project": {
        "metavar": "FOLDER",
        "default": ".",
        "help": "where module.py and data.py are; the current folder by default",
    },
    "--trust": {
        "metavar": "PACKAGE",
        "action": "append",
        "default": [],
        "help": "an installed package that class paths may name as well; may be repeated",
    },
}
_CONFIG: dict[str, Any] = {
    "metavar": "FILE",
    "action": "append",
    "help": "the configuration, in YAML; of several, later ones win",
}
_INFERENCE: dict[str, dict[str, Any]] = {
    "--weights": {
        "metavar": "WHICH",
        "default": "best",
        "help": "best (the newest where no metric was monitored), last, or the path of a checkpoint or a .safetensors file",
    },
    "--accelerator": {"metavar": "NAME", "help": "where to run; as in training by default"},
    "--precision": {"metavar": "NAME", "help": "fp32, bf16 or fp16; as in training by default"},
    "--limit_batches": {"metavar": "N", "type": int, "help": "batches to use, at most"},
}

COMMANDS: dict[str, Command] = {
    "new": Command(
        "make a project from a template",
        "framework new digits --template blank",
        {
            "name": {"metavar": "NAME", "nargs": "?", "help": "the folder to make, and the name of the project"},
            "--template": {"metavar": "NAME", "default": "blank", "help": "the template to copy; blank by default"},
            "--list": {"action": "store_true", "help": "list the templates"},
        },
        overrides=False,
    ),
    "fit": Command(
        "train what a configuration describes",
        "framework fit --config config.yaml --fit.max_epochs 3",
        {
            "--config": {**_CONFIG, "required": True},
            "--weights": {
                "metavar": "PATH",
                "help": "begin with the weights of a run (its best), a checkpoint or a .safetensors file; all else is new",
            },
            "--print_config": {
                "action": "store_true",
                "help": "print the whole configuration with its defaults, and do nothing else",
            },
            **_PROJECT,
        },
    ),
    "evaluate": Command(
        "measure the weights of a run",
        "framework evaluate runs/digits",
        {
            "run": _RUN,
            "--split": {"choices": ("test", "val", "train"), "help": "the data to use; test if there is any, else val"},
            **_INFERENCE,
            "--json": {"action": "store_true", "help": "print JSON"},
            **_PROJECT,
        },
    ),
    "predict": Command(
        "write the predictions of a run to a file",
        "framework predict runs/digits --output predictions.safetensors",
        {
            "run": _RUN,
            "--output": {
                "metavar": "FILE",
                "required": True,
                "help": "the file to write: .safetensors, or .jsonl with a line a sample",
            },
            "--overwrite": {"action": "store_true", "help": "replace a file that is there"},
            "--split": {
                "choices": ("predict", "test", "val", "train"),
                "help": "the data to use; predict if there is any, else test, else val",
            },
            **_INFERENCE,
            **_PROJECT,
        },
    ),
    "resume": Command(
        "go on with a run that was interrupted or killed, or prolong one",
        "framework resume runs/digits --fit.max_epochs 20",
        {"run": _RUN, **_PROJECT},
    ),
    "show": Command(
        "print the training loop that fit runs",
        "framework show --config config.yaml",
        {"run": {**_RUN, "nargs": "?"}, "--config": {**_CONFIG, "default": []}, **_PROJECT},
    ),
    "report": Command(
        "draw runs as one page of curves",
        "framework report runs/* --output report.html",
        {
            "runs": {"metavar": "RUN", "nargs": "+", "help": "folders of runs; several are drawn over each other"},
            "--output": {
                "metavar": "FILE",
                "help": "the page to write; report.html by default: of one run in its folder, of several in the current one",
            },
        },
        overrides=False,
    ),
}
"""By name, in the order in which a newcomer meets them."""
