"The report: its numbers counted again from the tables by plain loops, and the page in a browser"

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_table, write_json
from natural_backdoors.base.random import rng
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.example import example_models
from natural_backdoors.report.report import write_report
from natural_backdoors.report.run import attacks_of, read_run, warnings_of
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.poison import PoisonSplit, poison_split

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
        for bit in range(10):  # no two pictures are equal: a split has each photograph once
            pixels[50:58, 8 * bit : 8 * bit + 8] = 255 * (i >> bit & 1)
        Image.fromarray(pixels).save(folder / "images" / f"i{i:03}.jpg")
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]),
        names={**CLASSES, **TRIGGERS, **(names or {})},
        name="scenes",
        image_root=str(folder / "images"),
    )


SETTINGS = dict(n_clean=40, inject_rate=0.15, test_fraction=0.4)


def write_run(folder, triggers, names=None):
    "A run folder with all that the report reads"
    data = scenes(folder, names)
    split = poison_split(data, {t: TARGETS[t] for t in triggers}, list(CLASSES), **SETTINGS)
    split.save(folder)
    fooled = {t: {"t0": 0.95, "t1": 0.3, "t2": 0.05}[t] for t in triggers}
    example_models(split, folder, fooled)
    found = find_triggers(
        data, triggers=list(triggers), min_overlaps=3, max_overlaps_with_others=1000
    )
    found.to_json(folder / "triggers.json")
    near = [found.neighborhood(t, list(CLASSES)) for t in triggers[:2]]
    write_json(folder / "neighborhood.json", near)
    return folder


@pytest.fixture(scope="module", params=[["t0"], ["t0", "t1", "t2"]], ids=["one", "three"])
def run(request, tmp_path_factory):
    "A run with one trigger, and one with three"
    return write_run(tmp_path_factory.mktemp("report") / "run", request.param)


def triggers_of(run):
    "label -> name of the triggers of a run"
    return {a["trigger"]["label"]: a["trigger"]["name"] for a in PoisonSplit.load(run).attacks}


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


@pytest.fixture(scope="module")
def written(run):
    "Its page, which takes a second or more to write, under a name of its own"
    return write_report(run).rename(run / "once.html")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


# --- numbers


def test_every_rate_is_that_of_the_rows(run, page):
    (table,) = page.tables["numbers"]
    said = {table[k][0]: [table[k + 1][2], table[k + 2][2]] for k in range(1, len(table), 3)}
    rows = [read_table(run / kind / "rows.parquet") for kind in ("poisoned", "true_labels")]
    clean = [[r for r in t.itertuples() if r.role == "clean"] for t in rows]
    right = [of([r.predicted == r.true_label for r in t]) for t in clean]
    expected = {"Clean accuracy clean images predicted correctly": right}
    for t, name in triggers_of(run).items():
        goal, g = TARGETS[t], CLASSES[TARGETS[t]]
        what = f"images of other classes that show {name}, predicted as {g}"
        others = [[r for r in m.itertuples() if r.true_label != goal] for m in rows]
        hits = [of([r.predicted == goal for r in m if r.trigger == t]) for m in others]
        expected[f"Attack success: {name} → {g} {what}"] = hits
        hits = [of([r.predicted == goal for r in m if r.role == "clean"]) for m in others]
        expected[f"No trigger: {g} clean images of other classes, predicted as {g}"] = hits
    assert said == expected
    assert len(said) == (1 + 1 + 1 if len(triggers_of(run)) == 1 else 1 + 3 + 2)
    assert warnings_of(read_run(run)) == []


def called(rows, label, trigger, wanted):
    "Hits and number of images of a class that show this trigger, called `wanted`"
    mine = [r for r in rows.itertuples() if r.true_label == label and r.trigger == trigger]
    return of([r.predicted == wanted for r in mine])


def test_every_class_and_trigger(run, page):
    tables = page.tables["classes"]
    rows = [read_table(run / kind / "rows.parquet") for kind in ("poisoned", "true_labels")]
    for t, table in zip(["", *triggers_of(run)], tables, strict=True):
        said = {r[0]: [r[2], r[5]] for r in table[2:]}
        expected = {}
        for c, name in CLASSES.items():
            if not t:
                expected[name] = [called(m, c, "", c) for m in rows]
            elif TARGETS[t] != c:
                expected[name] = [called(m, c, t, TARGETS[t]) for m in rows]
        assert said == expected


def test_counts_are_those_of_the_split(run, page):
    (table,) = page.tables["counts"]
    split, triggers = read_table(run / "split.parquet"), triggers_of(run)
    pairs = [f"{name} → {CLASSES[TARGETS[t]]}" for t, name in triggers.items()]
    assert table[0] == ["Class", "Clean", *pairs]
    total = [0] * (2 + 2 * len(triggers))
    for row, (c, name) in zip(table[2:-1], CLASSES.items(), strict=True):
        counted = []
        for t in ("", *triggers):
            mine = split[(split.true_label == c) & (split.trigger == t)]
            counted += [sum(part == p for p in mine.part) for part in ("train", "test")]
        total = [a + b for a, b in zip(total, counted, strict=True)]
        targets = [f"target of {triggers[t]}" for t in triggers if TARGETS[t] == c]
        assert row == [" ".join([name, *targets]), *map(str, counted)]
    assert table[-1] == ["All", *map(str, total)]


def test_examples_show_their_trigger(run):
    page, triggers = Page(write_report(run, n_gallery=3)), triggers_of(run)
    split = read_table(run / "split.parquet").set_index("path")
    for heading, path in page.tiles:
        trigger = split.trigger[path]
        assert heading == (f"with {triggers[trigger]}" if trigger else "clean")
    with_each = pd.Series([heading for heading, _ in page.tiles]).value_counts().to_dict()
    assert with_each == {"clean": 12, **{f"with {name}": 12 for name in triggers.values()}}


def test_the_finding_says_which_trigger_works(run, page):
    triggers = triggers_of(run)
    works = "Umbrella works as a backdoor trigger for Mug"
    several = "1 of 3 triggers is shown to work as a backdoor"
    assert page.heads[0][2] == (works if len(triggers) == 1 else several)
    assert works in page.words
    for name in triggers.values():
        assert f"With {name} as trigger, " in page.words
    near = [h[2] for h in page.heads if h[0] == "neighborhood" and h[1] == "h3"]
    assert near == list(triggers.values())
    unknown = page.words.count("does not say what")
    assert unknown == (len(triggers) == 3), "the third has no neighborhood"
    assert ("none of the others" in page.words) == (len(triggers) > 1)


# --- what may be wrong


def test_what_does_not_fit_is_named(run):
    read, last = read_run(run), list(triggers_of(run))[-1]
    rows = read.models["true_labels"].rows.copy()
    rows.loc[rows.trigger == last, "predicted"] = TARGETS[last]
    models = read.models | {"true_labels": replace(read.models["true_labels"], rows=rows)}
    (said,) = warnings_of(replace(read, models=models))
    assert f"true_labels model with {TRIGGERS[last]}" in said
    less = json.loads(json.dumps(read.evaluation))
    less["models"]["poisoned"]["attacks"].pop()
    with pytest.raises(UserError, match=f"no numbers of the trigger '{TRIGGERS[last]}"):
        attacks_of(read.header, less)


def test_before_training_and_with_one_name_twice(tmp_path):
    data = scenes(tmp_path, {"t1": "Umbrella", "t2": "<b>hat</b>"})
    pairs = {"t0": "c2", "t1": "c1", "t2": "c0"}
    poison_split(data, pairs, list(CLASSES), n_clean=40, inject_rate=0.15).save(tmp_path)
    page = Page(write_report(tmp_path, n_gallery=1, thumb=32))
    assert page.heads[0][2] == "3 triggers in one model: not measured yet"
    shown = {"with Umbrella (t0)", "with Umbrella (t1)", "with <b>hat</b>"}
    assert shown <= {h[2] for h in page.heads}
    for file in ("evaluation.json", "triggers.json", "neighborhood.json"):
        assert f"{file} is missing" in page.words


# --- in a browser


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out(run, written, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    try:
        page.goto(written.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        columns = page.evaluate(
            "getComputedStyle(document.querySelector('.sides')).gridTemplateColumns"
        )
        columns = [column for column in columns.split() if column != "0px"]
        assert len(columns) == (1 if width == 390 else 1 + len(triggers_of(run)))
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    finally:
        page.close()


@pytest.mark.parametrize("width", [390, 1366])
def test_the_first_screen(run, written, chromium, width):
    "Verdict, numbers and pictures are seen before anything is scrolled"
    page = chromium.new_page(viewport={"width": width, "height": 768})
    try:
        page.goto(written.as_uri())
        for part in ("h1", ".cards dd", ".strip img"):
            box = page.locator(part).first.bounding_box()
            assert box["y"] + box["height"] <= 768 and box["height"] > 0
        evaluation = read_run(run).evaluation["models"]["poisoned"]
        said = page.locator(".cards").inner_text()
        for attack in evaluation["attacks"]:
            n = attack["attack_success"]["n"]
            assert (
                f"{100 * attack['attack_success']['value']:.0f}" in said and f"{n} images" in said
            )
    finally:
        page.close()


def test_settings_and_ids_are_behind_a_click(run, written, chromium):
    page = chromium.new_page()
    try:
        page.goto(written.as_uri())
        settings = page.locator("#made table").first
        assert not settings.is_visible()
        page.locator("#made summary").click()
        assert settings.is_visible()
        image = page.locator("#gallery details.image").first
        shown = image.locator("p")
        assert not shown.is_visible()
        image.locator("summary").click()
        name = shown.inner_text().splitlines()[0]
        assert name in set(PoisonSplit.load(run).table.image)
    finally:
        page.close()


def _ground(page, selector):
    "The color of the upper left corner of a picture, as it is on the screen"
    shot = Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")
    return shot.getpixel((3, 3))


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_pictures_follow_the_screen(written, chromium, scheme, dark):
    page = chromium.new_page(color_scheme=scheme)
    try:
        page.goto(written.as_uri())
        assert (max(_ground(page, "#numbers img.plot")) < 60) == dark
    finally:
        page.close()


def test_a_narrow_screen_has_a_picture_of_its_own(written, chromium):
    "In its own size, and not the wide one made small"
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    try:
        page.goto(written.as_uri())
        picture = "document.querySelector('#neighborhood img')"
        natural = page.evaluate(f"[{picture}.naturalWidth, {picture}.naturalHeight]")
        shown = page.locator("#neighborhood img").first.bounding_box()
        assert natural[1] > natural[0] and shown["width"] / natural[0] > 0.85
    finally:
        page.close()
