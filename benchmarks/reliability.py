"""How the package behaves when things go wrong: `python benchmarks/reliability.py` (minutes)

    python benchmarks/reliability.py --rounds 2 --fuzz 200 --save     as the page shows it

Runs what `make drill` and `make fuzz` run, and the tests with hostile input, and counts. Nothing
here is a speed: what is counted is how many trials there were and how many of them went wrong.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from record import add_flag, record

ROOT = Path(__file__).resolve().parents[1]
# what is tried -> the files that try it, and whether each property is tried with many examples
GROUPS = {
    "stored files, changed at random": (["test_stored_files.py", "test_kept_files.py"], True),
    "hostile files, archives, images and servers": (
        ["test_hostile_inputs.py", "test_download.py"],
        False,
    ),
    "files that try to run code or to lead outside": (["test_security.py"], False),
    "links, pipes and folders in place of files": (["test_links.py"], False),
    "internal limits: one below, at, one above": (["test_limits.py"], False),
    "two processes in one folder": (["test_locks.py"], False),
    "jobs that are killed and called again": (["test_interrupted.py"], False),
}
_FUZZED = "changed or part_of or different or formulas"


def count(files: list, fuzz: int, fuzzed: bool) -> dict:
    "How many tests there are, and how many passed"
    words = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", "-p", "no:cacheprovider"]
    words += [f"tests/{name}" for name in files]
    more = {"NB_FUZZ": str(fuzz)} if fuzzed else {}
    words += ["-k", _FUZZED] if fuzzed else []
    done = subprocess.run(words, cwd=ROOT, env=os.environ | more, capture_output=True, text=True)
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    number = lambda word: int((re.search(rf"(\d+) {word}", said) or [0, 0])[1])
    passed, failed = number("passed"), number("failed") + number("error")
    if not passed + failed:
        raise SystemExit(f"{' '.join(files)}: {said}")
    return {
        "tests": passed + failed,
        "examples each": fuzz if fuzzed else 1,
        "failed": failed,
        "skipped": number("skipped"),
    }


def drill(rounds: int, seed: int) -> pd.DataFrame:
    "What `make drill` says, by fault"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drill.csv"
        words = [sys.executable, "-W", "ignore", "tests/drill.py", "--save", str(file)]
        words += ["--rounds", str(rounds), "--seed", str(seed)]
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        table = pd.read_csv(file)
    jobs = table.groupby("fault", sort=False)["job"].nunique().rename("jobs")
    numbers = table.drop(columns="job").groupby("fault", sort=False).sum()
    return numbers.assign(jobs=jobs).reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="trials of each job and fault")
    parser.add_argument("--fuzz", type=int, default=50, help="examples of each property")
    parser.add_argument("--seed", type=int, default=0, help="of the drill")
    add_flag(parser)
    args = parser.parse_args()
    rows = []
    for what, (files, fuzzed) in GROUPS.items():
        rows.append({"what is tried": what} | count(files, args.fuzz, fuzzed))
        print(rows[-1], flush=True)
    record("reliability", rows, args.save)
    record("drill", drill(args.rounds, args.seed), args.save)
