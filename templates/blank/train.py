"""Trains the model: `python train.py`."""

import argparse

import torch
from data import load
from module import Module

from framework import seed_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()

    seed_all(0)
    train, held_out = load()
    model = Module()
    model.fit(train, held_out, max_epochs=arguments.epochs, accelerator=arguments.accelerator)
    torch.save(model.state_dict(), "weights.pt")


if __name__ == "__main__":
    main()
