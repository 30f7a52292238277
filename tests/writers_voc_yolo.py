"""Datasets in Pascal VOC's and YOLO's formats as tools and people write them

`write_voc(folder, truth, style)` and `write_yolo(...)` write one. `voc_styles()` and
`yolo_styles()` draw a style, `truths()` what is written. `truth`: a list of (image name without
suffix, split, set of labels), with splits train, val and test. Both return {image name: image id}.
"""

from pathlib import Path
from xml.sax.saxutils import escape

from hypothesis import strategies as st

WORDS = [
    {"train": "train", "val": "val", "test": "test"},
    {"train": "Train", "val": "Validation", "test": "Test"},
    {"train": "TRAIN", "val": "VALID", "test": "TESTING"},
    {"train": "training", "val": "dev", "test": "testing"},
]
SUFFIXES = [".jpg", ".JPG", ".jpeg", ".png", ".tif", ".bmp", ".webp", ".gif"]
# names that are not those of splits or of files with a meaning; "1" at an end looks like a flag
NAMES = st.from_regex(r"[a-c]([a-c1_.-]| (?=[a-c1])){0,4}[a-c1]", fullmatch=True)
LABELS = st.from_regex(r"[k-n]([k-n_'&<-]| (?=[k-n])){0,4}[k-n]", fullmatch=True)


@st.composite
def truths(draw):
    "Up to six images, of which at least one has a label"
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=str.lower))
    labels = draw(st.lists(LABELS, min_size=1, max_size=3, unique_by=str.lower))
    found = []
    for name in names:
        split = draw(st.sampled_from(["train", "val", "test"]))
        found.append((name, split, draw(st.sets(st.sampled_from(labels)))))
    if not any(carried for *_, carried in found):
        found[0] = (*found[0][:2], {labels[0]})
    return found


def _common():
    "What both formats have in common"
    return {
        "words": st.sampled_from(WORDS),  # names of the splits
        "suffix": st.sampled_from(SUFFIXES),  # of the images
        "nested": st.booleans(),  # images in a folder more
        "hidden": st.booleans(),  # files that macOS leaves
        "blanks": st.booleans(),  # empty lines, and blanks at the ends of others
        "line_end": st.sampled_from(["\n", "\r\n"]),
        "images": st.booleans(),  # whether there are images
    }


def voc_styles():
    "A dict of choices for `write_voc`"
    own = {
        "layout": st.sampled_from(
            ["official", "labels", "kaggle", "flat", "folders", "split folders", "lists beside"]
        ),
        "listed": st.sampled_from(["{name}", "{name}{suffix}", "{name}.xml"]),
        "path": st.sampled_from(
            ["", "JPEGImages/", "./JPEGImages/", "/data/VOC/JPEGImages/", "C:\\VOC\\JPEGImages\\"]
        ),
        "xml": st.sampled_from([".xml", ".XML"]),
    }
    return st.fixed_dictionaries({**_common(), **own})


def yolo_styles():
    "A dict of choices for `write_yolo`"
    own = {
        "layout": st.sampled_from(["images/train", "train/images", "train", "cvat", "one folder"]),
        "splits": st.sampled_from(["folders", "yaml", "yaml lists", "lists", "darknet"]),
        "names": st.sampled_from(["list", "dict"]),  # in data.yaml
        "path": st.sampled_from(
            ["", "./", "data/", "build/darknet/x64/data/", "/content/ds/", "C:\\ds\\"]
        ),
        "outlines": st.booleans(),
        "background": st.sampled_from(["empty file", "no file"]),
    }
    return st.fixed_dictionaries({**_common(), **own})


class _Writer:
    "Writes files below a folder in a style"

    def __init__(self, folder, style):
        self.folder, self.style = Path(folder), style

    def text(self, path, lines, blanks=True):
        end, odd = self.style["line_end"], self.style["blanks"] and blanks
        lines = [f" {line} \t" for line in lines] + ["", " "] if odd else lines
        self.bytes(path, "".join(f"{line}{end}" for line in lines).encode())

    def bytes(self, path, content=b""):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if self.style["hidden"]:
            (target.parent / f"._{target.name}").write_bytes(b"\0\5\x16\7")
            (target.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")

    def image(self, path):
        if self.style["images"]:
            self.bytes(path + self.style["suffix"])


def _xml(name, labels, style):
    objects = "".join(
        f"<object><name>{escape(label)}</name><difficult>0</difficult></object>"
        for label in sorted(labels)
    )
    # LabelMe keeps what was deleted
    deleted = "<object><name>gone</name><deleted>1</deleted></object>" if style["blanks"] else ""
    return f"<annotation><filename>{name}</filename>{objects}{deleted}</annotation>"


def write_voc(folder, truth, style) -> dict:
    "Write `truth` below `folder`, to be read with splits='official'"
    writer, layout, words = _Writer(folder, style), style["layout"], style["words"]
    places = {  # folders of XML files and of images
        "official": ("Annotations", "JPEGImages"),
        "labels": (None, "JPEGImages"),
        "kaggle": ("annotations", "images"),
        "flat": ("{split}", "{split}"),
        "folders": ("Annotations/{split}", "JPEGImages/{split}"),
        "split folders": ("{split}/Annotations", "{split}/JPEGImages"),
        "lists beside": (".", "."),
    }[layout]
    ids, several = {}, len({split for _, split, _ in truth}) > 1
    for name, split, labels in truth:
        inner = f"cam {len(labels)}/{name}" if style["nested"] else name
        xml, image = (place and place.format(split=words[split]) for place in places)
        if xml:
            writer.bytes(f"{xml}/{inner}{style['xml']}", _xml(name, labels, style).encode())
        writer.image(f"{image}/{inner}")
        prefixed = layout in ("flat", "folders") or (layout == "split folders" and several)
        ids[name] = f"{words[split]}/{inner}" if prefixed else inner
    if "{split}" not in places[1]:
        _write_voc_lists(writer, truth, ids)
    return ids


def _write_voc_lists(writer, truth, ids):
    style = writer.style
    where = "." if style["layout"] == "lists beside" else "ImageSets/Main"
    listed = {n: style["path"] + style["listed"].format(name=i, **style) for n, i in ids.items()}
    if style["path"].startswith("C:"):
        listed = {name: text.replace("/", "\\") for name, text in listed.items()}
    for split in {split for _, split, _ in truth}:
        here = [(name, labels) for name, s, labels in truth if s == split]
        word = style["words"][split]
        writer.text(f"{where}/{word}.txt", [listed[name] for name, _ in here])
        if style["layout"] != "labels":
            continue
        for label in set().union(*(labels for *_, labels in truth)):
            lines = [f"{listed[n]} {1 if label in labels else -1:2d}" for n, labels in here]
            writer.text(f"{where}/{label}_{word}.txt", lines)


def write_yolo(folder, truth, style) -> dict:
    "Write `truth` below `folder`"
    writer, words = _Writer(folder, style), style["words"]
    suffix = style["suffix"] if style["images"] else ".jpg"
    names = sorted(set().union(*(labels for *_, labels in truth)))
    ids = {}
    for name, split, labels in truth:
        inner = f"cam {len(labels)}/{name}" if style["nested"] else name
        images, texts = _yolo_places(style, words[split])
        ids[name] = f"{images}/{inner}{suffix}"
        writer.image(f"{images}/{inner}")
        # without images, or among those of other splits, the text files say what there is
        if labels or style["background"] == "empty file" or not style["images"]:
            at = "0.1 0.1 0.4 0.1 0.4 0.6" if style["outlines"] else "0.5 0.5 0.2 0.1"
            lines = [f"{names.index(label)} {at}" for label in sorted(labels)]
            writer.text(f"{texts}/{inner}.txt", lines, blanks=bool(labels))
    _write_yolo_splits(writer, truth, ids, names)
    return ids


def _yolo_places(style, word):
    "The folders of images and of label files of a split"
    splits = style["splits"]
    if style["layout"] == "one folder" and splits not in ("folders", "yaml"):
        return "obj", "obj"
    return {
        "images/train": (f"images/{word}", f"labels/{word}"),
        "train/images": (f"{word}/images", f"{word}/labels"),
        "cvat": (f"obj_{word}_data", f"obj_{word}_data"),
    }.get(style["layout"], (word, word))


def _write_yolo_splits(writer, truth, ids, names):
    "What says which image is in which split"
    style, entries = writer.style, {}
    for split in ("train", "val", "test"):
        here = [ids[name] for name, s, _ in truth if s == split]
        if not here:
            continue
        word = style["words"][split]
        entries[split] = _yolo_places(style, word)[0]
        if style["splits"] in ("yaml lists", "lists", "darknet"):
            lines = [style["path"] + image for image in here]
            if style["path"].startswith("C:"):
                lines = [line.replace("/", "\\") for line in lines]
            writer.text(f"{word}.txt", lines)
            entries[split] = f"{word}.txt"
    if style["splits"] in ("yaml", "yaml lists"):
        keys = [f"{style['words'][split]}: {entry}" for split, entry in entries.items()]
        quoted = ["'" + name.replace("'", "''") + "'" for name in names]
        listed = [f"names: [{', '.join(quoted)}]"]
        if style["names"] == "dict":
            listed = ["Names:", *(f"  {i}: {name}" for i, name in enumerate(quoted))]
        writer.text("data.yaml", [*keys, *listed], blanks=False)
        return
    writer.text("obj.names" if style["splits"] == "darknet" else "classes.txt", names)
    if style["splits"] == "darknet":
        keys = [f"{style['words'][s]} = data/{entry}" for s, entry in entries.items()]
        head = [f"classes={len(names)}", "names = data/obj.names", "backup=backup/"]
        writer.text("obj.data", head + keys)
