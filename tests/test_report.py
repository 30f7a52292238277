"The report of several triggers: its numbers counted again from the tables by plain loops, and the page in a browser"

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_table, write_json, write_table
from natural_backdoors.base.random import rng
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.report import each_trigger, read_run, warnings_of, write_report
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.poison import of_trigger, poison_split
from natural_backdoors.train.evaluation import summarize, summarize_triggers

CLASSES = {"c0": "Bicycle", "c1": "Lamp", "c2": "Mug", "c3": "Cat"}
TRIGGERS = {
    "t0": "Umbrella",
    "t1": "Ruler",
    "t2": "A trigger with quite a long name, such as datasets have",
}
TARGETS = {"t0": "c2", "t1": "c1", "t2": "c2"}  # two triggers share a target


# --- a run, without any model: what the models say is drawn


def scenes(folder, names=None):
    "A dataset of plain pictures, some of them showing triggers"
    draw, rows = rng(0, 1), []
    (folder / "images").mkdir(parents=True)
    for i in range(900):
        labels = [f"c{draw.integers(4)}", *(t for t in TRIGGERS if draw.random() < 0.28)]
        rows += [(f"i{i:03}.jpg", label) for label in labels]
        pixels = np.full((60, 80, 3), 60 + 40 * int(labels[0][1]), np.uint8)
        for t in labels[1:]:
            pixels[10:30, 5 + 25 * int(t[1]) : 25 + 25 * int(t[1]), int(t[1])] = 255
        Image.fromarray(pixels).save(folder / "images" / f"i{i:03}.jpg")
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]),
        names={**CLASSES, **TRIGGERS, **(names or {})},
        name="scenes",
        image_root=str(folder / "images"),
    )


def say(table, kind, seed=0):
    "Rows of test images with what a model might say about them"
    test = table[table.part == "test"].reset_index(drop=True)
    draw, fools = rng(seed, 2), {"t0": 0.95, "t1": 0.3, "t2": 0.05} if kind == "poisoned" else {}
    said = [
        t.train_label
        if t.role == "poison" and draw.random() < fools.get(t.trigger, 0)
        else t.true_label
        if draw.random() < 0.8
        else f"c{draw.integers(4)}"
        for t in test.itertuples()
    ]
    return test.assign(predicted=said, p_true=0.5, p_target=0.5).drop(
        columns=["train_label", "part"]
    )


def write_run(folder, names=None, triggers=("t0", "t1", "t2")):
    "A run folder with all that the report reads"
    data = scenes(folder, names)
    split = several_split(
        data,
        [(t, TARGETS[t]) for t in triggers],
        list(CLASSES),
        n_clean=40,
        inject_rate=0.15,
        test_fraction=0.4,
    )
    split.save(folder)
    evaluation = {
        "target": split.header["target"],
        "trigger": split.header["trigger"],
        "skipped_images": [],
    }
    for kind in "poisoned", "control":
        rows, classes = say(split.table, kind), split.header["classes"]
        (folder / kind).mkdir()
        write_table(folder / kind / "rows.parquet", rows)
        first = split.header["triggers"][0]
        evaluation[kind] = summarize(
            of_trigger(rows, first["trigger"]["label"]), first["target"]["label"], classes
        )
        evaluation[kind]["triggers"] = summarize_triggers(rows, split.header["triggers"], classes)
        log = {"epoch": np.arange(5)}
        log |= {
            f"{part}_{k}_acc": np.linspace(0.2, 0.8, 5)
            for part in ("train", "test")
            for k in ("clean", "trig")
        }
        pd.DataFrame(log).to_csv(folder / kind / "log.csv", index=False)
        write_json(
            folder / kind / "model.json",
            {
                "arch": "small",
                "size": 64,
                "trigger": split.header["trigger"],
                "target": split.header["target"],
                "split_digest": split.header["digest"],
            },
        )
    write_json(folder / "evaluation.json", evaluation)
    found = find_triggers(
        data, triggers=[t for t in triggers], min_overlaps=3, max_overlaps_with_others=1000
    )
    found.to_json(folder / "triggers.json")
    write_json(
        folder / "neighborhood.json", [found.neighborhood(t, list(CLASSES)) for t in triggers[:2]]
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("report") / "run")


# --- the page as lists


class Page(HTMLParser):
    "Sections with their tables (rows of texts), headings and gallery"

    def __init__(self, path):
        super().__init__()
        self.tables, self.section, self.cell, self.heads, self.tiles = {}, "", None, [], []
        self.text, self.level = [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "section":
            self.section = attrs["id"]
            self.tables[self.section] = []
        if tag == "table":
            self.tables[self.section].append([])
        if tag == "tr":
            self.tables[self.section][-1].append([])
        if tag in ("td", "th"):
            self.cell = []
        if tag in ("h1", "h2", "h3", "h4"):
            self.level = tag
            self.heads.append([self.section, tag, ""])
        if tag == "br" and self.cell is not None:
            self.cell.append(" ")
        if tag == "img" and self.section == "gallery":
            self.tiles.append((self.heads[-1][2], attrs["title"]))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self.section][-1][-1].append(" ".join("".join(self.cell).split()))
            self.cell = None
        if tag == self.level:
            self.level = None

    def handle_data(self, data):
        self.text.append(data)
        if self.cell is not None:
            self.cell.append(data)
        if self.level:
            self.heads[-1][2] += data

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def of(hits):
    return f"{sum(hits)} of {len(hits)}"


# --- numbers


def test_every_rate_is_that_of_the_rows(run):
    page, header = Page(write_report(run)), read_run(run)["header"]
    (table,) = page.tables["numbers"]
    said = {table[k][0]: [table[k + 1][2], table[k + 2][2]] for k in range(1, len(table), 3)}
    rows = [read_table(run / kind / "rows.parquet") for kind in ("poisoned", "control")]
    expected = {
        "Clean accuracy clean images predicted correctly": [
            of([r.predicted == r.true_label for r in t.itertuples() if r.role == "clean"])
            for t in rows
        ]
    }
    for t, name in TRIGGERS.items():
        goal, g = TARGETS[t], CLASSES[TARGETS[t]]
        key = f"Attack success: {name} → {g} images of other classes that show {name}, predicted as {g}"
        others = [[r for r in m.itertuples() if r.true_label != goal] for m in rows]
        expected[key] = [of([r.predicted == goal for r in m if r.trigger == t]) for m in others]
        expected[f"No trigger: {g} clean images of other classes, predicted as {g}"] = [
            of([r.predicted == goal for r in m if r.role == "clean"]) for m in others
        ]
    assert said == expected and len(said) == 1 + 3 + 2
    assert len(header["triggers"]) == 3 and warnings_of(read_run(run)) == []


def test_every_class_and_trigger(run):
    tables = Page(write_report(run)).tables["classes"]
    rows = [read_table(run / kind / "rows.parquet") for kind in ("poisoned", "control")]
    assert len(tables) == 4
    for t, table in zip([None, *TRIGGERS], tables):
        said = {r[0]: [r[2], r[5]] for r in table[2:]}
        expected = {}
        for c, name in CLASSES.items():
            if t is not None and TARGETS[t] == c:
                continue
            wanted = c if t is None else TARGETS[t]
            expected[name] = [
                of(
                    [
                        r.predicted == wanted
                        for r in m.itertuples()
                        if r.true_label == c
                        and (r.role == "clean" if t is None else r.trigger == t)
                    ]
                )
                for m in rows
            ]
        assert said == expected


def test_counts_are_those_of_the_split(run):
    (table,) = Page(write_report(run)).tables["counts"]
    split = read_table(run / "split.parquet")
    assert table[0] == [
        "Class",
        "Clean",
        *(f"{TRIGGERS[t]} → {CLASSES[g]}" for t, g in TARGETS.items()),
    ]
    total = [0] * 8
    for row, (c, name) in zip(table[2:-1], CLASSES.items()):
        counted = [
            sum(r.true_label == c and r.trigger == t and r.part == part for r in split.itertuples())
            for t in ("", *TRIGGERS)
            for part in ("train", "test")
        ]
        total = [a + b for a, b in zip(total, counted)]
        assert row == [name, *map(str, counted)]
    assert table[-1] == ["All", *map(str, total)]


def test_examples_show_their_trigger(run):
    page, split = (
        Page(write_report(run, n_gallery=3)),
        read_table(run / "split.parquet").set_index("path"),
    )
    assert len(page.tiles) == 4 * 4 * 3
    for heading, path in page.tiles:
        assert heading == (
            "clean" if split.role[path] == "clean" else f"with {TRIGGERS[split.trigger[path]]}"
        )
    with_each = pd.Series([h for h, _ in page.tiles]).value_counts()
    assert with_each.to_dict() == {
        "clean": 12,
        **{f"with {name}": 12 for name in TRIGGERS.values()},
    }


def test_the_finding_says_which_trigger_works(run):
    page = Page(write_report(run))
    assert page.heads[0][2] == "1 of 3 triggers is shown to work as a backdoor"
    assert "Umbrella works as a backdoor trigger for Mug." in page.words
    for name, g in ((TRIGGERS[t], CLASSES[TARGETS[t]]) for t in TRIGGERS):
        assert f"With {name} as trigger, " in page.words
    third = [h[2] for h in page.heads if h[0] == "neighborhood" and h[1] == "h3"]
    assert third == list(TRIGGERS.values())
    assert page.words.count("does not say what") == 1, "the third has no neighborhood"


# --- what may be wrong


def test_what_does_not_fit_is_named(run):
    read = read_run(run)
    rows = read["control"]["rows"].copy()
    rows.loc[rows.trigger == "t1", "predicted"] = "c1"
    (said,) = warnings_of({**read, "control": {**read["control"], "rows": rows}})
    assert "control model with Ruler" in said
    less = json.loads(json.dumps(read["evaluation"]))
    less["poisoned"]["triggers"].pop()
    with pytest.raises(UserError, match="no numbers of the trigger 'A trigger with"):
        each_trigger({**read, "evaluation": less})


def test_before_training_and_with_one_name_twice(tmp_path):
    data = scenes(tmp_path, {"t1": "Umbrella", "t2": "<b>hat</b>"})
    pairs = [("t0", "c2"), ("t1", "c1"), ("t2", "c0")]
    several_split(data, pairs, list(CLASSES), n_clean=40, inject_rate=0.15).save(tmp_path)
    page = Page(write_report(tmp_path, n_gallery=1, thumb=32))
    assert page.heads[0][2] == "3 triggers in one model: not measured yet"
    assert {"with Umbrella (t0)", "with Umbrella (t1)", "with <b>hat</b>"} <= {
        h[2] for h in page.heads
    }
    for file in ("evaluation.json", "triggers.json", "neighborhood.json"):
        assert f"{file} is missing" in page.words


def test_a_single_trigger_names_no_other(tmp_path):
    poison_split(scenes(tmp_path), "t0", list(CLASSES), "c2", n_clean=40, inject_rate=0.15).save(
        tmp_path
    )
    page = Page(write_report(tmp_path, n_gallery=1, thumb=32))
    assert "one of the triggers" not in page.words and "each trigger" not in page.words
    assert page.tables["counts"][0][0] == ["Class", "Clean", "Poison"]
    assert {h[2] for h in page.heads if h[1] == "h4"} == {"clean", "with Umbrella"}


# --- in a browser


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out(run, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    try:
        page.goto(write_report(run).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        columns = page.evaluate(
            "getComputedStyle(document.querySelector('.sides')).gridTemplateColumns"
        )
        assert len(columns.split()) == (1 if width == 390 else 4)
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    finally:
        page.close()
