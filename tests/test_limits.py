"""Numbers inside the package at which something else begins: blocks, widths of integers, sizes

Each is tried one below, at it and one above, against a plain loop. Where the real one would take
minutes, a small one is put in its place."""

import csv
import gzip
import io
import itertools
import json
import os
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from scipy import sparse

from natural_backdoors import TableDataset, UserError
from natural_backdoors.base import files, finding, json_stream, schemas
from natural_backdoors.base.checks import number
from natural_backdoors.base.files import read_json, read_text
from natural_backdoors.base.random import rng
from natural_backdoors.base.schemas import ModelFile, checked, read_log
from natural_backdoors.data import archives, download, images, label_pairs, relabel, voc_xml, yolo
from natural_backdoors.data.archives import check_space, extract
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.label_pairs import _pack, _unpack, part_of, read_pairs
from natural_backdoors.data.labels import encode
from natural_backdoors.graph import (
    confusions,
    cooccurrence,
    engine_graph_tool,
    engine_networkx,
    engine_scipy,
    paths,
    shards,
    steps,
)
from natural_backdoors.graph.centrality import centrality
from natural_backdoors.graph.cograph import CoGraph, toy_graph
from natural_backdoors.graph.engine_scipy import betweenness, closeness
from natural_backdoors.graph.heatmap import cluster_order
from natural_backdoors.report.page import percent
from natural_backdoors.sets import independent_sets, questions
from natural_backdoors.sets.class_sets import maximum_set
from natural_backdoors.sets.combinations import _meetings
from natural_backdoors.split import card, formats, photographs
from natural_backdoors.train.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))
from http_server import serve


def around(limit):
    return [limit - 1, limit, limit + 1]


STEP = pytest.mark.parametrize("step", [-1, 0, 1])


def allowed(read, step, said):
    "`read` works up to the limit; above it there is one line"
    if step <= 0:
        return read()
    with pytest.raises(UserError, match=said) as e:
        read()
    assert "\n" not in str(e.value) and len(str(e.value)) < 1000


# -- widths of integers


@pytest.mark.parametrize("n", [*around(127), *around(128), *around(256)])
def test_many_splits(n):
    "The number of a split fits a byte, until there are too many"
    names = [f"part{i:03d}" for i in range(n)]
    rows = pd.DataFrame({"image": names, "label": ["cat"] * n, "split": names})
    codes = encode(rows, "pets", None)
    classes = class_table(codes.labels)
    for name in (names[0], names[-1]):
        assert codes.label_matrix(name, classes).images.tolist() == [name]
    again = type(codes).from_arrays(codes.arrays())
    assert again.label_matrix(names[-1], classes).images.tolist() == [names[-1]]


@pytest.mark.parametrize("n", around(128))
def test_many_parts(n):
    ids = [f"{i}" for i in range(n)]
    found = part_of(pa.array([*ids, "0"]), [pa.array([one]) for one in ids])
    assert found.tolist() == [*range(n), 0]


@pytest.mark.parametrize("times", [*around(255), *around(256)])
def test_a_label_that_comes_often(times):
    rows = pd.DataFrame({"image": ["a"] * times, "label": ["cat"] * times})
    assert encode(rows, "pets", None).matrices["present"].toarray().tolist() == [[1]]


@pytest.mark.parametrize("images", [*around(255), *around(2**15), *around(2**16)])
def test_many_images_of_a_pair(images):
    x = sparse.csr_array(np.ones((images, 2), np.uint8))
    assert cooccurrence.cooccurrence(x).toarray().tolist() == [[images] * 2] * 2


@pytest.mark.parametrize("images", around(2**24))
def test_images_that_triggers_share(images):
    "32-bit numbers with a point count up to 2**24"
    shared = _meetings(np.ones((images, 1), bool))
    assert int(shared[0, 0]) == images


@pytest.mark.parametrize("run", [0, *around(2**31 - 1)[:2]])
@pytest.mark.parametrize("label", [0, *around(2**24 - 1)[:2]])
@pytest.mark.parametrize("marks", [0, 254, 255])
def test_pairs_as_one_number(run, label, marks):
    packed = _pack(*(np.array([value]) for value in (run, label, marks)))
    assert [int(part[0]) for part in _unpack(packed)] == [run, label, marks]


@STEP
def test_labels_of_pairs(tmp_path, monkeypatch, step):
    "As many labels as there are bits for; the file may have more rows"
    monkeypatch.setattr(label_pairs, "_LABEL_BITS", 3)
    n = 7 + step
    write_pairs(tmp_path / "x.csv", [(f"i{i}", f"l{i}") for i in range(n)] * 2)
    read = lambda: read_pairs({tmp_path / "x.csv": {}})
    if step > 0:
        with pytest.raises((UserError, ValueError), match="labels"):
            read()
    else:
        assert read().labels.to_pylist() == [f"l{i}" for i in range(n)]


@pytest.mark.parametrize("n_parts", [1, 2, *around(2**15)])
def test_parts_of_images(n_parts):
    names = pa.array([f"image {i}" for i in range(500)])
    hashes = pd.util.hash_array(np.array(names.to_pylist(), object), categorize=False)
    assert shards._part_of(names, n_parts).tolist() == [int(h) % n_parts for h in hashes]


@pytest.mark.parametrize("total", around(2**53))
def test_weights_that_add_up(total):
    "Above 2**53, numbers with a point are no longer whole"
    weights = np.array([total - 1, 1])
    ask = lambda: independent_sets.ask(np.zeros((2, 2), bool), weights)
    found = allowed(ask, total - 2**53, "add up to more than 2")
    assert found is None or found.objectives[0].tolist() == [total - 1, 1]


# -- blocks


def write_pairs(path, pairs):
    path.write_text("ImageID,LabelName\n" + "".join(f"{a},{b}\n" for a, b in pairs))


@pytest.mark.parametrize("block", [1, 2, *around(20), *around(40)])
def test_blocks_of_pairs(tmp_path, monkeypatch, block):
    monkeypatch.setattr(label_pairs, "BLOCK", block)
    draw = np.random.default_rng(0)
    rows = [(f"i{a}", f"l{b}") for a, b in draw.integers(0, 6, (40, 2))]
    write_pairs(tmp_path / "x.csv", rows)
    found = read_pairs({tmp_path / "x.csv": {"cat": pl.col("LabelName") == "l1"}})
    assert list(found.frame()[["image", "label"]].itertuples(index=False, name=None)) == sorted(
        set(rows)
    )
    assert found.frame()["cat"].astype(bool).tolist() == [b == "l1" for _, b in sorted(set(rows))]


X = sparse.csr_array((np.random.default_rng(1).random((30, 7)) < 0.4).astype(np.uint8))
Y = sparse.csr_array((np.random.default_rng(2).random((30, 5)) < 0.4).astype(np.uint8))


def met(x, y):
    "In how many rows two columns are 1, counted one by one"
    x, y = x.toarray().tolist(), y.toarray().tolist()
    found = [[0] * len(y[0]) for _ in x[0]]
    for one, other in zip(x, y):
        for a, b in itertools.product(range(len(one)), range(len(other))):
            found[a][b] += one[a] * other[b]
    return found


@pytest.mark.parametrize("cells", [1, *around(5), *around(7), *around(35), *around(49)])
@pytest.mark.parametrize("room", [1, 2, *around(30), *around(X.nnz), *around(400)])
def test_blocks_of_overlaps(cells, room):
    both = cooccurrence.product_by_blocks(X, Y, cells=cells, room=room)
    assert both.toarray().tolist() == met(X, Y)
    upper = cooccurrence.product_by_blocks(X, cells=cells, room=room)
    assert upper.toarray().tolist() == np.triu(met(X, X)).tolist()
    assert cooccurrence.mirror(upper).toarray().tolist() == met(X, X)


@pytest.mark.parametrize("n_cells", [1, *around(16 * 10)])
def test_few_meetings_in_many_cells(n_cells):
    numbers = np.random.default_rng(0).integers(0, min(n_cells, 6), 10)
    found, counts = cooccurrence._counted([numbers[:4], numbers[4:]], n_cells, 10)
    expected = {n: numbers.tolist().count(n) for n in sorted(set(numbers.tolist()))}
    assert dict(zip(found.tolist(), counts.tolist())) == expected


def drawn_graph(n=12, seed=3):
    draw = np.random.default_rng(seed)
    pairs = [(a, b) for a, b in itertools.combinations(range(n), 2) if draw.random() < 0.35]
    edges = pd.DataFrame(pairs, columns=["a", "b"])
    edges["overlaps"] = draw.integers(1, 9, len(edges))
    return CoGraph(edges, class_table([f"{i:02d}" for i in range(n)]), 1)


@pytest.mark.parametrize(
    "name, value",
    [("_HUBS", v) for v in [(1,), (1, 1), (11,), (5, 7), (12, 1), (1, 13), (4, 4, 4)]]
    + [("_BATCH", v) for v in [1, *around(6), *around(12)]]
    + [("_CELLS", v) for v in [1, *around(12), *around(24), *around(144)]]
    + [("_MANY", v) for v in [0, 0.5, 1]]
    + [("_FULL_CELLS", v) for v in [0, *around(12), *around(24), *around(144)]],
)
def test_blocks_of_paths(monkeypatch, name, value):
    monkeypatch.setattr(paths if name == "_HUBS" else steps, name, value)
    graph = drawn_graph()
    plain = nx.Graph()
    for a, b, overlaps in graph.edges.itertuples(index=False):
        plain.add_edge(a, b, length=1 / overlaps)
    for weighted in (False, True):
        weight = "length" if weighted else None
        ours = betweenness(graph, weighted), closeness(graph, weighted)
        theirs = nx.betweenness_centrality(plain, weight=weight)
        near = nx.closeness_centrality(plain, distance=weight)
        for one, other in zip(ours, (theirs, near)):
            expected = [other[v] for v in graph.vertices.tolist()]
            assert np.allclose(one, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, *around(4), *around(6), *around(30)])
def test_blocks_of_boxes(monkeypatch, at_once):
    monkeypatch.setattr(confusions, "_AT_ONCE", at_once)
    draw = np.random.default_rng(0)
    low = draw.random((12, 2))
    corners = np.hstack([low, low + draw.random((12, 2))])
    first = np.array([0, 2, 4, 0]), np.array([2, 2, 3, 1])
    second = np.array([7, 9, 7, 11]), np.array([2, 3, 4, 1])
    found = confusions._best_ious(corners, first, second)
    for i, best in enumerate(found):
        ones = range(first[0][i], first[0][i] + first[1][i])
        others = range(second[0][i], second[0][i] + second[1][i])
        pairs = itertools.product(ones, others)
        assert best == max(confusions.iou(corners[a], corners[b]) for a, b in pairs)


def every_set(conflict):
    "All independent sets, as lists of positions"
    m = len(conflict)
    for k in range(m + 1):
        for some in itertools.combinations(range(m), k):
            if not conflict[np.ix_(some, some)].any():
                yield list(some)


@pytest.mark.parametrize(
    "name, value",
    [("_ROWS", v) for v in [1, *around(5), *around(9)]]
    + [("_DIGITS", v) for v in [1, 2, *around(9)]]
    + [("_SMALL", v) for v in [0, 1, *around(9)]],
)
def test_blocks_of_conflicts(monkeypatch, name, value):
    monkeypatch.setattr(questions if name == "_ROWS" else independent_sets, name, value)
    draw = np.random.default_rng(5)
    upper = np.triu(draw.random((9, 9)) < 0.3, 1)
    conflict, weights = upper | upper.T, draw.integers(1, 4, 9)
    # the best total; then more classes; then the lowest positions
    low = lambda some: [i in some for i in range(9)]
    best = max(every_set(conflict), key=lambda s: (sum(weights[s]), len(s), low(s)))
    question = independent_sets.ask(conflict, weights)
    by_programs = independent_sets.by_programs(question, rng(0), branched=independent_sets._SMALL)
    assert by_programs.chosen.tolist() == best
    found = maximum_set(conflict, rng(0), weights=weights)
    assert found.chosen.tolist() == best and found.optimal


@pytest.mark.parametrize("m", [*around(8), *around(64), *around(128)])
def test_rows_of_conflicts_as_bits(m):
    upper = np.triu(np.random.default_rng(m).random((m, m)) < 0.2, 1)
    question = independent_sets.ask(upper | upper.T)
    for i, bits in enumerate(question.bits):
        assert [j for j in range(m) if bits >> j & 1] == np.flatnonzero(
            question.conflict[i]
        ).tolist()


def bits_apart(a, b):
    return bin(int(a) ^ int(b)).count("1")


HASHES = np.random.default_rng(0).integers(0, 2**63, 6, dtype=np.uint64)


@pytest.mark.parametrize("within", [0, 1, 3, 4, 15, 16])
def test_bits_in_which_looks_differ(within):
    "One bit fewer, as many, one more; any bits, the last one too"
    draw = np.random.default_rng(within)
    hashes = [HASHES[0]]
    for n in around(within) if within else (0, 1, 64):
        for bits in (range(n), range(64 - n, 64), draw.permutation(64)[:n].tolist()):
            hashes.append(np.uint64(int(HASHES[0]) ^ sum(1 << bit for bit in bits)))
    hashes = np.array([*hashes, *HASHES[1:]], np.uint64)
    pairs = itertools.combinations(range(len(hashes)), 2)
    near = [[a, b] for a, b in pairs if bits_apart(hashes[a], hashes[b]) <= within]
    assert photographs.near_pairs(hashes, within).tolist() == near


# -- steps and sizes of the analysis


ENGINES = {"networkx": engine_networkx, "scipy": engine_scipy, "graph-tool": engine_graph_tool}


@pytest.mark.parametrize("measure", ["eigenvector", "pagerank"])
@pytest.mark.parametrize("engine", ENGINES)
def test_steps_of_a_power_iteration(monkeypatch, request, engine, measure):
    "With one step less than are needed it says so; with that many, and one more, it is right"
    if engine == "graph-tool":
        request.getfixturevalue("graph_tool")
    graph, module = toy_graph(), ENGINES[engine]
    right = centrality(graph, measure, engine="networkx")

    def settles(steps):
        monkeypatch.setattr(module, "MAX_STEPS", steps)
        try:
            return centrality(graph, measure, engine=engine)
        except UserError as e:
            assert str(e).startswith(f"{measure} did not settle in ")

    low, high = 1, 10_000  # settles in `high` steps, not in `low`
    assert settles(low) is None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settles(middle) is not None else (middle, high)
    for step in (0, 1):
        assert np.allclose(settles(high + step), right, atol=1e-9)
    assert 20 < high < 500 and settles(high - 1) is None


@pytest.mark.parametrize("n", [2, 3, *around(500)])
def test_classes_of_a_heat_map(n):
    "Groups that never meet stay together, whether the leaves are put in the best order or not"
    group = np.arange(n) % 5
    draw = np.random.default_rng(n)
    one = draw.permutation(n)
    rows = [(image, c) for image in range(4) for c in one]  # image `image` of each group
    place = [5 * image + group[c] for image, c in rows]
    shape = (20, n)
    x = sparse.csr_array((np.ones(len(rows), np.int8), (place, [c for _, c in rows])), shape=shape)
    counts = (x.T.astype(np.int64) @ x).tocsr()
    overlaps = SimpleNamespace(counts=counts, images_of=np.full(n, 4))
    order = cluster_order(overlaps, np.arange(n))
    assert sorted(order) == list(range(n))
    changes = np.flatnonzero(np.diff(group[order]))
    assert len(changes) == min(n, 5) - 1


# -- pieces of what is read and written


@pytest.mark.parametrize("portion", [1, *around(7), *around(15)])
def test_portions_of_photographs(monkeypatch, portion):
    monkeypatch.setattr(photographs, "_PORTION", portion)
    draw = np.random.default_rng(1)
    hashes = draw.integers(0, 32, 15).astype(np.uint64)
    first = []
    for i, one in enumerate(hashes):
        kept = (j for j in range(i) if first[j] == j and bits_apart(hashes[j], one) <= 1)
        first.append(next(kept, i))
    assert photographs.first_alike(hashes, 1).tolist() == first


@pytest.mark.parametrize("shard", [1, *around(10), *around(30), *around(60)])
def test_files_of_an_export(monkeypatch, shard):
    "Each image once and in order; no file has more than a shard and the end of an image"
    monkeypatch.setattr(formats, "SHARD", shard)
    sizes = np.array([10, 20, 5, 25, 10, 1])
    rows = {"train": np.array([0, 2, 3, 5]), "test": np.array([1, 4])}
    split = SimpleNamespace(table=pd.DataFrame({"part": list(rows)}))
    job = SimpleNamespace(split=split, bytes=lambda: sizes, rows=lambda part: rows[part])
    files = formats._shards(job)
    for part, mine in rows.items():
        parts = [found for name, found in files.items() if name.startswith(f"data/{part}-")]
        assert np.concatenate(parts).tolist() == mine.tolist()
        assert all(sizes[some].sum() < shard + sizes.max() for some in parts)
        if sizes[mine].sum() <= shard:
            assert len(parts) == 1


@pytest.mark.parametrize("piece", [1, *around(64), *around(640), *around(1024)])
def test_pieces_of_an_export(monkeypatch, piece):
    "Rows come out once and in order, however many bytes of images are held at once"
    monkeypatch.setattr(formats, "PIECE", piece)
    split = fake_split(16)
    pictures = [Written(i, bytes([i]) * 64, ".jpg", f"{i:x}") for i in range(16)]
    job = SimpleNamespace(
        split=split,
        pictures=lambda rows: iter(pictures),
        positions=lambda column: [0] * len(split.table),
    )
    batches = list(formats.row_batches(job, range(16)))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["image"]["bytes"] for row in rows] == [p.data for p in pictures]
    assert [row["image_id"] for row in rows] == split.table.image.tolist()
    assert all(64 * (len(batch) - 1) < piece for batch in batches)


@pytest.mark.parametrize("n", around(1000))
def test_rows_of_a_piece(n):
    split = fake_split(n)
    job = SimpleNamespace(
        split=split,
        pictures=lambda rows: (Written(i, b"x", ".jpg", "0") for i in rows),
        positions=lambda column: [0] * len(split.table),
    )
    batches = list(formats.row_batches(job, range(n)))
    assert [len(batch) for batch in batches] == [1000] * (n // 1000) + [n % 1000] * (n % 1000 > 0)


class Written(NamedTuple):
    row: int
    data: bytes
    suffix: str
    sha256: str


def fake_split(n):
    columns = {"image": [f"{i}.jpg" for i in range(n)], "role": "clean", "part": "train"}
    columns |= {"trigger": "", "class_id": 0, "true_label": "cat"}
    columns |= {"class": "cat", "train_label": "cat"}
    classes = [{"id": 0, "label": "cat", "name": "cat"}]
    return SimpleNamespace(table=pd.DataFrame(columns), header={"classes": classes})


@pytest.mark.parametrize("n", [*around(64), *around(128)])
def test_files_of_label_maps_read_together(tmp_path, n):
    "However many files of one size there are, each is given once and in order"
    contents = [int(i).to_bytes(8, "little") * 5 for i in range(n)]
    for i, content in enumerate(contents):
        (tmp_path / f"{i:03d}").write_bytes(content)
    bad, found = {}, {}
    names = [f"{i:03d}" for i in range(n)]
    for size, which, maps in relabel._same_size(str(tmp_path), names, np.full(n, 40), bad):
        found |= {int(i): row.tobytes()[:size] for i, row in zip(which, maps)}
    assert not bad and list(found) == list(range(n))
    assert [found[i] for i in range(n)] == contents


@STEP
def test_the_largest_label_map(tmp_path, monkeypatch, step):
    monkeypatch.setattr(relabel, "_LARGEST", 100)
    (tmp_path / "a").write_bytes(bytes(100 + step))
    bad = {}
    list(relabel._same_size(str(tmp_path), ["a"], np.array([100 + step]), bad))
    assert bool(bad) == (step > 0)
    assert not bad or bad[0].startswith("it is larger than any label map (101 bytes)")


@pytest.mark.parametrize("limit", ["_CHUNK", "_RESUMABLE", "_LOOK"])
@STEP
def test_pieces_of_a_download(tmp_path, monkeypatch, limit, step):
    "A file that is as long as a piece, one byte shorter or longer, comes whole and is known again"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, limit, 2**10)
    content = rng(step + 1).bytes(2**10 + step)
    with serve({"/a.bin": content}) as server:
        remotes = [download.Remote(f"{server.url}/a.bin", "a.bin")]
        report = download.fetch(remotes, tmp_path, progress=False)
        assert len(report.done) == 1 and (tmp_path / "a.bin").read_bytes() == content
        asked = len(server.log)
        download.fetch(remotes, tmp_path, progress=False)
        assert len(server.log) == asked
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "info.json"]


@STEP
def test_the_size_that_is_known_beforehand(tmp_path, monkeypatch, step):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve({"/a.bin": bytes(1000 + step)}) as server:
        remotes = [download.Remote(f"{server.url}/a.bin", "a.bin", size=1000)]
        report = download.fetch(remotes, tmp_path, progress=False, backoff=0.01, retries=0)
    assert len(report.done) == (step == 0)


@STEP
def test_a_quoted_field_where_a_block_ends(tmp_path, step):
    "A label table is looked through 4 MB at a time"
    head, row = "image,label\n", f"{'a' * 10_000},cat\n"
    n = ((1 << 22) - len(head) - 40) // len(row)
    start = head + row * n
    start += "a" * ((1 << 22) - len(start) - 40) + ",cat\n"
    pad = (1 << 22) - len(start) - len('b,"x""') + step
    assert 0 < pad < 100
    text = start + f'b,"{"y" * pad}""d, e"\nc,dog\n'
    (tmp_path / "x.csv").write_text(text)
    labels = sorted({line[1] for line in list(csv.reader(io.StringIO(text)))[1:]})
    assert TableDataset(tmp_path / "x.csv").labels == labels


OBJECT = {"a": [1, {"b": [2, ']}\\"']}], "images": [{"id": 1}, {"id": -2.5}, {}], "c": None}
OBJECT |= {"annotations": [{"segmentation": [[1, 2.5]], "id": 1}, {"segmentation": []}]}


@pytest.mark.parametrize("size", [*range(1, 20), *around(len(json.dumps(OBJECT)))])
def test_pieces_of_json(tmp_path, size):
    (tmp_path / "x.json").write_text(json.dumps(OBJECT))
    found = {"images": [], "annotations": []}
    for key, i, value in json_stream.stream_json(
        tmp_path / "x.json", ("images", "annotations"), size=size
    ):
        if i is None:
            found[key] = value
        else:
            assert i == len(found[key])
            found[key].append(value)
    expected = json.loads(json.dumps(OBJECT))
    for entry in (found, expected):
        for one in entry["annotations"]:
            one.pop("segmentation")  # may come as 0
    assert found == expected


# -- largest sizes


@STEP
@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "x.json"])
def test_texts_that_are_taken_as_a_whole(tmp_path, monkeypatch, name, step):
    monkeypatch.setenv("NATURAL_BACKDOORS_MAX_TEXT", "1000")
    text = b'"' + b"x" * (998 + step) + b'"'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    read = read_json if name == "x.json" else read_text
    found = allowed(lambda: read(tmp_path / name), step, "1,000 bytes.*NATURAL_BACKDOORS_MAX_TEXT")
    assert found is None or len(found.strip('"')) == 998 + step


def test_a_text_of_a_terabyte_is_not_begun(tmp_path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(UserError, match=r"more than 1,073,741,824 bytes.*MAX_TEXT"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("said", ["0", "-1", "1e9", "much", "²", str(2**62)])
def test_a_limit_that_is_none(tmp_path, monkeypatch, said):
    monkeypatch.setenv("NATURAL_BACKDOORS_MAX_TEXT", said)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UserError, match="NATURAL_BACKDOORS_MAX_TEXT is a number of bytes"):
        read_text(tmp_path / "x.txt")


@STEP
def test_one_value_of_json(tmp_path, monkeypatch, step):
    monkeypatch.setattr(json_stream, "_LARGEST", 1000)
    value = "x" * (1000 + step)
    (tmp_path / "x.json").write_text(json.dumps({"a": value}))
    # what is whole when it is looked at is taken; what must be read on is not, without an end
    found = list(json_stream.stream_json(tmp_path / "x.json", (), size=4096))
    assert found == [("a", None, value)]
    read = lambda: list(json_stream.stream_json(tmp_path / "x.json", (), size=10))
    with pytest.raises(UserError, match="one value of more than 1,000 characters"):
        (tmp_path / "x.json").write_text('{"a": "' + "x" * 10_000)
        read()


@pytest.mark.parametrize("open_, close", ["[]", ('[[{"a":', "}]]")])
@STEP
def test_json_in_json(tmp_path, step, open_, close):
    n = (100 + 3 * step) // len(close) if len(close) > 1 else 100 + step
    (tmp_path / "x.json").write_text(open_ * n + "1" + close * n)
    depth = n * len(close)
    found = allowed(lambda: read_json(tmp_path / "x.json"), depth - 100, "too deep")
    for _ in range(depth if found is not None else 0):
        found = found[0] if isinstance(found, list) else found["a"]
    assert found in (1, None)


@STEP
def test_digits_of_a_whole_number(tmp_path, step):
    (tmp_path / "x.json").write_text("7" * (4300 + step))
    found = allowed(lambda: read_json(tmp_path / "x.json"), step, "whole number that is too long")
    assert found is None or found % 10**9 == 777777777


@STEP
def test_bytes_and_fields_of_a_log(tmp_path, monkeypatch, step):
    head = "epoch,train_clean_acc,train_trig_acc,test_clean_acc,test_trig_acc,more\n"
    row = "0,0.5,,0.5,1,"
    (tmp_path / "log.csv").write_text(f"{head}{row}{'x' * (100 + step)}\n")
    assert allowed(lambda: len(read_log(tmp_path / "log.csv")), step, "longer than 100") in (
        1,
        None,
    )
    text = f"{head}{row}x\n"
    monkeypatch.setattr(schemas, "_LONGEST_LOG", len(text) - step)
    (tmp_path / "log.csv").write_text(text)
    assert allowed(lambda: len(read_log(tmp_path / "log.csv")), step, "too large") in (1, None)


@STEP
def test_yaml(tmp_path, monkeypatch, step):
    path, read = tmp_path / "data.yaml", lambda: yolo._read_yaml(tmp_path / "data.yaml")
    inner = 29 + step  # the table itself is the first
    path.write_text("names: " + "[" * inner + "x" + "]" * inner)
    allowed(read, step, "more than 30 lists")
    path.write_text("a: &a x\nnames: [" + ", ".join(["*a"] * (100 + step)) + "]\n")
    found = allowed(read, step, "more than 100 repeated parts")
    assert found is None or found["names"] == ["x"] * (100 + step)
    path.write_text("names: [cat]\n")
    monkeypatch.setattr(yolo, "_YAML_BYTES", path.stat().st_size - step)
    assert allowed(read, step, "bytes") in ({"names": ["cat"]}, None)


@STEP
def test_pictures_and_annotations(tmp_path, monkeypatch, step):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    size = (tmp_path / "x.png").stat().st_size
    monkeypatch.setattr(images, "_LARGEST", size - step)
    if step > 0:
        with pytest.raises(OSError, match="make a smaller copy"):
            images.picture_bytes(tmp_path / "x.png")
    else:
        assert len(images.picture_bytes(tmp_path / "x.png")) == size
    text = "<annotation><object><name>cat</name></object></annotation>"
    (tmp_path / "x.xml").write_text(text)
    monkeypatch.setattr(voc_xml, "_LARGEST", len(text) - step)
    found = allowed(lambda: voc_xml.read_xml(tmp_path / "x.xml"), step, "x.xml has more than")
    assert found is None or found[0][0] == "cat"


@pytest.mark.parametrize("size", [*around(1), *around(10**5), 4097])
def test_pixels_of_a_model_are_those_of_a_recipe(size):
    "What may be trained may be read"
    fits = 1 <= size <= 10**5
    for ask in (
        lambda: Recipe(size=size),
        lambda: checked({"size": size}, ModelFile, "model.json"),
    ):
        if fits:
            ask()
        else:
            with pytest.raises(UserError, match="size"):
                ask()


@pytest.mark.parametrize(
    "schema, limit",
    [
        (schemas.Whole, 2**63 - 1),
        (schemas.Count, 2**53),
        (schemas.Share, 1),
        (schemas.Text, 10_000),
        (schemas.LongText, 10_000_000),
    ],
)
@STEP
def test_bounds_of_fields(schema, limit, step):
    value = "x" * (limit + step) if limit % 10_000 == 0 else limit + step
    assert allowed(lambda: checked(value, schema, "x.json"), step, "x.json: ") in (value, None)


def tar_of(path, *members):
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@STEP
def test_names_in_archives(tmp_path, step):
    parts = "/".join("x" * (200 + step))
    long = "x" * (255 + step)
    whole = "/".join(["x" * 99] * 39 + ["x" * (4000 - 3900 + step)])
    for i, name in enumerate((parts, long, whole)):
        assert len(name) in (2 * (200 + step) - 1, 255 + step, 4000 + step)
        tar_of(tmp_path / f"{i}.tar", (name, b"cat"))
        to = tmp_path / f"to{i}"
        found = allowed(
            lambda i=i, to=to: extract(tmp_path / f"{i}.tar", to, progress=False), step, "path of"
        )
        if found is not None:
            assert found == [name] and (to / name).read_bytes() == b"cat"


def test_a_path_of_many_parts(tmp_path):
    tar_of(tmp_path / "x.tar", ("/".join(["x"] * 5000), b""))
    with pytest.raises(UserError, match="a path of 5,000 parts .*nothing was extracted"):
        extract(tmp_path / "x.tar", tmp_path / "to", progress=False)


def header(kind, size):
    "The header of a tar member whose content is `size` bytes of metadata"
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


KINDS = [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
def test_a_header_of_a_gigabyte(tmp_path, kind, first):
    "It is not taken into the memory, wherever it stands and however it is packed"
    start = tmp_path / "start.tar"
    tar_of(start, ("a.txt", b"cat"))
    data = b"" if first else start.read_bytes()[:1024]
    with open(tmp_path / "x.tar", "wb") as file:
        file.write(data + header(kind, 2**30))
        file.truncate(2**30 + 10_240)  # takes no room on the disk
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(data + header(kind, 2**30) + bytes(2**21)))
    for name in ("x.tar", "x.tar.gz"):
        with pytest.raises(UserError, match="a header of more than 1,048,576 bytes"):
            extract(tmp_path / name, tmp_path / "to", progress=False)
        assert not list((tmp_path / "to").iterdir())


@pytest.mark.parametrize("kind", ["gnu", "pax"])
@STEP
def test_what_a_header_may_hold(tmp_path, monkeypatch, kind, step):
    "Long names and attributes are read as Python reads them, up to the limit"
    info = tarfile.TarInfo("/".join(["x" * 90] * 10))
    info.size = 3
    if kind == "pax":
        info.pax_headers = {"comment": "y" * 5000}
    form = tarfile.PAX_FORMAT if kind == "pax" else tarfile.GNU_FORMAT
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as tar:
        tar.addfile(info, io.BytesIO(b"cat"))
    with tarfile.open(tmp_path / "x.tar") as tar:
        data = tar.getmembers()[0].offset_data
    monkeypatch.setattr(archives, "_LONGEST_HEADER", data - step)
    read = lambda: extract(tmp_path / "x.tar", tmp_path / "to", progress=False)
    assert allowed(read, step, "a header of more than") in ([info.name], None)


@STEP
def test_room_on_the_disk(tmp_path, monkeypatch, step):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000 - step))
    allowed(lambda: check_space(tmp_path, 600, "x", reserve=400), step, "make room")


@pytest.mark.parametrize("links", around(finding._NAMES))
def test_names_of_one_folder(tmp_path, links):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.txt").write_text("")
    for i in range(links - 1):
        (tmp_path / f"to{i:03d}").symlink_to("real")
    found = finding.files_below(tmp_path, (".txt",), each_name=True)
    assert len(found) == min(links, finding._NAMES) and "real/x.txt" in found
    assert finding.files_below(tmp_path, (".txt",)) == ["real/x.txt"]


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_what_a_compressed_file_may_hold_is_a_hundredfold(tmp_path, monkeypatch, step):
    monkeypatch.setattr(files, "_PLENTY", 10)
    path = tmp_path / "x.gz"
    path.write_bytes(b"x" * 20)
    reader = files._Unfolded(io.BytesIO(b"y" * (2000 + step)), path)
    assert allowed(reader.readall, step, "more than a hundred times") in (
        b"y" * (2000 + step),
        None,
    )


# -- shares and sizes that people read


@pytest.mark.parametrize("digits", [0, 1])
@pytest.mark.parametrize("parts", [1, *around(200), *around(1000), *around(2000)])
def test_nothing_and_everything_are_exact(parts, digits):
    for hits in {0, 1, parts // 2, parts - 1, parts}:
        said = percent(hits / parts, digits)
        text = said.removesuffix(" %").lstrip("<>")
        assert (float(text) == 0) == (hits == 0)
        assert (float(text) == 100) == (hits == parts)
        if said[0] not in "<>":
            assert abs(float(text) - 100 * hits / parts) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize("n", [1, *around(1000), *around(10_000), *around(10**5), *around(10**6)])
def test_sizes_of_the_hub(n):
    ends = {"n<1K": (0, 1000), "1K<n<10K": (1000, 10**4), "10K<n<100K": (10**4, 10**5)}
    ends |= {"100K<n<1M": (10**5, 10**6), "n>1M": (10**6, 10**12)}
    expected = next(name for name, (low, high) in ends.items() if low <= n < high)
    assert next((name for limit, name in card._SIZES if n < limit), "n>1M") == expected


@pytest.mark.parametrize(
    "above, below", [(False, False), (False, True), (True, False), (True, True)]
)
def test_ends_of_a_range(above, below):
    for value in (-1e-9, 0, 1e-9, 0.5, 1 - 1e-9, 1, 1 + 1e-9, float("nan"), float("inf")):
        low, high = (0 < value if above else 0 <= value), (value < 1 if below else value <= 1)
        ask = lambda value=value: number("x", value, 0, 1, above=above, below=below)
        if low and high:
            assert ask() == value
        else:
            with pytest.raises(UserError, match="x is a number"):
                ask()


def test_pipes_are_not_waited_for(tmp_path):
    "What is exported, and what holds a folder"
    from natural_backdoors.base.locks import holder_of, remove_left_overs
    from natural_backdoors.split.stream import read_picture

    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(OSError, match="not a plain file"):
        read_picture(0, tmp_path / "x.png")
    os.mkfifo(tmp_path / ".lock")
    os.mkfifo(tmp_path / ".x.part-ab1_cd2e")
    assert holder_of(tmp_path) is None
    assert remove_left_overs(tmp_path) in ([], [tmp_path / ".x.part-ab1_cd2e"])
