"""The picker in a real browser, without a kernel: the page of `write_static`, over plausible data

Speeds are printed (pytest -s), and nothing here fails because a machine is slow: what is waited for
is a state that stays, or the frame in which it is drawn, never a number of seconds."""

import importlib.util
import json
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

anywidget = pytest.importorskip(
    "anywidget", reason="the widgets need anywidget: pip install natural_backdoors[notebook]"
)

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.scenes import scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.pick.app import packed_images, static_data
from natural_backdoors.pick.layout import layout
from natural_backdoors.pick.widget import Frame, Picker, javascript, stylesheet, write_static
from natural_backdoors.sets.class_sets import conflicts
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.fitting import largest_size
from natural_backdoors.split.plan import plan_counts
from natural_backdoors.split.settings import SplitSettings

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<img src=x onerror=alert(1)>"
TEMPLATES = {
    "python": "poison_split(dataset, {trigger}, [{classes}], target={target})",
    "command": "natural-backdoors train --trigger {trigger} --classes {classes} --target {target}",
    "json": '{"trigger": {trigger}, "classes": [{classes}], "target": {target}}',
}


# --- data

PARAMS = [
    "centrality",
    "weighted",
    "subset",
    "min_overlaps",
    "max_overlaps_with_others",
    "min_clean",
    "min_poison",
    "min_classes",
    "n_triggers",
]
# of what `run_of` and `large_data` make
FORM = {"exclude": [], "exclude_people": True}
STATIC = {"split": "train", "has_images": False, "has_boxes": False, "static": True}


def places(x, y):
    return {"x": x.round(4).tolist(), "y": y.round(4).tolist()}


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
    reasons = [
        " ".join(r.text for r in found.explain(trigger, c).reasons) if i < 400 else ""
        for i, c in enumerate(ids[1:])
    ]
    return {
        "trigger": trigger,
        "serial": 1,
        "rows": {
            "id": ids[1:],
            "p_trigger": near.share.round(4).tolist(),
            "lift": near.lift.round(3).tolist(),
            **{k: near[k].tolist() for k in ("overlaps", "band", "n_clean", "n_poison", "chosen")},
            "reason": reasons,
        },
        "graph": {
            "id": ids,
            **places(*layout(len(ids), source, target, edges.overlaps)),
            "role": ["trigger"] + ["class" if c else "neighbor" for c in near.chosen],
            "source": source.tolist(),
            "target": target.tolist(),
            "overlaps": edges.overlaps.tolist(),
            "conflict": (conflict[source, target] & beside).tolist(),
        },
    }


def run_of(found, details=None):
    "One run of a static page; only the first triggers of a large result get a detail of their own"
    table, ids = found.table, found.table.id.tolist()
    vertices, edges = len(found.graph.vertices), len(found.graph.edges)
    result = {
        "serial": 1,
        "summary": f"{len(ids)} triggers among {vertices} classes, {edges:,} edges",
        "sets": {str(t): found.sets[t].id.tolist() for t in ids},
        "triggers": {
            "id": ids,
            "centrality": table.centrality.round(6).tolist(),
            "n_classes": table.n_classes.tolist(),
            "bound": [None if b != b else int(b) for b in table.bound.astype(float)],
            "n_images": found.overlaps.images_of[ids].tolist(),
            "n_poison": [int(found.sets[t].n_poison.sum()) for t in ids],
        },
    }
    return {
        "params": {k: found.params[k] for k in PARAMS} | FORM,
        "result": result,
        "details": {str(t): detail_of(found, t) for t in ids[:details]},
        "templates": TEMPLATES,
    }


def data_of(founds, name, grid, details=None):
    overlaps = founds[0].overlaps
    names = overlaps.classes
    classes = {
        "id": list(range(len(names))),
        "label": names.label.tolist(),
        "name": names.name.tolist(),
        "images": overlaps.images_of.tolist(),
    }
    return {
        "options": {
            **STATIC,
            "dataset": name,
            "n_images": overlaps.n_images,
            "centralities": ["betweenness", "closeness", "degree", "eigenvector"],
            "subsets": ["exact", "mis", "none"],
            "grid": grid,
        },
        "classes": classes,
        "runs": [run_of(f, details) for f in founds],
    }


def scenes_data():
    "The embedded dataset, for a grid of settings; two classes have names that names should not be"
    rows = scene_labels(3000)
    names = dict(zip(rows.label, rows.name))
    label_of = {name: label for label, name in names.items()}
    names[label_of["Boat"]] = EVIL
    names[label_of["Mug"]] = "Bottle"
    dataset = TableDataset(rows[["image", "label"]], names=names, name="scenes")
    grid = {"centrality": ["betweenness", "degree"], "min_overlaps": [5, 15]}
    founds = [
        find_triggers(dataset, centrality=c, min_overlaps=m, n_triggers=20)
        for c in grid["centrality"]
        for m in grid["min_overlaps"]
    ]
    return data_of(founds, "scenes", grid)


def large_neighborhood(draw, n, m):
    "The detail of trigger 0 with `n` classes in twelve groups and `m` edges, and its set"
    group = draw.integers(12, size=n)
    pairs = np.stack(np.triu_indices(n, 1), 1)[n - 1 :]
    odds = np.where(group[pairs[:, 0]] == group[pairs[:, 1]], 1.0, 0.06)
    pairs = pairs[draw.choice(len(pairs), m - n + 1, replace=False, p=odds / odds.sum())]
    source = np.concatenate([np.zeros(n - 1, int), pairs[:, 0]])
    target = np.concatenate([np.arange(1, n), pairs[:, 1]])
    overlaps = (15 + draw.pareto(1.2, m) * 12).clip(max=4000).astype(int)
    near, order = np.arange(1, n), np.argsort(-overlaps[: n - 1], kind="stable")
    share = draw.beta(1, 4, n - 1).round(3)
    chosen = np.zeros(n, bool)
    chosen[draw.choice(near, 40, replace=False)] = True
    is_chosen = chosen[near[order]]
    rows = {
        "id": near[order],
        "overlaps": overlaps[order],
        "p_trigger": share,
        "band": np.where(share > 0.5, "high", np.where(share >= 0.1, "moderate", "low")),
        "lift": (share * 9).round(2),
        "n_clean": draw.integers(50, 900, n - 1),
        "n_poison": overlaps[order],
        "chosen": is_chosen,
        "reason": np.where(is_chosen, "", "conflicts with 'Old hat 7' (31 shared images)"),
    }
    graph = {
        "source": source,
        "target": target,
        "overlaps": overlaps,
        "conflict": (overlaps > 25) & (source > 0),
    }
    return {
        "trigger": 0,
        "serial": 1,
        "rows": {k: v.tolist() for k, v in rows.items()},
        "graph": {
            "id": list(range(n)),
            **places(*layout(n, source, target, overlaps, rounds=60)),
            "role": ["trigger"] + np.where(chosen[1:], "class", "neighbor").tolist(),
            **{k: v.tolist() for k, v in graph.items()},
        },
    }, np.flatnonzero(chosen).tolist()


def small_neighborhood(trigger):
    "A trigger beside class 1 alone"
    row = {
        "id": 1,
        "overlaps": 20,
        "p_trigger": 0.2,
        "band": "moderate",
        "lift": 1.5,
        "n_clean": 70,
        "n_poison": 20,
        "chosen": True,
        "reason": "",
    }
    graph = {
        "id": [trigger, 1],
        "x": [0.2, 0.8],
        "y": [0.5, 0.5],
        "role": ["trigger", "class"],
        "source": [0],
        "target": [1],
        "overlaps": [20],
        "conflict": [False],
    }
    return {
        "trigger": trigger,
        "serial": 1,
        "rows": {k: [v] for k, v in row.items()},
        "graph": graph,
    }


def large_data(n_triggers=5000, n=1000, m=21_000, seed=0):
    "A table of many triggers, of which the first has a neighborhood of `n` classes and `m` edges"
    draw = np.random.default_rng(seed)
    kinds = draw.choice(["Red", "Old", "Small", "Wooden", "Paper"], n_triggers)
    things = draw.choice(["wheel", "jeans", "chair", "glasses", "window", "hat"], n_triggers)
    names = [f"{a} {b} {i}" for i, (a, b) in enumerate(zip(kinds, things))]
    big, chosen = large_neighborhood(draw, n, m)
    ranked = [0, *range(2, n_triggers)]
    sets = {"0": chosen, **{str(t): [1] for t in ranked[1:]}}
    details = {"0": big, **{str(t): small_neighborhood(t) for t in ranked[1:]}}
    values = ["betweenness", False, "exact", 15, 25, 0, 0, 1, n_triggers]
    k = len(ranked)
    triggers = {
        "id": ranked,
        "centrality": np.sort(draw.pareto(2, k))[::-1].round(6).tolist(),
        "n_classes": [len(sets[str(t)]) for t in ranked],
        "bound": [None] * k,
        "n_images": draw.integers(50, 9000, k).tolist(),
        "n_poison": draw.integers(20, 900, k).tolist(),
    }
    result = {"serial": 1, "summary": f"{k:,} triggers", "sets": sets, "triggers": triggers}
    return {
        "options": {
            **STATIC,
            "dataset": "synthetic",
            "n_images": 1_700_000,
            "centralities": ["betweenness"],
            "subsets": ["exact"],
        },
        "classes": {
            "id": list(range(n_triggers)),
            "label": [f"/m/{i:05}" for i in range(n_triggers)],
            "name": names,
            "images": draw.integers(50, 9000, n_triggers).tolist(),
        },
        "runs": [
            {
                "params": dict(zip(PARAMS, values)) | FORM,
                "result": result,
                "details": details,
                "templates": TEMPLATES,
            }
        ],
    }


# --- the browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    "The two static pages, written once"
    folder = tmp_path_factory.mktemp("pages")
    return {
        "folder": folder,
        "scenes": write_static(folder / "scenes.html", scenes_data()),
        "large": write_static(folder / "large.html", large_data()),
    }


@pytest.fixture
def view(chromium):
    "Opens a page; at the end there must have been no error and no request to anywhere"
    contexts, problems = [], []

    def watch(page):
        page.on("pageerror", lambda e: problems.append(f"error: {e}"))
        page.on(
            "console",
            lambda m: (
                problems.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None
            ),
        )
        page.on("dialog", lambda d: (problems.append(f"dialog: {d.message}"), d.dismiss()))
        inside = ("file:", "blob:", "data:")
        page.on(
            "request", lambda r: r.url.startswith(inside) or problems.append(f"request: {r.url}")
        )

    def open_page(path, width=1280, height=720, first="", **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.add_init_script(first)  # runs before those of the page
        page = context.new_page()
        page.set_default_timeout(120_000)  # milliseconds: far more than it takes
        watch(page)
        page.goto(path.as_uri())
        page.wait_for_selector(".nbp-triggers tr[data-at]")
        drawn(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def drawn(page):
    "Wait until everything is drawn: once a frame, and once more where that has changed a size"
    page.evaluate(
        "async () => { for (let i = 0; i < 4; i++) await new Promise(requestAnimationFrame) }"
    )


def at_rest(page):
    "Wait until the page scrolls and zooms no more"
    page.evaluate("""async () => {
        let last = '';
        for (let same = 0; same < 12; ) {
            await new Promise(requestAnimationFrame);
            const now = [scrollX, scrollY, visualViewport.scale].join();
            same = now === last ? same + 1 : 0;
            last = now;
        } }""")


def timers(page, milliseconds):
    "Wait until timers of the page that were set before, for less time, have gone off"
    page.evaluate("wait => new Promise(done => setTimeout(done, wait))", milliseconds)


def says(page, where, start):
    "Wait until the text of an element starts with `start`"
    page.wait_for_function(
        "([where, start]) => document.querySelector(where)?.textContent.startsWith(start)",
        arg=[where, start],
    )


def column(page, n, where=".nbp-triggers"):
    return page.locator(f"{where} tbody tr[data-at] td:nth-child({n})").all_inner_texts()


def pick(page, name):
    "Click the trigger called `name` and wait for its classes"
    page.fill("input[type=search]", name)
    page.locator(".nbp-triggers tr[data-at]").first.click()
    wait_for_title(page, name)
    page.wait_for_selector(".nbp-detail tr[data-at]")
    drawn(page)  # it may have been there before; then it is drawn anew


def wait_for_title(page, name, where=""):
    "Wait until the classes of the trigger `name` are on the page"
    page.wait_for_function(
        """([where, name]) => {
        const detail = document.querySelector(`${where} .nbp-detail`);
        return detail.querySelector('h3').textContent === name && detail.ariaBusy === 'false' }""",
        arg=[where, name],
    )


def assert_unique_ids(page):
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


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
    assert (
        column(page, 1) == []
        and "Nothing matches" in page.locator(".nbp-triggers .nbp-empty").inner_text()
    )
    page.fill("input[type=search]", "")
    head = page.locator(".nbp-triggers th").nth(4)
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    poison = [int(t.replace(",", "")) for t in column(page, 5)]
    assert head.get_attribute("aria-sort") == "descending" and poison == sorted(
        poison, reverse=True
    )
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [int(t.replace(",", "")) for t in column(page, 5)] == sorted(poison)
    page.locator(".nbp-triggers th button").first.click()
    assert (got := column(page, 1)) == sorted(got, key=str.casefold) or got[0] <= got[-1]


def test_rows_by_keyboard(view, pages):
    page = view(pages["scenes"])
    page.focus("input[type=search]")
    page.keyboard.press("ArrowDown")
    active = """document.getElementById(
        document.activeElement.getAttribute('aria-activedescendant')).cells[0].textContent"""
    names = column(page, 1)
    assert page.evaluate(active) == names[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(active) == names[2]
    page.keyboard.press("Enter")
    wait_for_title(page, names[2])
    assert page.locator(".nbp-triggers tr[aria-selected=true] td").first.inner_text() == names[2]
    page.keyboard.press("End")
    assert (
        page.evaluate("document.activeElement.getAttribute('role')") == "grid"
    )  # the focus survives drawing anew
    marked = "document.activeElement.hasAttribute('data-lm-suppress-shortcuts')"
    assert page.evaluate(marked)  # Jupyter's keys are kept away: x would cut the cell
    page.keyboard.press("Control+i")
    assert not page.evaluate(marked)
    assert page.locator(".nbp-triggers .nbp-scroll").evaluate("e => e.scrollTop") > 0


def test_thousands_of_rows(view, pages):
    page = view(pages["large"])
    assert page.locator(".nbp-triggers [role=grid]").get_attribute("aria-rowcount") == "5000"
    assert page.locator(".nbp-triggers tr[data-at]").count() < 60  # the others are not in the page
    scroll = page.locator(".nbp-triggers .nbp-scroll")
    scroll.evaluate("e => { e.scrollTop = e.scrollHeight }")
    page.wait_for_selector(".nbp-triggers tr[aria-rowindex='5000']")
    took = page.evaluate("""() => ['w', 'wh', 'whe', 'whee', 'wheel', ''].map(text => {
        const input = document.querySelector('input[type=search]'), start = performance.now();
        input.value = text; input.dispatchEvent(new Event('input')); document.body.offsetHeight;
        return performance.now() - start })""")
    middle, most = np.median(took), max(took)
    print(f"\na keystroke in the filter, 4,999 rows: {middle:.0f} ms, at most {most:.0f} ms")
    page.locator(".nbp-triggers th button").nth(3).click()
    images = [int(t.replace(",", "")) for t in column(page, 4)]
    assert images == sorted(images, reverse=True)


# --- one trigger


def test_choose_classes_and_read_the_outcome(view, pages):
    page = view(pages["scenes"])
    assert "Umbrella" in page.locator(".nbp-figures").inner_text(), (
        "the best trigger is chosen at the start"
    )
    pick(page, "Hat")
    pick(page, "Umbrella")
    before = checked(page)
    assert len(before) > 2
    rows = page.locator(".nbp-detail tbody tr[data-at]")
    left_out = rows.filter(has=page.locator(".nbp-why")).first
    assert "conflict" in left_out.locator(".nbp-why").inner_text()
    name = left_out.locator(".nbp-name").inner_text()
    left_out.hover()
    says(page, ".nbp-reason", f"{name}: not in the set found. ")
    left_out.locator("input").click()
    says(page, ".nbp-detail [role=status]", f"{len(before) + 1} of")
    assert name in checked(page)
    figures = page.locator(".nbp-figures").inner_text()
    assert "Umbrella" in figures and "Poison images" in figures
    page.locator(".nbp-detail button", has_text="None").click()
    page.wait_for_selector(".nbp-warnings li")
    page.locator(".nbp-detail button", has_text="Back to the set found").click()
    page.wait_for_function("() => document.querySelector('.nbp-warnings').hidden")
    assert checked(page) == before
    # chosen classes come first, alone if that is asked for; and one is found by its name
    pick(page, "Hat")
    pick(page, "Umbrella")
    assert column(page, 2, ".nbp-detail")[: len(before)] == before
    page.get_by_label("Chosen only").check()
    assert column(page, 2, ".nbp-detail") == before
    page.get_by_label("Search classes by name").fill(before[-1].lower())
    assert column(page, 2, ".nbp-detail") == before[-1:]


def test_classes_by_keyboard(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    n = len(checked(page))
    page.focus(".nbp-detail [role=grid]")
    page.keyboard.press("ArrowDown")
    first = ".nbp-detail tr[data-at='0'] input"
    was = page.locator(first).is_checked()
    page.keyboard.press(" ")
    page.wait_for_function(
        "([first, was]) => document.querySelector(first).checked !== was", arg=[first, was]
    )
    assert len(checked(page)) == n + (-1 if was else 1)
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"


def assert_copied(page):
    "Press the button that copies: it says so for a moment, and the clipboard holds the text"
    page.evaluate("""() => {
        window.labels = [];
        const button = document.querySelector('.nbp-copy button');
        new MutationObserver(() => labels.push(button.textContent)).observe(button, {
            childList: true, characterData: true, subtree: true });
        return theClipboard.writeText('something else') }""")
    page.locator(".nbp-copy button").click()
    page.wait_for_function("() => labels.some(text => text.startsWith('Copied'))")
    text = page.locator(".nbp-code").inner_text()
    assert page.evaluate("theClipboard.readText()") == text != ""
    page.wait_for_function("() => labels.at(-1).startsWith('Copy ')")  # and can be pressed again


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
    page.wait_for_function(
        "() => !document.querySelector('.nbp-code').textContent.includes('None')"
    )
    text = page.locator(".nbp-code").inner_text()
    ids = ", ".join(classes.split())
    assert text.startswith(f"poison_split(dataset, {trigger}, [{ids}], target=")
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Command"
    page.evaluate("() => { window.theClipboard = navigator.clipboard }")
    assert_copied(page)
    # as on http
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })"
    )
    page.get_by_role("tab", name="Line").click()
    assert_copied(page)


def test_triggers_of_a_class(view, pages):
    page = view(pages["scenes"])
    field = page.get_by_label("Which triggers could poison the class …")
    field.fill("guit")
    field.press("Enter")
    page.wait_for_selector(".nbp-lookup tr[data-at]")
    assert field.input_value() == "Guitar"
    assert "could poison Guitar" in page.locator(".nbp-lookup .nbp-hint").inner_text()
    field.fill("no such thing")
    field.press("Enter")
    assert "No class is called “no such thing”." in page.locator(".nbp-lookup").inner_text()
    trigger = column(page, 1, ".nbp-lookup")[0]
    page.locator(".nbp-lookup tr[data-at]").first.click()
    wait_for_title(page, trigger)
    assert "Guitar" in checked(page)


# --- the graph


def node(page, name):
    "Where a class is on the screen"
    page.locator("canvas").scroll_into_view_if_needed()
    drawn(page)
    return page.evaluate(
        """name => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
        const tip = document.querySelector('.nbp-tip');
        const here = (clientX, clientY) => {
            canvas.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY }));
            return tip.textContent.startsWith(name + ',');
        };
        let found = null;
        for (let y = box.y + 2; y < box.bottom && !found; y += 4)
            for (let x = box.x + 2; x < box.right && !found; x += 4)
                if (here(x, y)) found = [x, y];
        canvas.dispatchEvent(new PointerEvent('pointerleave'));
        return found }""",
        name,
    )


def test_the_graph_with_the_mouse(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    assert "Umbrella" in page.locator("canvas").get_attribute("aria-label")
    x, y = node(page, "Car")
    page.mouse.move(x, y)
    says(page, ".nbp-tip", "Car, chosen class")
    assert "in common with Umbrella" in page.locator(".nbp-tip").inner_text()
    says(page, ".nbp-detail tr.nbp-active .nbp-name", "Car")  # the table shows it too
    page.mouse.click(x, y)
    says(page, ".nbp-tip", "Car, not chosen")
    assert "Car" not in checked(page)
    page.mouse.move(x, y)  # a drag moves the node and chooses nothing
    page.mouse.down()
    page.mouse.move(x + 60, y - 40, steps=4)
    page.mouse.up()
    page.keyboard.press("Escape")  # the class that was clicked is no longer in focus
    says(page, ".nbp-tip", "Point at")
    assert np.allclose(node(page, "Car"), (x + 60, y - 40), atol=24)  # which is the reach of a node
    page.mouse.move(x + 60, y - 40)
    says(page, ".nbp-tip", "Car, not chosen")
    # the graph has the focus from the click, so it zooms and the page stays
    page.locator("canvas").hover()
    page.evaluate("() => addEventListener('wheel', e => { window.kept = e.defaultPrevented })")
    page.mouse.wheel(0, -200)
    page.wait_for_function("() => window.kept !== undefined")
    assert page.evaluate("kept")
    page.get_by_role("button", name="Fit the graph").click()


def test_the_graph_by_keyboard(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    page.focus("canvas")
    tip = page.locator(".nbp-tip")
    page.keyboard.press("ArrowRight")
    assert (
        tip.inner_text().startswith("Umbrella, the trigger")
        and tip.get_attribute("aria-live") == "polite"
    )
    page.keyboard.press("ArrowRight")
    name = tip.inner_text().split(",")[0]
    assert name in checked(page)
    page.keyboard.press("Enter")
    says(page, ".nbp-tip", f"{name}, not chosen")
    assert name not in checked(page)
    page.keyboard.press("Escape")
    assert tip.inner_text().startswith("Point at")


def test_many_edges(view, pages):
    page = view(pages["large"])
    pick(page, page.locator(".nbp-triggers tr[data-at='0'] .nbp-name").inner_text())
    # at first those of the trigger, and conflicts between classes that are chosen
    graph = large_data()["runs"][0]["details"]["0"]["graph"]
    chosen = [role == "class" for role in graph["role"]]
    pairs = zip(graph["source"], graph["target"], graph["conflict"])
    drawn_at_rest = sum(0 in (a, b) or (c and chosen[a] and chosen[b]) for a, b, c in pairs)
    assert page.locator(".nbp-slider").is_hidden()
    assert page.locator("canvas").get_attribute("data-edges") == str(drawn_at_rest)
    page.get_by_label("All pairs").check()
    said = page.locator(".nbp-slider output")
    shown = int(said.inner_text().split()[0].replace(",", ""))
    assert 100 < shown <= 400 and "21,000" in said.inner_text()
    page.get_by_role("slider", name="Edges").evaluate(
        "e => { e.value = 0; e.dispatchEvent(new Event('input')) }"
    )
    assert said.inner_text().startswith("21,000 of 21,000")
    frame = """async kind => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
        const took = [];
        for (let i = 0; i < 12; i++) {
            const at = { clientX: box.x + 100 + 30 * i, clientY: box.y + 150 };
            const turn = { ...at, cancelable: true, ctrlKey: true, deltaY: i % 2 ? 20 : -20 };
            const zoom = kind === 'zoom';
            canvas.dispatchEvent(
                zoom ? new WheelEvent('wheel', turn) : new PointerEvent('pointermove', at));
            await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
            took.push(Number(canvas.dataset.milliseconds));
        }
        return took }"""
    page.locator("canvas").scroll_into_view_if_needed()
    drawn(page)
    for kind in ("hover", "zoom"):
        took = np.median(page.evaluate(frame, kind))
        print(f"\n1,000 nodes, 21,000 edges, {kind}: {took:.1f} ms of script a frame")


class Fingers:
    "One or two fingers on a page, as the browser gets them from a screen"

    def __init__(self, page):
        self.page, self.session = page, page.context.new_cdp_session(page)

    def _send(self, kind, points):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *ways, steps=8):
        "Each finger goes from one place to another: ((x, y), (x, y))"
        for n in range(1, len(ways) + 1):
            self._send("touchStart", [a for a, _ in ways[:n]])
        for k in np.linspace(0, 1, steps + 1)[1:]:
            self._send(
                "touchMove", [tuple(np.add(a, k * np.subtract(b, a)).tolist()) for a, b in ways]
            )
        self._send("touchEnd", [])
        at_rest(self.page)

    def tap(self, x, y):
        self._send("touchStart", [(x, y)])
        self._send("touchEnd", [])


@pytest.fixture
def phone(view, pages):
    "The page on a phone, with the graph of a trigger in sight, and fingers"
    page = view(
        pages["scenes"],
        width=390,
        height=844,
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    pick(page, "Umbrella")
    page.add_style_tag(content="body { padding-bottom: 800px }")  # room to scroll on
    page.locator("canvas").evaluate("e => e.scrollIntoView({ block: 'center' })")
    at_rest(page)
    return page, Fingers(page)


def middle(page):
    box = page.locator("canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_tap_chooses(phone):
    page, fingers = phone
    assert "Tap a class" in page.locator(".nbp-graph > .nbp-hint").inner_text()
    before, (x, y) = checked(page), node(page, "Car")
    fingers.tap(x + 3, y + 3)
    says(page, ".nbp-tip", "Car, not chosen")
    assert set(before) - set(checked(page)) == {"Car"}
    assert page.locator(".nbp-reason").inner_text().startswith("Car: in the set found")
    fingers.tap(x, y)
    says(page, ".nbp-tip", "Car, chosen class")
    assert checked(page) == before


def test_a_finger_moves_a_node_and_not_the_page(phone):
    page, fingers = phone
    (x, y), scrolled, before = node(page, "Car"), page.evaluate("scrollY"), checked(page)
    dx, dy = np.sign(np.subtract(middle(page), (x, y))) * (30, 60)
    fingers.drag(((x, y), (x + dx, y + dy)))
    assert page.evaluate("scrollY") == scrolled and checked(page) == before
    assert np.allclose(node(page, "Car"), (x + dx, y + dy), atol=24)  # which is the reach of a node


def empty(page):
    "A place on the graph where a finger would meet nothing, and could go up 60 pixels"
    drawn(page)
    return page.evaluate("""() => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
        const tip = document.querySelector('.nbp-tip');
        const free = (x, y) => {
            canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: x, clientY: y }));
            const none = tip.textContent.startsWith('Tap');
            canvas.dispatchEvent(new PointerEvent('pointerleave'));
            return none;
        };
        const near = [-8, 0, 8];
        for (let y = box.bottom - 10; y > box.top + 70; y -= 6)
            for (let x = box.x + 20; x < box.right - 60; x += 6)
                if (near.every(a => near.every(b => free(x + a, y + b)))) return [x, y];
        }""")


def test_a_finger_scrolls_the_page_or_moves_the_picture(phone):
    page, fingers = phone
    x, y = empty(page)
    scrolled, there = page.evaluate("scrollY"), node(page, "Umbrella")
    fingers.drag(((x, y), (x, y - 60)))
    # the page follows the finger, also after the graph was touched
    page.wait_for_function("y => scrollY > y", arg=scrolled + 20)
    at_rest(page)
    moved = page.evaluate("scrollY") - scrolled
    assert np.allclose(
        node(page, "Umbrella"), np.subtract(there, (0, moved)), atol=6
    )  # and the picture does not
    page.evaluate("y => scrollTo(0, y)", scrolled)
    x, y = empty(page)
    fingers.drag(((x, y), (x + 40, y)))
    assert page.evaluate("scrollY") == scrolled
    assert 15 < node(page, "Umbrella")[0] - there[0] <= 44


def test_two_fingers_zoom_and_move(phone):
    page, fingers = phone
    names = ["Umbrella", "Car"]

    def apart():
        return float(np.hypot(*np.subtract(*[node(page, n) for n in names])))

    scrolled, before = page.evaluate("scrollY"), apart()
    chosen, (x, y) = checked(page), middle(page)
    fingers.drag(((x - 60, y), (x - 40, y)), ((x + 60, y), (x + 40, y)))
    assert 0.55 < apart() / before < 0.8  # 120 pixels became 80
    fingers.drag(((x - 40, y), (x - 60, y)), ((x + 40, y), (x + 60, y)))
    assert 0.9 < apart() / before < 1.1
    there = node(page, "Umbrella")
    fingers.drag(((x - 60, y), (x - 60, y - 50)), ((x + 60, y), (x + 60, y - 50)))
    assert np.allclose(
        node(page, "Umbrella"), np.subtract(there, (0, 50)), atol=10
    )  # moved, and not larger
    assert page.evaluate("scrollY") == scrolled and checked(page) == chosen
    assert page.evaluate("visualViewport.scale") == 1
    # a picture larger than its frame is moved by one finger, whichever way; "Fit" ends that
    page.get_by_role("button", name="Zoom in").tap()
    page.get_by_role("button", name="Zoom in").tap()
    at_rest(page)
    scrolled, (x, y) = page.evaluate("scrollY"), empty(page)
    fingers.drag(((x, y), (x, y - 60)))
    assert page.evaluate("scrollY") == scrolled
    page.get_by_role("button", name="Fit the graph").tap()
    at_rest(page)
    scrolled, (x, y) = page.evaluate("scrollY"), empty(page)
    fingers.drag(((x, y), (x, y - 60)))
    page.wait_for_function("y => scrollY > y", arg=scrolled)


# --- numbers of images


def test_numbers_of_a_page_are_those_of_a_split(view, pages, host):
    "The page counts as Python does: the largest size, and what a split takes for training"
    draw = np.random.default_rng(0)
    cases = []
    for _ in range(60):
        k = int(draw.integers(2, 9))
        clean, poison = draw.integers(0, 320, k), draw.integers(0, 90, k)
        rate = float(draw.choice([0, 0.05, 0.185, 0.3, 0.6]))
        cases.append((clean, poison, rate, int(draw.integers(2, 280))))
    given = [[c.tolist(), p.tolist(), rate, n] for c, p, rate, n in cases]
    page = view(host)
    source = json.dumps(javascript())
    found = page.evaluate(
        f"""async cases => {{
        const url = URL.createObjectURL(new Blob([{source}], {{ type: 'text/javascript' }}));
        const {{ planSplit, largestSize }} = await import(url);
        return cases.map(([clean, poison, rate, n]) =>
            [largestSize(clean, poison, rate, 250), planSplit(clean, poison, n, rate)]) }}""",
        given,
    )
    for (clean, poison, rate, n), (largest, plan) in zip(cases, found):
        settings = SplitSettings(inject_rate=rate, n_clean=n)
        assert largest == largest_size(clean, poison, settings, 250)
        try:
            rows = plan_counts(clean, poison, settings)
        except UserError:
            assert plan is None
        else:
            assert plan == {"clean": rows.clean_train.sum(), "poison": rows.poison_train.sum()}
    page = view(pages["scenes"])
    # and what is typed counts, until the classes are asked what they allow
    pick(page, "Umbrella")
    size = page.get_by_label("Clean images a class")
    fits = size.input_value()
    size.fill("9999")
    says(page, ".nbp-verdict", "A split of these numbers cannot be made")
    page.get_by_role("button", name=f"Take {fits}").click()
    page.wait_for_function("() => document.querySelector('.nbp-outcome').dataset.made === 'true'")
    assert size.input_value() == fits


# --- in a frame of another page


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_frame_nothing_scrolls_by_itself(chromium, pages, width):
    "The frame is as high as its page, dark where the page around it is, and has its images"
    rows = scene_labels(400)
    dataset = Pictured(rows, names=dict(zip(rows.label, rows.name)), name="scenes")
    few = {"min_overlaps": 4, "n_triggers": 3}
    pictures = packed_images(dataset, find_triggers(dataset, **few), each=2)
    data = static_data(dataset, {"min_overlaps": [4]}, pictures, n_triggers=3)
    write_static(pages["folder"] / "inner.html", data)
    host = pages["folder"] / "outer.html"
    host.write_text(f'<!DOCTYPE html><html data-theme="dark">{Frame("inner.html")._repr_html_()}')
    page = chromium.new_page(viewport={"width": width, "height": 700})
    try:
        page.goto(host.as_uri())
        inside = page.frame_locator("iframe")
        inside.locator(".nbp[data-theme=dark] .nbp-pane-poison .nbp-tile img").first.wait_for()
        drawn(page)
        frame = page.frames[1]
        frame.wait_for_function("document.body.scrollHeight === innerHeight")
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        scrolling = frame.evaluate("""() => [...document.querySelectorAll('.nbp *')].filter(e =>
            e.checkVisibility() && e.scrollHeight > e.clientHeight + 1 &&
            /auto|scroll/.test(getComputedStyle(e).overflowY)).map(e => e.className)""")
        assert scrolling == []
        tile = inside.locator(".nbp-pane-clean .nbp-tile").first
        tile.click()
        box = inside.locator("dialog[open] .nbp-large").bounding_box()
        assert abs(box["y"] - tile.bounding_box()["y"]) < 700  # in sight, however high the page is
    finally:
        page.close()


class Pictured(TableDataset):
    "Scenes with pictures of one color"

    def src_path(self, image):
        path = Path(tempfile.gettempdir()) / "natural_backdoors_gray.png"
        if not path.exists():
            Image.new("RGB", (8, 6), "gray").save(path)
        return path


# --- settings


def open_settings(page, where=""):
    page.locator(f"{where} .nbp-form > summary").click()


def test_settings_of_a_static_page(view, pages):
    page = view(pages["scenes"])
    said = page.locator(".nbp-form > summary").inner_text()
    assert "betweenness" in said and "min overlaps 5" in said  # also while they are folded away
    open_settings(page)
    labels = page.locator(".nbp-form form label").all_inner_texts()
    assert labels == ["Centrality", "Min overlaps"]  # what was computed, and no more
    assert page.get_by_label("Min overlaps").locator("option").all_inner_texts() == ["5", "15"]
    summary = page.locator(".nbp-summary")
    before = summary.inner_text()
    page.get_by_label("Min overlaps").select_option(label="15")
    page.wait_for_function(
        "before => document.querySelector('.nbp-summary').textContent !== before", arg=before
    )
    assert page.locator(".nbp-status").inner_text() == "Ready"
    assert (
        page.locator(".nbp-gallery").is_hidden()
        and page.get_by_role("button", name="Save").count() == 0
    )


# --- for everybody


def test_names_are_text(view, pages):
    page = view(pages["scenes"])
    page.fill("input[type=search]", "onerror")
    assert column(page, 1) == [EVIL]
    page.locator(".nbp-triggers tr[data-at]").first.click()
    wait_for_title(page, EVIL)
    pick(page, "Umbrella")
    assert page.locator(".nbp img").count() == 0
    page.fill("input[type=search]", "bottle")
    assert len(set(column(page, 1))) == 2  # two classes of one name are told apart by their labels


@pytest.mark.parametrize("width", [390, 900, 1280])
def test_nothing_is_wider_than_the_page(view, pages, width):
    page = view(pages["scenes"], width=width, height=720)
    pick(page, "Umbrella")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.nbp-columns')).gridTemplateColumns"
    )
    assert len(columns.split(" ")) == {390: 1, 900: 2, 1280: 3}[width]
    # the table of triggers has all its columns
    shown = page.locator(".nbp-triggers th").evaluate_all(
        "all => all.map(e => e.checkVisibility())"
    )
    assert shown == [True] * 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(view, pages, scheme):
    "4.5 to 1 for text, as WCAG asks (AA)"
    page = view(pages["scenes"], color_scheme=scheme)
    assert page.locator(".nbp").get_attribute("data-theme") == scheme
    pick(page, "Umbrella")
    low = page.evaluate("""() => {
        const numbers = color => color.match(/[\\d.]+/g).map(Number);
        const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
        const ground = e => {
            for (; e; e = e.parentElement) {
                const c = numbers(getComputedStyle(e).backgroundColor);
                if (c.length < 4 || c[3] > 0) return c;
            }
            return [255, 255, 255] };
        const low = [];
        for (const e of document.querySelectorAll('.nbp *')) {
            const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!e.checkVisibility() || e.disabled || !text) continue;
            const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            const said = `${e.className || e.tagName} "${e.textContent.slice(0, 20)}"`;
            if (ratio < 4.5) low.push(`${said} ${ratio.toFixed(2)}`);
        }
        return low }""")
    assert low == []


def test_every_control_has_a_name(view, pages):
    page = view(pages["scenes"])
    pick(page, "Umbrella")
    nameless = page.evaluate("""() => {
        const kinds = 'input, select, button, canvas, [role=grid], section';
        const controls = document.querySelectorAll(`.nbp :is(${kinds})`);
        const named = e => e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim();
        return [...controls].filter(e => !named(e)).map(e => e.outerHTML.slice(0, 80)) }""")
    assert nameless == []
    assert_unique_ids(page)
    lost = page.evaluate("""() => {
        const names = ['aria-controls', 'aria-describedby', 'aria-labelledby', 'for'];
        const having = name => [...document.querySelectorAll(`[${name}]`)];
        const ids = names.flatMap(name => having(name).map(e => e.getAttribute(name)));
        return ids.filter(id => !document.getElementById(id)) }""")
    assert lost == []


# --- the widget on a model, as anywidget gives it

MODEL = """
// A model as anywidget hands it to render(): values, events, messages; no kernel is behind it
window.makeModel = (backend, changes = {}) => {
  const handlers = {}, values = {};
  const tell = (event, ...what) => [...(handlers[event] || [])].forEach(fn => fn(...what));
  const given = name => {
    const value = backend.get(name);
    return name === 'options' ? { ...value, static: false, ...changes } : value;
  };
  const model = {
    sent: [], handlers,
    get: name => name in values ? values[name] : given(name),
    set: (name, value) => { values[name] = value; tell(`change:${name}`) },
    on: (event, fn) => (handlers[event] ||= []).push(fn),
    off: (event, fn) => { handlers[event] = (handlers[event] || []).filter(f => f !== fn) },
    send: message => { model.sent.push(message); model.answer?.(message) || backend.send(message) },
    reply: (content, buffers) => tell('msg:custom', content, buffers),
  };
  for (const name of [
    'classes', 'params', 'status', 'result', 'detail', 'for_class', 'choice', 'counts', 'outputs',
    'marks',
  ]) backend.on(name, () => tell(`change:${name}`));
  return model;
};
window.picture = async (w, h, color) => {
  const canvas = new OffscreenCanvas(w, h), context = canvas.getContext('2d');
  context.fillStyle = color;
  context.fillRect(0, 0, w, h);
  context.fillStyle = '#fff8';
  context.fillRect(w * .2, h * .3, w * .4, h * .5);
  return new DataView(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer());
};
window.gallery = model => async message => {
  const images = [], buffers = [];
  for (let i = 0; i < 8; i++) {
    const flat = i % 3, poison = message.role === 'poison', broken = poison && i === 2;
    const boxes = [{ label: 'Class', x0: .2, y0: .3, x1: .6, y1: .8, kind: 'class' }];
    if (poison) boxes.push({ label: 'Umbrella', x0: .5, y0: .1, x1: .9, y1: .5, kind: 'trigger' });
    const [width, height] = flat ? [160, 100] : [100, 160];
    const error = broken ? 'cannot read x.jpg: truncated' : '';
    images.push({ id: `${message.role}-${message.page}-${i}`, width, height, error, boxes });
    const nothing = new DataView(new ArrayBuffer(0));
    buffers.push(broken ? nothing : await picture(160, 100, `hsl(${40 * i} 50% 45%)`));
  }
  model.reply({ ...message, type: 'gallery', pages: 3, total: 24, images }, buffers);
};
window.large = model => async message => {
  const boxes = [{ label: 'Umbrella', x0: .5, y0: .1, x1: .9, y1: .5, kind: 'trigger' }];
  const labels = ['Cat', 'Umbrella'];
  const image = { id: message.image, width: 160, height: 100, error: '', boxes, labels };
  model.reply({ type: 'picture', image }, [await picture(160, 100, '#345')]);
};
window.marking = model => ({ image, mark }) => {
  const marks = Object.entries({ ...model.get('marks'), [image]: mark });
  model.set('marks', Object.fromEntries(marks.filter(([, mark]) => mark)));
};
window.saving = model => ({ path }) => {
  model.set('outputs', { ...model.get('outputs'), saved: `saved to ${path}` });
};
window.answering = model => {
  const answers = {
    gallery: gallery(model), picture: large(model), mark: marking(model), save: saving(model),
  };
  return message => {
    answers[message.type]?.(message);
    return message.type in answers;
  };
};
"""


@pytest.fixture(scope="module")
def host(pages):
    "A page with room for two views; `show(n)` renders the widget's module into them with one model"
    text = (pages["folder"] / "scenes.html").read_text(encoding="utf-8")
    data = text.split('id="picker-data">')[1].split("</script>")[0]
    path = pages["folder"] / "host.html"
    source = json.dumps(javascript()).replace("<", chr(92) + "u003c")
    path.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><style>{stylesheet()}</style>
        <div id="a"></div><div id="b"></div>
        <script>{MODEL}
        window.source = {source}; window.data = {data};
        (async () => {{
          const module = new Blob([source], {{ type: 'text/javascript' }});
          const application = await import(URL.createObjectURL(module));
          const changes = {{ has_images: true, has_boxes: true, grid: null }};
          window.model = makeModel(application.staticBackend(data), changes);
          model.answer = answering(model);
          const {{ render }} = application.default;
          const hosts = ['a', 'b'].map(id => document.getElementById(id));
          window.cleanups = hosts.map(el => render({{ model, el }}));
        }})()</script>""",
        encoding="utf-8",
    )
    return path


def pick_first(page):
    "The first trigger of the view #a"
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    page.wait_for_selector("#a .nbp-detail tr[data-at]")


def messages(page, kind):
    return page.evaluate("kind => model.sent.filter(m => m.type === kind)", kind)


def test_two_views_of_one_widget(view, host):
    page = view(host)
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    name = page.locator("#a .nbp-triggers tr[data-at] .nbp-name").first.inner_text()
    wait_for_title(page, name, "#b")
    assert_unique_ids(page)
    page.evaluate("cleanups[0]()")
    assert page.locator("#a .nbp").count() == 0 and page.locator("#b .nbp").count() == 1
    page.evaluate("cleanups[1]()")
    assert (
        page.evaluate("Object.values(model.handlers).flat().length") == 0
    )  # nothing is left on the model


def test_the_form_sends_what_was_typed(view, host):
    page = view(host)
    open_settings(page, "#a")
    page.evaluate("model.answer = () => true")  # a kernel that has not answered yet
    form = page.locator("#a .nbp-form")
    number = form.get_by_label("Min clean")
    # both before a timer can go off
    number.evaluate("""input => {
        for (const text of ['20', '200']) {
            input.value = text;
            input.dispatchEvent(new Event('input', { bubbles: true }));
        } }""")
    page.wait_for_function("() => model.sent.some(m => m.type === 'analyze')")
    form.get_by_label("Weighted by overlaps").check()
    form.get_by_label("Not as triggers").fill("umbr")
    form.get_by_label("Not as triggers").press("Enter")
    sent = messages(page, "analyze")
    assert [m["params"]["min_clean"] for m in sent] == [
        200,
        200,
        200,
    ]  # one message for the two numbers
    assert [m["serial"] for m in sent] == [1, 2, 3] and sent[1]["params"]["weighted"] is True
    assert len(sent[2]["params"]["exclude"]) == 1 and form.locator(
        ".nbp-chip"
    ).inner_text().startswith("Umbrella")
    form.get_by_role("button", name="Offer Umbrella again").press("Enter")
    assert messages(page, "analyze")[-1]["params"]["exclude"] == []
    assert page.evaluate("document.activeElement.labels[0].innerText") == "Not as triggers"
    number.fill("")
    timers(page, 600)
    assert len(messages(page, "analyze")) == 4 and number.get_attribute("aria-invalid") == "true"
    assert form.locator(".nbp-wrong:visible").inner_text().startswith("A whole number")


def test_working_and_failing(view, host):
    page = view(host)
    open_settings(page, "#a")
    page.evaluate("model.answer = () => true")
    rows = column(page, 1, "#a .nbp-triggers")
    page.locator("#a").get_by_label("Min overlaps").fill("9999")
    page.wait_for_function("() => model.sent.length")
    page.evaluate(
        "model.set('status', { state: 'working', message: '', seconds: null, serial: 1 })"
    )
    page.wait_for_function(
        "() => document.querySelector('#a .nbp-status').textContent.startsWith('Working')"
    )
    assert page.locator("#a .nbp").get_attribute("aria-busy") == "true"
    assert column(page, 1, "#a .nbp-triggers") == rows  # the last result stays
    message = "the graph has no edges: <b>lower</b> min_overlaps"
    page.evaluate(
        "message => model.set('status', { state: 'error', message, seconds: .1, serial: 1 })",
        message,
    )
    alert = page.locator("#a .nbp-form [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == message and column(page, 1, "#a .nbp-triggers") == rows
    below = (
        alert.bounding_box()["y"]
        - page.locator("#a").get_by_label("Min overlaps").bounding_box()["y"]
    )
    assert 0 < below < 120  # beside the field, as the form is longer than the window
    assert (
        page.locator("#a").get_by_label("Min overlaps").input_value() == "9999"
    )  # to be corrected
    page.locator("#a").get_by_role("button", name="Back to the settings shown").click()
    assert page.evaluate("document.activeElement.name") == "min_overlaps"
    assert messages(page, "analyze")[-1]["params"]["min_overlaps"] == page.evaluate(
        "model.get('params').min_overlaps"
    )
    page.evaluate("model.set('status', { state: 'ready', message: '', seconds: 1.26, serial: 2 })")
    page.wait_for_function(
        "() => document.querySelector('#a .nbp-status').textContent === 'Ready in 1.3 s'"
    )
    assert alert.is_hidden()


def test_python_has_ended(view, host):
    page = view(host)
    page.evaluate("() => { model.send = () => { throw new Error('Cannot send') } }")
    page.locator("#a .nbp-triggers tr[data-at]").first.click()
    page.locator("#a .nbp-status", has_text="Not connected").wait_for()
    page.locator("#a .nbp-note", has_text="Python does not answer: load the page").wait_for()


def test_many_clicks_before_an_answer(view, host):
    page = view(host)
    pick_first(page)
    before = page.evaluate("model.get('choice').classes.length")
    page.evaluate("model.answer = () => true")
    # at once: a click without an answer is given up after a while
    page.evaluate("""() => {
        const rows = [...document.querySelectorAll('#a .nbp-detail tbody tr:has(input:checked)')];
        for (const { dataset } of rows.slice(0, 3))
            document.querySelector(`#a .nbp-detail tr[data-at="${dataset.at}"] input`).click() }""")
    assert len(messages(page, "choose")[-1]["classes"]) == before - 3


def test_the_gallery(view, host):
    # counted from the beginning: the page may show its first images before it is asked anything
    counting = """(() => {
        window.alive = new Set();
        const make = URL.createObjectURL, free = URL.revokeObjectURL;
        URL.createObjectURL = blob => {
            const url = make(blob);
            if (blob.type.startsWith("image/")) alive.add(url);  // not the scripts of the page
            return url };
        URL.revokeObjectURL = url => { alive.delete(url); free(url) } })()"""
    page = view(host, first=counting)
    page.evaluate("cleanups[1]()")
    pick_first(page)
    drawn(page)
    page.locator(".nbp-gallery").scroll_into_view_if_needed()
    page.wait_for_selector(".nbp-pane-poison .nbp-tile")
    page.wait_for_selector(".nbp-pane-clean .nbp-tile")
    calm = "() => !document.querySelector('.nbp-pane[aria-busy=true]') && alive.size === 15"
    page.wait_for_function(calm)  # one of 16 could not be read
    asked = messages(page, "gallery")
    assert [(m["role"], m["page"]) for m in asked[-2:]] == [("poison", 0), ("clean", 0)]
    assert (
        page.locator(".nbp-broken").inner_text().split("\n")[-1] == "cannot read x.jpg: truncated"
    )
    assert page.locator(".nbp-keys").is_visible()  # there are boxes
    fit = page.evaluate("""() => {
        const [p, b] = ['picture', 'box-trigger'].map(what =>
            document.querySelector(`.nbp-pane-poison .nbp-${what}`).getBoundingClientRect());
        return [(b.x - p.x) / p.width, (b.y - p.y) / p.height, b.width / p.width] }""")
    assert np.allclose(fit, [0.5, 0.1, 0.4], atol=0.02)  # the box lies where its fractions say
    # mark with the button and with the key, take back one
    tile = page.locator(".nbp-pane-poison button.nbp-tile").first
    tile.hover()
    page.locator(".nbp-pane-poison .nbp-mark-button").first.click()
    assert tile.locator(".nbp-badge").inner_text() == "not a valid trigger image"
    pressed = page.locator(".nbp-mark-button[aria-pressed=true]")
    assert pressed.get_attribute("aria-label").startswith("Mark poison-0-0 as")
    page.locator(".nbp-pane-clean button.nbp-tile").nth(1).focus()
    page.keyboard.press("m")
    assert page.evaluate("model.get('marks')") == {
        "poison-0-0": "not_trigger",
        "clean-0-1": "trigger_visible",
    }
    page.keyboard.press("m")
    assert page.evaluate("model.get('marks')") == {"poison-0-0": "not_trigger"}
    undo = page.get_by_role("button", name="Undo last mark")
    undo.click()
    assert len(page.evaluate("model.get('marks')")) == 2
    undo.click()
    undo.click()
    assert page.evaluate("model.get('marks')") == {} and undo.is_disabled()
    assert (
        page.evaluate("document.activeElement.tagName") == "SELECT"
    )  # the keyboard is not sent to the top
    # large: its id, its labels and the names of its boxes; the next one, also that of the next page
    large = page.locator("dialog[open]")
    tile.click()
    large.locator("p", has_text="Labels: Cat, Umbrella").wait_for()
    title = large.locator("h3")
    assert title.inner_text().endswith("1 of 24: poison-0-0")
    assert "Umbrella" in large.locator(".nbp-box-name").all_inner_texts()
    assert large.get_by_role("button", name="Previous").is_disabled()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("m")
    assert page.evaluate("model.get('marks')") == {"poison-0-1": "not_trigger"}
    assert large.get_by_role("button", name="Marked").get_attribute("aria-pressed") == "true"
    page.keyboard.press("m")
    page.keyboard.press("Escape")
    page.locator(".nbp-pane-poison button.nbp-tile").last.click()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => document.querySelector('dialog h3').textContent.includes('poison-1-0')"
    )
    page.keyboard.press("Escape")
    # when the browser has told that the window is closed: goes on where one was
    page.wait_for_function("() => document.activeElement.title === 'poison-1-0'")
    # pages: the old images are let go; an answer that comes too late is not shown
    assert "page 2 of 3" in page.locator(".nbp-pane-poison .nbp-hint").inner_text()
    page.wait_for_function(calm)
    page.evaluate("asked => large(model)(asked)", messages(page, "picture")[-1])
    page.wait_for_function(calm)  # a large one that comes too late is not kept
    page.evaluate("asked => gallery(model)(asked)", asked[-2])
    assert (
        page.locator(".nbp-pane-poison button.nbp-tile").first.get_attribute("title")
        == "poison-1-0"
    )
    page.locator(".nbp-gallery").get_by_label("Class", exact=True).select_option(index=1)
    page.wait_for_function(
        "() => document.querySelector('.nbp-pane-poison button.nbp-tile').title === 'poison-0-0'"
    )
    assert page.get_by_role("button", name="Previous poison images").is_disabled()
    page.evaluate("cleanups[0]()")
    assert page.evaluate("alive.size") == 0


def test_saving(view, host):
    page = view(host)
    pick_first(page)
    path = page.locator("#a").get_by_label("Save the selection as")
    path.fill("mine.json")
    page.locator("#a").get_by_role("button", name="Save").click()
    assert messages(page, "save") == [{"type": "save", "path": "mine.json"}]
    page.wait_for_function(
        "() => document.querySelector('#a .nbp-outcome').textContent.includes('saved to mine.json')"
    )
    page.evaluate("model.answer = () => true")
    page.locator("#a").get_by_role("button", name="Save").click()
    failed = {"state": "error", "message": "cannot write there", "seconds": None, "serial": 0}
    page.evaluate("failed => model.set('status', failed)", failed)
    alert = page.locator("#a .nbp-outcome [role=alert]")
    alert.wait_for()
    assert (
        alert.inner_text() == "cannot write there"
        and page.locator("#a .nbp-form [role=alert]").is_hidden()
    )


COLOR = "--jp-layout-color1"


def theme_is(page, theme):
    page.wait_for_selector(f"#a .nbp[data-theme={theme}]")


def test_jupyter_theme_wins_over_the_system(view, host):
    page = view(host, color_scheme="dark")
    theme_is(page, "dark")
    page.evaluate("name => document.documentElement.style.setProperty(name, 'white')", COLOR)
    theme_is(page, "light")
    page.evaluate("name => document.documentElement.style.removeProperty(name)", COLOR)
    theme_is(page, "dark")
    drawn(page)
    page.add_style_tag(content=f":root {{ {COLOR}: white }}")  # Voila's arrives after the picker
    theme_is(page, "light")


def test_a_theme_that_changes_twice_before_it_is_painted(view, host):
    "The second change takes the first one back, so that no color has changed in the end"
    page = view(host, color_scheme="dark")
    page.evaluate("name => document.documentElement.style.setProperty(name, 'white')", COLOR)
    theme_is(page, "light")
    drawn(page)
    between = page.evaluate(
        """async name => {
        document.documentElement.style.removeProperty(name);
        await null;  // observers are told now
        const between = document.querySelector('#a .nbp').dataset.theme;
        const style = document.createElement('style');
        style.textContent = `:root { ${name}: white }`;
        document.head.append(style);
        return between }""",
        COLOR,
    )
    assert between == "dark"
    theme_is(page, "light")


# --- the widget's Python end


def test_the_widget_holds_what_the_script_reads():
    read = set(re.findall(r'backend\.get\("(\w+)"\)', javascript()))
    known = {n for n, t in Picker.class_traits(sync=True).items()} - set(
        anywidget.AnyWidget.class_traits(sync=True)
    )
    assert read <= known and known - read <= {"for_class"}


def test_rules_of_the_stylesheet_stay_inside():
    text = re.sub(r"/\*.*?\*/|@keyframes \S+ {[^}]*}\s*}", "", stylesheet(), flags=re.S)
    for selectors in re.findall(r"([^{};]+){", text):
        if selectors.strip().startswith("@"):
            continue
        assert all(s.strip().startswith(".nbp") for s in re.split(r",(?![^(]*\))", selectors)), (
            selectors
        )


def test_an_exported_notebook_shows_a_table():
    "Without the state of the widget the table is what is left; with it, the live view"
    nbformat, exporters = (
        pytest.importorskip("nbformat"),
        pytest.importorskip("nbconvert.exporters"),
    )
    triggers = {"id": [0], "centrality": [0.5], "n_classes": [2], "n_images": [9], "n_poison": [4]}
    view = Picker(
        classes={"id": [0], "label": ["/m/a"], "name": [EVIL], "images": [9]},
        options={"dataset": "toy"},
        result={"triggers": triggers, "sets": {"0": []}, "summary": "1 trigger"},
    )
    data, metadata = view._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("picker", outputs=[output])]
    )
    text, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert "<table" in text and "&lt;img src=x" in text and EVIL not in text
    model = {"model_name": "AnyModel", "model_module": "anywidget", "state": {}}
    state = {"version_major": 2, "version_minor": 0, "state": {view.model_id: model}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    text, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert "application/vnd.jupyter.widget-view+json" in text and "Triggers in toy" not in text


# --- the scripts that are shipped


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    "`scripts/js.py`, looking at a copy of the sources and of the made file"
    spec = importlib.util.spec_from_file_location("js", ROOT / "scripts" / "js.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    leave = shutil.ignore_patterns("node_modules")
    for name in ("FOLDER", "STATIC"):
        copy = shutil.copytree(getattr(module, name), tmp_path / name, ignore=leave)
        monkeypatch.setattr(module, name, copy)
    return module


def test_the_script_is_made_from_its_sources(scripts):
    "Also where there is no node: a change of a source, of a tool or of the made file is seen"
    made = scripts.STATIC / scripts.MADE
    assert not scripts.stale(), "the sources in js/src are newer: run `make js`"
    for path in (scripts.FOLDER / "src" / "dom.js", scripts.FOLDER / "package-lock.json", made):
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert scripts.stale()
        path.write_bytes(before)
        assert not scripts.stale()
    made.unlink()
    assert scripts.stale()


def test_nothing_but_what_is_made_is_shipped(scripts):
    shipped = {path.name for path in scripts.STATIC.iterdir()}
    assert shipped == {scripts.MADE, "picker.css", "app.ipynb"}
