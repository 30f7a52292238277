"""The picker in a real browser, without a kernel: the page that `write_static` makes, over plausible data

Speeds are printed (pytest -s), and nothing here fails because a machine is slow."""
import json

import numpy as np
import pytest

anywidget = pytest.importorskip("anywidget", reason="the widgets need anywidget: pip install natural_backdoors[notebook]")

from natural_backdoors.class_sets import conflicts
from natural_backdoors.layout import layout
from natural_backdoors.scenes import scene_labels
from natural_backdoors.table import TableDataset
from natural_backdoors.triggers import find_triggers
from natural_backdoors.widgets import Picker, javascript, stylesheet, write_static

EVIL = "<img src=x onerror=alert(1)>"
TEMPLATES = {"python": "poison_split(dataset, {trigger}, [{classes}], target={target})",
             "command": "natural-backdoors train --trigger {trigger} --classes {classes} --target {target}",
             "json": '{"trigger": {trigger}, "classes": [{classes}], "target": {target}}'}


# --- data

def detail_of(found, trigger):
    "The value `detail` of a trigger"
    near = found.scores(trigger)
    ids = [trigger, *near.id.tolist()]
    at = {id: i for i, id in enumerate(ids)}
    edges = found.graph.edges
    edges = edges[edges.a.isin(ids) & edges.b.isin(ids)]
    limit = found.params["max_overlaps_with_others"]
    conflict = conflicts(found.overlaps, found.graph, np.array(ids), limit)
    source, target = edges.a.map(at).to_numpy(), edges.b.map(at).to_numpy()
    beside = (source > 0) & (target > 0)
    x, y = layout(len(ids), source, target, edges.overlaps)
    reasons = [" ".join(r.text for r in found.explain(trigger, c).reasons) if i < 400 else "" for i, c in enumerate(ids[1:])]
    return {"trigger": trigger, "serial": 1,
            "rows": {"id": ids[1:], "overlaps": near.overlaps.tolist(), "p_trigger": near.share.round(4).tolist(), "band": near.band.tolist(),
                     "lift": near.lift.round(3).tolist(), "n_clean": near.n_clean.tolist(), "n_poison": near.n_poison.tolist(),
                     "chosen": near.chosen.tolist(), "reason": reasons},
            "graph": {"id": ids, "x": x.round(4).tolist(), "y": y.round(4).tolist(),
                      "role": ["trigger"] + ["class" if c else "neighbour" for c in near.chosen],
                      "source": source.tolist(), "target": target.tolist(), "overlaps": edges.overlaps.tolist(),
                      "conflict": (conflict[source, target] & beside).tolist()}}


def run_of(found, details=None):
    "One run of a static page; only the first triggers of a large result get a detail of their own"
    table, params = found.table, found.params
    ids = table.id.tolist()
    keys = ["centrality", "weighted", "subset", "min_overlaps", "max_overlaps_with_others", "min_clean", "min_poison", "min_classes", "n_triggers"]
    return {"params": {**{k: params[k] for k in keys}, "exclude": [], "exclude_people": True},
            "result": {"serial": 1, "summary": f"{len(ids)} triggers among {len(found.graph.vertices)} classes, {len(found.graph.edges):,} edges",
                       "sets": {str(t): found.sets[t].id.tolist() for t in ids},
                       "triggers": {"id": ids, "centrality": table.centrality.round(6).tolist(), "n_classes": table.n_classes.tolist(),
                                    "bound": [None if b != b else int(b) for b in table.bound.astype(float)],
                                    "n_images": found.overlaps.images_of[ids].tolist(),
                                    "n_poison": [int(found.sets[t].n_poison.sum()) for t in ids]}},
            "details": {str(t): detail_of(found, t) for t in ids[:details]}, "templates": TEMPLATES}


def data_of(founds, name, grid, details=None):
    overlaps = founds[0].overlaps
    classes = {"id": list(range(len(overlaps.classes))), "label": overlaps.classes.label.tolist(), "name": overlaps.classes.name.tolist(),
               "images": overlaps.images_of.tolist()}
    return {"options": {"dataset": name, "split": "train", "n_images": overlaps.n_images, "has_images": False, "has_boxes": False, "static": True,
                        "centralities": ["betweenness", "closeness", "degree", "eigenvector"], "subsets": ["exact", "mis", "none"], "grid": grid},
            "classes": classes, "runs": [run_of(f, details) for f in founds]}


def scenes_data():
    "The embedded dataset, for a grid of settings; two classes have names that are not what names should be"
    rows = scene_labels(3000)
    names = dict(zip(rows.label, rows.name))
    names[next(k for k, v in names.items() if v == "Boat")] = EVIL
    names[next(k for k, v in names.items() if v == "Mug")] = names[next(k for k, v in names.items() if v == "Bottle")]
    dataset = TableDataset(rows[["image", "label"]], names=names, name="scenes")
    grid = {"centrality": ["betweenness", "degree"], "min_overlaps": [5, 15]}
    founds = [find_triggers(dataset, c, min_overlaps=m, n_triggers=20) for c in grid["centrality"] for m in grid["min_overlaps"]]
    return data_of(founds, "scenes", grid)


def large_data(n_triggers=5000, n=1000, m=21_000, seed=0):
    "A table of many triggers, of which the first has a neighbourhood of `n` classes and `m` edges"
    draw = np.random.default_rng(seed)
    names = [f"{a} {b} {i}" for i, (a, b) in enumerate(zip(draw.choice(["Red", "Old", "Small", "Wooden", "Paper"], n_triggers),
                                                            draw.choice(["wheel", "jeans", "chair", "glasses", "window", "hat"], n_triggers)))]
    ids = np.arange(n_triggers)
    group = draw.integers(12, size=n)
    pairs = np.stack(np.triu_indices(n, 1), 1)[n - 1:]
    odds = np.where(group[pairs[:, 0]] == group[pairs[:, 1]], 1., .06)
    pairs = pairs[draw.choice(len(pairs), m - n + 1, replace=False, p=odds / odds.sum())]
    source = np.concatenate([np.zeros(n - 1, int), pairs[:, 0]])
    target = np.concatenate([np.arange(1, n), pairs[:, 1]])
    overlaps = (15 + draw.pareto(1.2, m) * 12).clip(max=4000).astype(int)
    x, y = layout(n, source, target, overlaps, rounds=60)
    near, order = np.arange(1, n), np.argsort(-overlaps[:n - 1], kind="stable")
    share = draw.beta(1, 4, n - 1).round(3)
    chosen = np.zeros(n, bool)
    chosen[draw.choice(near, 40, replace=False)] = True
    big = {"trigger": 0, "serial": 1,
           "rows": {"id": near[order].tolist(), "overlaps": overlaps[order].tolist(), "p_trigger": share.tolist(),
                    "band": np.where(share > .5, "high", np.where(share >= .1, "moderate", "low")).tolist(), "lift": (share * 9).round(2).tolist(),
                    "n_clean": draw.integers(50, 900, n - 1).tolist(), "n_poison": overlaps[order].tolist(), "chosen": chosen[near[order]].tolist(),
                    "reason": np.where(chosen[near[order]], "", "conflicts with 'Old hat 7' (31 shared images)").tolist()},
           "graph": {"id": list(range(n)), "x": x.round(4).tolist(), "y": y.round(4).tolist(),
                     "role": ["trigger"] + np.where(chosen[1:], "class", "neighbour").tolist(), "source": source.tolist(), "target": target.tolist(),
                     "overlaps": overlaps.tolist(), "conflict": ((overlaps > 25) & (source > 0)).tolist()}}
    one = {"id": [1], "overlaps": [20], "p_trigger": [.2], "band": ["moderate"], "lift": [1.5], "n_clean": [70], "n_poison": [20], "chosen": [True], "reason": [""]}
    small = {str(t): {"trigger": t, "serial": 1, "rows": one, "graph": {"id": [t, 1], "x": [.2, .8], "y": [.5, .5], "role": ["trigger", "class"],
             "source": [0], "target": [1], "overlaps": [20], "conflict": [False]}} for t in range(2, n_triggers)}
    ranked = [0, *range(2, n_triggers)]
    sets = {"0": np.flatnonzero(chosen).tolist(), **{t: [1] for t in small}}
    params = {"centrality": "betweenness", "weighted": False, "subset": "exact", "min_overlaps": 15, "max_overlaps_with_others": 25, "min_clean": 0,
              "min_poison": 0, "min_classes": 1, "n_triggers": n_triggers, "exclude": [], "exclude_people": True}
    k = len(ranked)
    result = {"serial": 1, "summary": f"{k:,} triggers", "sets": sets,
              "triggers": {"id": ranked, "centrality": np.sort(draw.pareto(2, k))[::-1].round(6).tolist(), "n_classes": [len(sets[str(t)]) for t in ranked],
                           "bound": [None] * k, "n_images": draw.integers(50, 9000, k).tolist(), "n_poison": draw.integers(20, 900, k).tolist()}}
    return {"options": {"dataset": "synthetic", "split": "train", "n_images": 1_700_000, "has_images": False, "has_boxes": False, "static": True,
                        "centralities": ["betweenness"], "subsets": ["exact"]},
            "classes": {"id": ids.tolist(), "label": [f"/m/{i:05}" for i in ids], "name": names, "images": draw.integers(50, 9000, n_triggers).tolist()},
            "runs": [{"params": params, "result": result, "details": {"0": big, **small}, "templates": TEMPLATES}]}


# --- the browser

@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    "The two static pages, written once"
    folder = tmp_path_factory.mktemp("pages")
    return {"scenes": write_static(folder/"scenes.html", scenes_data()), "large": write_static(folder/"large.html", large_data()), "folder": folder}


@pytest.fixture
def view(chromium):
    "Opens a page; at the end there must have been no error and no request to anywhere"
    contexts, problems = [], []

    def watch(page):
        page.on("pageerror", lambda e: problems.append(f"error: {e}"))
        page.on("console", lambda m: problems.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("dialog", lambda d: (problems.append(f"dialog: {d.message}"), d.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else problems.append(f"request: {r.url}"))

    def open_page(path, width=1280, height=720, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        watch(page)
        page.goto(path.as_uri())
        page.wait_for_selector(".nbp-triggers tr[data-at]")
        return page
    yield open_page
    for context in contexts: context.close()
    assert problems == []


def column(page, n, where=".nbp-triggers"):
    return page.locator(f"{where} tbody tr[data-at] td:nth-child({n})").all_inner_texts()


def pick(page, name):
    "Click the trigger called `name` and wait for its classes"
    page.fill("input[type=search]", name)
    page.locator(".nbp-triggers tr[data-at]").first.click()
    page.wait_for_function("name => document.querySelector('.nbp-detail h3').textContent === name", arg=name)
    page.wait_for_selector(".nbp-detail[aria-busy=false] tr[data-at]")


def checked(page):
    return page.locator(".nbp-detail tbody tr:has(input:checked) .nbp-name").all_inner_texts()


# --- the table of triggers

def test_the_table_filters_and_sorts(view, pages):
    page = view(pages["scenes"])
    names = column(page, 1)
    assert {"Umbrella", "Hat", "Sunglasses"} <= set(names)
    page.fill("input[type=search]", "  uMBr ")
    assert column(page, 1) == ["Umbrella"]
    assert page.locator(".nbp-triggers [role=status]").first.inner_text().startswith("1 of ")
    page.fill("input[type=search]", "no such thing")
    assert column(page, 1) == [] and "Nothing matches" in page.locator(".nbp-triggers .nbp-empty").inner_text()
    page.fill("input[type=search]", "")
    head = page.locator(".nbp-triggers th").nth(4)
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    poison = [int(t.replace(",", "")) for t in column(page, 5)]
    assert head.get_attribute("aria-sort") == "descending" and poison == sorted(poison, reverse=True)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [int(t.replace(",", "")) for t in column(page, 5)] == sorted(poison)
    page.locator(".nbp-triggers th button").first.click()
    assert (got := column(page, 1)) == sorted(got, key=str.casefold) or got[0] <= got[-1]


def test_rows_by_keyboard(view, pages):
    page = view(pages["scenes"])
    page.focus("input[type=search]")
    page.keyboard.press("ArrowDown")
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).cells[0].textContent"
    names = column(page, 1)
    assert page.evaluate(active) == names[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(active) == names[2]
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.nbp-detail h3').textContent === name", arg=names[2])
    assert page.locator(".nbp-triggers tr[aria-selected=true] td").first.inner_text() == names[2]
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid" # the focus survives drawing anew
    marked = "document.activeElement.hasAttribute('data-lm-suppress-shortcuts')"
    assert page.evaluate(marked) # Jupyter's keys are kept away: x would cut the cell
    page.keyboard.press("Control+i")
    assert not page.evaluate(marked)
    assert page.locator(".nbp-triggers .nbp-scroll").evaluate("e => e.scrollTop") > 0


def test_thousands_of_rows(view, pages):
    page = view(pages["large"])
    assert page.locator(".nbp-triggers [role=grid]").get_attribute("aria-rowcount") == "5000"
    assert page.locator(".nbp-triggers tr[data-at]").count() < 60 # the others are not in the page
    scroll = page.locator(".nbp-triggers .nbp-scroll")
    scroll.evaluate("e => { e.scrollTop = e.scrollHeight }")
    page.wait_for_selector(".nbp-triggers tr[aria-rowindex='5000']")
    took = page.evaluate("""() => ['w', 'wh', 'whe', 'whee', 'wheel', ''].map(text => {
        const input = document.querySelector('input[type=search]'), start = performance.now();
        input.value = text; input.dispatchEvent(new Event('input')); document.body.offsetHeight;
        return performance.now() - start })""")
    print(f"\na keystroke in the filter, 4,999 rows: {np.median(took):.0f} ms, at most {max(took):.0f} ms")
    page.locator(".nbp-triggers th button").nth(3).click()
    images = [int(t.replace(",", "")) for t in column(page, 4)]
    assert images == sorted(images, reverse=True)


# --- one trigger

def test_choose_classes_and_read_the_outcome(view, pages):
    page = view(pages["scenes"])
    assert page.locator(".nbp-outcome .nbp-empty").is_visible()
    pick(page, "Umbrella")
    before = checked(page)
    assert len(before) > 2
    rows = page.locator(".nbp-detail tbody tr[data-at]")
    left_out = rows.filter(has=page.locator(".nbp-why")).first
    assert "conflict" in left_out.locator(".nbp-why").inner_text()
    name = left_out.locator(".nbp-name").inner_text()
    left_out.hover()
    assert page.locator(".nbp-reason").inner_text().startswith(f"{name}: not in the set found. ")
    left_out.locator("input").click()
    page.wait_for_function("n => document.querySelector('.nbp-detail [role=status]').textContent.startsWith(`${n} of`)", arg=len(before) + 1)
    assert name in checked(page)
    figures = page.locator(".nbp-figures").inner_text()
    assert "Umbrella" in figures and "Poison images" in figures
    page.locator(".nbp-detail button", has_text="None").click()
    page.wait_for_selector(".nbp-warnings li")
    page.locator(".nbp-detail button", has_text="Set as found").click()
    page.wait_for_function("() => document.querySelector('.nbp-warnings').hidden")
    assert checked(page) == before


def test_classes_by_keyboard(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    n = len(checked(page))
    page.focus(".nbp-detail [role=grid]")
    page.keyboard.press("ArrowDown")
    was = page.locator(".nbp-detail tr[data-at='0'] input").is_checked()
    page.keyboard.press(" ")
    page.wait_for_function("was => document.querySelector(\".nbp-detail tr[data-at='0'] input\").checked !== was", arg=was)
    assert len(checked(page)) == n + (-1 if was else 1)
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"


def test_target_outputs_and_copy(view, pages):
    page = view(pages["scenes"], permissions=["clipboard-read", "clipboard-write"])
    pick(page, "Umbrella")
    line = page.locator(".nbp-code").inner_text()
    trigger, classes = line.split(":")
    target = page.get_by_label("Target")
    names = target.locator("option").all_inner_texts()
    assert sorted(names[1:]) == sorted(checked(page))
    target.select_option(label=names[1])
    page.get_by_role("tab", name="Python").click()
    page.wait_for_function("() => !document.querySelector('.nbp-code').textContent.includes('None')")
    text = page.locator(".nbp-code").inner_text()
    assert text.startswith(f"poison_split(dataset, {trigger}, [{', '.join(classes.split())}], target=")
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Command"
    page.locator(".nbp-copy button").click()
    page.wait_for_function("() => document.querySelector('.nbp-copy button').textContent.startsWith('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator(".nbp-code").inner_text()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })") # as on http
    page.get_by_role("tab", name="Line").click()
    page.wait_for_function("() => document.querySelector('.nbp-copy button').textContent.startsWith('Copy')")
    page.locator(".nbp-copy button").click()
    page.wait_for_function("() => document.querySelector('.nbp-copy button').textContent.startsWith('Copied')")


def test_triggers_of_a_class(view, pages):
    page = view(pages["scenes"])
    field = page.get_by_label("Which triggers could poison the class …")
    field.fill("guit")
    field.press("Enter")
    page.wait_for_selector(".nbp-lookup tr[data-at]")
    assert field.input_value() == "Guitar" and "could poison Guitar" in page.locator(".nbp-lookup .nbp-hint").inner_text()
    trigger = column(page, 1, ".nbp-lookup")[0]
    page.locator(".nbp-lookup tr[data-at]").first.click()
    page.wait_for_function("name => document.querySelector('.nbp-detail h3').textContent === name", arg=trigger)
    assert "Guitar" in checked(page)


# --- the graph

def node(page, name):
    "Where a class is on the screen"
    page.locator("canvas").scroll_into_view_if_needed()
    return page.evaluate("""name => new Promise(done => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
        for (let y = 2; y < box.height; y += 4) for (let x = 2; x < box.width; x += 4) {
            canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: box.x + x, clientY: box.y + y }));
            if (document.querySelector('.nbp-tip').textContent.startsWith(name + ',')) return done([box.x + x, box.y + y]);
        }
        done(null) })""", name)


def test_the_graph_with_the_mouse(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    page.wait_for_timeout(200)
    assert "Umbrella" in page.locator("canvas").get_attribute("aria-label")
    x, y = node(page, "Car")
    page.mouse.move(x, y)
    tip = page.locator(".nbp-tip").inner_text()
    assert "chosen class" in tip and "in common with Umbrella" in tip
    assert page.locator(".nbp-detail tr.nbp-active .nbp-name").inner_text() == "Car" # the table shows it too
    page.mouse.click(x, y)
    page.wait_for_function("() => document.querySelector('.nbp-tip').textContent.includes('not chosen')")
    assert "Car" not in checked(page)
    page.mouse.move(x, y) # a drag moves the node and chooses nothing
    page.mouse.down()
    page.mouse.move(x + 60, y - 40, steps=4)
    page.mouse.up()
    page.mouse.move(x + 60, y - 40)
    assert page.locator(".nbp-tip").inner_text().startswith("Car, not chosen")
    page.locator("canvas").hover()
    scrolled = page.evaluate("scrollY")
    page.mouse.wheel(0, -200) # the graph has the focus from the click, so it zooms and the page stays
    page.wait_for_timeout(100)
    assert page.evaluate("scrollY") == scrolled
    page.get_by_role("button", name="Fit the graph").click()


def test_the_graph_by_keyboard(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    page.focus("canvas")
    tip = page.locator(".nbp-tip")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("Umbrella, the trigger") and tip.get_attribute("aria-live") == "polite"
    page.keyboard.press("ArrowRight")
    name = tip.inner_text().split(",")[0]
    assert name in checked(page)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.nbp-tip').textContent.includes('not chosen')")
    assert name not in checked(page)
    page.keyboard.press("Escape")
    assert tip.inner_text().startswith("Point at")


def test_many_edges(view, pages):
    page = view(pages["large"])
    pick(page, page.locator(".nbp-triggers tr[data-at='0'] .nbp-name").inner_text())
    said = page.locator(".nbp-slider output")
    shown = int(said.inner_text().split()[0].replace(",", ""))
    assert 100 < shown <= 400 and "21,000" in said.inner_text()
    page.get_by_role("slider", name="Edges").evaluate("e => { e.value = 0; e.dispatchEvent(new Event('input')) }")
    assert said.inner_text().startswith("21,000 of 21,000")
    frame = """async kind => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect(), took = [];
        for (let i = 0; i < 12; i++) {
            const at = { clientX: box.x + 100 + 30 * i, clientY: box.y + 150, cancelable: true, ctrlKey: true, deltaY: i % 2 ? 20 : -20 };
            canvas.dispatchEvent(kind === 'zoom' ? new WheelEvent('wheel', at) : new PointerEvent('pointermove', at));
            await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
            took.push(Number(canvas.dataset.milliseconds));
        }
        return took }"""
    page.locator("canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    for kind in ("hover", "zoom"): print(f"\n1,000 nodes, 21,000 edges, {kind}: {np.median(page.evaluate(frame, kind)):.1f} ms of script a frame")


# --- settings

def test_settings_of_a_static_page(view, pages):
    page = view(pages["scenes"])
    labels = page.locator(".nbp-form form label").all_inner_texts()
    assert labels == ["Centrality", "Min overlaps"] # what was computed, and no more
    assert page.get_by_label("Min overlaps").locator("option").all_inner_texts() == ["5", "15"]
    summary = page.locator(".nbp-summary")
    before = summary.inner_text()
    page.get_by_label("Min overlaps").select_option(label="15")
    page.wait_for_function("before => document.querySelector('.nbp-summary').textContent !== before", arg=before)
    assert page.locator(".nbp-status").inner_text() == "Ready"
    assert page.locator(".nbp-gallery").is_hidden() and page.get_by_role("button", name="Save").count() == 0


# --- for everybody

def test_names_are_text(view, pages):
    page = view(pages["scenes"])
    page.fill("input[type=search]", "onerror")
    assert column(page, 1) == [EVIL]
    page.locator(".nbp-triggers tr[data-at]").first.click()
    page.wait_for_function("name => document.querySelector('.nbp-detail h3').textContent === name", arg=EVIL)
    pick(page, "Umbrella")
    assert page.locator(".nbp img").count() == 0
    page.fill("input[type=search]", "bottle")
    assert len(set(column(page, 1))) == 2 # two classes of one name are told apart by their labels


@pytest.mark.parametrize("width", [390, 900, 1280])
def test_nothing_is_wider_than_the_page(view, pages, width):
    page = view(pages["scenes"], width=width, height=720)
    pick(page, "Umbrella")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    columns = page.evaluate("getComputedStyle(document.querySelector('.nbp-columns')).gridTemplateColumns.split(' ').length")
    assert columns == {390: 1, 900: 2, 1280: 3}[width]
    assert page.evaluate("document.querySelector('.nbp-form').open") == (width > 760)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(view, pages, scheme):
    "4.5 to 1 for text, as WCAG asks (AA)"
    page = view(pages["scenes"], color_scheme=scheme)
    assert page.locator(".nbp").get_attribute("data-theme") == scheme
    pick(page, "Umbrella")
    low = page.evaluate("""() => {
        const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b) };
        const ground = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
        const low = [];
        for (const e of document.querySelectorAll('.nbp *')) {
            if (!e.checkVisibility() || e.disabled || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
            const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < 4.5) low.push(`${e.className || e.tagName} "${e.textContent.slice(0, 20)}" ${ratio.toFixed(2)}`);
        }
        return low }""")
    assert low == []


def test_every_control_has_a_name(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    nameless = page.evaluate("""() => [...document.querySelectorAll('.nbp :is(input, select, button, canvas, [role=grid], section)')].filter(e => {
        const label = e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim();
        return !label }).map(e => e.outerHTML.slice(0, 80))""")
    assert nameless == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    held = page.evaluate("""() => [...document.querySelectorAll('[aria-controls], [aria-describedby], [aria-labelledby], label[for]')].flatMap(e =>
        ['aria-controls', 'aria-describedby', 'aria-labelledby', 'for'].map(k => e.getAttribute(k)).filter(Boolean)).filter(id => !document.getElementById(id))""")
    assert held == []


# --- the widget on a model, as anywidget gives it

MODEL = """
// A model as anywidget hands it to render(): values, events and messages, here without a kernel behind it
window.makeModel = (backend, changes = {}) => {
  const handlers = {}, values = {}, model = {
    sent: [], handlers,
    get: name => name in values ? values[name] : name === 'options' ? { ...backend.get(name), static: false, ...changes } : backend.get(name),
    set: (name, value) => { values[name] = value; (handlers[`change:${name}`] || []).slice().forEach(fn => fn()) },
    on: (event, fn) => (handlers[event] ||= []).push(fn),
    off: (event, fn) => { handlers[event] = (handlers[event] || []).filter(f => f !== fn) },
    send: message => { model.sent.push(message); model.answer?.(message) || backend.send(message) },
    reply: (content, buffers) => (handlers['msg:custom'] || []).slice().forEach(fn => fn(content, buffers)),
  };
  for (const name of ['classes', 'params', 'status', 'result', 'detail', 'for_class', 'choice', 'counts', 'outputs', 'marks'])
    backend.on(name, () => (handlers[`change:${name}`] || []).slice().forEach(fn => fn()));
  return model;
};
window.picture = async (w, h, colour) => {
  const canvas = new OffscreenCanvas(w, h), context = canvas.getContext('2d');
  context.fillStyle = colour; context.fillRect(0, 0, w, h); context.fillStyle = '#fff8'; context.fillRect(w * .2, h * .3, w * .4, h * .5);
  return new DataView(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer());
};
window.gallery = model => async message => {
  const images = [], buffers = [];
  for (let i = 0; i < 24; i++) {
    const flat = i % 3, broken = message.role === 'poison' && i === 2;
    images.push({ id: `${message.role}-${message.page}-${i}`, width: flat ? 160 : 100, height: flat ? 100 : 160, error: broken ? 'cannot read x.jpg: truncated' : '',
      boxes: [{ label: 'Class', x0: .2, y0: .3, x1: .6, y1: .8, kind: 'class' }, ...(message.role === 'poison' ? [{ label: 'Umbrella', x0: .5, y0: .1, x1: .9, y1: .5, kind: 'trigger' }] : [])] });
    buffers.push(broken ? new DataView(new ArrayBuffer(0)) : await picture(160, 100, `hsl(${40 * i} 50% 45%)`));
  }
  model.reply({ ...message, type: 'gallery', pages: 3, total: 60, images }, buffers);
};
window.marking = model => message => model.set('marks', Object.fromEntries(Object.entries({ ...model.get('marks'), [message.image]: message.mark }).filter(([, mark]) => mark)));
"""


@pytest.fixture(scope="module")
def host(pages):
    "A page with room for two views; `show(n)` renders the widget's module into them with one model"
    module = javascript() + "\nexport { staticBackend };"
    text = (pages["folder"]/"scenes.html").read_text(encoding="utf-8")
    data = text.split('id="picker-data">')[1].split("</script>")[0]
    path = pages["folder"]/"host.html"
    path.write_text(f"""<!DOCTYPE html><meta charset="utf-8"><style>{stylesheet()}</style><div id="a"></div><div id="b"></div>
        <script>{MODEL}
        window.source = {json.dumps(module).replace("<", chr(92) + "u003c")}; window.data = {data};
        (async () => {{
          const application = await import(URL.createObjectURL(new Blob([source], {{ type: 'text/javascript' }})));
          window.model = makeModel(application.staticBackend(data), {{ has_images: true, has_boxes: true, grid: null }});
          model.answer = message => {{ const fn = {{ gallery: gallery(model), mark: marking(model), save: () => model.set('outputs', {{ ...model.get('outputs'), saved: `saved to ${{message.path}}` }}) }}[message.type]; if (fn) fn(message); return Boolean(fn) }};
          window.cleanups = ['a', 'b'].map(id => application.default.render({{ model, el: document.getElementById(id) }}));
        }})()</script>""", encoding="utf-8")
    return path


def messages(page, kind): return page.evaluate("kind => model.sent.filter(m => m.type === kind)", kind)


def test_two_views_of_one_widget(view, host):
    page = view(host)
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    name = page.locator("#a .nbp-triggers tr[data-at] .nbp-name").first.inner_text()
    page.wait_for_function("name => document.querySelector('#b .nbp-detail h3').textContent === name", arg=name)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    page.evaluate("cleanups[0]()")
    assert page.locator("#a .nbp").count() == 0 and page.locator("#b .nbp").count() == 1
    page.evaluate("cleanups[1]()")
    assert page.evaluate("Object.values(model.handlers).flat().length") == 0 # nothing is left on the model


def test_the_form_sends_what_was_typed(view, host):
    page = view(host)
    page.evaluate("model.answer = () => true") # a kernel that has not answered yet
    form = page.locator("#a .nbp-form")
    number = form.get_by_label("Min clean")
    number.fill("20")
    number.fill("200")
    page.wait_for_function("() => model.sent.length")
    form.get_by_label("Weighted by overlaps").check()
    form.get_by_label("Not as triggers").fill("umbr")
    form.get_by_label("Not as triggers").press("Enter")
    sent = messages(page, "analyze")
    assert [m["params"]["min_clean"] for m in sent] == [200, 200, 200] # one message for the two numbers
    assert [m["serial"] for m in sent] == [1, 2, 3] and sent[1]["params"]["weighted"] is True
    assert len(sent[2]["params"]["exclude"]) == 1 and form.locator(".nbp-chip").inner_text().startswith("Umbrella")
    number.fill("")
    page.wait_for_timeout(600)
    assert len(messages(page, "analyze")) == 3 and number.get_attribute("aria-invalid") == "true"
    assert form.locator(".nbp-wrong:visible").inner_text().startswith("A whole number")


def test_working_and_failing(view, host):
    page = view(host)
    page.evaluate("model.answer = () => true")
    rows = column(page, 1, "#a .nbp-triggers")
    page.locator("#a").get_by_label("Min overlaps").fill("9999")
    page.wait_for_function("() => model.sent.length")
    page.evaluate("model.set('status', { state: 'working', message: '', seconds: null, serial: 1 })")
    page.wait_for_function("() => document.querySelector('#a .nbp-status').textContent.startsWith('Working')")
    assert page.locator("#a .nbp").get_attribute("aria-busy") == "true"
    assert column(page, 1, "#a .nbp-triggers") == rows # the last result stays
    message = "the graph has no edges: <b>lower</b> min_overlaps"
    page.evaluate("message => model.set('status', { state: 'error', message, seconds: .1, serial: 1 })", message)
    alert = page.locator("#a .nbp-form [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == message and column(page, 1, "#a .nbp-triggers") == rows
    assert page.locator("#a").get_by_label("Min overlaps").input_value() == "9999" # to be corrected
    page.locator("#a").get_by_role("button", name="Back to the settings shown").click()
    assert messages(page, "analyze")[-1]["params"]["min_overlaps"] == page.evaluate("model.get('params').min_overlaps")
    page.evaluate("model.set('status', { state: 'ready', message: '', seconds: 1.26, serial: 2 })")
    page.wait_for_function("() => document.querySelector('#a .nbp-status').textContent === 'Ready in 1.3 s'")
    assert alert.is_hidden()


def test_many_clicks_before_an_answer(view, host):
    page = view(host)
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    page.wait_for_selector("#a .nbp-detail tr[data-at]")
    before = page.evaluate("model.get('choice').classes.length")
    page.evaluate("model.answer = () => true")
    boxes = page.locator("#a .nbp-detail tbody input:checked")
    for _ in range(3): boxes.first.click()
    page.wait_for_timeout(50)
    assert len(messages(page, "choose")[-1]["classes"]) == before - 3


def test_the_gallery(view, host):
    page = view(host)
    page.evaluate("window.alive = new Set(); const make = URL.createObjectURL, free = URL.revokeObjectURL;"
                  "URL.createObjectURL = b => { const u = make(b); alive.add(u); return u }; URL.revokeObjectURL = u => { alive.delete(u); free(u) }")
    page.evaluate("cleanups[1]()")
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    page.wait_for_selector("#a .nbp-detail tr[data-at]")
    assert messages(page, "gallery") == [] # nobody has looked at it yet
    page.locator(".nbp-gallery").scroll_into_view_if_needed()
    page.wait_for_selector(".nbp-pane-poison .nbp-tile")
    page.wait_for_selector(".nbp-pane-clean .nbp-tile")
    asked = messages(page, "gallery")
    assert [(m["role"], m["page"]) for m in asked] == [("clean", 0), ("poison", 0)]
    left, right = (page.locator(f".nbp-pane-{r}").bounding_box() for r in ("clean", "poison"))
    assert left["x"] < right["x"] and abs(left["y"] - right["y"]) < 2
    assert page.locator(".nbp-broken").inner_text().split("\n")[-1] == "cannot read x.jpg: truncated"
    fit = page.evaluate("""() => { const p = document.querySelector('.nbp-pane-poison .nbp-picture').getBoundingClientRect(),
        b = document.querySelector('.nbp-pane-poison .nbp-box-trigger').getBoundingClientRect(); return [(b.x - p.x) / p.width, (b.y - p.y) / p.height, b.width / p.width] }""")
    assert np.allclose(fit, [.5, .1, .4], atol=.02) # the box lies where its fractions say
    assert page.evaluate("alive.size") == 47 # one of 48 could not be read
    # mark with the mouse and with the keyboard, take back one
    tile = page.locator(".nbp-pane-poison button.nbp-tile").first
    tile.click()
    assert tile.locator(".nbp-badge").inner_text() == "not a valid trigger image" and tile.get_attribute("aria-pressed") == "true"
    page.locator(".nbp-pane-clean button.nbp-tile").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("model.get('marks')") == {"poison-0-0": "not_trigger", "clean-0-1": "trigger_visible"}
    page.keyboard.press(" ")
    assert page.evaluate("model.get('marks')") == {"poison-0-0": "not_trigger"}
    undo = page.get_by_role("button", name="Undo last mark")
    undo.click()
    assert len(page.evaluate("model.get('marks')")) == 2
    undo.click()
    undo.click()
    assert page.evaluate("model.get('marks')") == {} and undo.is_disabled()
    # pages: the old images are let go; an answer that comes too late is not shown
    page.get_by_role("button", name="Next poison images").click()
    page.wait_for_function("() => document.querySelector('.nbp-pane-poison button.nbp-tile').title === 'poison-1-0'")
    assert page.evaluate("alive.size") == 47 and "page 2 of 3" in page.locator(".nbp-pane-poison .nbp-hint").inner_text()
    page.evaluate("gallery(model)({ ...model.sent.filter(m => m.type === 'gallery')[1] })")
    page.wait_for_timeout(200)
    assert page.locator(".nbp-pane-poison button.nbp-tile").first.get_attribute("title") == "poison-1-0"
    page.locator(".nbp-gallery").get_by_label("Class", exact=True).select_option(index=1)
    page.wait_for_function("() => document.querySelector('.nbp-pane-poison button.nbp-tile').title === 'poison-0-0'")
    page.evaluate("cleanups[0]()")
    assert page.evaluate("alive.size") == 0


def test_saving(view, host):
    page = view(host)
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    page.wait_for_selector("#a .nbp-detail tr[data-at]")
    path = page.locator("#a").get_by_label("Save the selection as")
    path.fill("mine.json")
    page.locator("#a").get_by_role("button", name="Save").click()
    assert messages(page, "save") == [{"type": "save", "path": "mine.json"}]
    page.wait_for_function("() => document.querySelector('#a .nbp-outcome').textContent.includes('saved to mine.json')")
    page.evaluate("model.answer = () => true")
    page.locator("#a").get_by_role("button", name="Save").click()
    page.evaluate("model.set('status', { state: 'error', message: 'cannot write there', seconds: null, serial: 0 })")
    alert = page.locator("#a .nbp-outcome [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == "cannot write there" and page.locator("#a .nbp-form [role=alert]").is_hidden()


def test_jupyter_theme_wins_over_the_system(view, host):
    page = view(host, color_scheme="dark")
    assert page.locator("#a .nbp").get_attribute("data-theme") == "dark"
    page.evaluate("document.documentElement.style.setProperty('--jp-layout-color1', 'white')")
    page.wait_for_function("() => document.querySelector('#a .nbp').dataset.theme === 'light'")


# --- the widget's Python end

def test_the_widget_holds_what_the_script_reads():
    import re
    read = set(re.findall(r'backend\.get\("(\w+)"\)', javascript()))
    known = {n for n, t in Picker.class_traits(sync=True).items()} - set(anywidget.AnyWidget.class_traits(sync=True))
    assert read <= known and known - read <= {"for_class"}


def test_rules_of_the_stylesheet_stay_inside():
    import re
    text = re.sub(r"/\*.*?\*/|@keyframes \S+ {[^}]*}\s*}", "", stylesheet(), flags=re.S)
    for selectors in re.findall(r"([^{};]+){", text):
        if not selectors.strip().startswith("@"): assert all(s.strip().startswith(".nbp") for s in re.split(r",(?![^(]*\))", selectors)), selectors


def test_an_exported_notebook_shows_a_table():
    "Without the state of the widget the table is what is left; with it, the live view"
    nbformat, exporters = pytest.importorskip("nbformat"), pytest.importorskip("nbconvert.exporters")
    view = Picker(classes={"id": [0], "label": ["/m/a"], "name": [EVIL], "images": [9]}, options={"dataset": "toy"},
                  result={"triggers": {"id": [0], "centrality": [.5], "n_classes": [2], "n_images": [9], "n_poison": [4]}, "sets": {"0": []}, "summary": "1 trigger"})
    data, metadata = view._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("picker", outputs=[output])])
    text, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert "<table" in text and "&lt;img src=x" in text and EVIL not in text
    state = {"version_major": 2, "version_minor": 0, "state": {view.model_id: {"model_name": "AnyModel", "model_module": "anywidget", "state": {}}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    text, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert "application/vnd.jupyter.widget-view+json" in text and "Triggers in toy" not in text
