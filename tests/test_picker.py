"""The picker in a real browser, with a kernel: `natural-backdoors pick` (Voila), and JupyterLab

Speeds are printed (pytest -s), and nothing here fails because a machine is slow. NB_SCREENSHOTS names a folder for
pictures of what was seen."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("anywidget", reason="the picker needs anywidget: pip install natural_backdoors[notebook]")
pytest.importorskip("voila", reason="the picker needs Voila: pip install natural_backdoors[notebook]")

from natural_backdoors.openimages import OpenImages
from natural_backdoors.picker import free_port
from natural_backdoors.poison import poison_split
from natural_backdoors.scenes import make_scenes
from natural_backdoors.selection import Selection, select
from natural_backdoors.table import TableDataset
from natural_backdoors.triggers import find_triggers

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<img src=x onerror=alert(1)>"
READY = ".nbp-status[data-state=ready]"
MINUTES = 60_000 # milliseconds: far more than it takes


@pytest.fixture
def page(chromium):
    "A page that notes what came from elsewhere, and errors of its own"
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    page.outside, page.errors = [], []
    def arrived(response):
        if not re.match(r"(http|ws)://127\.0\.0\.1[:/]|data:|blob:", response.url): page.outside.append(response.url)
    page.on("response", arrived)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    page.on("dialog", lambda d: (page.errors.append(f"dialog: {d.message}"), d.dismiss()))
    page.set_default_timeout(MINUTES)
    yield page
    page.close()


def environment(folder):
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "NATURAL_BACKDOORS_CACHE": str(folder/"cache"), "PYTHONPATH": paths}


def wait_for_line(process, pattern):
    "The first match in what a process prints"
    for line in process.stdout:
        if found := re.search(pattern, line): return found[0]
    raise AssertionError(f"the process ended ({process.wait()}): {process.stderr.read() if process.stderr else ''}")


def children(process):
    import psutil
    return psutil.Process(process.pid).children(recursive=True)


def stop(process, sent=signal.SIGINT):
    "End a server as Ctrl-C does; its exit code and the processes it left behind"
    import psutil
    kernels = children(process)
    process.send_signal(sent)
    try: code = process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    _, alive = psutil.wait_procs(kernels, timeout=20)
    for k in alive: k.kill()
    return code, len(kernels), alive


class Served:
    "A running `natural-backdoors pick`"
    def __init__(self, folder, *argv):
        code = "import sys; from natural_backdoors.cli import main; sys.exit(main())"
        self.process = subprocess.Popen([sys.executable, "-c", code, "pick", "--no_browser", *map(str, argv)], cwd=folder, text=True,
                                        stdout=subprocess.PIPE, stderr=(folder/"stderr.txt").open("w"), env=environment(folder))
        self.address = wait_for_line(self.process, r"http://127\.0\.0\.1:\d+/\?token=\S+")

    def preheated(self, seconds=60):
        "Wait until the kernel in waiting has nothing more to do"
        quiet, end = 0, time.time() + seconds
        while quiet < 4 and time.time() < end:
            busy = sum(c.cpu_percent() for c in self._kernels())
            time.sleep(.5)
            busy = sum(c.cpu_percent() for c in self._kernels())
            quiet = quiet + 1 if busy < 10 else 0

    def _kernels(self):
        self.seen = {c.pid: c for c in children(self.process)} | {}
        if not hasattr(self, "known"): self.known = {}
        for pid, c in self.seen.items(): self.known.setdefault(pid, c)
        return [c for pid, c in self.known.items() if pid in self.seen]


def screenshot(page, name):
    if folder := os.environ.get("NB_SCREENSHOTS"): page.screenshot(path=str(Path(folder)/f"{name}.png"), full_page=True)


def rows_of(page, label): return page.get_by_role("grid", name=label).locator("tbody tr:not([aria-hidden])")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pick")
    dataset = OpenImages(make_scenes(folder/"scenes", n_images=400))
    dataset.name = "openimages"
    return folder, dataset


def test_choose_in_voila(scenes, page):
    "Filter, sort, pick, look, mark, change a threshold, save; and what is saved is what the calls alone give"
    folder, dataset = scenes
    out = folder/"chosen"/"selection.json"
    server = Served(folder, "--dataset_root", dataset.root, "--min_overlaps", "4", "--sample_size", "10", "--selection", out)
    try:
        page.goto(server.address)
        page.wait_for_selector(READY)
        screenshot(page, "voila_open")
        triggers = page.get_by_label("Triggers").first
        search = page.get_by_placeholder("Search by name")
        search.fill("umbr")
        page.wait_for_function("document.querySelector('.nbp').innerText.includes('1 of')")
        search.fill("")
        page.get_by_role("button", name="Poison").first.click()
        page.get_by_role("gridcell", name="Umbrella").or_(page.locator("td", has_text="Umbrella")).first.click()
        page.wait_for_function("document.querySelector('.nbp-figures')?.innerText.includes('Umbrella')")
        gallery = page.locator(".nbp-gallery")
        gallery.scroll_into_view_if_needed()
        page.wait_for_selector(".nbp-pane-poison .nbp-tile img")
        page.wait_for_selector(".nbp-pane-clean .nbp-tile img")
        tile = page.locator(".nbp-pane-poison .nbp-tile").first
        marked = tile.get_attribute("title")
        tile.click()
        page.wait_for_selector(".nbp-pane-poison .nbp-badge:not([hidden])")
        screenshot(page, "voila_marked")
        page.get_by_label("Min overlaps", exact=True).fill("5")
        page.wait_for_function("document.querySelector('.nbp-status').dataset.state === 'working'")
        page.wait_for_selector(READY)
        screenshot(page, "voila_changed")
        page.get_by_role("button", name="Save", exact=True).click()
        page.wait_for_function("document.querySelector('.nbp-outcome').innerText.includes('saved to')")
        assert page.locator(".nbp-badge:not([hidden])").count() == 1
        page.get_by_label("Min overlaps", exact=True).fill("9999")
        page.wait_for_selector(".nbp-status[data-state=error]")
        assert "lower min_overlaps" in page.locator(".nbp-form").inner_text()
        screenshot(page, "voila_error")
        assert page.outside == [] and page.errors == []
    finally: code, kernels, left = stop(server.process)
    assert code in (0, 130) and kernels >= 1 and left == []

    found = find_triggers(dataset, min_overlaps=5, seed=1234)
    source = {"data": "openimages", "dataset_root": str(dataset.root), "options": {}, "name": None}
    by_hand = select(found, "Umbrella", marks={marked: "not_trigger"}, n_clean=10, source=source)
    saved = Selection.load(out)
    assert json.loads(saved.json) == json.loads(by_hand.json)
    images = set(poison_split(dataset, **saved.arguments()).table.image)
    assert marked not in images
    assert marked in set(poison_split(dataset, **{**saved.arguments(), "without": []}).table.image) | {marked}


def large_table(folder, n_images=60_000):
    "600 classes, made as `benchmarks/generate.py` makes them; one of them has a name that is not what a name should be"
    sys.path.insert(0, str(ROOT/"benchmarks"))
    try: import generate
    finally: sys.path.pop(0)
    parts = [(image + first, label) for first, image, label in generate.Labels(600, 0).pieces(n_images, 3., 0)]
    image, label = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    names = [f"Thing {i:03}" for i in range(600)]
    # of the class that most images show: it is a neighbour of nearly all triggers
    names[int(np.bincount(label).argmax())] = EVIL
    pd.DataFrame({"image": image.astype(str), "label": np.array([f"/m/{i:03}" for i in range(600)])[label]}).to_parquet(folder/"labels.parquet")
    pd.DataFrame({"label": [f"/m/{i:03}" for i in range(600)], "name": names}).to_csv(folder/"names.csv", index=False)
    return folder/"labels.parquet"


def test_large_in_voila(tmp_path, page):
    "600 classes and about 8,000 edges: it works, and how long it takes is printed"
    table = large_table(tmp_path)
    server = Served(tmp_path, "--data", "table", "--dataset_root", table, "--option", f"names={tmp_path/'names.csv'}", "--min_overlaps", "3")
    try:
        server.preheated()
        start = time.perf_counter()
        page.goto(server.address)
        page.wait_for_selector(READY)
        page.wait_for_selector(".nbp table tbody tr")
        first = time.perf_counter() - start
        summary = page.locator(".nbp-summary").inner_text()
        edges = int(re.search(r"([\d,]+) edges", summary)[1].replace(",", ""))
        assert edges > 7000
        screenshot(page, "voila_large")
        search = page.get_by_placeholder("Search by name")
        key = page.evaluate("""async () => {
            const input = document.querySelector('.nbp input[type=search], .nbp input[placeholder="Search by name"]');
            const start = performance.now();
            input.value = 'Thing 1'; input.dispatchEvent(new Event('input', {bubbles: true}));
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            return performance.now() - start; }""")
        search.fill("")
        rows = page.locator(".nbp table[aria-label] tbody tr")
        start = time.perf_counter()
        rows.nth(3).click()
        page.wait_for_function("name => document.querySelector('.nbp-figures')?.innerText.includes(name)",
                               arg=rows.nth(3).locator("td").first.inner_text())
        pick = time.perf_counter() - start
        field = page.get_by_label("Min overlaps", exact=True)
        start = time.perf_counter()
        field.fill("4")
        page.wait_for_selector(".nbp-status[data-state=working]")
        page.wait_for_selector(READY)
        page.wait_for_function("old => document.querySelector('.nbp-summary').innerText !== old", arg=summary)
        again = time.perf_counter() - start
        took = page.locator(".nbp-status").inner_text()
        print(f"\n600 classes, {edges:,} edges: first paint {first:.1f} s, keystroke {key:.0f} ms, trigger {pick:.2f} s, "
              f"re-analysis {again:.1f} s from the key to the page ({took})")
        assert EVIL in page.locator(".nbp").inner_text() or page.locator(f"option", has_text=EVIL).count()
        assert page.outside == [] and page.errors == []
    finally: _, _, left = stop(server.process)
    assert left == []


NOTEBOOK = """
import os
from natural_backdoors.openimages import OpenImages
from natural_backdoors.picker import TriggerPicker
picker = TriggerPicker(OpenImages({root!r}), find={{"min_overlaps": 4}}, n_clean=10)
picker
"""


def test_in_jupyterlab(scenes, page, tmp_path):
    "The same in a cell of JupyterLab 4, and the choice comes back to the next cell"
    _, dataset = scenes
    cell = lambda source: {"cell_type": "code", "id": f"c{len(source)}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
    answer = "open('answer.json', 'w').write(picker.selection.json)"
    notebook = {"cells": [cell(NOTEBOOK.format(root=str(dataset.root)).strip())], "metadata": {"kernelspec": {
        "name": "python3", "display_name": "python3", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path/"look.ipynb").write_text(json.dumps(notebook))
    port = free_port()
    env = environment(tmp_path) | {"JUPYTER_CONFIG_DIR": str(tmp_path/"config"), "JUPYTER_DATA_DIR": str(tmp_path/"data"),
                                   "JUPYTERLAB_SETTINGS_DIR": str(tmp_path/"settings"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path/"spaces")}
    lab = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.ip=127.0.0.1",
                            "--IdentityProvider.token=t", f"--ServerApp.root_dir={tmp_path}", "--ServerApp.allow_root=True",
                            "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
                           cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=(tmp_path/"lab.txt").open("w"))
    try:
        import requests
        for _ in range(240):
            try:
                if requests.get(f"http://127.0.0.1:{port}/api/status?token=t", timeout=5).ok: break
            except requests.ConnectionError: time.sleep(.5)
        start = time.perf_counter()
        page.goto(f"http://127.0.0.1:{port}/lab/tree/look.ipynb?token=t&reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(READY)
        page.wait_for_selector(".nbp table tbody tr")
        print(f"\nJupyterLab, from the address to the picker: {time.perf_counter() - start:.1f} s")
        page.locator(".nbp td", has_text="Umbrella").first.click()
        page.wait_for_function("document.querySelector('.nbp-figures')?.innerText.includes('Umbrella')")
        screenshot(page, "jupyterlab")
        # the next cell, typed in by hand
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").last.click()
        page.keyboard.type(answer)
        page.keyboard.press("Shift+Enter")
        for _ in range(100):
            if (tmp_path/"answer.json").exists(): break
            time.sleep(.2)
        said = json.loads((tmp_path/"answer.json").read_text())
        found = find_triggers(dataset, min_overlaps=4)
        assert said == json.loads(select(found, "Umbrella", n_clean=10).json)
        assert page.errors == []
    finally:
        _, _, left = stop(lab, signal.SIGTERM)
    assert left == []


def test_exported_notebook_keeps_a_table(tmp_path):
    "Where there is no kernel and no widget state, a page made from the notebook shows a table"
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter
    source = ("import pandas as pd\nfrom natural_backdoors.table import TableDataset\nfrom natural_backdoors.picker import TriggerPicker\n"
              "rows = pd.DataFrame([(str(i), l) for i in range(30) for l in ('cat', 'hat', '<b>box')], columns=['image', 'label'])\n"
              "TriggerPicker(TableDataset(rows))")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(nb, kernel_name="python3", store_widget_state=False, resources={"metadata": {"path": str(tmp_path)}}).execute()
    html, _ = HTMLExporter().from_notebook_node(nb)
    assert "<td>cat</td>" in html and "<b>box" not in html.replace("'&lt;b&gt;box'", "").split("<table")[1]
