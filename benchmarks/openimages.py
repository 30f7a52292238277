"""Open Images at full size: from the CSV to the overlaps, beside pandas reading two columns.

    python benchmarks/openimages.py                     boxes, 14.6 million rows (2.3 GB on disk)
    python benchmarks/openimages.py --labels            image-level labels too, 60 million rows
                                                        (2.6 GB)
    python benchmarks/openimages.py --folder /tmp/oi    keep the files, and use them the next time
    python benchmarks/openimages.py --share 0.01        a hundredth of the size, to try it out

Each figure is of a whole process, Python's start and all imports included: seconds, seconds of all
cores together, and the peak of its memory. The files are in the file cache. Steps take turns, and
of each the fastest run counts: machines are noisy, read the ratios; where others use the cores too,
the CPU seconds say more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import add_flag, record

HERE = Path(__file__).resolve().parent
OURS = """
from natural_backdoors.data.{module} import {manager}
from natural_backdoors.graph.overlaps import count_overlaps
labels = {manager}({folder!r}{options}).label_matrix("train")
print(labels.shape, labels.matrix.nnz, {overlaps})
"""
PANDAS = """
import pandas as pd
print(len(pd.read_csv({file!r}, usecols=["ImageID", "LabelName"])))
"""


def whole_process(code, cache):
    "Seconds, CPU seconds and MB of a process that runs `code`"
    environment = {
        **os.environ,
        "NATURAL_BACKDOORS_CACHE": str(cache),
        "PYTHONPATH": str(HERE.parent),
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE
    )
    said = process.stdout.read().decode().strip()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {code}")
    seconds, per_mb = time.perf_counter() - start, 1e6 if sys.platform == "darwin" else 1e3
    found = seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / per_mb
    print("   {:6.1f} s {:6.1f} CPU s {:6.0f} MB   {}".format(*found, said), flush=True)
    return found


def make(what, folder, share):
    "The generated files, made if they are not there"
    size = {"boxes": (1_743_042, 14_600_000, 600), "labels": (9_000_000, 60_000_000, 20_000)}[what]
    if any(folder.glob("*.csv")):
        return
    images, rows = (max(1000, int(n * share)) for n in size[:2])
    subprocess.run(
        [
            sys.executable,
            HERE / "generate.py",
            what,
            folder,
            f"--images={images}",
            f"--rows={rows}",
            f"--labels={size[2]}",
        ],
        check=True,
    )


def warm(file):
    "Read the file once, so that the disk plays no part"
    with open(file, "rb") as f:
        while f.read(1 << 24):
            pass


def steps_of(what, folder, cache):
    "Name of each step -> code, cache"
    if what == "boxes":
        fill = dict(module="openimages", manager="OpenImages", folder=str(folder))
        file, count = (
            folder / "oidv6-train-annotations-bbox.csv",
            "count_overlaps(labels).counts.nnz",
        )
        flags = ', drop_group_of="trigger", min_area=0.01'
    else:
        fill = dict(module="openimages_labels", manager="OpenImagesLabels", folder=str(folder))
        file, count, flags = folder / "oidv7-train-annotations-human-imagelabels.csv", "''", None
    until = "overlaps" if what == "boxes" else "label matrix"
    steps = {f"{what}: CSV to {until}": (OURS.format(**fill, options="", overlaps=count), "off")}
    if flags:
        steps[f"{what}: the same with a flag and an area"] = (
            OURS.format(**fill, options=flags, overlaps=count),
            "off",
        )
    steps[f"{what}: second start, from the cache"] = (
        OURS.format(**fill, options="", overlaps=count),
        cache,
    )
    steps[f"{what}: pandas, usecols, two columns, nothing else"] = (
        PANDAS.format(file=str(file)),
        "off",
    )
    warm(file)
    return steps


def measure(what, folder, repeat):
    "A row for each step"
    with tempfile.TemporaryDirectory() as cache:
        steps, found = steps_of(what, folder, cache), {}
        print(f"{what}: filling the cache", flush=True)
        whole_process(*steps[f"{what}: second start, from the cache"])
        for _ in range(repeat):
            for name, step in steps.items():
                print(name, flush=True)
                found.setdefault(name, []).append(whole_process(*step))
    best = {
        name: [take(column) for take, column in zip((min, min, max), zip(*runs))]
        for name, runs in found.items()
    }
    peer = next(row[0] for name, row in best.items() if "pandas" in name)
    return [
        {
            "step": n,
            "seconds": round(s, 1),
            "CPU seconds": round(cpu, 1),
            "peak MB": round(mb),
            "pandas / this": round(peer / s, 1),
        }
        for n, (s, cpu, mb) in best.items()
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the generated files are kept")
    parser.add_argument("--labels", action="store_true", help="image-level labels too")
    parser.add_argument("--share", type=float, default=1, help="share of the full size")
    parser.add_argument("--repeat", type=int, default=3)
    add_flag(parser)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root, table = a.folder or Path(temporary), []
        for what in ["boxes", "labels"][: 1 + a.labels]:
            make(what, root / what, a.share)
            table += measure(what, root / what, a.repeat)
    record("openimages", table, a.save)


if __name__ == "__main__":
    main()
