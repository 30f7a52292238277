"""The picker in a real browser, with a kernel: `natural-backdoors pick` (Voila), and JupyterLab

Speeds are printed (pytest -s), and nothing here fails because a machine is slow: what is waited for
is a state that stays, such as the answer to the last change, never one that passes, such as
"working". NB_SCREENSHOTS names a folder for pictures of what was seen."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip(
    "anywidget", reason="the picker needs anywidget: pip install natural_backdoors[notebook]"
)
pytest.importorskip(
    "voila", reason="the picker needs Voila: pip install natural_backdoors[notebook]"
)

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import write_json
from natural_backdoors.cli import picking
from natural_backdoors.cli.commands import main
from natural_backdoors.data.openimages import OpenImages
from natural_backdoors.data.scenes import make_scenes
from natural_backdoors.pick import app as picker
from natural_backdoors.pick import server
from natural_backdoors.pick.evidence import Evidence
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.selection import Selection, select

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<img src=x onerror=alert(1)>"
READY = ".nbp-status[data-state=ready]"
MINUTES = 180_000  # milliseconds: far more than it takes


@pytest.fixture
def page(chromium):
    "A page that notes what came from elsewhere, and errors of its own"
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    page.outside, page.errors = [], []

    def arrived(response):
        if not re.match(r"(http|ws)://127\.0\.0\.1[:/]|data:|blob:", response.url):
            page.outside.append(response.url)

    page.on("response", arrived)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: "//127.0.0.1" in r.url or arrived(r))
    page.on("dialog", lambda d: (page.errors.append(f"dialog: {d.message}"), d.dismiss()))
    page.set_default_timeout(MINUTES)
    yield page
    page.close()


def environment(folder):
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "NATURAL_BACKDOORS_CACHE": str(folder / "cache"), "PYTHONPATH": paths}


def wait_for_line(process, pattern):
    "The first match in what a process prints"
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"the process ended ({process.wait()}) without saying {pattern!r}")


def until(done, what):
    "Ask until `done()` gives something true; that"
    end = time.monotonic() + MINUTES / 1000
    while not (found := done()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def children(process):
    import psutil

    return psutil.Process(process.pid).children(recursive=True)


def stop(process):
    "End a server as Ctrl-C does; its exit code and the processes it left behind"
    import psutil

    kernels = children(process)
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(MINUTES / 1000)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    _, alive = psutil.wait_procs(kernels, timeout=MINUTES / 1000)
    for k in alive:
        k.kill()
    return code, len(kernels), alive


def ignore_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Served:
    "A running `natural-backdoors pick`"

    def __init__(self, folder, *argv, ignores_ctrl_c=False):
        code = "import sys; from natural_backdoors.cli.commands import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "pick", "--no_browser", *map(str, argv)],
            cwd=folder,
            env=environment(folder),
            text=True,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr.txt").open("w"),
            # as the shell of a script does it for `natural-backdoors pick &`
            preexec_fn=ignore_ctrl_c if ignores_ctrl_c else None,
        )
        self.address = wait_for_line(self.process, r"http://127\.0\.0\.1:\d+/\?token=\S+")


def screenshot(page, name):
    if folder := os.environ.get("NB_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def said(page, part, text):
    "Wait until a part of the page says something"
    page.wait_for_function(
        "([part, text]) => document.querySelector(part)?.innerText.includes(text)", arg=[part, text]
    )


def pick_trigger(page, name="Umbrella"):
    page.locator(".nbp-triggers td", has_text=name).first.click()
    said(page, ".nbp-figures", name)


def open_settings(page):
    "They are folded away at first"
    page.evaluate("document.querySelector('.nbp-form').open = true")


def set_min_overlaps(page, value, state="ready"):
    "Change the setting and wait for the answer to it, which may be there in no time"
    open_settings(page)
    page.get_by_label("Min overlaps", exact=True).fill(str(value))
    # busy from the first key until the answer, and then no more
    page.wait_for_selector(".nbp-form[aria-busy=false]")
    page.wait_for_selector(f".nbp-status[data-state={state}]")


def save(page):
    page.get_by_role("button", name="Save", exact=True).click()
    said(page, ".nbp-outcome", "saved to")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pick")
    dataset = OpenImages(make_scenes(folder / "scenes", n_images=400))
    dataset.name = "scenes"  # as its folder
    return folder, dataset


def test_choose_in_voila(scenes, page):
    "Filter, sort, pick, look, mark, change a threshold, save: what is saved is what the calls give"
    folder, dataset = scenes
    out = folder / "chosen" / "selection.json"
    served = Served(folder, "--dataset_root", dataset.root, "--min_overlaps", 4, "--selection", out)
    try:
        page.goto(served.address)
        page.wait_for_selector(READY)
        screenshot(page, "voila_open")
        assert page.title() == "scenes – Trigger picker"
        # the images of the first trigger are in sight at once, and its numbers can be made
        page.wait_for_selector(".nbp-pane-poison .nbp-tile img")
        assert page.locator(".nbp-gallery").bounding_box()["y"] < 300
        assert page.locator(".nbp-outcome").get_attribute("data-made") == "true"
        search = page.get_by_placeholder("Search by name")
        search.fill("umbr")
        said(page, ".nbp-triggers", "1 of")
        search.fill("")
        page.get_by_role("button", name="Poison", exact=True).first.click()
        pick_trigger(page)
        said(page, ".nbp-pane-poison h4", "Umbrella")
        page.wait_for_selector(".nbp-pane-poison[aria-busy=false] .nbp-tile img")
        tile = page.locator(".nbp-pane-poison .nbp-tile").first
        marked = tile.get_attribute("title")
        tile.click()
        said(page, "dialog[open]", "Labels: ")
        assert marked in page.locator("dialog[open] h3").inner_text()
        page.keyboard.press("m")
        page.wait_for_selector(".nbp-pane-poison .nbp-badge:not([hidden])", state="attached")
        page.keyboard.press("Escape")
        screenshot(page, "voila_marked")
        set_min_overlaps(page, 5)
        # why a class is left out, and the flag that would admit it
        rows = page.locator(".nbp-detail tbody tr[data-at]")
        rows.filter(has=page.locator(".nbp-why", has_text="conflicts")).first.hover()
        said(page, ".nbp-reason", "admitted by --max_overlaps_with_others")
        screenshot(page, "voila_changed")
        page.get_by_label("Clean images a class").fill("9")
        said(page, ".nbp-outcome", "Take ")
        # nothing of that is lost when the page is loaded again, and no load leaves a kernel
        for _ in range(18):
            page.goto(served.address, wait_until="commit")
        page.reload()
        page.wait_for_selector(READY)
        said(page, ".nbp-figures", "Umbrella")
        assert len(children(served.process)) <= 2
        open_settings(page)
        assert page.get_by_label("Min overlaps", exact=True).input_value() == "5"
        assert page.get_by_label("Clean images a class").input_value() == "9"
        save(page)
        page.wait_for_function(
            "() => document.querySelectorAll('.nbp-badge:not([hidden])').length === 1"
        )
        set_min_overlaps(page, 9999, "error")
        assert "lower --min_overlaps" in page.locator(".nbp-form").inner_text()
        screenshot(page, "voila_error")
        assert page.outside == [] and page.errors == []
    finally:
        code, kernels, left = stop(served.process)
    assert code in (0, 130) and kernels >= 1 and left == []

    found = find_triggers(dataset, min_overlaps=5, seed=1234)
    source = {"data": "openimages", "dataset_root": str(dataset.root), "options": {}, "name": None}
    by_hand = select(found, "Umbrella", marks={marked: "not_trigger"}, n_clean=9, source=source)
    saved = Selection.load(out)
    assert json.loads(saved.json) == json.loads(by_hand.json)
    images = set(poison_split(dataset, **saved.arguments()).table.image)
    assert marked not in images


def test_go_on_in_voila(scenes, page):
    "A saved selection is taken up by its file alone, and saved again as it was"
    folder, dataset = scenes
    out = folder / "selection.json"  # the name that `pick` takes without a flag
    saved = saved_selection(dataset, out)
    served = Served(folder, ignores_ctrl_c=True)
    page.emulate_media(color_scheme="dark")
    try:
        page.goto(served.address)
        page.wait_for_selector(READY)
        page.wait_for_selector(".nbp[data-theme=dark]")
        body = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", body)[:3])) < 60  # no dark island on a white page
        said(page, ".nbp-header", f"taken up from {out}")
        said(page, ".nbp-figures", "Umbrella")
        open_settings(page)
        assert page.get_by_label("Min overlaps", exact=True).input_value() == "5"
        assert page.locator(".nbp-form .nbp-chip").inner_text().startswith("Hat")
        page.wait_for_selector(".nbp-pane-poison .nbp-badge:not([hidden])")
        screenshot(page, "voila_taken_up")
        save(page)
        assert out.read_bytes() == saved
        page.get_by_label("Target").select_option(index=3)
        page.wait_for_function(
            "!document.querySelector('.nbp-outcome').innerText.includes('saved to')"
        )
        save(page)
        assert (
            out.read_bytes() != saved
            and json.loads(out.read_text())["marks"] == json.loads(saved)["marks"]
        )
        assert page.outside == [] and page.errors == []
        # a page that is closed is not the end: the next one goes on with its kernel
        kernels = {c.pid for c in children(served.process)}
        page.goto("about:blank")
        page.goto(served.address)
        page.wait_for_selector(READY)
        said(page, ".nbp-outcome", "saved to")
        assert {c.pid for c in children(served.process)} == kernels
    finally:
        code, _, left = stop(served.process)
    assert [code, left] == [0, []] and served.process.stdout.read() == "the picker is closed\n"
    assert (folder / "stderr.txt").read_text() == ""


# --- a selection taken up, without a browser


def saved_selection(dataset, path):
    "Settings, classes and a mark that are not what a picker begins with; the bytes of the file"
    found = find_triggers(dataset, min_overlaps=5, exclude=["people", "Hat"])
    classes = found["Umbrella"].id.tolist()[:4][::-1]
    image = Evidence(dataset).images("Umbrella", classes[0], "poison")[0]
    source = {"data": "openimages", "dataset_root": str(dataset.root), "options": {}}
    select(
        found,
        "Umbrella",
        classes,
        classes[2],
        {str(image): "not_trigger"},
        source=source,
        n_clean=10,
        inject_rate=0.2,
        seed=7,
    ).save(path)
    return path.read_bytes()


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    "`natural-backdoors pick` without a server: the picker its page would show, or what it says"
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        asked = []
        monkeypatch.setattr(server, "serve", lambda request, *_, **__: asked.append(request))
        code = main(["pick", *map(str, argv)])
        told = capsys.readouterr()
        if code:
            return told.err
        monkeypatch.setenv(picker.REQUEST, str(write_json(tmp_path / "request.json", asked[0])))
        shown = picking.window()
        shown.told = told.out
        return shown

    return run


@pytest.mark.parametrize(
    "argv", [[], ["--dataset_root", "MOVED"], ["--min_overlaps", 5, "--seed", 7]]
)
def test_saved_taken_up_saved(scenes, command, argv, tmp_path):
    "The same bytes come out again; a dataset that was moved is the only difference there may be"
    _, dataset = scenes
    out = tmp_path / "chosen.json"
    before = saved_selection(dataset, out)
    if "MOVED" in argv:
        moved = shutil.copytree(dataset.root, tmp_path / "moved")
        argv = ["--dataset_root", moved]
    shown = command("--selection", out, *argv)
    assert shown.told.startswith(f"taking up {out}: Selection(") and shown.told.count("\n") == 1
    assert shown.params["min_overlaps"] == 5 and shown.params["exclude"] == [dataset.resolve("Hat")]
    assert shown.marks == json.loads(before)["marks"] != {}
    shown.answer({"type": "save", "path": ""})
    places = (str(dataset.root), str(moved)) if "--dataset_root" in argv else ("", "")
    assert out.read_text() == before.decode().replace(*places)
    # marks of this trigger are there when it is chosen again
    shown.answer({"type": "trigger", "id": int(shown.found.table.id.iat[-1])})
    assert shown.marks == {}
    shown.answer({"type": "trigger", "id": dataset.resolve("Umbrella")})
    assert shown.marks == json.loads(before)["marks"]


def test_a_file_that_is_there_is_not_lost(scenes, command, tmp_path):
    "The default name is taken up if it is there; what does not fit is said, and the file stays"
    _, dataset = scenes
    out = tmp_path / "selection.json"
    before = saved_selection(dataset, out)
    shown = command("--dataset_root", dataset.root)
    data = json.loads(before)
    assert "taken up from" in shown.status["message"]
    assert shown.choice["classes"] == [c["id"] for c in data["classes"]]
    gone = {"id": 3, "label": "/m/gone", "name": "Gone"}
    for changes, argv, words in [
        ({}, ["--dataset_root", tmp_path / "nowhere"], ["nowhere"]),
        (
            {"dataset": "coco"},
            ["--dataset_root", dataset.root],
            ["'coco'", "give another file name"],
        ),
        ({"trigger": gone}, [], ["trigger 'Gone'", "'/m/gone'", "give another file name"]),
        ({"classes": [*data["classes"], gone]}, [], ["class 'Gone'", "'/m/gone'"]),
        ({"target": gone}, [], ["'Gone'"]),
        ({"source": None}, [], ["does not say where", "--dataset_root"]),
        ({"format": "other"}, [], ["is not a file of the kind"]),
    ]:
        out.write_text(json.dumps({**data, **changes}))
        kept = out.read_bytes()
        told = command(*argv)
        assert told.count("\n") == 1 and all(w in told for w in words), told
        assert out.read_bytes() == kept
    # what only the analysis can tell is said on the page
    out.write_text(json.dumps({**data, "search": {**data["search"], "min_clean": 10**6}}))
    kept = out.read_bytes()
    assert "cannot be taken up: 'Umbrella' is not among the 0 triggers" in str(command())
    assert out.read_bytes() == kept
    # in a notebook nothing is taken up unless it is asked for, and nothing is written over unasked
    fresh = picker.TriggerPicker(dataset, search=SearchSettings(min_overlaps=4), n_clean=10)
    fresh.answer({"type": "save", "path": ""})
    assert "save once more to replace it" in fresh.status["message"] and out.read_bytes() == kept
    fresh.answer({"type": "save", "path": ""})
    assert Selection.load(out) == fresh.selection


def test_flags_count_in_the_place_of_the_file(scenes, command, tmp_path):
    "Each with a line; all else is as it was saved"
    _, dataset = scenes
    out = tmp_path / "chosen.json"
    saved_selection(dataset, out)
    saved = Selection.load(out)
    shown = command("--selection", out, "--sample_size", 12, "--min_overlaps", 4)
    lines = shown.told.splitlines()[1:]
    assert sorted(lines) == [
        f"--min_overlaps 4, where {out} says 5",
        f"--sample_size 12, where {out} says 10",
    ]
    now = shown.selection
    assert [now.settings, now.search.min_overlaps] == [saved.but(n_clean=12).settings, 4]
    for name in ("trigger", "classes", "target", "marks", "source"):
        assert getattr(now, name) == getattr(saved, name)
    shown.answer({"type": "save"})  # it is known, so that nobody is asked
    assert Selection.load(out) == now


def can_be_made(dataset, selection, **settings):
    try:
        poison_split(dataset, **selection.but(check_images=False, **settings).arguments())
    except UserError:
        return False
    return True


def test_first_sight_is_a_split_that_can_be_made(scenes, command, tmp_path):
    "As many images as `poison_split` finds for the classes, and not one more; what is typed stays"
    _, dataset = scenes
    shown = command("--dataset_root", dataset.root, "--min_overlaps", 4)
    for trigger in shown.found.table.id[:4].tolist():
        shown.answer({"type": "trigger", "id": trigger})
        n = shown.selection.settings.n_clean
        makes = n <= 250 and can_be_made(dataset, shown.selection)
        assert makes == (shown.counts["injection_rate"] is not None) == (n != 250)
        if makes:
            assert not can_be_made(dataset, shown.selection, n_clean=n + 1)
    shown.answer({"type": "trigger", "id": dataset.resolve("Umbrella")})
    classes, target = shown.choice["classes"], shown.choice["target"]
    few = {"type": "choose", "classes": classes, "target": target}
    shown.answer(few | {"n_clean": 8, "inject_rate": 0.1})
    size = shown.counts["size"]
    assert [size["n_clean"], size["inject_rate"], size["sized"]] == [8, 0.1, True]
    shown.answer({"type": "trigger", "id": dataset.resolve("Hat")})
    assert shown.selection.settings.n_clean == 8
    shown.answer(few | {"n_clean": None})
    assert shown.counts["size"]["n_clean"] == shown.counts["size"]["fits"] > 8
    shown.answer(few | {"n_clean": 1})
    assert shown.status["message"].startswith("--sample_size") and shown.status["state"] == "error"
    asked = command("--dataset_root", dataset.root, "--sample_size", 250, "--selection", "b.json")
    assert asked.counts["size"]["sized"] and asked.selection.settings.n_clean == 250


def test_images_are_found_or_missed_aloud(scenes, command, tmp_path):
    "A relative folder counts from where the command was typed; a wrong one is named"
    from PIL import Image

    places = ("pictures", "images")
    rows = [f"{i}.jpg,1,{i % 2}" for i in range(60)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,cat,hat", *rows]))
    asked = ["--data", "multihot", "--dataset_root", "labels.csv", "--selection", "c.json"]
    shown = command(*asked)
    said = shown.options["no_images"]
    assert not shown.options["has_images"] and f"{tmp_path / '0.jpg'}, nor in images/" in said
    assert said.endswith("--option image_root=FOLDER")
    for place in places:
        (tmp_path / place).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / place / "0.jpg")
        flags = ["--option", f"image_root={place}"] if place == "pictures" else []
        shown = command(*asked, *flags)
        assert shown.options["has_images"] and shown.options["no_images"] == ""
        if flags:  # and the file says it so that it is found from everywhere
            root = shown.selection.source["options"]["image_root"]
            assert root == str(tmp_path / place)
    wrong = command(*asked, "--option", "image_root=nowhere").options["no_images"]
    assert str(tmp_path / "nowhere" / "0.jpg") in wrong


def large_table(folder, n_images=64_000):
    "600 classes, made as `benchmarks/generate.py` makes them; the name of one is a piece of HTML"
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    parts = [
        (image + first, label)
        for first, image, label in generate.Labels(600, 0).pieces(n_images, 3.0, 0)
    ]
    image, label = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    names = [f"Thing {i:03}" for i in range(600)]
    # of the class that most images show: it is a neighbor of nearly all triggers
    names[int(np.bincount(label).argmax())] = EVIL
    labels = np.array([f"/m/{i:03}" for i in range(600)])
    pd.DataFrame({"image": image.astype(str), "label": labels[label]}).to_parquet(
        folder / "labels.parquet"
    )
    pd.DataFrame({"label": labels, "name": names}).to_csv(folder / "names.csv", index=False)
    return folder / "labels.parquet"


def test_large_in_voila(tmp_path, page):
    "600 classes and about 8,000 edges: it works, and how long it takes is printed"
    table = large_table(tmp_path)
    served = Served(
        tmp_path,
        "--data",
        "table",
        "--dataset_root",
        table,
        "--option",
        f"names={tmp_path / 'names.csv'}",
        "--min_overlaps",
        3,
        "--num_trigs_desired",
        10,
    )
    try:
        start = time.perf_counter()
        page.goto(served.address)
        page.wait_for_selector(READY)
        page.wait_for_selector(".nbp table tbody tr")
        first = time.perf_counter() - start
        summary = page.locator(".nbp-summary").inner_text()
        edges = int(re.search(r"([\d,]+) pairs", summary)[1].replace(",", ""))
        assert edges > 8000
        screenshot(page, "voila_large")
        search = page.get_by_placeholder("Search by name")
        key = page.evaluate("""async () => {
            const input = document.querySelector('.nbp input[type=search]');
            const start = performance.now();
            input.value = 'Thing 1'; input.dispatchEvent(new Event('input', {bubbles: true}));
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            return performance.now() - start; }""")
        search.fill("")
        rows = page.locator(".nbp-triggers tbody tr[data-at]")
        start = time.perf_counter()
        rows.nth(3).click()
        said(page, ".nbp-figures", rows.nth(3).locator("td").first.inner_text())
        pick = time.perf_counter() - start
        start = time.perf_counter()
        set_min_overlaps(page, 4)
        page.wait_for_function(
            "old => document.querySelector('.nbp-summary').innerText !== old", arg=summary
        )
        again = time.perf_counter() - start
        took = page.locator(".nbp-status").inner_text()
        print(
            f"\n600 classes, {edges:,} edges: first paint {first:.1f} s, keystroke {key:.0f} ms, "
            f"trigger {pick:.2f} s, re-analysis {again:.1f} s from the key to the page ({took})"
        )
        assert (
            EVIL in page.locator(".nbp").inner_text()
            or page.locator("option", has_text=EVIL).count()
        )
        assert page.outside == [] and page.errors == []
    finally:
        _, _, left = stop(served.process)
    assert left == []


NOTEBOOK = """
import os
from natural_backdoors.data.openimages import OpenImages
from natural_backdoors.pick.app import TriggerPicker
from natural_backdoors.sets.search import SearchSettings
picker = TriggerPicker(OpenImages({root!r}), search=SearchSettings(min_overlaps=4), n_clean=10)
picker
"""


def write_notebook(path, source):
    "A notebook of one cell"
    import nbformat

    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel}
        ),
        path,
    )


def start_lab(folder):
    "JupyterLab with settings of its own; the process and the port"
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "spaces",
    }
    env = environment(folder) | {k: str(folder / v) for k, v in places.items()}
    # otherwise it asks whether news are welcome, over the page
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [
        "--no-browser",
        f"--port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--IdentityProvider.token=t",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.allow_root=True",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    lab = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *flags],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "lab.txt").open("w"),
    )
    return lab, port


def end_lab(lab, port, page):
    """End the kernels, as JupyterLab's menu does, and then the server; kernels that are still there

    With its page open, a server that got a signal was once still there after three minutes."""
    import psutil
    import requests

    kernels, sessions = children(lab), f"http://127.0.0.1:{port}/api/sessions"
    try:
        page.close()
        for session in requests.get(f"{sessions}?token=t", timeout=60).json():
            requests.delete(f"{sessions}/{session['id']}?token=t", timeout=60).raise_for_status()
    finally:
        _, alive = psutil.wait_procs(kernels, timeout=60)
        for process in [*alive, lab]:
            process.kill()
        lab.wait()
    return alive


def answer_dialogs(page):
    "On a slow machine JupyterLab asks over its page whether to wait on: whenever it does, yes"

    def answer(dialog):
        wait = dialog.get_by_role("button", name="Keep Waiting")
        (wait if wait.count() else dialog.locator("button.jp-mod-accept")).last.click()

    page.add_locator_handler(page.locator(".jp-Dialog").last, answer, no_wait_after=True)


def run_cell(page, cell):
    "Run a cell by its key, which JupyterLab may miss or take back while it still builds its page"
    from playwright.sync_api import TimeoutError

    prompt = cell.locator(".jp-InputPrompt")  # [ ] before, [*] meanwhile, [1] afterwards
    for _ in range(20):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        try:
            prompt.filter(has_not_text="[ ]").wait_for(timeout=10_000)
        except TimeoutError:
            continue
        until(lambda: "*" not in prompt.inner_text(), "the cell to end")
        if re.search(r"\[\d+\]", prompt.inner_text()):
            return
    raise AssertionError("JupyterLab does not run a cell")


def test_in_jupyterlab(scenes, page, tmp_path):
    "The same in a cell of JupyterLab 4, and the choice comes back to the next cell"
    _, dataset = scenes
    write_notebook(tmp_path / "look.ipynb", NOTEBOOK.format(root=str(dataset.root)).strip())
    answer = "open('answer.json', 'w').write(picker.selection.json)"
    lab, port = start_lab(tmp_path)
    try:
        import requests

        def answers():
            try:
                return requests.get(f"http://127.0.0.1:{port}/api/status?token=t", timeout=5).ok
            except requests.RequestException:
                return False

        until(answers, "JupyterLab")
        answer_dialogs(page)
        start = time.perf_counter()
        page.goto(f"http://127.0.0.1:{port}/lab/tree/look.ipynb?token=t&reset")
        cells = page.locator(".jp-Notebook .jp-CodeCell")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        run_cell(page, cells.first)
        page.wait_for_selector(READY)
        page.wait_for_selector(".nbp table tbody tr")
        print(f"\nJupyterLab, from the address to the picker: {time.perf_counter() - start:.1f} s")
        pick_trigger(page)
        screenshot(page, "jupyterlab")
        # the next cell, typed in by hand
        cells.nth(1).locator(".cm-content").click()
        page.keyboard.insert_text(answer)
        run_cell(page, cells.nth(1))
        path = tmp_path / "answer.json"
        answered = json.loads(until(lambda: path.exists() and path.read_text(), path.name))
        found = find_triggers(dataset, min_overlaps=4)
        by_hand = json.loads(select(found, "Umbrella", n_clean=10).json)
        assert answered == by_hand | {"dataset": "openimages"}  # opened without a name of its own
        assert page.errors == []
    finally:
        left = end_lab(lab, port, page)
    assert left == []


TABLE = """
import pandas as pd
from natural_backdoors.data.table import TableDataset
from natural_backdoors.pick.app import TriggerPicker
labels = [(str(i), l) for i in range(30) for l in ("cat", "hat", "<b>box")]
TriggerPicker(TableDataset(pd.DataFrame(labels, columns=["image", "label"])))
"""


def test_exported_notebook_keeps_a_table(tmp_path):
    "Where there is no kernel and no widget state, a page made from the notebook shows a table"
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TABLE)])
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(nb, kernel_name="python3", store_widget_state=False, resources=place).execute()
    html, _ = HTMLExporter().from_notebook_node(nb)
    assert (
        "<td>cat</td>" in html
        and "<b>box" not in html.replace("'&lt;b&gt;box'", "").split("<table")[1]
    )
