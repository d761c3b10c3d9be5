"""Where numbers go: metrics.jsonl, and the loggers of `loggers=`."""

from framework.loggers.base import Logger, RunFacts
from framework.loggers.csv_logger import CSVLogger
from framework.loggers.jsonl import MetricsFile
from framework.loggers.mlflow_logger import MLflowLogger
from framework.loggers.tensorboard_logger import TensorBoardLogger
from framework.loggers.trackio_logger import TrackioLogger
from framework.loggers.wandb_logger import WandbLogger

__all__ = [
    "CSVLogger",
    "Logger",
    "MLflowLogger",
    "MetricsFile",
    "RunFacts",
    "TensorBoardLogger",
    "TrackioLogger",
    "WandbLogger",
]
