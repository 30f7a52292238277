"""The table of a benchmark: printed, and with `--save` kept in `benchmarks/results/`."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "scipy", "pandas", "polars", "networkx", "torch")


def machine():
    "What the figures were measured on, in one line"
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next(l.split(":")[1].strip() for l in f if l.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    packages = ", ".join(f"{p} {found}" for p in PACKAGES if (found := installed(p)))
    return f"{os.cpu_count()} cores of {cpu}, Python {platform.python_version()}, {packages}{gpu()}"


def installed(package):
    "The version of a package; None: it is not here, as most are on a GPU machine"
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gpu():
    "The GPU with its driver and the versions of CUDA and cuDNN, if torch is loaded and sees one"
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    said = f"; {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    said += f", cuDNN {torch.backends.cudnn.version()}"
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return f"{said}, driver not known"
    return f"{said}, driver {answer.split()[0]}"


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
    print("pages that show it: python scripts/outputs.py --write", *pages_that_read(name))


def pages_that_read(name):
    "The pages that say that they read this table, or all tables; below the folder of the project"
    found = []
    for page in sorted((ROOT / "nbs").rglob("*.ipynb")):
        title = "".join(json.loads(page.read_text(encoding="utf-8"))["cells"][0]["source"])
        reads = re.findall(r"^- reads: *.*benchmarks/results/(.*\S)", title, re.M)
        if any(Path(f"{name}.csv").match(pattern) for pattern in reads):
            found.append(page.relative_to(ROOT))
    return found
