"""What `import framework` costs beyond `import torch`, and what `framework --help` takes: the least seconds of a fresh interpreter.

Run: python benchmarks/import_time.py [--rounds N]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from time import perf_counter

PROGRAMS = {
    "import torch": "import torch",
    "import torch, framework": "import torch, framework",
    "import torch; from framework import TrainModule": "import torch; from framework import TrainModule",
    "import framework": "import framework",
    "framework --help": "from framework import main; main(['--help'])",
    "framework fit --help": "from framework import main; main(['fit', '--help'])",
}


def seconds(program: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    best = dict.fromkeys(PROGRAMS, float("inf"))
    for _ in range(parser.parse_args().rounds):
        for name, program in PROGRAMS.items():
            best[name] = min(best[name], seconds(program))
    print("| program | s | beyond torch |\n| --- | ---: | ---: |")
    for name, value in best.items():
        print(f"| `{name}` | {value:.2f} | {value - best['import torch']:+.2f} |")


if __name__ == "__main__":
    main()
