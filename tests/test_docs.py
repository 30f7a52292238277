"""The documentation site: built from a copy, its links followed, seen in a browser without network

Without a browser the last part is skipped, or fails with NB_REQUIRE_BROWSER=1.
"""

import functools
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from copies import copies_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "index.html",
    "tutorials/first_backdoor.html",
    "api/sets/triggers.html",
    "api/index.html",
    "source/sets.triggers.html",
    "explanations/performance.html",
    "tutorials/widgets.html",
    "genindex.html",
    "search.html?q=coco",
    "howto/data_medical.html",
]
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


def markdown(*parts):
    return [
        {"cell_type": "markdown", "id": f"m{i}", "metadata": {}, "source": part}
        for i, part in enumerate(parts)
    ]


def code(source, *outputs):
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source))}",
        "metadata": {},
        "execution_count": None,
        "source": source,
        "outputs": list(outputs),
    }


def write(path, cells):
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )


WIDGETS = """import ipywidgets, anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = '''export default {render({model, el}) {
      let b = document.createElement("button"); b.id = "counter"
      let show = () => b.textContent = "count " + model.get("n")
      b.onclick = () => model.set("n", model.get("n") + 1)
      model.on("change:n", show); show(); el.append(b)
    }}'''
    n = traitlets.Int(41).tag(sync=True)
display(ipywidgets.IntSlider(value=5, description="slide"), Counter())"""
FRAME = """from pathlib import Path
from IPython.display import IFrame
Path("_static").mkdir(exist_ok=True)
html = "<!doctype html><title>inner</title><p id=inner>made at build time</p>"
Path("_static/inner.html").write_text(html)
IFrame("_static/inner.html", "100%", 80)"""


# what building a site imports
IMPORTED = ["build", "fasttransform", "myst_nb.sphinx_", "myst_nb.sphinx_ext", "nbclient"]
IMPORTED += ["nbdev.serve", "pydata_sphinx_theme", "sphinx.builders.html", "sphinx.cmd.build"]
IMPORTED += ["sphinx_copybutton"]


@pytest.fixture(scope="session")
def copies(forks, tmp_path_factory):
    """A function: (exit status, what was printed) of building the site of a folder, without the
    seconds that imports take"""
    said = tmp_path_factory.mktemp("said")
    with copies_of(forks, ROOT / "docs" / "build.py", IMPORTED, said) as call:
        yield lambda folder, *options: call("--root", folder, *options)


@pytest.fixture(scope="session")
def site(tmp_path_factory, copies):
    "The folder of the site, with one more page that is run when it is built; what building printed"
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(
        ROOT / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints")
    )
    for file in ROOT.iterdir():
        if file.suffix in (".md", ".ini", ".cff") or file.name == "LICENSE":
            shutil.copy(file, folder)
    title = markdown("# Widgets\n\n> Alive\n- run_at_build: true\n- order: 1\n")
    write(folder / "nbs" / "tutorials" / "widgets.ipynb", [*title, code(WIDGETS), code(FRAME)])
    # whether what the pages store is true is asked by `make notebooks`
    status, said = copies(folder, "--trust_outputs")
    assert status == 0, said
    return folder / "_docs", said


@pytest.fixture
def small(tmp_path, copies):
    "A function: build a site of two pages, the second with these cells below its title"

    def make(*cells, title="# Second\n\n> Page\n", options=()):
        shutil.copy(ROOT / "settings.ini", tmp_path)
        write(
            tmp_path / "nbs" / "index.ipynb",
            markdown("# Front\n\n> Page", "[second](howto/second.ipynb#a-heading)"),
        )
        write(
            tmp_path / "nbs" / "howto" / "second.ipynb", [*markdown(title, "## A heading"), *cells]
        )
        return copies(tmp_path, *options)

    return make


def notebooks(folder):
    return sorted(
        p.relative_to(folder)
        for p in folder.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts
    )


def test_no_warning(site):
    assert "WARNING" not in site[1] and "Traceback" not in site[1]


def test_every_notebook_has_a_page_and_can_be_downloaded(site):
    out, _ = site
    for path in notebooks(ROOT / "nbs"):
        page = out / path.parent / (re.sub(r"^\d+_", "", path.stem) + ".html")
        html = page.read_text(encoding="utf-8")
        assert f'notebooks/{path.as_posix()}"' in html, f"{page} does not lead to its notebook"
        assert (out / "notebooks" / path).read_bytes() == (ROOT / "nbs" / path).read_bytes()
    for section in ("tutorials", "howto", "api", "explanations"):
        html = (out / section / "index.html").read_text(encoding="utf-8")
        pages = notebooks(ROOT / "nbs" / section)
        listed = {(p.parent / re.sub(r"^\d+_", "", p.stem)).as_posix() + ".html" for p in pages}
        assert {page for page in listed if f'href="{page}"' not in html} == set()


def test_links_and_anchors_are_followed(site):
    "By building, which fails where one leads nowhere: see the broken ones below"
    assert int(re.search(r"(\d+) links followed", site[1])[1]) > 1000


def test_reference(site):
    "Signature, parameters and source of a function; names in prose lead to it"
    api = (site[0] / "api" / "sets" / "triggers.html").read_text(encoding="utf-8")
    entry = api.split('id="natural_backdoors.sets.triggers.find_triggers"')[1].split("</dl>")[0]
    assert "min_overlaps" in entry
    assert entry.count("two classes are joined if they share at least N images") == 1
    line = re.search(r"source/sets\.triggers\.html#line-(\d+)", entry)[1]
    source = (site[0] / "source" / "sets.triggers.html").read_text(encoding="utf-8")
    # a decorator may stand above it
    assert ">find_triggers<" in "".join(source.split(f'id="line-{line}"')[1].splitlines()[:2])
    prose = [
        p.read_text(encoding="utf-8")
        for f in ("tutorials", "howto", "explanations")
        for p in (site[0] / f).iterdir()
        if p.suffix == ".html"
    ]
    assert any(
        "/triggers.html#natural_backdoors.sets.triggers.find_triggers" in page for page in prose
    )


def test_reference_has_a_line_for_each_folder(site):
    html = (site[0] / "api" / "index.html").read_text(encoding="utf-8")
    article = html.split("<article")[1].split("</article>")[0]
    overview = article.split("<table")[1].split("</table>")[0]
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    folders = re.search(r"^api_folders = (.*)$", settings, re.M)[1].split()
    assert re.findall(r'href="(\w+)/index\.html"', overview) == folders
    for folder in folders:
        page = (site[0] / "api" / folder / "index.html").read_text(encoding="utf-8")
        names = [re.sub(r"^\d+_", "", p.stem) for p in (ROOT / "nbs/api" / folder).glob("*.ipynb")]
        assert [name for name in names if f'href="{name}.html"' not in page] == []


def test_checks_and_set_up_are_folded(site):
    n = 0
    for path in notebooks(ROOT / "nbs"):
        if path.parts[0] not in ("tutorials", "howto", "explanations"):
            continue
        html = (site[0] / path).with_suffix(".html").read_text(encoding="utf-8")
        n += html.count("Show the check") + html.count("Show the set-up")
        shown = re.sub(r"<details.*?</details>", "", html, flags=re.S)
        cells = re.findall(r'<div class="highlight-ipython3.*?<pre>(.*?)</pre>', shown, flags=re.S)
        code = [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells]
        assert [cell for cell in code if cell.startswith("assert ")] == [], path
    assert n > 80


def test_small_site(small):
    "What the next two tests break builds without them"
    status, said = small(
        *markdown("[up](../index.ipynb) [here](#a-heading)"), code("print(1)", stream("1\n"))
    )
    assert status == 0, said


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_broken_links_break_the_build(small):
    frame = {"text/html": '<iframe src="_static/gone.html"></iframe>'}
    broken = ["gone.ipynb", "../index.ipynb#gone-anchor", "../../GONE.md", "#gone-here"]
    status, said = small(
        *markdown(" ".join(f"[a link]({to})" for to in broken) + '\n\n<a href="raw.html">raw</a>'),
        code("show()", {"output_type": "display_data", "metadata": {}, "data": frame}),
        options=["--trust_outputs"],
    )
    assert status != 0
    assert [
        to
        for to in (
            "gone.ipynb",
            "gone-anchor",
            "GONE.md",
            "gone-here",
            "raw.html",
            "_static/gone.html",
        )
        if to not in said
    ] == []


def test_notebooks_that_failed_or_never_ran_break_the_build(small):
    error = {
        "output_type": "error",
        "ename": "ZeroDivisionError",
        "evalue": "division by zero",
        "traceback": [],
    }
    cells = code("1/0", error), code("print('never')")
    status, said = small(*cells, options=["--trust_outputs"])
    assert status != 0
    assert "nbs/howto/second.ipynb: ZeroDivisionError: division by zero" in said
    assert "nbs/howto/second.ipynb: never executed: print('never')" in said


def test_stale_pages_break_the_build(small):
    status, said = small(code("print(6 * 7)", stream("41\n")))
    assert status != 0 and "FAILED" in said and "cell 2: print(6 * 7)" in said
    assert "python scripts/outputs.py --write nbs/howto/second.ipynb" in said
    assert small(code("print(6 * 7)", stream("41\n")), options=["--execute"])[0] == 0


def test_a_notebook_that_fails_when_it_is_run_breaks_the_build(small):
    status, said = small(
        code("#| data\nraise OSError('left out')"),
        code("1/0"),
        title="# Second\n\n> Page\n- run_at_build: true",
    )
    assert status != 0 and "ZeroDivisionError" in said and "OSError" not in said


# In a browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def server(site):
    "The address of the site, served on this machine"
    listener = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site[0]))
    )
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}/"
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def visit(chromium, server):
    "A function that opens a page; nothing may go wrong in it, or be asked of another host"
    contexts, wrong = [], []

    def open_page(path, viewport=LAPTOP, **options):
        contexts.append(chromium.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on(
            "request",
            lambda r: None if r.url.startswith((server, "data:", "blob:")) else wrong.append(r.url),
        )
        page.on(
            "response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None
        )
        page.goto(server + path, wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("path", PAGES)
def test_fits_a_phone(visit, path):
    page = visit(path, PHONE)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


# what people type, and the page they look for
ASKED = {
    "my own csv": "howto/your_own_dataset",
    "asr": "explanations/metrics",
    "attack success rate": "explanations/metrics",
    "dask": "howto/cluster",
    "several machines": "howto/cluster",
    "coco": "howto/data_coco",
    "yolo": "howto/data_yolo",
    "pascal": "howto/data_voc",
    "x-ray": "howto/data_medical",
    "hf": "howto/data_hugging_face",
    "excel": "howto/data_tables",
    "jeans": "explanations/faq",
    "wheel": "tutorials/open_images",
    "gpu": "howto/gpu",
    "licence": "explanations/intended_use",
    "faces": "explanations/intended_use",
    "run_multiple_trigs.py": "howto/many_trigger_sets",
    "select_trigs": "howto/use_the_picker",
    "threshold": "explanations/from_counts_to_sets",
    "betweeness": "explanations/metrics",
    "install": "index",
    "no triggers found": "explanations/faq",
    "how do I export to pytorch": "howto/other_toolboxes",
    "confidence interval": "howto/result_for_a_paper",
    "replicate the paper": "howto/reproduce_the_paper",
    "out of memory": "howto/cluster",
    "neural cleanse": "api/defend/neural_cleanse",
    "how long does it take": "howto/real_datasets",
    "find_triggers": "api/sets/triggers#natural_backdoors.sets.triggers.find_triggers",
    "TableDataset": "api/data/table#natural_backdoors.data.table.TableDataset",
}
FIRST = ("my own csv", "coco", "yolo", "gpu", "install", "find_triggers", "TableDataset", "licence")


def test_search_ranks(visit):
    page = visit("search.html")
    best = page.evaluate(
        "asked => asked.map(question => findPages(question, 3).map(found => found.id))", list(ASKED)
    )
    found = dict(zip(ASKED, best))
    assert {asked: found[asked] for asked, page in ASKED.items() if page not in found[asked]} == {}
    assert {asked: found[asked] for asked in FIRST if found[asked][0] != ASKED[asked]} == {}
    assert page.evaluate("findPages('qqzzxx')") == [] and page.evaluate("findPages(' ')") == []


def test_search_from_any_page(visit):
    page = visit("howto/gpu.html")
    page.keyboard.press("Control+k")
    page.locator("input[type=search]:visible").first.fill("attack success")
    page.keyboard.press("Enter")
    page.locator("#search-results a.hit").first.wait_for()
    page.locator("#search-results a.part", has_text="attack success rate").first.click()
    page.wait_for_function("location.hash.length > 1")
    assert page.locator("section:target, :target").count() == 1
    page = visit("search.html?q=%3Cimg%20src=x%20onerror=alert(1)%3E qqzzxx")
    assert page.locator("#search-results img").count() == 0
    page.locator("main input[name=q]").fill("find_triggers")
    page.locator("#search-results a.hit").first.click()
    page.locator("dt[id='natural_backdoors.sets.triggers.find_triggers']").wait_for()


def test_navigation_and_source(visit):
    page = visit("index.html")
    page.locator(".bd-header .navbar-nav a", has_text="Reference").first.click()
    page.locator("article a", has_text=re.compile("^triggers$")).first.click()
    page.locator(
        "dt[id='natural_backdoors.sets.triggers.find_triggers'] a", has_text="[source]"
    ).click()
    line = page.locator("span:target").inner_text()
    assert line.startswith(("def find_triggers(", "@takes("))


def test_dark_mode(visit):
    page = visit("index.html", color_scheme="light")

    def mode():
        return page.evaluate("document.documentElement.dataset.theme")

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    before = mode(), ground()
    page.locator("button.theme-switch-button:visible").first.click()
    page.locator("[data-mode=dark]:visible, [data-bs-theme-value=dark]:visible").first.click()
    assert (before[0], mode()) == ("light", "dark") and ground() != before[1]
    page.reload()
    assert mode() == "dark"


def test_widgets_are_alive_without_a_kernel(visit):
    page = visit("tutorials/widgets.html")
    button = page.locator("#counter")
    button.wait_for()
    button.click()
    assert button.inner_text() == "count 42"
    readout = page.locator(".widget-readout")
    assert readout.inner_text() == "5"
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text() == "6"


def test_a_page_can_show_what_it_wrote(visit):
    page = visit("tutorials/widgets.html")
    assert page.frame_locator("iframe").locator("#inner").inner_text() == "made at build time"


def test_formulas(visit):
    page = visit("api/graph/overlaps.html")
    page.wait_for_selector("mjx-container")


def test_download(visit, tmp_path):
    page = visit("tutorials/first_backdoor.html")
    with page.expect_download() as download:
        page.locator("a.notebook-link").click()
    download.value.save_as(tmp_path / "got.ipynb")
    assert (tmp_path / "got.ipynb").read_bytes() == (
        ROOT / "nbs" / "tutorials" / "first_backdoor.ipynb"
    ).read_bytes()
