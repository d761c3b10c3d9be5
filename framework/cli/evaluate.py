"""`framework evaluate`: measures the weights of a run."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

from framework.cli.once import say
from framework.cli.parts import choose_split, make_parts
from framework.cli.runs import UNUSED, configuration_of, place_of, refuse_without_configuration, weights_of
from framework.loggers.jsonl import to_json
from framework.report.reading import read_run

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def run(arguments: Namespace, overrides: Sequence[str]) -> int:
    """Runs the command."""
    record = read_run(arguments.run)
    refuse_without_configuration(record, instead="evaluate of its module in Python")
    configuration = configuration_of(record, arguments, [*overrides, *UNUSED])
    weights, told = weights_of(record, arguments.weights)
    module, data = make_parts(configuration)
    split, batches = choose_split(data, arguments.split, ("test", "val"))
    results = _evaluate(
        module, batches, weights=weights, limit_batches=arguments.limit_batches, **place_of(configuration, arguments)
    )
    if arguments.json:
        facts = {"run": str(record.path), "split": split, "weights": str(weights), "metrics": to_json(results)}
        say(json.dumps(facts, indent=1, allow_nan=False))
    else:
        say(f"{split} data, weights of {told}\n{table(results)}")
    return 0


def _evaluate(module: TrainModule, data: Any, **settings: Any) -> dict[str, Any]:
    """Returns the results; of several sets of data by name with that name in those of the results, as `fit` has it."""
    if not isinstance(data, Mapping):
        return module.evaluate(data, **settings)
    results = {}
    for name, batches in data.items():
        for key, value in module.evaluate(batches, **settings).items():
            results[key.replace("/", f"/{name}/", 1)] = value
    return results


def table(results: Mapping[str, Any]) -> str:
    """Returns a line for each result; more where it is no single number."""
    width = max(map(len, results), default=0)
    lines = []
    for name, value in results.items():
        text = f"{value:.6g}" if isinstance(value, int | float) else str(value)
        lines.append(f"{name:{width}}  {indent(text, ' ' * (width + 2)).strip()}")
    return "\n".join(lines)
