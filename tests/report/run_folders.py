"""Folders of runs, written by hand: what `fit` writes, and what somebody else may have put there."""

import json

from framework.loggers.jsonl import MetricsFile, to_json


def write_run(folder, *, points=(), rows=(), status="completed", reason="Done.", metrics=None, config=None, environment=None):
    """Writes a run. `points` are (iteration, epoch, time_s, values)."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"format": 1, "status": status, "reason": reason, "iteration": 0, "epoch": 0, "metrics": to_json(metrics or {})}
    (folder / "run.json").write_text(json.dumps(content))
    file = MetricsFile(folder / "metrics.jsonl")
    for iteration, epoch, time_s, values in points:
        file.points(iteration, epoch, time_s, values)
    for row in rows:
        file.row(row)
    file.close()
    if config is not None:
        (folder / "config.yaml").write_text(config)
    if environment is not None:
        (folder / "environment.json").write_text(json.dumps(environment))
    return folder


def write_checkpoint(folder, step, *, epoch=1, best=False, number=None):
    path = folder / "checkpoints" / (f"step-{step:08d}" + (f".{number}" if number else ""))
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps({"format": 1, "step": step, "best": best, "facts": {"epoch": epoch}}))
    return path


def usual_run(folder, *, factor=1.0, lr="0.1"):
    """Writes a run of two epochs of ten iterations, with validation and a monitored metric."""
    points = [
        (iteration, (iteration + 9) // 10, 1_700_000_000.0 + iteration, {"train/loss": factor / iteration, "train/lr": 0.1})
        for iteration in range(2, 21, 2)
    ]
    rows = [
        {"epoch": 1, "iteration": 10, "time_s": 10.0, "train/loss": factor / 5, "val/loss": factor / 4, "val/accuracy": 0.5},
        {"epoch": 2, "iteration": 20, "time_s": 10.0, "train/loss": factor / 15, "val/loss": factor / 6, "val/accuracy": 0.75},
    ]
    write_run(
        folder,
        points=points,
        rows=rows,
        reason="max_epochs=2 was reached.",
        metrics={"train/loss": factor / 15, "val/loss": factor / 6, "val/accuracy": 0.75},
        config=f"model: {{class_path: module.Digits, init_args: {{lr: {lr}}}}}\nfit: {{max_epochs: 2, monitor: val/accuracy}}\n",
        environment=[{"began": "2023-11-14T22:13:20+00:00", "command": ["train.py", "a b"], "goes_on_from": None, "seed": 0}],
    )
    write_checkpoint(folder, 10, epoch=1, best=True)
    write_checkpoint(folder, 20, epoch=2, best=True)
    return folder
