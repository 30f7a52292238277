"The curator's page: its numbers counted again by plain loops, and the page in a browser"

import csv
import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors import UserError, audit, open_dataset
from natural_backdoors.base.files import read_table, write_table
from natural_backdoors.base.random import rng
from natural_backdoors.cli.commands import run
from natural_backdoors.data.scenes import make_scenes
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.audit_page import audit_bytes, audit_html
from natural_backdoors.report.audit_tables import MEASURED

EVIL = "<img src=x onerror=alert(1)>"
NAMES = ["Hat", "Umbrella", "=Cup", EVIL, "Dog", "Boat", "House", "Clock", "Clocks", "Tree"]


def drawn_rows(n_images=700):
    "image, label: two objects that meet the rest, and one thing with two labels"
    draw, rows = rng(5), []
    for i in range(n_images):
        there = {NAMES[draw.integers(2, 8)]}
        there |= {name for name in NAMES[:2] if draw.random() < 0.3}
        there |= {"Tree"} if "Hat" in there and draw.random() < 0.2 else set()
        there |= {"Clocks"} if "Clock" in there and draw.random() < 0.7 else set()
        rows += [(f"i{i:03}.jpg", name) for name in sorted(there)]
    return pd.DataFrame(rows, columns=["image", "label"])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "A folder with a table, images beside it, and the results of the command"
    folder = tmp_path_factory.mktemp("audit")
    rows = drawn_rows()
    rows.to_csv(folder / "mine.csv", index=False)
    for place, image in enumerate(rows["image"].unique()):
        pixels = rng(7, place).integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((80, 60), Image.Resampling.NEAREST).save(folder / image)
    words = ["audit", folder / "mine.csv", "--images", "2", "--no_duplicates"]
    run([*words, "--results_root", folder / "results", "--sample_size", "30"])
    return folder


@pytest.fixture(scope="module")
def images_of(home):
    "label -> the images that carry it"
    found = {}
    for row in pd.read_csv(home / "mine.csv").itertuples():
        found.setdefault(row.label, set()).add(row.image)
    return found


def result(home, name):
    return read_table(home / "results" / "mine" / "audit" / "tables" / f"{name}.parquet")


def page_of(home):
    return home / "results" / "mine" / "audit" / "audit.html"


def live(html, id):
    "All rows of a table in a page, as the script gets them"
    part = html[html.index(f'id="{id}"') :]
    data = re.search(r'<script type="application/json">(.*?)</script>', part, re.S)[1]
    return [[c[0] if isinstance(c, list) else c for c in row] for row in json.loads(data)]


# --- numbers


def test_every_pair_is_counted_again(home, images_of):
    table, n = result(home, "exposure"), 0
    apart = {frozenset(["Clock", "Clocks"])}
    triggers = set(result(home, "triggers")["label"])
    assert {"Hat", "Umbrella"} <= triggers
    for t in triggers:
        for c in images_of:
            both = len(images_of[t] & images_of[c])
            pair = table[(table.trigger_name == t) & (table["name"] == c)]
            if t == c or frozenset([t, c]) in apart or both < 7:  # 30 clean images: 7 poison ones
                assert not len(pair)
                continue
            n += 1
            row = pair.iloc[0]
            assert (row.n_poison, row.images) == (both, len(images_of[c]))
            assert row.share == pytest.approx(both / len(images_of[c]))
    assert n == len(table) and table["share"].is_monotonic_decreasing


def test_the_page_has_the_rows_of_the_tables(home):
    html, table = page_of(home).read_text(encoding="utf-8"), result(home, "exposure")
    rows = live(html, "ranked")
    wanted = [[r.name, r.trigger_name, r.n_poison, r.images] for r in table.itertuples()]
    assert [[*row[:2], *row[3:5]] for row in rows] == wanted
    assert [row[2] for row in rows] == [f"{100 * share:.1f} %" for share in table["share"]]
    for name in ("review", "verify", "class"):
        assert len(live(html, name)) == len(result(home, {"class": "classes"}.get(name, name)))


def test_the_review_list_is_every_image_that_shows_both(home, images_of):
    review, wanted = result(home, "review"), set()
    for row in result(home, "exposure").itertuples():
        both = images_of[row.trigger_name] & images_of[row.name]
        wanted |= {(image, row.trigger_name, row.name) for image in both}
    found = list(zip(review["image"], review["trigger_name"], review["class_name"]))
    assert set(found) == wanted and len(found) == len(wanted)


def test_one_thing_with_two_labels_stands_apart(home):
    alike, verify = result(home, "confusions"), result(home, "verify")
    assert (alike["name"][0], alike["other_name"][0]) == ("Clock", "Clocks")
    assert verify["why"][0].startswith("may be one thing")
    (why,) = verify["why"][(verify["name"] == "Tree") & (verify["with_name"] == "Hat")].head(1)
    assert "a part of it, or another name" in why, "all images of a tree show a hat"


@pytest.fixture(scope="module")
def twins():
    "image, label: hat and hats, mug and mugs may be one thing"
    images = [(name,) for name in ("cat", "dog", "cow", "owl", "hats", "mugs", "cup")] * 60
    images += [("mug",)] * 80 + [("mug", "mugs")] * 30 + [("hat", "hats")] * 25
    images += [("cat", "hat"), ("dog", "hat"), ("cow", "hat"), ("cup", "hats")] * 25
    images += [("cat", "cup")] * 9
    return [(f"{n:05}.jpg", label) for n, labels in enumerate(images) for label in labels]


@pytest.mark.parametrize("least", [1, 2])
def test_counts_are_of_what_is_left_without_pairs_of_one_thing(twins, least):
    data = TableDataset(pd.DataFrame(twins, columns=["image", "label"]), name="x")
    found = audit(data, min_classes=least, min_clean=20, min_poison=5, min_overlaps=5)
    alike = found.tables["confusions"]
    confused = set(zip(alike["name"], alike["other_name"]))
    assert confused == {("hat", "hats"), ("mug", "mugs")}
    together = {}
    for _, labels in pd.DataFrame(twins).groupby(0)[1]:
        for one in labels:
            together.setdefault(one, set()).update(set(labels) - {one})
    for pair in confused:
        for one, other in (pair, pair[::-1]):
            together[one].discard(other)
    triggers = found.tables["triggers"].set_index("name")
    wanted = {name for name, near in together.items() if len(near) >= least}
    assert set(triggers.index) == wanted and "mug" not in wanted
    assert found.sentences()[0].startswith(f"{len(wanted)} objects of 9 could serve")
    html = unescape(audit_html(found))
    assert f"x: {len(wanted)} of 9 objects could serve as a trigger" in html
    assert (triggers["n_classes"] <= triggers["n_exposed"]).all()
    assert triggers["n_exposed"].to_dict() == {name: len(together[name]) for name in wanted}
    assert "it meets 3 classes, and 3 of them could be attacked together (cat, cow, dog)." in html
    table = found.tables["exposure"]
    in_sets = table.groupby("trigger_name")["chosen"].sum().to_dict()
    assert in_sets == triggers["n_classes"].to_dict()
    drawn = re.findall(r'share images with (\w+)">(.*?)</svg>', html, re.S)
    assert {name for name, _ in drawn} == wanted
    for name, svg in drawn:
        shown = re.findall(r">(\w+)\s+\(\d+\)</text>", svg)
        assert sorted(shown) == sorted(together[name])


def test_a_class_takes_the_place_of_one_that_is_the_same_thing():
    "Hats keeps cup out of the set of hat; without it, cup is in"
    images = [("hat", "hats", "cup")] * 30 + [("hats",), ("hat",), ("cup",), ("cat",)] * 60
    images += [("hat", "cup")] * 30 + [("hat", "cat")] * 30 + [("hat", "hats")] * 90
    rows = [(f"{n:04}.jpg", label) for n, labels in enumerate(images) for label in labels]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="x")
    found = audit(data, min_classes=2, min_clean=20, min_poison=5, min_overlaps=5)
    hat = found.exposure.found["hat"]
    assert sorted(hat["name"]) == ["cat", "cup"]
    assert found.tables["triggers"].set_index("name")["n_classes"]["hat"] == 2


def test_files_hold_no_formulas_and_both_forms_agree(home):
    tables = home / "results" / "mine" / "audit" / "tables"
    assert any("=Cup" in t.to_string() for t in [result(home, "classes")])
    for file in tables.glob("*.csv"):
        rows = list(csv.reader(file.open(encoding="utf-8")))
        assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "@")]
        assert len(rows) == 1 + len(read_table(file.with_suffix(".parquet")))


def test_images_are_of_the_pair_that_they_stand_for(home, images_of):
    html = page_of(home).read_text(encoding="utf-8")
    seen = 0
    for section in html.split("<details ")[1:]:
        trigger = unescape(re.search(r"<strong>(.*?)</strong>", section)[1])
        for said, tiles in re.findall(
            r"<h4>(.*?): \d+ of [\d,]+</h4>(.*?)</div></div>", section, re.S
        ):
            said, names = unescape(said), re.findall(r'alt="(i\d+\.jpg)"', tiles)
            cls = said.removesuffix(f" with {trigger}").removesuffix(" without")
            for image in names:
                seen += 1
                assert image in images_of[cls]
                assert (image in images_of[trigger]) == said.endswith(f"with {trigger}")
    assert seen >= 12


def test_boxes_are_where_the_dataset_has_them(tmp_path):
    make_scenes(tmp_path, n_images=120, seed=0, size=32)
    data = open_dataset("openimages", tmp_path)
    html = audit_html(audit(data, n_clean=4, duplicates=False), images=1)
    tile = r'alt="(\w+)">((?:<i [^>]*></i>)+)'
    box = r'class="(\w+)" style="left:([\d.]+)%;top:([\d.]+)%;width:([\d.]+)%;height:([\d.]+)%"'
    found = re.findall(tile, html)
    assert found
    for image, boxes in found:
        known = data.boxes([image])
        corners = [tuple(row) for row in known[["x0", "y0", "x1", "y1"]].to_numpy()]
        for _, *sides in re.findall(box, boxes):
            x, y, w, h = (float(side) / 100 for side in sides)
            apart = [max(abs(np.subtract((x, y, x + w, y + h), c))) for c in corners]
            assert min(apart) < 0.002


# --- what may be wrong or missing


def test_a_screening_is_shown_and_other_data_is_named(tmp_path):
    data = TableDataset(drawn_rows(), name="mine")
    rows = [
        ("Hat", "Hat", 0.5, 0.25, 0.75, 6, "works"),
        ("Car", "Car", 0.1, np.nan, np.nan, 1, "inconclusive"),
    ]
    write_table(tmp_path / "screening.parquet", pd.DataFrame(rows, columns=MEASURED))
    found = audit(data, screen=tmp_path)
    html = audit_html(found)
    assert "+50 points (+25 to +75 over seeds): works" in html
    assert any("none in this audit: Car" in note for note in found.notes)
    wrong = pd.DataFrame(rows, columns=MEASURED).assign(kind="maybe")
    for table, said in ((wrong, "maybe"), (wrong.drop(columns="effect"), "'effect'")):
        write_table(tmp_path / "screening.parquet", table)
        with pytest.raises(UserError, match=said):
            audit(data, screen=tmp_path)


@pytest.mark.parametrize(
    "effect, said",
    [
        ((0.5, np.nan, np.nan, 1, "inconclusive"), "+50 points (one run): inconclusive"),
        ((0.5, np.nan, np.nan, 3, "inconclusive"), "+50 points (one seed): inconclusive"),
        ((0.02, 0.01, 0.03, 4, "works"), "+2 points (+1 to +3 over seeds): small effect"),
    ],
)
def test_what_was_measured_is_said_as_it_is(tmp_path, effect, said):
    rows = pd.DataFrame([("Hat", "Hat", *effect)], columns=MEASURED)
    write_table(tmp_path / "screening.parquet", rows)
    html = audit_html(audit(TableDataset(drawn_rows(), name="mine"), screen=tmp_path))
    assert said in html and "over runs" not in html


def test_a_page_that_would_be_too_large_has_fewer_rows_and_says_so():
    draw = rng(3)
    rows = [(f"i{i}", f"class {k}") for i in range(600) for k in draw.choice(40, 10, False)]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]))
    found = audit(data, n_clean=25, max_overlaps_with_others=600)
    full = audit_bytes(found)
    less = audit_bytes(found, largest=len(full) * 9 // 10)
    assert len(less) < len(full) * 9 // 10
    shown = len(live(less.decode(), "ranked"))
    assert f"{len(found.tables['exposure']) - shown:,} more rows are in the file" in less.decode()


# --- in a browser


@pytest.fixture(scope="module")
def opened(chromium, home):
    "A function: the page at a width, in a mode, with what went wrong in a list"
    contexts = []

    def open_page(width=1366, mode="light"):
        size = {"width": width, "height": 800}
        context = chromium.new_context(viewport=size, color_scheme=mode)
        contexts.append(context)
        page, wrong = context.new_page(), []
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append("a name was run") or dialog.dismiss())
        page.on(
            "request",
            lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
        )
        page.goto(page_of(home).as_uri())
        return page, wrong

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_nothing_sticks_out_in_any_light(opened, width, mode):
    page, wrong = opened(width, mode)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == (mode == "dark")
    table, picture = page.locator("#ranked table"), page.locator("table.map")
    if width > 1000:  # both are on the first screen
        assert max(table.bounding_box()["y"], picture.bounding_box()["y"]) < 500
    assert wrong == []


def shown(page):
    return page.locator("#ranked tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_search_and_sorting_find_what_a_loop_finds(opened, home):
    page, wrong = opened()
    rows = [[str(cell) for cell in row] for row in live(page_of(home).read_text("utf-8"), "ranked")]
    page.fill("#ranked input", "hat DOG")
    match = [row for row in rows if all(w in " ".join(row).lower() for w in ("hat", "dog"))]
    assert shown(page) == match and 0 < len(match) < len(rows)
    page.fill("#ranked input", "nothing like it")
    assert shown(page) == [] and "no row matches" in page.inner_text("#ranked output")
    page.fill("#ranked input", "")
    page.click("#ranked th button >> nth=3")
    images = [int(row[3]) for row in rows]
    assert [int(row[3]) for row in shown(page)] == sorted(images, reverse=True)[:10]
    page.click("#ranked th button >> nth=3")
    assert [int(row[3]) for row in shown(page)] == sorted(images)[:10]
    if len(rows) > 10:
        page.click("#ranked .more button")
    assert len(shown(page)) == min(len(rows), 110)
    assert wrong == []


def test_links_unfold_a_trigger_and_paper_shows_all(opened, home):
    page, wrong = opened(390)
    table, last = result(home, "exposure"), result(home, "triggers").iloc[-1]
    page.fill(".folds input", "boat")
    with_boat = set(table["trigger"][table["name"] == "Boat"])
    with_boat |= set(table["trigger"][table["trigger_name"] == "Boat"])
    assert page.locator(".folds details:not([hidden])").count() == len(with_boat) > 0
    page.fill(".folds input", "")
    page.fill("#ranked input", last["label"] if last["label"] != EVIL else "img")
    folded = page.locator("details:not([open])").count()
    page.evaluate(f"location.hash = 't-{last.id}'")
    page.wait_for_function(f"document.getElementById('t-{last.id}').open")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded > 1 and page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded - 1
    page.emulate_media(media="print")
    assert not page.locator("#ranked input").is_visible()
    assert wrong == []
