"""How long the command line takes to answer, beside an empty Python and an import of torch, in one run.

python benchmarks/startup.py [--repeat 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "realbench --help": [sys.executable, "-P", "-m", "realbench", "--help"],
    "realbench methods": [sys.executable, "-P", "-m", "realbench", "methods"],
    "realbench metrics": [sys.executable, "-P", "-m", "realbench", "metrics"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    """Print the median and the fastest wall-clock time of each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    print(f"{'':<20}{'median':>9}{'fastest':>9}")
    for name, command in CASES.items():
        times = []
        for _ in range(3 if name == "import torch" else repeat):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        print(f"{name:<20}{statistics.median(times):>8.3f}s{min(times):>8.3f}s")


if __name__ == "__main__":
    main()
