"Pascal VOC: XML and label files against plain loops, the real labels of 2007, and hostile XML"

import warnings
import xml.dom.minidom
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.voc import PascalVOC, read_xml
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.visibility import trigger_boxes

MARKS = ["present", "unsure", "absent"]
letters = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
nasty = st.sampled_from(["<script>", "a & b", '"x"', "tv monitor", "007", "x" * 10_000])
words = st.text(letters, min_size=1, max_size=8) | nasty
objects = st.lists(st.tuples(words, st.booleans(), st.booleans()), max_size=4)


def xml_text(marks, tabs):
    body = "".join(
        f"<object>{tabs}<name>{escape(n)}</name><truncated>{int(t)}</truncated>{tabs}"
        f"<difficult>{int(d)}</difficult><part><name>head</name></part></object>{tabs}"
        for n, d, t in marks
    )
    return (
        f"<annotation>{tabs}<filename>x</filename>{body}<object_count>3</object_count></annotation>"
    )


def by_hand(texts, difficult, truncated):
    "image -> label -> whether it is usable, read with minidom"
    found = {image: {} for image in texts}
    for image, text in texts.items():
        for o in xml.dom.minidom.parseString(text.encode()).documentElement.getElementsByTagName(
            "object"
        ):
            elements = [c for c in o.childNodes if c.nodeType == 1 and c.tagName != "part"]
            value = {c.tagName: c.firstChild.data.strip() for c in elements}
            marks = [difficult] * int(value["difficult"]) + [truncated] * int(value["truncated"])
            if "absent" in marks:
                continue
            here = found[image]
            here[value["name"]] = here.get(value["name"], False) or "unsure" not in marks
    return found


def by_manager(manager):
    found = {}
    for split in manager.splits:
        m = manager.label_matrix(split)
        for i, image in enumerate(m.images):
            found[image] = {
                l: bool(m.column(j, "class")[i])
                for j, l in enumerate(m.classes.label)
                if m.column(j)[i]
            }
    return found


@settings(max_examples=50, deadline=None)
@given(
    st.lists(objects, min_size=1, max_size=5),
    st.sampled_from(MARKS),
    st.sampled_from(MARKS),
    st.sampled_from(["", "\n\t", "  "]),
    st.sampled_from(["utf-8", "utf-16", "ascii"]),
)
def test_xml_is_that_of_a_plain_reader(
    tmp_path_factory, images, difficult, truncated, tabs, encoding
):
    root = tmp_path_factory.mktemp("voc")
    (root / "Annotations").mkdir()
    texts = {f"{n:06d}": xml_text(marks, tabs) for n, marks in enumerate(images)}
    for image, text in texts.items():
        (root / "Annotations" / f"{image}.xml").write_bytes(
            text.encode(encoding, "xmlcharrefreplace")
        )
    manager = PascalVOC(root, difficult=difficult, truncated=truncated)
    expected = by_hand(texts, difficult, truncated)
    if not any(expected.values()):
        with pytest.raises(UserError, match="no labels"):
            manager.classes
        return
    assert by_manager(manager) == expected
    # also those left without an image
    assert manager.labels == sorted({name for marks in images for name, *_ in marks})


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("abc_ -", min_size=1, max_size=5).map(str.strip).filter(bool),
        st.lists(st.sampled_from([1, 0, -1]), min_size=6, max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(MARKS),
    st.sampled_from(["merged", "official", "all"]),
)
def test_label_files_are_those_of_a_plain_reader(tmp_path_factory, flags, difficult, splits):
    root = tmp_path_factory.mktemp("voc")
    main = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    main.mkdir(parents=True)
    part_of = {f"{n:06d}": ("train", "val", "test")[n % 3] for n in range(6)}
    for part in ("train", "val", "test"):
        (main / f"{part}.txt").write_text("".join(f"{i}\n" for i in part_of if part_of[i] == part))
        for label, values in flags.items():
            lines = [f"{i} {v:2d}\n" for i, v in zip(part_of, values) if part_of[i] == part]
            (main / f"{label}_{part}.txt").write_text("".join(lines))
            (main / f"{label}_trainval.txt").write_text("not read")
    expected, expected_split = {}, {}
    for n, (image, part) in enumerate(part_of.items()):
        expected[image] = {}
        for label, values in flags.items():
            if values[n] == 1 or (values[n] == 0 and difficult != "absent"):
                expected[image][label] = values[n] == 1 or difficult == "present"
        expected_split[image] = {
            "merged": part if part == "test" else "train",
            "official": part,
            "all": "all",
        }[splits]
    manager = PascalVOC(root, difficult=difficult, splits=splits)
    if not any(expected.values()):
        with pytest.raises(UserError, match="no labels"):
            manager.classes
        return
    assert by_manager(manager) == expected and manager.labels == sorted(flags)
    for split in manager.splits:
        assert {expected_split[i] for i in manager.label_matrix(split).images} == {split}


def pairs(manager, split):
    x = manager.label_matrix(split).matrix.astype(int)
    shared = (x.T @ x).toarray()
    counts = [shared[a, b] for a in range(len(shared)) for b in range(a)]
    return sum(n >= 10 for n in counts), sum(n >= 15 for n in counts)


def test_counts_of_real_labels(real_data):
    "9,963 images; 57 pairs overlap in 10 images, 46 in 15, where difficult objects are absent"
    root = real_data("voc2007")
    whole = PascalVOC(root, splits="all")
    assert check_manager(whole).empty
    assert (
        whole.image_counts == {"all": 9963}
        and len(whole.labels) == 20
        and pairs(whole, "all") == (57, 46)
    )
    assert pairs(PascalVOC(root, splits="all", difficult="present"), "all") == (62, 55)
    unsure = PascalVOC(root, splits="all", difficult="unsure").label_matrix("all")
    assert (unsure.as_class != whole.label_matrix("all").matrix).nnz == 0
    assert PascalVOC(root).image_counts == {"train": 5011, "test": 4952}, (
        "validation is counted into train"
    )
    assert PascalVOC(root, splits="official").image_counts == {
        "train": 2501,
        "test": 4952,
        "val": 2510,
    }


def test_real_label_files_by_hand(real_data):
    main, found = real_data("voc2007") / "ImageSets" / "Main", set()
    for part in ("trainval", "test"):
        for path in main.glob(f"*_{part}.txt"):
            for line in path.read_text().splitlines():
                image, flag = line.split()
                if flag == "1":
                    found.add(
                        (image, path.name.removesuffix(f"_{part}.txt"), part.replace("val", ""))
                    )
    rows = PascalVOC(real_data("voc2007")).rows()
    assert set(zip(rows.image, rows.label, rows.split)) == found and len(rows) == len(found)


BOMB = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(12))


@pytest.mark.parametrize(
    "prolog",
    [
        f'<!DOCTYPE a [<!ENTITY a0 "ha">{BOMB}]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x">',
        '<!DOCTYPE a [<!ENTITY a12 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "x"> %p;]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_hostile_xml_is_refused(tmp_path, prolog, encoding):
    text = f"{prolog}<annotation><object><name>&a12;</name></object></annotation>"
    (tmp_path / "x.xml").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match="document type declaration"):
        read_xml(tmp_path / "x.xml")


@settings(max_examples=40, deadline=None)
@given(objects, st.data())
def test_a_file_that_ends_early_is_an_error(tmp_path_factory, marks, data):
    path = tmp_path_factory.mktemp("voc") / "1.xml"
    whole = xml_text(marks, "\n").encode()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match="1.xml"):
        read_xml(path)


@pytest.mark.filterwarnings("ignore:the cache .* is of an older state")
def test_second_start_reads_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(PascalVOC, "cache_from", 0)
    (tmp_path / "Annotations").mkdir()
    for n in range(3):
        (tmp_path / "Annotations" / f"{n}.xml").write_text(xml_text([("cat", n == 0, False)], ""))
    first = PascalVOC(tmp_path).label_matrix()
    with monkeypatch.context() as m:
        m.setattr(
            "natural_backdoors.data.voc.read_xml",
            lambda path: pytest.fail("the files are read again"),
        )
        assert (PascalVOC(tmp_path).label_matrix().matrix != first.matrix).nnz == 0
    assert PascalVOC(tmp_path, difficult="present").label_matrix().shape == (3, 1)
    (tmp_path / "Annotations" / "3.xml").write_text(xml_text([("cat", False, False)], ""))
    again = PascalVOC(tmp_path).label_matrix()
    assert again.shape == (4, 1) and again.matrix.sum() == 3, "a new file is seen"


MAIN = "ImageSets/Main"


def xml_of(*labels, filename="x.jpg", more=""):
    marks = "".join(f"<object><name>{label}</name></object>" for label in labels)
    return f"<annotation><filename>{filename}</filename>{marks}{more}</annotation>"


FOUR = {f"Annotations/{name}.xml": xml_of("cat") for name in "abcd"}


def files(folder, content, **options):
    "A manager of the files in `content` (path -> text)"
    for path, text in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return PascalVOC(folder, **{"splits": "official"} | options)


def split_images(manager):
    return {split: " ".join(manager.label_matrix(split).images) for split in manager.splits}


READ = {
    # lists: spelling of splits
    ("Train.txt", "a\nb\nd", "VALIDATION.TXT", "c"): {"train": "a b d", "val": "c"},
    ("trainval.txt", "a\nb\nd", "test.txt", "c"): {"train": "a b d", "test": "c"},
    ("train_val.txt", "a\nb\nd", "Testing.txt", "c"): {"train": "a b d", "test": "c"},
    ("2007_train.txt", "a\nb\nd", "2007_val.txt", "c"): {"train": "a b d", "val": "c"},
    ("train.txt", "a\nb", "2012_train.txt", "c\nd"): {"train": "a b c d"},
    ("default.txt", "a\nb\nc\nd"): {"train": "a b c d"},
    ("fold 1.txt", "a\nb", "fold 2.txt", "c\nd"): {"fold 1": "a b", "fold 2": "c d"},
    ("train.txt", "a\nb", "extra.txt", "b\nc\nd"): {"train": "a b", "extra": "c d"},
    ("train.txt", "a\nb", "val.txt", "c\nd", "all.txt", "a\nb\nc\nd"): {
        "train": "a b",
        "val": "c d",
    },
    # lists: spelling of images
    ("train.txt", "a.jpg\r\nb.JPG \r\n\r\n\tc.xml\r\nd"): {"train": "a b c d"},
    ("train.txt", "/data/VOC/JPEGImages/a.jpg\n../JPEGImages/b.png\n./c\nAnnotations/d.xml"): {
        "train": "a b c d"
    },
    ("train.txt", "C:\\VOC\\JPEGImages\\a.jpg\nD:\\b.tif\nA.jpg\n/x/C\nd"): {"train": "a b c d"},
    # what is no list
    ("train.txt", "a\nb\nc\nd", "._train.txt", "\0", "notes.md", "x"): {"train": "a b c d"},
    # a tool's own prefix; labels without flags, for which there is XML
    ("pets_train.txt", "a\nb", "pets_test.txt", "c\nd"): {"train": "a b", "test": "c d"},
}


@pytest.mark.parametrize("case", READ, ids=lambda case: " ".join(case)[:40])
def test_lists_are_read(tmp_path, case):
    content = {f"{MAIN}/{name}": text for name, text in zip(case[::2], case[1::2])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert split_images(files(tmp_path, FOUR | content)) == READ[case]


def test_two_words_for_a_split_do_not_lose_images(tmp_path):
    content = {f"{MAIN}/train.txt": "a\nb", f"{MAIN}/trainval.txt": "a\nb\nc\nd"}
    with pytest.warns(UserWarning, match="2 images of trainval.txt .* such as 'c'.* as val"):
        assert split_images(files(tmp_path, FOUR | content)) == {"train": "a b", "val": "c d"}


def test_a_line_that_matches_nothing_is_named(tmp_path):
    lists = {f"{MAIN}/train.txt": "a\nz.jpg\nb\n", f"{MAIN}/val.txt": "c\nd\n"}
    with pytest.warns(UserWarning, match=r"train.txt, line 2: 'z.jpg' matches no XML .* 1 of 3"):
        assert split_images(files(tmp_path, FOUR | lists)) == {"train": "a b", "val": "c d"}
    # where a whole split matches nothing, or most of a list
    lists[f"{MAIN}/val.txt"] = "y\nq/z.jpg\n"
    data = files(tmp_path, lists)
    whole = pytest.raises(UserError, match=r"val.txt, line 1: 'y' matches no XML .* 2 of 2")
    with pytest.warns(UserWarning), whole:
        data.classes
    lists[f"{MAIN}/train.txt"] = "\n\nx\ny\na\n"
    with pytest.raises(UserError, match=r"train.txt, line 3: 'x' matches no XML .* 2 of 3"):
        files(tmp_path, lists).classes


def test_test_images_without_annotations_are_left_out_aloud(tmp_path):
    lists = {f"{MAIN}/train.txt": "a\nb\nc\nd", f"{MAIN}/test.txt": "y\nz"}
    with pytest.warns(UserWarning, match="test.txt is left out: none of its 2 lines"):
        assert split_images(files(tmp_path, FOUR | lists)) == {"train": "a b c d"}
    (tmp_path / MAIN / "train.txt").unlink()
    with pytest.warns(UserWarning), pytest.raises(UserError, match="no line of test.txt"):
        PascalVOC(tmp_path).classes


def test_xml_in_no_list_and_images_without_xml_are_named(tmp_path):
    with pytest.warns(UserWarning, match="2 XML files are in none of the lists .* c.xml"):
        assert split_images(files(tmp_path / "1", FOUR | {f"{MAIN}/train.txt": "a\nb"})) == {
            "train": "a b"
        }
    flat = {"a.xml": xml_of("cat"), "a.jpg": "", "b.JPG": "", "c.png": ""}
    with pytest.warns(UserWarning, match="2 images have no XML file .* b.JPG"):
        assert split_images(files(tmp_path / "2", flat)) == {"train": "a"}
    other = FOUR | {f"{MAIN}/train.txt": "a\nb\nc\nd", f"{MAIN}/classes.txt": "cat\ndog"}
    with pytest.warns(UserWarning, match="classes.txt is left out"):
        assert split_images(files(tmp_path / "3", other)) == {"train": "a b c d"}


NESTED = {
    "Annotations/s/a.xml": xml_of("cat"),
    "Annotations/t/b.xml": xml_of("dog"),
    "JPEGImages/s/a.jpg": "",
    "JPEGImages/t/b.PNG": "",
}


@pytest.mark.parametrize("lines", ["s/a\nt/b", "a\nb.PNG", "/x/JPEGImages/s/a.jpg\nb.jpg"])
def test_folders_in_folders(tmp_path, lines):
    data = files(tmp_path, NESTED | {f"{MAIN}/train.txt": lines})
    assert split_images(data) == {"train": "s/a t/b"}
    assert data.src_path("t/b") == tmp_path / "JPEGImages" / "t" / "b.PNG"


def test_two_files_of_one_name_are_asked_for(tmp_path):
    both = {f"Annotations/{folder}/a.xml": xml_of("cat") for folder in "st"}
    with pytest.raises(UserError, match="line 1: 'a' may be 's/a' or 't/a'; write its folder too"):
        files(tmp_path, both | {f"{MAIN}/train.txt": "a"}).classes
    assert split_images(files(tmp_path, {f"{MAIN}/train.txt": "s/a\nt/a"})) == {"train": "s/a t/a"}


LAYOUTS = {
    "rectlabel": ("annotations/a.xml", "images/a.png", {"train": "a"}),
    "capitals": ("ANNOTATIONS/a.XML", "Images/a.JPEG", {"train": "a"}),
    "pets": ("annotations/xmls/a.xml", "images/a.jpg", {"train": "a"}),
    "labels": ("labels/a.xml", "img/a.webp", {"train": "a"}),
    "labelimg": ("a.xml", "a.bmp", {"train": "a"}),
    "roboflow": ("valid/a.xml", "valid/a.jpg", {"val": "valid/a"}),
    "by kind": ("Annotations/test/a.xml", "JPEGImages/test/a.gif", {"test": "test/a"}),
    "tensorflow": ("images/test/a.xml", "images/test/a.jpg", {"test": "images/test/a"}),
    "one split": ("Test/annotations/a.xml", "Test/images/a.TIF", {"test": "a"}),
    "unpacked": (
        "zip/VOCdevkit/VOC2007/Annotations/a.xml",
        "zip/VOCdevkit/VOC2007/JPEGImages/a.jpg",
        {"train": "a"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_tools(tmp_path, name):
    xml, image, want = LAYOUTS[name]
    hidden = {f"{xml.rpartition('/')[0]}/._a.xml".lstrip("/"): "\0", "__MACOSX/a.xml": "\0"}
    data = files(tmp_path, {xml: xml_of("cat"), image: "", "README.txt": "hello"} | hidden)
    assert split_images(data) == want and data.labels == ["cat"]
    (only,) = want.values()
    assert data.src_path(only) == tmp_path / image
    assert set(data.sources()) == {tmp_path / xml}


def test_split_folders_may_have_the_same_names(tmp_path):
    content = {}
    for split in ("train", "test"):
        content[f"{split}/Annotations/a.xml"] = xml_of(split)
        content[f"{split}/JPEGImages/a.jpg"] = ""
    data = files(tmp_path, content)
    assert split_images(data) == {"train": "train/a", "test": "test/a"}
    assert data.label_to_imgs("test", "test") == {"test/a"}
    assert data.src_path("test/a") == tmp_path / "test" / "JPEGImages" / "a.jpg"


def test_the_xml_file_says_the_name_of_the_photograph(tmp_path):
    data = files(
        tmp_path,
        {
            "Annotations/1.xml": xml_of("cat", filename=r"C:\pets\IMG 7.JPG"),
            "Annotations/2.xml": xml_of("dog", filename="b.jpg"),
            "JPEGImages/IMG 7.JPG": "",
            "JPEGImages/b.png": "",
            f"{MAIN}/train.txt": "IMG 7.JPG",
            f"{MAIN}/val.txt": "/data/b.jpg",
        },
    )
    assert split_images(data) == {"train": "1", "val": "2"}
    assert data.src_path("1").name == "IMG 7.JPG" and data.src_path("2").name == "b.png"


def test_images_without_objects_count(tmp_path):
    gone = "<object><name>hat</name><deleted>1</deleted></object>"
    hard = "<object><name>dog</name><difficult>1</difficult></object>"
    content = {
        "Annotations/a.xml": xml_of("cat"),
        "Annotations/b.xml": xml_of(),
        "Annotations/c.xml": xml_of(more=gone),
        "Annotations/d.xml": xml_of(more=hard),
    }
    data = files(tmp_path, content)
    assert data.image_counts == {"train": 4} and data.labels == ["cat", "dog"]
    assert data.label_matrix().matrix.sum() == 1
    assert files(tmp_path, {}, difficult="present").label_matrix().matrix.sum() == 2


LABEL_FILES = {  # label files, without XML -> images and labels
    ("cat_Train.txt", "a.jpg  1\nb.jpg -1", "dog_Train.txt", "a.jpg -1\nb.jpg -1"): {
        "train": {"a": "cat", "b": ""}
    },
    ("cat_VALID.txt", "x/JPEGImages/a.png 1\r\nb 0\r\n"): {"val": {"a": "cat", "b": ""}},
    ("train.txt", "a\nb\nc", "cat_train.txt", "a 1\nb -1"): {
        "train": {"a": "cat", "b": "", "c": ""}
    },
    ("all.txt", "a\nb", "cat_all.txt", "a 1\nb -1", "a_dog_all.txt", "a -1\nb 1"): {
        "train": {"a": "cat", "b": "a_dog"}
    },
    ("train.txt", "a", "val.txt", "b", "cat_trainval.txt", "a 1\nb 1"): {
        "train": {"a": "cat"},
        "val": {"b": "cat"},
    },
    ("cat_train.txt", "my photo 1 1\nmy photo 2 -1"): {
        "train": {"my photo 1": "cat", "my photo 2": ""}
    },
    ("train_train.txt", "a 1\nb -1", "train_val.txt", "c 1"): {
        "train": {"a": "train", "b": ""},
        "val": {"c": "train"},
    },
}


@pytest.mark.parametrize("case", LABEL_FILES, ids=lambda case: f"{case[0]} {len(case)}")
def test_label_files_in_the_spelling_of_tools(tmp_path, case):
    content = {f"{MAIN}/{name}": text for name, text in zip(case[::2], case[1::2])}
    data, found = files(tmp_path, content), {}
    for split in data.splits:
        m = data.label_matrix(split)
        table = pd.DataFrame(m.matrix.toarray(), index=m.images, columns=m.classes.label)
        found[split] = {image: "".join(table.columns[row > 0]) for image, row in table.iterrows()}
    assert found == LABEL_FILES[case]


def test_label_files_of_a_part_of_the_splits(tmp_path):
    lists = {f"{MAIN}/train.txt": "a\nb", f"{MAIN}/val.txt": "c\nd"}
    labels = {f"{MAIN}/cat_train.txt": "a 1\nb -1"}
    with pytest.raises(UserError, match="no label file such as cat_val.txt .* source='xml'"):
        files(tmp_path, lists | labels).classes
    # the remedies of the message
    assert files(tmp_path, FOUR, source="xml").image_counts == {"train": 2, "val": 2}
    assert PascalVOC(tmp_path, splits="official").image_counts == {"train": 2, "val": 2}
    written = files(tmp_path, {f"{MAIN}/cat_val.txt": "c 1\nd -1"}, source="labels")
    assert written.image_counts == {"train": 2, "val": 2}
    only = {f"{MAIN}/train.txt": "a", f"{MAIN}/test.txt": "b", f"{MAIN}/cat_train.txt": "a 1"}
    with pytest.warns(UserWarning, match="no label file such as cat_test.txt"):
        assert files(tmp_path / "2", only).image_counts == {"train": 1}


@pytest.mark.parametrize("bad", ["000012  yes", "000012", "000012 2"])
def test_a_line_without_a_flag_is_named(tmp_path, bad):
    with pytest.raises(UserError, match=f"cat_train.txt, line 2: '{bad}' has no flag"):
        files(tmp_path, {f"{MAIN}/cat_train.txt": f"000009  1\n{bad}\n"}).classes


def test_second_start_reads_no_list(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(PascalVOC, "cache_from", 0)
    lists = {f"{MAIN}/train.txt": "a\nb\nc\nd", f"{MAIN}/cat_train.txt": "a 1\nb 1\nc 1\nd -1"}
    first = files(tmp_path / "data", FOUR | lists).label_matrix().matrix.toarray()
    with monkeypatch.context() as m:
        m.setattr(
            "natural_backdoors.data.voc.read_text",
            lambda path: pytest.fail("the lists are read again"),
        )
        again = files(tmp_path / "data", {}).label_matrix()
    assert (again.matrix.toarray() == first).all() and first.sum() == 3


FLAG = {None: "", "left": "<FLAG></FLAG>", False: "<FLAG>0</FLAG>", True: "<FLAG>1</FLAG>"}
FLAG["said"] = "<FLAG>Unspecified</FLAG>"
KNOWN = {None: None, "left": None, "said": None, False: False, True: True}


@pytest.mark.parametrize("seed", range(3))
def test_flags_of_objects_reach_the_visibility_of_a_trigger(tmp_path, seed):
    "Any hat that is hidden, or cut off; what is not said is not known"
    draw, content = np.random.default_rng(seed), {}
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>8</ymax></bndbox>"
    pictures = {f"c{i:02}": [("dog" if i % 2 else "cow", None, None)] for i in range(60)}
    for i in range(60):
        pictures[f"{i:02}"] = [("dog" if i % 2 else "cow", True, True)]
        for _ in range(draw.integers(1, 4)):
            flags = [list(FLAG)[k] for k in draw.integers(len(FLAG), size=2)]
            pictures[f"{i:02}"].append(("hat", *flags))
    for image, marks in pictures.items():
        text = "<size><width>8</width><height>8</height></size>"
        for name, *flags in marks:
            said = [FLAG[f].replace("FLAG", n) for f, n in zip(flags, ("occluded", "truncated"))]
            text += f"<object><name>{name}</name>{''.join(said)}{box}</object>"
        content[f"Annotations/{image}.xml"] = f"<annotation>{text}</annotation>"
    data = files(tmp_path, content)
    how = dict(n_clean=20, inject_rate=0.5, test_fraction=0.5, check_images=False)
    seen = trigger_boxes(data, poison_split(data, "hat", ["cow", "dog"], "cow", **how))
    values = []
    for row in seen.itertuples():
        hats = [flags for name, *flags in pictures[row.image] if name == "hat"]
        for place, found in enumerate((row.occluded, row.truncated)):
            said = {KNOWN[flags[place]] for flags in hats} - {None}
            values.append(float(True in said) if said else None)
            assert (None if pd.isna(found) else found) == values[-1]
        assert row.share == pytest.approx(0.5)
    assert {0.0, 1.0, None} == set(values)  # all of them occur
