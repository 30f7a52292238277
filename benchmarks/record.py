"""The table of a benchmark: printed, and with `--save` kept in `benchmarks/results/`."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("numpy", "scipy", "pandas", "polars", "networkx", "torch")


def machine():
    "What the figures were measured on, in one line"
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next(l.split(":")[1].strip() for l in f if l.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    packages = ", ".join(f"{p} {version(p)}" for p in PACKAGES)
    return f"{os.cpu_count()} cores of {cpu}, Python {platform.python_version()}, {packages}"


def add_flag(parser):
    "`--save` for the command line of a benchmark"
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/results/")


def record(name, rows, save):
    "Print the rows as a table, and keep them as `name` if `save`"
    table = pd.DataFrame(rows)
    where = f"{machine()}; load average at the end {os.getloadavg()[0]:.1f}"
    print(f"\n{where}\n{table.to_string(index=False)}", flush=True)
    if not save:
        return
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False)
    lines = RESULTS / "machine.txt"
    kept = dict(l.split(": ", 1) for l in lines.read_text().splitlines()) if lines.exists() else {}
    kept[name] = f"{date.today()}, {where}"
    lines.write_text("".join(f"{k}: {v}\n" for k, v in sorted(kept.items())))
