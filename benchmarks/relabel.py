"""What reading ImageNet ReLabel costs: files per second and core, beside peers (about a minute).

    python benchmarks/relabel.py [--files 20000] [--format zip|legacy] [--folder /tmp/relabel]

Label maps are generated as `torch.save` writes them, 1,300 in a folder as in ImageNet, and removed
at the end. Peers: (a) listing the folders and reading the bytes of the same files, nothing else;
(b) `torch.load` and the rule of the published code, on a part of the files. Then the class as a
user calls it, with nothing kept and with all kept. Processor time of one process, from a warm file
cache, the least of `REPEAT` runs; of the class the one run.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from record import add_flag, record

from natural_backdoors.data.relabel import THRESHOLD, ImageNetReLabel, _list_maps, _read_files

REPEAT, PER_FOLDER, SLOW_FILES = 5, 1300, 300


def draw_maps(draw, n):
    "Label maps: a few objects an image in patches, the model sure of about a third of the cells"
    scores = -np.sort(-draw.normal(0, 1.5, (n, 5, 15, 15)), axis=1)
    scores[:, 0] += draw.gamma(2, 2, (n, 15, 15))
    ids = draw.integers(0, 1000, (n, 5, 15, 15))
    objects = draw.integers(0, 1000, (n, 3))
    ids[:, 0] = objects[
        np.arange(n)[:, None, None],
        draw.integers(0, 3, (n, 5, 5)).repeat(3, axis=1).repeat(3, axis=2),
    ]
    return torch.from_numpy(np.stack([scores, ids], axis=1).astype(np.float32))


def write(folder, n_files, zipped):
    "Write `n_files` label maps and a class index into `folder`"
    draw = np.random.default_rng(0)
    wnids = [f"n{1440764 + 13_000 * i:08d}" for i in range(1000)]
    folder.mkdir(parents=True)
    (folder / "imagenet_class_index.json").write_text(
        json.dumps({i: [w, w] for i, w in enumerate(wnids)})
    )
    for first in range(0, n_files, PER_FOLDER):
        wnid = wnids[first // PER_FOLDER]
        (folder / "maps" / wnid).mkdir(parents=True)
        maps = draw_maps(draw, min(PER_FOLDER, n_files - first))
        for number, m in zip(draw.choice(30_000, len(maps), replace=False), maps):
            torch.save(
                m.clone(),
                folder / "maps" / wnid / f"{wnid}_{number}.pt",
                _use_new_zipfile_serialization=zipped,
            )


def fastest(function, repeat=REPEAT):
    "Seconds of processor time of the fastest of `repeat` calls, and what it returned"
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def only_bytes(folders):
    "Every byte of every file, as cheaply as Python can"
    for folder in folders:
        for name in os.listdir(folder):
            file = os.open(f"{folder}/{name}", os.O_RDONLY)
            os.read(file, 1 << 20)
            os.close(file)


def ours(folders):
    "The reader of the package, without its cache"
    listed = ((folder, *_list_maps(folder)) for folder in folders)
    return [_read_files(folder, names, sizes, THRESHOLD, 1) for folder, names, sizes, _ in listed]


def published(files, threshold=THRESHOLD, topk=1):
    "torch.load, and the rule as the published code has it"
    found = set()
    for path in files:
        m = torch.load(path, weights_only=True)
        for y in (0, -1):
            for x in (0, -1):
                m[:, :, y, x] = torch.zeros(2, 5)
        soft = m.view(2, 5, -1).clone()
        soft[0, :] = torch.nn.Softmax(dim=0)(soft[0])
        soft = soft.view(2, 5, 15, 15)
        mask = torch.zeros(*soft.shape[1:], dtype=torch.bool)
        mask[:topk] = soft[0, :topk] >= threshold
        best = defaultdict(float)
        for p, c in soft[:, mask].view(2, -1).transpose(1, 0):
            best[c.item()] = max(best[c.item()], p.item())
        found |= {(path.stem, int(c)) for c in best}
    return found


def main(n_files, zipped, folder, save):
    torch.set_num_threads(1)
    os.environ["NATURAL_BACKDOORS_CACHE"] = str(folder / "cache")
    data = folder / "data"
    write(data, n_files, zipped)
    folders = sorted(map(str, (data / "maps").iterdir()))
    size = next(Path(folders[0]).iterdir()).stat().st_size
    kind = "zip" if zipped else "legacy"
    print(f"{n_files:,} {kind} files in {len(folders)} folders, {size:,} bytes each")
    part = sorted(Path(folders[0]).iterdir())[:SLOW_FILES]
    read, _ = fastest(lambda: only_bytes(folders))
    own, parts = fastest(lambda: ours(folders))
    found = {
        (p["images"][i].decode(), int(c)) for p in parts for i, c in zip(p["image"], p["label"])
    }
    slow, expected = fastest(lambda: published(part), 2)
    stems = {p.stem for p in part}
    same = {pair for pair in found if pair[0] in stems} == expected
    assert same, "the labels differ from those of the published code"
    state, _ = fastest(lambda: [_list_maps(f) for f in folders])
    rows = [
        ("reading the bytes alone (a)", read / n_files),
        ("torch.load and the published rule (b)", slow / len(part)),
        ("ours, one process", own / n_files),
        ("  of it, sizes and times of the files", state / n_files),
    ]
    for what in ("ImageNetReLabel, nothing kept", "ImageNetReLabel, all kept"):
        seconds, _ = fastest(
            lambda: ImageNetReLabel(data, processes=1, progress=False).label_matrix(), 1
        )
        rows.append((what, seconds / n_files))
    record(
        "relabel",
        [
            {
                "step": what.strip(),
                "us a file": round(s * 1e6, 1),
                "files/s": round(1 / s),
                "/ (a)": round(s * n_files / read, 2),
            }
            for what, s in rows
        ],
        save,
    )
    print(f"labels found: {len(found):,}, equal to the published code's on {len(part)} files")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--format", choices=("zip", "legacy"), default="zip")
    parser.add_argument(
        "--folder", type=Path, help="where to put the files; default: a temporary folder"
    )
    add_flag(parser)
    args = parser.parse_args()
    where = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        main(args.files, args.format == "zip", where, args.save)
    finally:
        shutil.rmtree(where)
