"Pascal VOC: XML and label files against plain loops, the real labels of 2007, and hostile XML"

import xml.dom.minidom
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writers_voc_yolo import truths, voc_styles, write_voc

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.voc import PascalVOC, read_xml

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


@settings(max_examples=120, deadline=None)
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


@settings(max_examples=100, deadline=None)
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


@settings(max_examples=100, deadline=None)
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
    assert PascalVOC(tmp_path).label_matrix().shape == (3, 1), "a new file is seen"


@settings(max_examples=150, deadline=None)
@given(truths(), voc_styles())
def test_what_is_written_is_read(tmp_path_factory, truth, style):
    root = tmp_path_factory.mktemp("voc")
    ids = write_voc(root, truth, style)
    manager = PascalVOC(root, splits="official")
    found = {}
    for split in manager.splits:
        m = manager.label_matrix(split)
        for i, image in enumerate(m.images):
            found[image] = (split, {l for j, l in enumerate(m.classes.label) if m.column(j)[i]})
    assert found == {ids[name]: (split, labels) for name, split, labels in truth}
    if style["images"]:
        assert all(manager.src_path(image).is_file() for image in found)
