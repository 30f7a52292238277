#!/usr/bin/env python3
"""Print a Python that can run `benchmarks/gpu.py`, and make one if need be: `make benchmarks-gpu`

A GPU machine often has PyTorch and no way to install much. So the first of these is taken: the
Python of PYTHON=..., .venv, .venv-gpu, and python3 of this machine, if everything that training
imports is there. Else .venv-gpu is made on top of python3, which keeps its PyTorch, and what is
missing is installed: the packages for training, without polars, documentation and notebooks.
WHEELS=FOLDER takes them from a folder instead of the network (fill it elsewhere with the line that
`--list` prints).
"""

import configparser
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-gpu"
# of the core packages, those that training imports; the others read label files or make pages
CORE = (
    "fastcore numpy scipy pandas pyarrow networkx pillow tqdm msgspec pyyaml requests matplotlib"
).split()
MODULES = (
    "natural_backdoors.train.sweeps",
    "natural_backdoors.train.runs",
    "natural_backdoors.data.table",
)


def requirements():
    "What to install, with the bounds of settings.ini"
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "settings.ini")
    train = config["DEFAULT"]["train_requirements"].split()
    named = {name_of(line) for line in train}
    core = [line for line in config["DEFAULT"]["requirements"].split() if name_of(line) in CORE]
    return [line for line in core if name_of(line) not in named] + train


def name_of(line):
    "The name of a package, without its bounds"
    for sign in "<>=!~ ":
        line = line.split(sign)[0]
    return line.lower()


def works(python):
    "Whether this Python has everything"
    code = f"import {', '.join(MODULES)}, torch, torchvision"
    try:
        done = subprocess.run(
            [python, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def install(base):
    "Make .venv-gpu on top of `base`"
    print(f"== installing into {VENV.name} what training needs", file=sys.stderr)
    new = [base, "-m", "venv", "--clear", "--system-site-packages", str(VENV)]
    subprocess.run(new, check=True, stdout=sys.stderr)
    wheels = os.environ.get("WHEELS")
    where = ["--no-index", "--find-links", wheels] if wheels else []
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", *where, *requirements()]
    subprocess.run(pip, check=True, stdout=sys.stderr)


def main():
    if "--list" in sys.argv:
        print("pip download -d FOLDER", *(repr(line) for line in requirements()))
        return
    base = os.environ.get("PYTHON") or "python3"
    found = [os.environ.get("PYTHON"), ROOT / ".venv/bin/python", VENV / "bin/python", "python3"]
    for python in filter(None, found):
        if works(str(python)):
            print(python)
            return
    try:
        install(base)
    except (OSError, subprocess.SubprocessError) as e:
        sys.exit(f"{VENV.name} could not be made ({e}); WHEELS=FOLDER installs without a network")
    if not works(str(VENV / "bin" / "python")):
        sys.exit(
            f"{VENV.name} lacks something: run {VENV.name}/bin/python -c 'import {MODULES[0]}'"
        )
    print(VENV / "bin" / "python")


if __name__ == "__main__":
    main()
