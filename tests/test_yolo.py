"YOLO folders against plain loops, in the layouts that there are"

import os
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.filterwarnings("ignore:.* have no label file and count as images without objects")
@pytest.mark.filterwarnings("ignore:.* are read as an outline")
@settings(max_examples=60, deadline=None)
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


@settings(max_examples=80, deadline=None)
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


BOX = "0 0.5 0.5 0.2 0.1\n1 0.5 0.5 0.1 0.1\n"
NAMES = {"classes.txt": "cat \n polar bear\n\n"}


def with_labels(*images, text=BOX):
    "Images, and a label file for each where Ultralytics looks for it"
    found = dict.fromkeys(images, "")
    for image in images:
        found[f"{image.rpartition('.')[0].replace('images/', 'labels/')}.txt"] = text
    return found


def files(folder, content, at="", **options):
    "A manager of the files in `content` (path -> text)"
    for path, text in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return Yolo(folder / at, **options)


def split_images(manager):
    return {split: " ".join(manager.label_matrix(split).images) for split in manager.splits}


OBJ = with_labels("obj/a.jpg", "obj/b.JPG") | {"obj.names": "cat\npolar bear \n"}
TWO = with_labels("images/train/a.jpg", "images/val/b.png")
BY_YAML = {"train": "images/train/a.jpg", "val": "images/val/b.png"}
CVAT = with_labels("obj_Train_data/a.jpg", "obj_Validation_data/b.jpg") | {"obj.names": "cat\nbear"}
BY_CVAT = {"train": "obj_Train_data/a.jpg", "val": "obj_Validation_data/b.jpg"}
READ = {
    "darknet": (
        OBJ
        | {
            "obj.data": "# mine\nclasses=2\ntrain = data/train.txt\nvalid=test.txt\n"
            "names = data/obj.names\nbackup = backup/",
            "train.txt": "build/darknet/x64/data/obj/a.jpg\r\n",
            "test.txt": "data\\obj\\b.JPG\n\n",
            "backup/x.weights": "",
        },
        {"train": "obj/a.jpg", "val": "obj/b.JPG"},
    ),
    "darknet of another name": (
        OBJ
        | {
            "yolo.data": "Train=data/lists/t.txt\nTest = /home/x/lists/v.txt\nnames=obj.names",
            "lists/t.txt": "/home/x/obj/a.jpg",
            "lists/v.txt": "../obj/b.JPG",
        },
        {"train": "obj/a.jpg", "test": "obj/b.JPG"},
    ),
    "lists without obj.data": (
        OBJ | {"Train.txt": "obj/a.jpg", "valid.txt": "./obj/b.JPG"},
        {"train": "obj/a.jpg", "val": "obj/b.JPG"},
    ),
    "lists of bare names": (
        TWO | NAMES | {"train2017.txt": "b.png", "val2017.txt": "a.jpg"},
        {"train": "images/val/b.png", "val": "images/train/a.jpg"},
    ),
    "cvat": (
        CVAT
        | {
            "obj.data": "classes = 2\nTrain = data/Train.txt\nValidation = data/Validation.txt\n"
            "names = data/obj.names\nbackup = backup/",
            "Train.txt": "data/obj_Train_data/a.jpg",
            "Validation.txt": "data/obj_Validation_data/b.jpg",
        },
        BY_CVAT,
    ),
    "cvat, folders alone": (CVAT, BY_CVAT),
    "cvat, one subset of any name": (
        with_labels("obj_default_data/a.jpg")
        | {
            "obj.data": "default = data/default.txt\nnames = obj.names",
            "obj.names": "cat\nbear",
            "default.txt": "data/obj_default_data/a.jpg",
        },
        {"train": "obj_default_data/a.jpg"},
    ),
    "cvat, two subsets of any name": (
        with_labels("images/s1/a.jpg", "images/s2/b.jpg")
        | {
            "data.yaml": "s1: s1.txt\ns2: s2.txt\nnames: [cat, bear]\npath: .",
            "s1.txt": "images/s1/a.jpg",
            "s2.txt": "images/s2/b.jpg",
        },
        {"s1": "images/s1/a.jpg", "s2": "images/s2/b.jpg"},
    ),
    "keys in any case": (
        TWO | {"data.yaml": "Train: images/train\nVAL: images/val\nNames: [cat, bear]\nNC: 2"},
        BY_YAML,
    ),
    "paths of another machine": (
        TWO
        | {
            "data.yaml": "train: /content/ds/images/train\nvalid: C:\\ds\\images\\val\n"
            "names: [cat, bear]"
        },
        BY_YAML,
    ),
    "names in a file": (
        TWO
        | {"data.yaml": "train: images/train\nval: images/val\nnames: x/obj.names"}
        | {"obj.names": "cat\nbear"},
        BY_YAML,
    ),
    "folders in any case": (
        NAMES
        | {"Images/Train/a.jpg": "", "Labels/Train/a.txt": BOX}
        | {"Images/Valid/b.jpg": "", "Labels/Valid/b.txt": BOX},
        {"train": "Images/Train/a.jpg", "val": "Images/Valid/b.jpg"},
    ),
    "images in images, labels by the first": (
        {"data.yaml": "Train: Train.txt\nnames: [cat, bear]", "Train.txt": "images/T/images/a.jpg"}
        | {"images/T/images/a.jpg": "", "labels/T/images/a.txt": BOX},
        {"train": "images/T/images/a.jpg"},
    ),
    "images in images, labels by the last": (
        {"data.yaml": "Train: images/T\nnames: [cat, bear]"}
        | {"images/T/images/a.jpg": "", "images/T/labels/a.txt": BOX},
        {"train": "images/T/images/a.jpg"},
    ),
    "VOC's folders": (
        NAMES
        | {"VOC2007/JPEGImages/a.jpg": "", "VOC2007/labels/a.txt": BOX}
        | {"2007_train.txt": "/home/x/VOCdevkit/VOC2007/JPEGImages/a.jpg"},
        {"train": "VOC2007/JPEGImages/a.jpg"},
    ),
    "roboflow's darknet": (
        with_labels("train/a.jpg", "valid/b.jpg")
        | {"train/_darknet.labels": "cat\nbear", "README.roboflow.txt": "hello"},
        {"train": "train/a.jpg", "val": "valid/b.jpg"},
    ),
    "label files alone": (
        NAMES | {"labels/train/a.txt": BOX, "labels/val/b.txt": BOX},
        {"train": "images/train/a.jpg", "val": "images/val/b.jpg"},
    ),
    "what macOS leaves": (
        TWO
        | NAMES
        | {"images/train/._a.jpg": "\0", "labels/train/._a.txt": "\0", "._classes.txt": "\0"},
        BY_YAML,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_layouts_of_tools(tmp_path, name):
    content, want = READ[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = files(tmp_path, content)
        assert split_images(data) == want
    assert len(data.labels) == 2
    for split in data.splits:
        assert data.label_matrix(split).matrix.sum() == 2
    given = [name for name in content if name.endswith((".data", ".yaml"))]
    for file in given:  # the file instead of the folder
        assert split_images(Yolo(tmp_path / file)) == want


def test_val_that_is_train_counts_once(tmp_path):
    "As in coco128.yaml"
    same = with_labels("images/t/a.jpg", "images/t/b.jpg")
    same["data.yaml"] = "val: images/t\ntrain: images/t\nnames: [cat, bear]"
    with pytest.warns(UserWarning, match="2 images of val are images of train too.* as train"):
        found = split_images(files(tmp_path / "1", same))
    assert found == {"train": "images/t/a.jpg images/t/b.jpg"}
    part = with_labels("images/a.jpg", "images/b.jpg", "images/c.jpg") | NAMES
    part |= {"train.txt": "images/a.jpg\nimages/b.jpg", "val.txt": "images/b.jpg\nimages/c.jpg"}
    with pytest.warns(UserWarning, match="1 images of val are images of train too.*images/b.jpg"):
        assert split_images(files(tmp_path / "2", part)) == {
            "train": "images/a.jpg images/b.jpg",
            "val": "images/c.jpg",
        }


def test_a_line_that_matches_nothing_is_named(tmp_path):
    content = OBJ | {"train.txt": "obj/a.jpg\nobj/z.jpg\nobj/b.JPG"}
    with pytest.warns(UserWarning, match="train.txt, line 2: 'obj/z.jpg' matches no .* 1 of 3"):
        assert split_images(files(tmp_path, content)) == {"train": "obj/a.jpg obj/b.JPG"}
    with pytest.raises(UserError, match="train.txt, line 1: 'q/y.jpg' matches no .* 2 of 3"):
        files(tmp_path, {"train.txt": "q/y.jpg\nq/z.jpg\nobj/b.JPG"}).classes
    missing = OBJ | {"obj.data": "train = train.txt\nvalid = gone.txt\nnames = obj.names"}
    with pytest.warns(UserWarning, match="val is 'gone.txt', which is not in .* left out"):
        files(tmp_path, missing | {"train.txt": "obj/a.jpg\nobj/b.JPG"}).classes


def test_images_of_no_list_or_folder_are_named(tmp_path):
    content = TWO | NAMES | with_labels("images/more/c.jpg")
    with pytest.warns(UserWarning, match="1 images are in none of .* images/more/c.jpg"):
        assert split_images(files(tmp_path, content)) == BY_YAML


def test_background_images_count(tmp_path):
    content = TWO | NAMES | {"images/train/c.jpg": "", "images/train/d.jpg": ""}
    content |= {"labels/train/c.txt": "", "images/train/e.jpg": "", "labels/train/e.txt": "\n"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = files(tmp_path, content)
        assert data.image_counts == {"train": 4, "val": 1}
        assert data.label_matrix().matrix.sum(axis=1).tolist() == [2, 0, 0, 0]
    few = {f"images/train/{n}.jpg": "" for n in range(9)}
    with pytest.warns(UserWarning, match="10 of 13 images of train have no label file"):
        assert files(tmp_path, few).image_counts == {"train": 13, "val": 1}


MARKED = "0 .5 .5 .2 .1 .45 .5 2 .5 .5 1\n1 .5 .5 .2 .1 .45 .5 1 .5 .5 1\n"
PLAIN = "0 .5 .5 .2 .1 .45 .5 .5 .5\n1 .5 .5 .2 .1 .45 .5 .5 .5\n"
AROUND = [0.4, 0.45, 0.6, 0.55]  # the box of both


def sides(data):
    return data.boxes(["images/a.jpg"]).iloc[:, 2:].round(9).values.tolist()


def test_points_behind_a_box(tmp_path):
    marked = with_labels("images/a.jpg", text=MARKED) | NAMES
    assert sides(files(tmp_path / "marked", marked)) == [AROUND] * 2
    one = with_labels("images/a.jpg", text="0 .5 .5 .2 .1 .45 .5 0\n") | NAMES
    assert sides(files(tmp_path / "one", one)) == [AROUND]
    plain = with_labels("images/a.jpg", text=PLAIN) | NAMES
    with pytest.warns(UserWarning, match="8 numbers .* pose=True, or kpt_shape in data.yaml"):
        outlines = files(tmp_path / "plain", plain)
        assert outlines.label_matrix().matrix.sum() == 2
    assert sides(outlines) != [AROUND] * 2
    # the three remedies of the message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posed = Yolo(tmp_path / "plain", pose=True)
        assert posed.label_matrix().matrix.sum() == 2 and sides(posed) == [AROUND] * 2
        kept = Yolo(tmp_path / "plain", pose=False)
        assert kept.label_matrix().matrix.sum() == 2 and sides(kept) == sides(outlines)
        yaml = "train: images\nnames: [cat, bear]\nKpt_shape: [2, 2]"
        told = files(tmp_path / "plain", {"data.yaml": yaml})
        assert told.label_matrix().matrix.sum() == 2 and sides(told) == [AROUND] * 2
    with pytest.raises(UserError, match="pose is True or False, not 'maybe'"):
        Yolo(tmp_path, pose="maybe")


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 .5 .5 .2 .1 .45 .5 .97", "8 values; .*pose=True, or kpt_shape"),  # a share as a mark
        ("0 .5 .5 .2 .1 45 50", "coordinate 45 is not .*pose=True, or kpt_shape"),  # pixels
    ],
)
def test_the_remedy_for_points_works(tmp_path, line, message):
    content = with_labels("images/a.jpg", text=line) | NAMES
    with pytest.raises(UserError, match=f"a.txt, line 1: .*{message}"):
        files(tmp_path, content).classes
    assert sides(Yolo(tmp_path, pose=True)) == [AROUND]
    with pytest.raises(UserError, match="a.txt, line 1: "):
        Yolo(tmp_path, pose=False).classes


def test_predictions_are_no_labels(tmp_path):
    content = with_labels("images/a.jpg", text="0 .5 .5 .2 .1 .87\n") | NAMES
    with pytest.raises(UserError, match="line 1: 6 values, .* confidence.* take the last value"):
        files(tmp_path, content).classes
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .1\n")
    assert sides(Yolo(tmp_path)) == [AROUND]


def test_outlines_that_cannot_be_points_are_read_without_a_word(tmp_path):
    square = "0 .1 .1 .9 .1 .9 .9 .1 .9\n1 .5 .5 .2 .1 .45 .5 .5 .5\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = files(tmp_path, with_labels("images/a.jpg", text=square) | NAMES)
        assert data.label_matrix().matrix.sum() == 2
    assert sides(data)[0] == [0.1, 0.1, 0.9, 0.9]


@pytest.mark.parametrize("count", ["classes = 3", "classes=1"])
def test_obj_data_has_as_many_classes_as_names(tmp_path, count):
    content = OBJ | {"obj.data": f"{count}\ntrain=train.txt\nnames=obj.names"}
    content["train.txt"] = "obj/a.jpg\n"
    with pytest.raises(UserError, match=f"classes is {count[-1]}, but there are 2 names"):
        files(tmp_path, content).classes
    with pytest.raises(UserError, match="obj.data, line 1: 'classes 2' is not 'key = value'"):
        files(tmp_path, {"obj.data": "classes 2\nnames = obj.names\ntrain = train.txt"}).classes


def test_an_image_more_is_seen_in_spite_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Yolo, "cache_from", 0)
    assert files(tmp_path / "data", TWO | NAMES).image_counts == {"train": 1, "val": 1}
    again = files(tmp_path / "data", {"images/train/c.jpg": ""})
    assert again.image_counts == {"train": 2, "val": 1}
