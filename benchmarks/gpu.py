"""What a GPU does here, within a given time: `make benchmarks-gpu` (8 minutes at the most).

    python benchmarks/gpu.py                       print the tables
    python benchmarks/gpu.py --save                and keep them in benchmarks/results/
    python benchmarks/gpu.py --minutes 20          more rounds; the median counts

The parts are the programs beside this one, each in a process of its own: decoding, training and
evaluation with the paper's batch of 32 (training.py), and a sweep of 24 runs (sweep.py). A part
that would not end in time is left out, and one that takes too long is ended; both are told, and the
exit status says so. Nothing but the packages for training is needed (`scripts/gpu_environment.py`).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# program, arguments, seconds that it is expected to take on a GPU of a data center, once
PARTS = (
    ("training.py", ["--scale", "gpu"], 130),
    ("sweep.py", ["--scale", "gpu", "--plain", "1"], 250),
)


def rounds(minutes):
    "How often each part is done"
    return max(1, int(60 * minutes // sum(seconds for *_, seconds in PARTS)))


def main(args, run=subprocess.run, clock=time.monotonic):
    end, left_out = clock() + 60 * args.minutes, []
    for program, arguments, seconds in PARTS:
        left, n = end - clock(), rounds(args.minutes)
        if left < seconds:
            left_out.append(f"{program}: it takes about {seconds} s, and {left:.0f} s are left")
            continue
        command = [sys.executable, str(HERE / program), *arguments, "--repeat", str(n)]
        print(f"== {program}", flush=True)
        try:
            done = run(command + ["--save"] * args.save, timeout=left)
            if done.returncode:
                left_out.append(f"{program} failed")
        except subprocess.TimeoutExpired:
            left_out.append(f"{program} was ended after {left:.0f} s")
    for line in left_out:
        print(f"not measured: {line} (--minutes gives more time)", file=sys.stderr)
    return 1 if left_out else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="of all parts together")
    parser.add_argument("--save", action="store_true", help="keep the tables")
    args = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here")
    sys.exit(main(args))
