"""Overlap counts from integer codes, beside scipy's own product: `python benchmarks/overlaps.py` (about 4 minutes on 2 cores).

    python benchmarks/overlaps.py                  both sets at full size: boxes (600 labels) and image-level (20,000 labels)
    python benchmarks/overlaps.py --scale 0.1      a tenth of the images
    python benchmarks/overlaps.py --codes FILE...  codes files that `generate.py ... --codes` has written
    python benchmarks/overlaps.py --threshold      from how much work on numba pays its start

Each run is a process of its own: seconds are those of the product alone once the codes are read, "peak MB" is the
largest resident set of the whole process, codes included. Machines are noisy: read the ratios.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

HERE = Path(__file__).resolve().parent
PEER = "scipy's product as it is"


def read_codes(path, n_images=None):
    "The label matrix in a codes file, or its first `n_images` images"
    codes = np.load(path)
    indptr, ids = codes["indptr"], codes["ids"]
    if n_images is not None: indptr, ids = indptr[:n_images + 1], ids[:indptr[n_images]]
    ids, indptr = ids.astype(np.int32), indptr.astype(np.int32 if len(ids) < 2**31 else np.int64)
    return sparse.csr_array((np.ones(len(ids), np.uint8), ids, indptr), shape=(len(indptr) - 1, int(codes["n_classes"])))


def peer(x):
    x = x.astype(np.int32)
    return x.T @ x


def child(path, engine, n_images):
    "One product; prints what it cost"
    x = read_codes(path, n_images)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if engine == PEER: counts = peer(x)
    else:
        # the import counts: `auto` weighs it
        from natural_backdoors.products import cooccurrence
        counts = cooccurrence(x, engine=engine)
    seconds = time.perf_counter() - start
    per_image = np.diff(x.indptr).astype(np.int64)
    print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                      "codes": before / 1024, "pairs": int((per_image**2).sum()), "shape": x.shape, "ones": x.nnz,
                      "result": counts.nnz, "total": int(counts.sum(dtype=np.int64)), "top": int(counts.max())}))


def run(path, engine, n_images=None, repeat=2, cached=True):
    "The fastest of `repeat` processes; `cached` keeps numba's compiled loops from one to the next"
    best = None
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as empty:
            env = dict(os.environ) if cached else {**os.environ, "NUMBA_CACHE_DIR": empty}
            command = [sys.executable, __file__, "--child", str(path), engine, str(n_images or "")]
            done = json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
        if best is None or done["seconds"] < best["seconds"]: best = done
    return best


def compare(path, repeat):
    "The engines beside the peer, on one codes file"
    rows, theirs = [], None
    for engine in (PEER, "scipy", "numba", "auto"):
        done = run(path, engine, repeat=repeat)
        if theirs is None: theirs = done
        # a benchmark of wrong results is worth nothing
        assert all(done[k] == theirs[k] for k in ("result", "total", "top")), (engine, done, theirs)
        rows.append({"images x labels": "{:,} x {:,}".format(*done["shape"]), "ones": f"{done['ones']:,}",
                     "engine": engine, "seconds": round(done["seconds"], 2), "peak MB": round(done["peak"]),
                     "of it codes": round(done["codes"]), "peer / ours": round(theirs["seconds"] / done["seconds"], 2)})
        print(rows[-1], flush=True)
    return rows


def threshold(path):
    "Both engines on growing parts of a set, imports included: what is `products.MIN_PAIRS`?"
    rows = []
    for n_images in (30_000, 100_000, 300_000, 600_000, 1_000_000):
        done = [run(path, "scipy", n_images, 3), run(path, "numba", n_images, 3), run(path, "numba", n_images, 2, False)]
        rows.append({"images": f"{n_images:,}", "pairs": f"{done[0]['pairs']:,}",
                     **{k: round(d["seconds"], 2) for k, d in zip(("scipy", "numba", "numba, compiling"), done)}})
        print(rows[-1], flush=True)
    return rows


def generated(folder, scale):
    "Codes files of both sets, made by `generate.py`"
    for kind, images, rows in (("boxes", 1_743_042, 14_600_000), ("labels", 9_000_000, 60_000_000)):
        size = "--images", str(int(images * scale)), "--rows", str(int(rows * scale))
        subprocess.run([sys.executable, HERE/"generate.py", kind, folder, "--codes", *size], check=True)
        yield Path(folder)/f"{kind}.npz"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", nargs="+", metavar="FILE")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threshold", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], args.child[1], int(args.child[2]) if args.child[2] else None)
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        files = args.codes or generated(folder, args.scale)
        if args.threshold: table = threshold(list(files)[-1])
        else: table = [row for path in files for row in compare(path, args.repeat)]
    print(pd.DataFrame(table).to_string(index=False))
