"""Datasets as tables of many kinds, and in Open Images' files, as tools and people write them

`write_table`, `write_multihot` and `write_openimages` write `truth` (see `writers_voc_yolo`) in a
style that `table_styles()`, `multihot_styles()` or `openimages_styles()` draw. They return
{image name: image id} and what is to be said when the dataset is opened.
"""

import csv
import gzip
import io
import json

from hypothesis import strategies as st
from writers_voc_yolo import WORDS

# one path, as it is written and as it is meant
SPELLINGS = [
    "imgs/{name}.jpg",
    "./imgs/{name}.jpg",
    "imgs//{name}.jpg",
    "imgs\\{name}.jpg",
    " imgs/{name}.jpg",
    "imgs/sub/../{name}.jpg",
]
SPLIT_COLUMNS = ["split", " Split ", "subset", "Set"]


def _common():
    return {
        "words": st.sampled_from(WORDS),
        "spelling": st.sampled_from(SPELLINGS),
        "split": st.sampled_from(SPLIT_COLUMNS),
        "delimiter": st.sampled_from([",", ";", "\t"]),
        "blanks": st.booleans(),  # around values
        "line_end": st.sampled_from(["\n", "\r\n"]),
        "packed": st.booleans(),
        "index": st.booleans(),  # the numbers of rows, which pandas writes
    }


def table_styles():
    "A dict of choices for `write_table`"
    cells = ["one a row", "|", "printed", "printed with quotation marks", "json"]
    return st.fixed_dictionaries({**_common(), "cells": st.sampled_from(cells)})


def multihot_styles():
    "A dict of choices for `write_multihot`"
    values = [("1", "0"), ("True", "False"), ("1.0", "0.0"), ("1", "-1"), (" 1", " 0")]
    return st.fixed_dictionaries({**_common(), "values": st.sampled_from(values)})


def openimages_styles():
    "A dict of choices for `write_openimages`"
    return st.fixed_dictionaries({"columns": st.booleans(), "packed": st.booleans()})


def _spelled(truth, style):
    "How each image is written, and its id"
    written = {name: style["spelling"].format(name=name) for name, *_ in truth}
    return written, {name: f"imgs/{name}.jpg" for name in written}


def _write(folder, rows, style):
    "A text table of `rows`, of which the first is the header"
    if style["index"]:
        rows = [["", *rows[0]], *([str(i), *row] for i, row in enumerate(rows[1:]))]
    if style["blanks"]:
        rows = [[f" {value} " if value else value for value in row] for row in rows]
    out = io.StringIO()
    csv.writer(out, delimiter=style["delimiter"], lineterminator=style["line_end"]).writerows(rows)
    name = f"labels.{'tsv' if style['delimiter'] == chr(9) else 'csv'}"
    content = out.getvalue().encode()
    path = folder / (name + ".gz" if style["packed"] else name)
    path.write_bytes(gzip.compress(content) if style["packed"] else content)
    return path


def write_table(folder, truth, style):
    "A row for each image, or for each label"
    written, ids = _spelled(truth, style)
    rows = [["image", "note", "label", style["split"]]]
    for name, split, labels in truth:
        labels, word = sorted(labels), style["words"][split]
        cell = {
            "|": "|".join(labels),
            "printed": str(labels),
            "printed with quotation marks": "[" + ", ".join(f'"{x}"' for x in labels) + "]",
            "json": json.dumps(labels),
        }
        cells = labels or [""]
        if style["cells"] != "one a row":
            cells = [cell[style["cells"]]]
        rows += [[written[name], "x, y", cell, word] for cell in cells]
    options = {"sep": "|"} if style["cells"] == "|" else {}
    return _write(folder, rows, style), ids, options


def write_multihot(folder, truth, style):
    "A column for each label"
    written, ids = _spelled(truth, style)
    names = sorted(set().union(*(labels for *_, labels in truth)))
    there, not_there = style["values"]
    rows = [["image", style["split"], *names]]
    for name, split, labels in truth:
        cells = [there if label in labels else not_there for label in names]
        rows.append([written[name], style["words"][split], *cells])
    return _write(folder, rows, style), ids, {}


def write_openimages(folder, truth, style):
    "Box files, to be read with class_filter=False; an image without a box is in none of them"
    header = ["ImageID", "Source", "LabelName", "Confidence"]
    header += ["XMin", "XMax", "YMin", "YMax"] if style["columns"] else []
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = [header]
        for image, s, labels in truth:
            for label in sorted(labels) if s == split else ():
                rows.append(
                    [image, "xclick", label, "1", "0.1", "0.2", "0.3", "0.4"][: len(header)]
                )
        if len(rows) == 1:
            continue
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        path = folder / f"{name}-annotations-bbox.csv"
        if style["packed"]:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(out.getvalue().encode()))
        else:
            path.write_text(out.getvalue(), encoding="utf-8")
    labels = sorted(set().union(*(labels for *_, labels in truth)))
    with open(folder / "class-descriptions-boxable.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([label, label] for label in labels)
    return folder, {name: name for name, *_ in truth}, {"class_filter": False}
