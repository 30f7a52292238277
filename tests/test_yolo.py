"YOLO folders against plain loops, in the layouts that there are"

import os
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writers_voc_yolo import truths, write_yolo, yolo_styles

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.yolo import Yolo, read_objects

texts = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=6
)
nasty = st.sampled_from(
    ["no", "yes", "null", "007", "<script>", "a: b", "'x'", "#", "1.0", "~", "x" * 10_000]
)
names = st.lists(texts | nasty, min_size=1, max_size=4)
numbers = st.floats(0, 1).map(lambda v: float(f"{v:.6f}"))
# a box, or an outline of three or more corners
shapes = st.sampled_from([4, 6, 8, 10]).flatmap(lambda n: st.lists(numbers, min_size=n, max_size=n))


def area(at):
    if len(at) == 4:
        return at[2] * at[3]
    corners = list(zip(at[::2], at[1::2]))
    return (
        abs(
            sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1]))
        )
        / 2
    )


def folders(layout, split):
    return {
        "by kind": (f"images/{split}", f"labels/{split}"),
        "by split": (f"{split}/images", f"{split}/labels"),
        "beside": (split, split),
    }[layout]


def write(root, content, class_names, layout, spelling, images):
    "content: split -> image -> list of (class index, coordinates), or None for no label file"
    import yaml

    for split, files in content.items():
        image_folder, label_folder = folders(layout, split)
        for f in (image_folder, label_folder):
            (root / f).mkdir(parents=True, exist_ok=True)
        for image, marks in files.items():
            if images:
                (root / image_folder / image).write_bytes(b"")
            if marks is None:
                continue
            lines = [" ".join([str(i), *map(str, at)]) for i, at in marks]
            (root / label_folder / f"{image[:-4]}.txt").write_text(
                ("\r\n" if spelling == "list" else "\n").join(lines)
            )
    paths = {split: folders(layout, split)[0] for split in content}
    if spelling == "classes.txt":
        (root / "classes.txt").write_text("\n".join(class_names) + "\n", encoding="utf-8")
        return
    if spelling == "list of images":
        for split, path in paths.items():
            (root / f"{split}_images.txt").write_text(
                "".join(f"./{path}/{image}\n" for image in content[split])
            )
            paths[split] = f"{split}_images.txt"
    if spelling == "dict":
        paths = {split: [path] for split, path in paths.items()}
    if spelling == "roboflow":
        paths = {split: f"../{path}" for split, path in paths.items()}
    config = {
        "path": "/on/another/machine",
        **paths,
        "names": dict(enumerate(class_names)) if spelling == "dict" else class_names,
    }
    (root / "data.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


@settings(max_examples=150, deadline=None)
@given(
    names,
    st.data(),
    st.sampled_from(["by kind", "by split", "beside"]),
    st.sampled_from(["list", "dict", "roboflow", "classes.txt", "list of images"]),
    st.sampled_from([0, 0.1, 0.5]),
    st.booleans(),
)
def test_labels_are_those_of_plain_loops(
    tmp_path_factory, class_names, data, layout, spelling, min_area, images
):
    root = tmp_path_factory.mktemp("yolo")
    marks = st.none() | st.lists(
        st.tuples(st.integers(0, len(class_names) - 1), shapes), max_size=3
    )
    content = {
        split: {f"{split}{n}.jpg": data.draw(marks) for n in range(data.draw(st.integers(1, 3)))}
        for split in ("train", "val")
    }
    if spelling == "list of images" and not images:  # a line leads to one of the two
        content = {s: {i: m or [] for i, m in files.items()} for s, files in content.items()}
    write(root, content, class_names, layout, spelling, images)
    labels = [n if class_names.count(n) == 1 else f"{n}#{i}" for i, n in enumerate(class_names)]
    expected = {}
    for split, files in content.items():
        for image, objects in files.items():
            if objects is None and not images:
                continue  # nothing on disk says that there is such an image
            here = expected.setdefault(split, {})[f"{folders(layout, split)[0]}/{image}"] = {}
            for i, at in objects or []:
                here[labels[i]] = here.get(labels[i], False) or area(at) >= min_area
    manager = Yolo(root, min_area=min_area)
    if not any(marks for files in expected.values() for marks in files.values()):
        with pytest.raises(UserError, match="no labels"):
            manager.classes
        return
    found = {}
    for split in manager.splits:
        m = manager.label_matrix(split)
        columns = {l: (m.column(j), m.column(j, "trigger")) for j, l in enumerate(m.classes.label)}
        found[split] = {
            image: {l: bool(usable[i]) for l, (there, usable) in columns.items() if there[i]}
            for i, image in enumerate(m.images)
        }
    assert found == expected
    table = manager.index_table()
    assert table.label.tolist() == labels and [manager.get_name(i) for i in table.id] == class_names
    assert [sorted(labels)[i] for i in table.id] == labels
    if images:
        assert all(manager.src_path(i).is_file() for s in found for i in found[s])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("0 1 2 0.5 1.0 -1 nan inf x 1e-3 7".split()), max_size=8),
        max_size=3,
    )
)
def test_a_label_file_is_read_or_refused_with_its_line(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("yolo") / "1.txt"
    path.write_text("\n".join(" ".join(line) for line in lines))

    def good(line):
        try:
            values = [float(w) for w in line]
        except ValueError:
            return False
        inside = all(0 <= v <= 1 for v in values[1:])
        if len(line) == 8 and marked:
            return values[0] in (0, 1) and all(0 <= v <= 1 for v in values[1:5])
        return (
            values[0] in (0, 1)
            and inside
            and (len(values) == 5 or (len(values) >= 7 and len(values) % 2 == 1))
        )

    # a box, and one point with its mark behind it: then the others of the file are such, too
    marked = any(
        len(line) == 8 and "x" not in line and float(line[7]) in (0, 1, 2) for line in lines
    )
    bad = [n for n, line in enumerate(lines, 1) if line and not good(line)]
    if bad:
        with pytest.raises(UserError, match=rf"1\.txt, line {bad[0]}: "):
            read_objects(path, range(2))
    else:
        assert [i for i, _ in read_objects(path, range(2))] == [
            int(float(line[0])) for line in lines if line
        ]


def test_not_utf8_names_file_and_line(tmp_path):
    (tmp_path / "classes.txt").write_text("dog\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n0 0.5\xe9\n")
    with pytest.raises(UserError, match=r"1\.txt, line 2: byte 0xe9"):
        Yolo(tmp_path).classes
    (tmp_path / "classes.txt").write_bytes(b"dog\ncaf\xe9\n")
    with pytest.raises(UserError, match=r"classes\.txt, line 2"):
        Yolo(tmp_path).classes


def test_second_start_reads_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Yolo, "cache_from", 0)
    root = tmp_path / "data"
    content = {"train": {f"{n}.jpg": [(n % 2, [0.5, 0.5, 0.1, 0.1])] for n in range(4)}}
    write(root, content, ["dog", "cat"], "by kind", "list", True)
    first = Yolo(root).label_matrix()
    with monkeypatch.context() as m:
        m.setattr(
            "natural_backdoors.data.yolo.read_objects",
            lambda *a: pytest.fail("the files are read again"),
        )
        again = Yolo(root).label_matrix()
    assert check_manager(Yolo(root), files=True).empty
    assert (again.matrix != first.matrix).nnz == 0 and list(again.images) == list(first.images)
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace("dog", "wolf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Yolo(root).labels == ["cat", "wolf"]
    (root / "labels" / "train" / "0.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    os.utime(root / "labels" / "train" / "0.txt", (1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Yolo(root).label_matrix().matrix.toarray().tolist() == [
            [1, 0],
            [1, 0],
            [0, 1],
            [1, 0],
        ]


@pytest.mark.filterwarnings("ignore:.* have no label file and count as images without objects")
@pytest.mark.filterwarnings("ignore:.* are read as an outline")
@settings(max_examples=150, deadline=None)
@given(truths(), yolo_styles())
def test_what_is_written_is_read(tmp_path_factory, truth, style):
    root = tmp_path_factory.mktemp("yolo")
    ids = write_yolo(root, truth, style)
    manager, found = Yolo(root), {}
    for split in manager.splits:
        m = manager.label_matrix(split)
        for i, image in enumerate(m.images):
            found[image] = (split, {l for j, l in enumerate(m.classes.label) if m.column(j)[i]})
    assert found == {ids[name]: (split, labels) for name, split, labels in truth}
    if style["images"]:
        assert all(manager.src_path(image).is_file() for image in found)
