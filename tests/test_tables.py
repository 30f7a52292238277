"Tables of labels against plain loops over `csv`: long, lists in a cell, multi-hot, CelebA"

import bz2
import csv
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from natural_backdoors import TableDataset, UserError
from natural_backdoors.base.text import unquoted
from natural_backdoors.data.label_table import LabelTable
from natural_backdoors.data.multihot import CelebA, MultiHot
from natural_backdoors.data.table import split_cells

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# what breaks readers of tables: separators, quotes, line breaks, markup, numbers, scripts
PIECES = [
    ",",
    ";",
    "\t",
    '"',
    "\n",
    "\r\n",
    "\r",
    "'",
    "<script>",
    "007",
    "1.0",
    "NA",
    "null",
    "None",
    "nan",
    " ",
    "#",
    "é",
    "猫",
    "🐈",
    "\\",
    "x",
    "|",
    "../",
]
ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
) | st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "For files that the examples of one test overwrite"
    return tmp_path_factory.mktemp("tables")


def packed(data, suffix):
    if suffix == ".zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("labels.csv", data)
        return out.getvalue()
    return {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](
        data
    )


def as_csv(rows, delimiter=",", bom=False, quoting=csv.QUOTE_MINIMAL, last_end=True):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerows(rows)
    return (b"\xef\xbb\xbf" if bom else b"") + (
        out.getvalue() if last_end else out.getvalue()[:-2]
    ).encode()


@given(
    rows=st.lists(
        st.tuples(ANY_TEXT, ANY_TEXT, st.sampled_from(["", "a,b", "x"])), min_size=1, max_size=8
    ),
    suffix=st.sampled_from(["", ".gz", ".bz2", ".xz", ".zip"]),
    delimiter=st.sampled_from(",;\t"),
    bom=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    last_end=st.booleans(),
)
@QUICK
def test_written_by_csv_read_by_us(folder, rows, suffix, delimiter, bom, quoting, last_end):
    path = folder / f"labels.csv{suffix}"
    path.write_bytes(
        packed(
            as_csv([("image", "label", "other"), *rows], delimiter, bom, quoting, last_end), suffix
        )
    )
    found = LabelTable(path).read(["image", "label"])
    assert list(zip(found["image"], found["label"])) == [row[:2] for row in rows]
    assert list(found["image"].categories) == list(dict.fromkeys(row[0] for row in rows)), (
        "in order of appearance"
    )


def by_csv(data):
    "The (image, label) pairs in the bytes of a CSV file, or None if it is not whole"
    try:
        records = [
            r
            for r in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
            if r
        ]
    except (UnicodeDecodeError, csv.Error):
        return None
    if len(records) < 2:
        return None
    names, rows = [name.strip() for name in records[0]], records[1:]
    if (
        names.count("image") != 1
        or names.count("label") != 1
        or any(len(r) != len(names) for r in rows)
    ):
        return None
    pairs = [(r[names.index("image")], r[names.index("label")]) for r in rows]
    # a row without a label is an image without one
    pairs = [(image, unquoted(label)) for image, label in pairs]
    pairs = [(image, label if label.strip() else None) for image, label in pairs]
    return pairs if all(image for image, _ in pairs) else None


@given(
    rows=st.lists(st.tuples(*[st.text('ab7,"\n ', max_size=3)] * 3), min_size=1, max_size=6),
    cut=st.integers(0, 60),
    where=st.integers(0, 100),
    what=st.sampled_from([b"", b'"', b",", b"\n", b"\n\n", b"\xff", b" ", b"x"]),
)
@example(rows=[("1", "a", "b")], cut=0, where=31, what=b'"b"')
@settings(QUICK, max_examples=150)
def test_damaged_files(folder, rows, cut, where, what):
    "A file that was cut, or has something put into it, is read as `csv` reads it, or refused"
    data = as_csv([("image", "label", "other"), *rows]).replace(b"\r\n", b"\n")
    data = data[:where] + what + data[where:]
    data = data[: len(data) - cut]
    path = folder / "damaged.csv"
    path.write_bytes(data)
    expected = by_csv(data)
    try:
        found = TableDataset(path).rows()
    except UserError as e:
        assert expected is None and "\n" not in str(e).replace(str(path), ""), (data, e)
    else:
        # blanks alone are no label; they are left out with those of other labels
        labels = [x if isinstance(x, str) and x.strip() else None for x in found.label]
        assert list(zip(found.image, labels)) == expected, data


def test_names_of_all_kinds(tmp_path):
    names = [
        "a,b",
        'say "x"',
        "two\nlines",
        "<script>alert(1)</script>",
        "x" * 10_000,
        "007",
        "7",
        "NA",
        "Ærø 猫",
        " b ",
    ]
    rows = [(f"{i:05}.jpg", name) for i, name in enumerate(names)] * 2
    path = tmp_path / "labels.csv"
    path.write_bytes(as_csv([("image", "label"), *rows]))
    data = TableDataset(path)
    with pytest.warns(UserWarning, match="blanks at the ends of 1 label are left out, as in ' b '"):
        assert data.labels == sorted(name.strip() for name in names)
    assert data.label_matrix().matrix.sum() == len(names), "a row given twice counts once"
    assert data.label_to_imgs("007") == {"00005.jpg"} and data.label_to_imgs("7") == {"00006.jpg"}


@pytest.mark.parametrize("image", ["../x", "a/../../b", "..\\x"])
def test_ids_that_lead_out_of_the_folder(tmp_path, image):
    (tmp_path / "labels.csv").write_bytes(as_csv([("image", "label"), ("1", "x"), (image, "y")]))
    data = TableDataset(tmp_path / "labels.csv")
    assert data.image_counts == {"train": 2}, "labels alone need no file"
    [lead_out] = data.label_to_imgs("y")
    with pytest.raises(UserError, match="leads out"):
        data.src_path(lead_out)


def test_empty_split_and_image_in_two(tmp_path):
    for split, message in (("", "line 3: no split"), ("test", "more than one split")):
        (tmp_path / "labels.csv").write_text(f"image,label,split\n1,a,train\n1,b,{split}\n")
        with pytest.raises(UserError, match=message):
            TableDataset(tmp_path / "labels.csv").classes


def test_large_file_with_line_breaks_in_cells(tmp_path):
    "Long enough for polars to read it in pieces at once"
    state = np.random.default_rng(0)
    words = ["plain", "with, comma", 'with "quotes"', "two\nlines", "\n\n", "a,b\nc,d"]
    rows = [
        (f"{i:07}", words[j], "x" * 20)
        for i, j in enumerate(state.integers(0, len(words), 200_000))
    ]
    path = tmp_path / "large.csv"
    path.write_bytes(as_csv([("image", "label", "other"), *rows]))
    found = LabelTable(path).read(["label", "image"])
    assert found["label"].tolist() == [r[1] for r in rows] and found["image"].tolist() == [
        r[0] for r in rows
    ]


CELLS = st.lists(st.sampled_from(["a", "b", "7"]), max_size=3) | st.none()


@given(
    rows=st.lists(st.tuples(st.none() | st.integers(-5, 5), CELLS), min_size=1, max_size=6),
    pieces=st.integers(1, 3),
)
@QUICK
def test_parquet_with_numbers_and_lists(folder, rows, pieces):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "labels.parquet"
    table = pa.table(
        {
            "other": [1.5] * len(rows),
            "image": pa.array([r[0] for r in rows], pa.int32()),
            "label": pa.array([r[1] for r in rows], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, path, row_group_size=pieces)
    expected = [(str(i), l) for i, labels in rows for l in labels or [None]]
    missing = [n for n, (i, labels) in enumerate(rows) if i is None]
    if missing:
        with pytest.raises(UserError, match=rf"row {missing[0]} \(the first is 0\): no image"):
            TableDataset(path).rows()
    else:
        found = [TableDataset(path).rows()]
        # pandas has no missing values among whole numbers, and no lists in a column of None
        if any(labels for _, labels in rows):
            found.append(TableDataset(table.to_pandas()).rows())
        for f in found:
            labels = f.label.astype(object).where(f.label.notna(), None)
            assert list(zip(f.image, labels)) == expected


@given(
    st.lists(st.none() | st.text("ab |;\t", max_size=6), min_size=1, max_size=6),
    st.sampled_from(["|", ";", " ", "||"]),
)
@QUICK
def test_lists_in_cells(cells, sep):
    expected = [
        (i, part.strip())
        for i, cell in enumerate(cells)
        for part in (cell or "").split(sep if sep != " " else None)
        if part.strip()
    ]
    found = split_cells(pd.Categorical(cells), sep)
    assert list(zip(found.row, found.labels)) == expected


def test_tables_are_cached(tmp_path, monkeypatch):
    rows = [(f"{i:06}", f"label {i % 50}", "train" if i % 3 else "test") for i in range(60_000)]
    path = tmp_path / "labels.csv"
    path.write_bytes(as_csv([("image", "label", "split"), *rows]))
    first = TableDataset(path).label_matrix("test")
    with monkeypatch.context() as m:
        m.setattr(LabelTable, "read", lambda *args: pytest.fail("read again"))
        second = TableDataset(path, image_root="/photos").label_matrix("test")
        with pytest.raises(pytest.fail.Exception):
            TableDataset(path, label="image").label_matrix()
    assert (first.matrix != second.matrix).nnz == 0 and list(first.images) == list(second.images)
    path.write_bytes(as_csv([("image", "label", "split"), *rows, ("new", "label 1", "train")]))
    with pytest.warns(UserWarning, match="older state"):
        assert "new" in TableDataset(path).label_to_imgs("label 1")


def test_the_same_from_every_kind_of_file(tmp_path):
    frame = pd.DataFrame(
        {
            "image": ["007", "8", "007"],
            "label": ["x", "y", "NA"],
            "split": ["train", "test", "train"],
        }
    )
    expected = TableDataset(frame).rows()
    for name in ("a.csv", "a.tsv", "a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.csv.zip", "a.parquet"):
        if name == "a.parquet":
            frame.to_parquet(tmp_path / name)
        else:
            frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
        assert (TableDataset(tmp_path / name).rows().astype(str) == expected.astype(str)).all(
            axis=None
        ), name


def test_real_labels_of_coco(real_data):
    path = real_data("coco15k/labels.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    m = TableDataset(path).label_matrix()
    pairs = {(r["image"], r["label"]) for r in rows}
    coded = m.matrix.tocoo()
    assert {(m.images[i], m.classes.label[j]) for i, j in zip(*coded.coords)} == pairs


# multi-hot

WORDS = {
    1: ["1", "1.0", "True", "true"],
    0: ["0", "0.0", "False", "FALSE"],
    -1: ["-1", "-1.0"],
    None: [""],
}


@st.composite
def multihot(draw):
    "The cells of a table, and the options that say what they mean"
    values = draw(st.sampled_from([[0, 1], [-1, 1], [0, 1, None], [-1, 0, 1], [-1, 0, 1, None]]))
    n, width = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    row = st.lists(st.sampled_from(values), min_size=width, max_size=width)
    return (
        draw(st.lists(row, min_size=n, max_size=n)),
        draw(st.sampled_from(["unknown", "absent"])),
        draw(st.sampled_from(["0", "-1", "none"])),
    )


def meaning(value, empty, unknown):
    if value == 1:
        return "there"
    if value is None:
        return empty
    return "unknown" if str(value) == unknown else "absent"


@given(multihot(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
@QUICK
def test_multihot_means_what_it_says(folder, table, verified, parquet, random):
    cells, empty, unknown = table
    columns = [f"c{j}" for j in range(len(cells[0]))]
    path = folder / ("hot.parquet" if parquet else "hot.csv")
    images = [f"{i}.jpg" for i in range(len(cells))]
    if parquet:
        pd.DataFrame(cells, columns=columns).assign(image=images).to_parquet(path)
    else:
        rows = [
            [image, *(random.choice(WORDS[v]) for v in row)] for image, row in zip(images, cells)
        ]
        path.write_bytes(as_csv([("image", *columns), *rows]))
    data = MultiHot(path, image="image", empty=empty, unknown=unknown, verified_absent=verified)
    means = {
        (i, c): meaning(v, empty, unknown)
        for i, row in zip(images, cells)
        for c, v in zip(columns, row)
    }
    if not any(m == "there" or m == "unknown" and not verified for m in means.values()):
        with pytest.raises(UserError, match="no labels"):
            data.label_matrix()
        return
    m = data.label_matrix()
    assert data.labels == columns
    assert list(m.images) == images, "those without a label too"
    for j, c in enumerate(columns):
        for use, wanted in (("class", "there"), ("trigger", "there"), ("free", "absent")):
            assert m.column(j, use).tolist() == [means[image, c] == wanted for image in m.images], (
                c,
                use,
            )


@given(multihot(), st.integers(0, 5), st.sampled_from(["yes", "2", "0.5", "1 0", "nan"]))
@QUICK
def test_strange_cells_are_named(folder, table, where, word):
    cells = [["0" if v is None else str(v) for v in row] for row in table[0]]
    i, j = where % len(cells), where % len(cells[0])
    cells[i][j] = word
    path = folder / "strange.csv"
    names = [f"c{n}" for n in range(len(cells[0]))]
    path.write_bytes(
        as_csv([("image", *names), *([f"{n}.jpg", *row] for n, row in enumerate(cells))])
    )
    with pytest.raises(UserError, match=f"strange.csv, line {i + 2}, column 'c{j}': '{word}'"):
        MultiHot(path, unknown="none").label_matrix()


def test_wide_table(tmp_path):
    there = np.random.default_rng(0).random((300, 3000)) < 0.01
    path = tmp_path / "wide.csv"
    names = [f"c{n:04}" for n in range(3000)]
    path.write_bytes(
        as_csv([("i", *names), *([f"{n:03}", *row] for n, row in enumerate(there.astype(int)))])
    )
    data = MultiHot(path)
    m = data.label_matrix()
    assert (
        m.matrix.toarray() == there[[int(i) for i in m.images]]
    ).all() and m.matrix.sum() == there.sum()
    assert data.labels[2999] == "c2999"


def test_real_multihot_table(real_data):
    data = MultiHot(real_data("miml/labels_multihot.csv"))
    with open(real_data("miml/labels_multihot.csv"), newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    m = data.label_matrix()
    assert len(m.images) == len(rows) == 2000 and data.labels == [
        "desert",
        "mountains",
        "sea",
        "sunset",
        "trees",
    ]
    overlaps = (m.matrix.T.astype(int) @ m.matrix.astype(int)).toarray()
    sunset = data.resolve("sunset")
    with_sunset = {l: overlaps[sunset, i] for i, l in enumerate(data.labels) if i != sunset}
    assert with_sunset == {"desert": 25, "mountains": 21, "trees": 36, "sea": 176}
    for i, label in enumerate(data.labels):
        assert m.column(i).sum() == sum(r[label] == "1" for r in rows)
    beside = real_data("miml/labels_multihot.csv").parent
    assert data.src_path("1.jpg") == beside / "images" / "1.jpg"


@given(
    st.lists(
        st.tuples(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2)),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.booleans(),
)
@QUICK
def test_celeba(folder, rows, kaggle, crlf):
    root = folder / ("kaggle" if kaggle else "official")
    root.mkdir(exist_ok=True)
    names, end = ["Eyeglasses", "Smiling", "Wearing_Hat"], "\r\n" if crlf else "\n"
    files = [f"{i:06}.jpg" for i in range(1, len(rows) + 1)]
    sign = [["1" if v else "-1" for v in values] for values, _ in rows]
    part = [[f, str(p)] for f, (_, p) in zip(files, rows)]

    def write(name, head, sep, lines):
        (root / name).write_bytes((end.join([*head, *map(sep.join, lines)]) + end).encode())

    if kaggle:
        write(
            "list_attr_celeba.csv",
            [",".join(["image_id", *names])],
            ",",
            [[f, *s] for f, s in zip(files, sign)],
        )
        write("list_eval_partition.csv", ["image_id,partition"], ",", part)
    else:
        count = [str(len(rows))] if len(rows) % 2 else []  # some copies have lost it
        write(
            "list_attr_celeba.txt",
            [*count, " ".join(names) + " "],
            " ",
            [[f, *(v.rjust(2) for v in s)] for f, s in zip(files, sign)],
        )
        write("list_eval_partition.txt", [], " ", part)
    expected = {("train", "val", "test")[p]: {} for _, p in rows}
    for f, (values, p) in zip(files, rows):
        expected[("train", "val", "test")[p]][f] = values
    if not any(any(values) for values, _ in rows):
        with pytest.raises(UserError, match="no labels"):
            CelebA(root).label_matrix()
        return
    data = CelebA(root)
    assert set(data.splits) == set(expected)
    for split, images in expected.items():
        m = data.label_matrix(split)
        assert dict(zip(m.images, (m.matrix.toarray() > 0).tolist())) == images


@pytest.mark.parametrize("place", ["", "images", "photos", "img"])
@pytest.mark.parametrize("kind", ["table", "multihot"])
def test_images_beside_a_table_are_found(tmp_path, kind, place):
    "In its folder, or in one with a usual name; a folder that the user names is the only one"
    (tmp_path / place / "a").mkdir(parents=True)
    (tmp_path / place / "a" / "1.jpg").write_bytes(b"x")
    text = "image,label\na/1.jpg,cat\na/2.jpg,dog\n"
    if kind == "multihot":
        text = "image,cat,dog\na/1.jpg,1,0\na/2.jpg,0,1\n"
    (tmp_path / "labels.csv").write_text(text)
    manager = TableDataset if kind == "table" else MultiHot
    data = manager(tmp_path / "labels.csv")
    assert data.src_path("a/1.jpg") == tmp_path / place / "a" / "1.jpg"
    assert data.src_path("a/2.jpg") == tmp_path / "a" / "2.jpg"
    named = manager(tmp_path / "labels.csv", image_root=tmp_path / "else")
    assert named.src_path("a/1.jpg") == tmp_path / "else" / "a" / "1.jpg"
