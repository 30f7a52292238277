"""Overlap counts from integer codes, beside other sparse products: `python benchmarks/overlaps.py`

    python benchmarks/overlaps.py                  both sets at full size (about 3 minutes):
                                                   boxes, 600 labels; image-level, 20,000 labels
    python benchmarks/overlaps.py --scale 0.1      a tenth of the images
    python benchmarks/overlaps.py --codes FILE...  codes files of `generate.py ... --codes`

Peers are scipy's own product, and Gustavson's row-wise product of the upper triangle compiled by
numba (if that is installed; compiling is not counted). Each run is a process of its own. Seconds
are those of the product once the codes are read, CPU those of the processor alone (all run in one
thread); "peak MB" is the largest resident set of the whole process, codes and imports included.
Machines are noisy: read the ratios.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from record import add_flag, record
from scipy import sparse

from natural_backdoors.graph.cooccurrence import cooccurrence, mirror

HERE = Path(__file__).resolve().parent


def read_codes(path, n_images=None):
    "The label matrix in a codes file, or its first `n_images` images"
    codes = np.load(path)
    indptr, ids = codes["indptr"], codes["ids"]
    if n_images is not None:
        indptr, ids = indptr[: n_images + 1], ids[: indptr[n_images]]
    ids, indptr = ids.astype(np.int32), indptr.astype(np.int32 if len(ids) < 2**31 else np.int64)
    shape = len(indptr) - 1, int(codes["n_classes"])
    return sparse.csr_array((np.ones(len(ids), np.uint8), ids, indptr), shape=shape)


def by_scipy(x):
    x = x.astype(np.int32)  # 8 bits would overflow
    return x.T @ x


def rows_upper(first, begin, entries, ids, stop_of, counter, lengths, columns, counts):
    "Rows of the upper triangle from `first` on, if they fit; the first that was not counted"
    used, n = 0, len(counter)
    for c in range(first, n):
        if used + n > len(columns):
            return c
        before = used
        for k in range(begin[c], begin[c + 1]):
            for at in range(entries[k], stop_of[k]):
                counter[ids[at]] += 1
        for d in range(c, n):
            if counter[d] > 0:
                columns[used], counts[used], counter[d] = d, counter[d], 0
                used += 1
        lengths[c] = used - before
    return n


def by_numba(x):
    from numba import njit

    compiled = njit(cache=True)(rows_upper)
    positions = sparse.csr_array(
        (np.arange(x.nnz, dtype=np.int32), x.indices, x.indptr), shape=x.shape
    ).tocsc()
    begin, entries, stop_of = positions.indptr, positions.data, x.indptr[1:][positions.indices]
    n, room = x.shape[1], max(1 << 22, x.shape[1])
    counter, lengths = np.zeros(n, np.int32), np.zeros(n, np.int64)
    columns, counts, pieces, first = np.empty(room, np.int32), np.empty(room, np.int32), [], 0
    while first < n:
        done = compiled(
            first, begin, entries, x.indices, stop_of, counter, lengths, columns, counts
        )
        used = lengths[first:done].sum()
        pieces.append((columns[:used].copy(), counts[:used].copy()))
        first = done
    columns, counts = (np.concatenate(parts) for parts in zip(*pieces))
    return mirror(
        sparse.csr_array((counts, columns, np.concatenate([[0], np.cumsum(lengths)])), shape=(n, n))
    )


WAYS = {"natural_backdoors": cooccurrence, "scipy x.T @ x": by_scipy, "numba, row-wise": by_numba}


def child(path, way):
    "One product; prints what it cost"
    if way == "numba, row-wise":
        by_numba(sparse.csr_array(np.eye(2, dtype=np.uint8)))  # compiles
    x = read_codes(path)
    start, cpu = time.perf_counter(), time.process_time()
    counts = WAYS[way](x)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": cpu,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "shape": x.shape,
                "ones": x.nnz,
                "result": counts.nnz,
                "total": int(counts.sum(dtype=np.int64)),
                "largest": int(counts.max()),
            }
        )
    )


def compare(path, repeat):
    "All ways on one codes file, by turns, the fastest of `repeat` runs each"
    ways = [w for w in WAYS if find_spec("numba") or "numba" not in w]
    best = {}
    for way in ways * repeat:
        command = [sys.executable, __file__, "--child", str(path), way]
        done = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        if way not in best or done["seconds"] < best[way]["seconds"]:
            best[way] = done
    ours = best["natural_backdoors"]
    for way, done in best.items():  # a benchmark of wrong results is worth nothing
        if any(done[k] != ours[k] for k in ("result", "total", "largest")):
            raise SystemExit(f"{way} counts otherwise")
    return [
        {
            "images x labels": "{:,} x {:,}".format(*d["shape"]),
            "labels in all": f"{d['ones']:,}",
            "product": way,
            "seconds": round(d["seconds"], 2),
            "CPU": round(d["cpu"], 2),
            "peak MB": round(d["peak"]),
            "CPU / ours": round(d["cpu"] / ours["cpu"], 2),
        }
        for way, d in best.items()
    ]


def generated(folder, scale):
    "Codes files of both sets, made by `generate.py`"
    for kind, images, rows in (("boxes", 1_743_042, 14_600_000), ("labels", 9_000_000, 60_000_000)):
        size = "--images", str(int(images * scale)), "--rows", str(int(rows * scale))
        subprocess.run(
            [sys.executable, HERE / "generate.py", kind, folder, "--codes", *size], check=True
        )
        yield Path(folder) / f"{kind}.npz"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--codes", nargs="+", metavar="FILE", help="codes files; default: made for the run"
    )
    parser.add_argument(
        "--scale", type=float, default=1, metavar="R", help="share of the full size that is made"
    )
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="runs of each product")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    add_flag(parser)
    args = parser.parse_args()
    if args.child:
        sys.exit(child(*args.child))
    with tempfile.TemporaryDirectory() as folder:
        files = args.codes or generated(folder, args.scale)
        record("overlaps", [row for path in files for row in compare(path, args.repeat)], args.save)
