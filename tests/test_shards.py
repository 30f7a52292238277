"Sharded counting: against plain loops, and on a Dask cluster of which one process is killed"

import csv
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors import TableDataset, UserError, count_overlaps, find_triggers
from natural_backdoors.cli.commands import main
from natural_backdoors.graph.shards import shard_overlaps

# ids and labels that have gone wrong somewhere before
IDS = st.sampled_from(
    ["1", "01", "001", "NA", "a,b", 'say "a"', "é", "two\nlines", "x" * 300, "./1", "null", "0.1"]
)
LABELS = st.sampled_from(
    ["cat", "Cat", " cat", "NA", "null", "nan", "<script>", "a, b", 'q"q', "ü", "1", "1.0", ""]
)
ROWS = st.lists(st.tuples(IDS, LABELS, st.sampled_from([0, 0.3, 0.5, 1])), min_size=1, max_size=40)


def write(path, rows, header=("image", "label", "Confidence")):
    if path.suffix == ".parquet":
        pd.DataFrame(rows, columns=list(header)).to_parquet(path)
    else:
        with open(path, "w", newline="", encoding="utf-8") as f:
            csv.writer(f).writerows([header, *rows])
    return path


def by_loops(rows, confidence):
    "Overlaps, verified clean images and the number of images, by sets"
    has, refuted = {}, {}
    # blanks and spellings mean nothing, and an image without a label is an image
    rows = [(image.removeprefix("./"), label.strip(), value) for image, label, value in rows]
    n_images = len({image for image, *_ in rows})
    for image, label, value in rows:
        if not label:
            continue
        if value >= confidence and value > 0:
            has.setdefault(image, set()).add(label)
        elif value == 0:
            refuted.setdefault(image, set()).add(label)
    labels = sorted(set().union(*has.values()))
    counts, clean = np.zeros((2, len(labels), len(labels)), int)
    for (i, a), (j, b) in product(enumerate(labels), repeat=2):
        counts[i, j] = sum(a in s and b in s for s in has.values())
        clean[i, j] = sum(
            a in s and b not in s and b in refuted.get(image, ()) for image, s in has.items()
        )
    return labels, counts, clean, n_images


@settings(max_examples=100, deadline=None)
@given(
    ROWS,
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([0.3, 0.5, 1]),
    st.randoms(use_true_random=False),
)
def test_any_rows_in_any_shards(rows, n_shards, parts, confidence, random):
    labels, counts, clean, n_images = by_loops(rows, confidence)
    with tempfile.TemporaryDirectory() as folder:
        shards = [[] for _ in range(n_shards)]
        for row in rows:
            random.choice(shards).append(row)
        paths = [
            write(Path(folder) / f"{i}.{random.choice(['csv', 'parquet'])}", s)
            for i, s in enumerate(shards)
            if s
        ]
        options = {"parts": parts, "confidence": confidence, "verified_negatives": True}

        def call(paths=paths, options=options, **more):
            return shard_overlaps(paths, **options, **more)

        found = call()
        assert found.classes.label.tolist() == labels and found.n_images == n_images
        assert (
            found.counts.toarray().tolist() == counts.tolist()
            and found.clean.toarray().tolist() == clean.tolist()
        )
        chosen = sorted({*labels[::2], "zebra"})
        some = call(classes=chosen)
        at = [labels.index(label) for label in chosen if label in labels]
        keep = [label in labels for label in chosen]
        assert some.classes.label.tolist() == chosen
        assert some.counts.toarray()[np.ix_(keep, keep)].tolist() == counts[np.ix_(at, at)].tolist()


def same(a, b):
    return (
        (a.counts != b.counts).nnz == 0 and a.classes.equals(b.classes) and a.n_images == b.n_images
    )


def draw_rows(n_images=4000, n_labels=60, seed=0):
    draw = np.random.default_rng(seed)
    image = np.repeat(np.arange(n_images), draw.integers(1, 7, n_images))
    label = (n_labels * draw.random(len(image)) ** 2).astype(int)
    return pd.DataFrame(
        {"image": [f"{i:06d}.jpg" for i in image], "label": [f"/m/{id:03d}" for id in label]}
    )


def write_shards(folder, rows, by):
    "Shards by image, by label (an image is in many shards), or at random"
    key = np.random.default_rng(1).random(len(rows)) if by == "random" else rows[by].to_numpy()
    for i, ids in enumerate(np.array_split(np.argsort(key, kind="stable"), 9)):
        path, some = folder / f"part-{i}{('.csv', '.csv.gz', '.parquet')[i % 3]}", rows.iloc[ids]
        some.to_parquet(path, index=False) if path.suffix == ".parquet" else some.to_csv(
            path, index=False
        )
    return f"{folder}/part-*"


@pytest.mark.parametrize("by", ["image", "label", "random"])
def test_here(tmp_path, by):
    rows = draw_rows()
    whole = count_overlaps(TableDataset(rows).label_matrix())
    urls = write_shards(tmp_path, rows, by)
    for parts in (None, 5):
        assert same(shard_overlaps(urls, parts=parts), whole)
    assert find_triggers(shard_overlaps(urls)).table.equals(find_triggers(TableDataset(rows)).table)


def test_dask_is_not_imported(tmp_path):
    write(tmp_path / "a.csv", [("1", "cat", 1)])
    code = (
        "import sys; from natural_backdoors.graph.shards import shard_overlaps\n"
        "print(shard_overlaps(sys.argv[1]).n_images,\n"
        "      [m for m in ('dask', 'distributed', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.csv"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "[]"]


def test_urls(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    rows = draw_rows(300)
    whole = count_overlaps(TableDataset(rows).label_matrix())
    local = write_shards(tmp_path, rows, "random")
    assert same(shard_overlaps(f"file://{local}"), whole)
    memory = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    assert same(shard_overlaps("memory://bucket/part-*"), whole)
    memory.pipe("/bucket/part-9.csv", b"image,label\n1,cat\n2\n")
    with pytest.raises(UserError, match="memory://.*part-9.csv, line 3"):
        shard_overlaps("memory://bucket/part-*")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip(
        "distributed", reason="no Dask (pip install natural_backdoors[scale])"
    )
    with (
        distributed.LocalCluster(
            n_workers=2,
            processes=True,
            threads_per_worker=1,
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("by", ["image", "label"])
def test_on_a_cluster(cluster, tmp_path, by):
    rows = draw_rows()
    whole = count_overlaps(TableDataset(rows).label_matrix())
    assert same(shard_overlaps(write_shards(tmp_path, rows, by), cluster, parts=5), whole)


def test_by_address_and_broken_shards(cluster, tmp_path):
    rows = draw_rows(300)
    urls = write_shards(tmp_path, rows, "random")
    address = cluster.scheduler.address
    assert same(
        shard_overlaps(f"file://{urls}", address), count_overlaps(TableDataset(rows).label_matrix())
    )
    (tmp_path / "part-4.csv").write_text("image,label\n1,cat\n2\n")
    with pytest.raises(UserError, match="part-4.csv, line 3: 1 fields, not 2"):
        shard_overlaps(urls, address)
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        shard_overlaps(urls, "tcp://127.0.0.1:1", timeout=1)


def test_on_the_command_line(cluster, tmp_path, monkeypatch, capsys):
    "analyze --dask finds what analyze finds in the one table"
    monkeypatch.chdir(tmp_path)
    rows = draw_rows()
    rows.to_csv("all.csv", index=False)
    (tmp_path / "shards").mkdir()
    urls = write_shards(tmp_path / "shards", rows, "label")
    files = []
    for where in (
        ["all.csv", "--name", "one"],
        [urls, "--name", "many", "--dask", cluster.scheduler.address],
    ):
        assert main(["analyze", "--data", "table", "--dataset_root", *map(str, where)]) == 0, (
            capsys.readouterr().err
        )
        files.append(next((tmp_path / "data" / where[2]).glob("possible_triggers*")).read_text())
    assert files[0] == files[1] and len(files[0]) > 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_worker_is_killed(cluster, tmp_path):
    "Two shards are named pipes: when each worker waits for one, that with more results is killed"
    rows = draw_rows()
    whole = count_overlaps(TableDataset(rows).label_matrix())
    urls = write_shards(tmp_path, rows, "random")
    pipes = {tmp_path / "part-3.csv": b"", tmp_path / "part-6.csv": b""}
    for pipe in pipes:
        pipes[pipe] = pipe.read_bytes()
        pipe.unlink()
        os.mkfifo(pipe)
    found, pids = [], cluster.run(os.getpid)
    count = threading.Thread(
        target=lambda: found.append(shard_overlaps(urls, cluster, parts=4)), daemon=True
    )
    count.start()
    victim = when_nothing_moves(cluster)
    os.kill(pids[victim], signal.SIGKILL)
    end = time.monotonic() + 300
    while victim in cluster.nthreads():  # a dying process must not be the one that reads the pipe
        assert time.monotonic() < end
        time.sleep(0.05)
    for pipe, content in pipes.items():
        threading.Thread(target=pipe.write_bytes, args=[content], daemon=True).start()
    count.join(300)
    assert found and same(found[0], whole)


def when_nothing_moves(client, seconds=300):
    "The worker that holds more results, once both are reading and nothing has changed for a while"
    end, before, since = time.monotonic() + seconds, None, time.monotonic()
    while True:
        now = {w: sorted(map(str, keys)) for w, keys in client.processing().items()}
        if now != before:
            before, since = now, time.monotonic()
        held = client.has_what()
        most = max(held, key=lambda w: len(held[w]))
        reading = all(any("read_shard" in k for k in keys) for keys in now.values())
        if reading and len(held[most]) > 1 and time.monotonic() - since > 1:
            return most
        assert time.monotonic() < end, f"waited in vain: {now}, {held}"
        time.sleep(0.05)
