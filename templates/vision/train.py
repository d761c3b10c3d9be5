"""Trains by config.yaml: `python train.py`. What follows changes a setting: `python train.py --fit.max_epochs 3`."""

import sys

from framework import main

if __name__ == "__main__":
    sys.exit(main(["fit", "--config", "config.yaml", *sys.argv[1:]]))
