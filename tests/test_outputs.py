"Stored outputs are compared with what comes out: what counts as the same, and what is said"

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from copies import copies_of

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))
import outputs


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def displayed(**data):
    kinds = {"plain": "text/plain", "html": "text/html", "png": "image/png"}
    data = {kinds[k]: v for k, v in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def differ(stored, new, tolerance=0.0, **other):
    return outputs.differences([printed(stored)], [printed(new)], tolerance, **other)


@pytest.mark.parametrize(
    "stored, new",
    [
        ("a  b\n---- ----\n", "a b\n--  --\n\n"),
        ("<object at 0x7f0012>", "<object at 0x7fffff>"),
        ("in /tmp/tmpab12_x/run", "in /tmp/tmpzz98/run"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("0.123", "0.124"),
        ("1.5e-05", "1.6e-05"),
        ("n = 1,234", "n = 1234"),
        ("nan -0.5", "nan -0.5"),
    ],
)
def test_the_same(stored, new):
    assert differ(stored, new) == []


@pytest.mark.parametrize(
    "stored, new",
    [
        ("38 of 60", "39 of 60"),
        ("0.123", "0.125"),
        ("0.5", "-0.5"),
        ("/m/01yrx", "/m/02yrx"),
        ("cannot be used", "Pascal VOC"),
        ("0.1 0.2", "0.1"),
        ("2026-07-24", "2026-07-25"),
    ],
)
def test_different(stored, new):
    assert differ(stored, new) == [(stored, new)]


def test_tolerance():
    "Of a number up to 1 absolute, of a larger one relative; text is compared all the same"
    assert differ("0.63 of 38", "0.65 of 38", 0.02) == []
    assert differ("100 s", "102 s", 0.02) == [] and differ("100 s", "103 s", 0.02) != []
    assert differ("0.63 low", "0.63 high", 0.02) == [("0.63 low", "0.63 high")]


def test_a_missing_row_is_named_alone():
    assert differ("a 1\nc 3\n", "a 1\nb 2\nc 3\n") == [(None, "b 2")]


def test_tables_are_compared_by_their_text():
    html = "<style>{}</style><table id='{}'><tr><td>{}</td></tr></table>"
    same = [displayed(html=html.format(".x{}", 1, "12.30"), plain="narrow ...")]
    other = [displayed(html=html.format(".y{}", 2, "12.31"), plain="wide")]
    assert outputs.differences(same, other) == []
    changed = [displayed(html=html.format(".x{}", 1, "yes"), plain="narrow ...")]
    assert outputs.differences(same, changed) == [("12.30", "yes")]


def png(width, height):
    from base64 import b64encode
    from io import BytesIO

    from PIL import Image

    Image.new("RGB", (width, height)).save(file := BytesIO(), "png")
    return displayed(png=b64encode(file.getvalue()).decode(), plain="<Figure>")


def test_pictures_are_there_and_as_large():
    assert outputs.differences([png(100, 80)], [png(105, 80)]) == []
    found = outputs.differences([png(100, 80)], [png(300, 80)])
    assert found == [("picture of 100 x 80", "picture of 300 x 80")]
    assert outputs.differences([png(100, 80)], []) == [
        ("image/png, text/plain", "no output"),
        ("<Figure>", None),
    ]


def test_what_varies_has_to_be_there():
    assert differ("took 3 s", "took 4 s", varies=True) == []
    assert outputs.differences([printed("took 3 s")], [], varies=True) != []


def test_stderr_is_not_compared():
    warning = {"output_type": "stream", "name": "stderr", "text": "careful"}
    assert outputs.differences([warning], []) == []


# The program


@pytest.fixture
def page(tmp_path):
    "A function: a notebook of these (source, outputs), with these lines below its title"

    def make(*cells, says=""):
        title = f"# A page\n\n> Of a test\n{says}"
        found = [{"cell_type": "markdown", "id": "t", "metadata": {}, "source": title}]
        for i, (source, stored) in enumerate(cells):
            cell = {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None}
            found.append({**cell, "source": source, "outputs": stored})
        kernel = {"name": "python3", "display_name": "python3", "language": "python"}
        notebook = {"cells": found, "metadata": {"kernelspec": kernel}}
        path = tmp_path / "page.ipynb"
        path.write_text(json.dumps({**notebook, "nbformat": 4, "nbformat_minor": 5}))
        return path

    return make


@pytest.fixture(scope="module")
def run(forks, tmp_path_factory):
    "A function: (exit status, what it says) of the program"
    names, folder = ["outputs", "nbclient", "nbformat"], tmp_path_factory.mktemp("said")
    with copies_of(forks, ROOT / "scripts" / "outputs.py", names, folder) as call:
        yield call


def test_a_stale_page_fails_until_it_is_written(page, run):
    path = page(
        ("print('now', 6 * 7)", [printed("then 41\n")]),
        ("#| varies: seconds\nimport time; print(time.time())", [printed("1.5\n")]),
        ("#| data\nraise OSError('left out')", []),
    )
    status, said = run(path)
    assert status == 1
    assert "cell 1: print('now', 6 * 7)" in said and "cell 2" not in said and "OSError" not in said
    line = next(line for line in said.splitlines() if "then 41" in line)
    assert line.split("|")[1].strip() == "now 42"
    assert run("--write", path)[0] == 0
    stored = json.loads(path.read_text())["cells"]
    assert stored[1]["outputs"][0]["text"] == ["now 42\n"]
    now = stored[2]["outputs"][0]["text"]
    assert now != ["1.5\n"], "a page is of one run"
    assert run("--write", path)[0] == 0
    assert json.loads(path.read_text())["cells"][2]["outputs"][0]["text"] == now, "as it was"
    assert run(path)[0] == 0
    assert "0 notebooks run" in run("--changed", path)[1]


DRAWN = "import matplotlib.pyplot as plt; plt.plot([1, {}]); plt.show()"


def test_a_new_picture_brings_new_numbers(page, run):
    varies = ("#| varies: a training\nprint(2 * 3)", [printed("5\n")])
    path, numbers = (
        page((DRAWN.format(2), []), varies),
        lambda cells: cells[2]["outputs"][0]["text"],
    )
    assert run("--write", path)[0] == 0
    notebook = json.loads(path.read_text())
    assert numbers(notebook["cells"]) == ["6\n"]
    notebook["cells"][2]["outputs"] = [printed("5\n")]
    path.write_text(json.dumps(notebook))
    assert run("--write", path)[0] == 0
    assert numbers(json.loads(path.read_text())["cells"]) == ["5\n"], "the picture is the same"
    notebook["cells"][1]["source"] = DRAWN.format(3)
    path.write_text(json.dumps(notebook))
    assert run("--write", path)[0] == 0
    assert numbers(json.loads(path.read_text())["cells"]) == ["6\n"]


def test_a_cell_that_fails(page, run):
    status, said = run(page(("1/0", [])))
    assert status == 1 and "ZeroDivisionError: division by zero" in said


IMPORT = (
    "#| data\nfrom natural_backdoors.base.errors import UserError; print(1)",
    [printed("1\n")],
)


def test_what_is_not_run_says_when_it_was_and_with_which_code(page, run):
    status, said = run(page(IMPORT))
    assert status == 1 and "does not say when and on what" in said
    status, said = run(path := page(IMPORT, says="\n- ran: long ago\n- code: 0000"))
    assert status == 1 and "the code has changed since" in said and "long ago" in said
    assert run("--write", "--flags", "data", path)[0] == 0
    assert "long ago" not in path.read_text() and run(path)[0] == 0


def test_code_digest_follows_imports_and_not_words():
    "A docstring changes nothing, code does, in a module that is imported by another too"

    def digest(code):
        return outputs.canonical(ast.parse(code))

    assert digest("def f(a):\n    'x'\n    return a  # b") == digest("def f(a):\n    return a")
    assert digest("def f(a): return a") != digest("def f(a): return -a")
    names = set(outputs.imports(ast.parse("from .files import x\nfrom . import y"), "base.cache"))
    assert "base.files" in names and "base.y" in names
    door = set(outputs.imports(ast.parse("from natural_backdoors import find_triggers")))
    assert "sets.triggers" in door
    registry = "MODULES = {'coco': 'data.coco:Coco'}"
    assert set(outputs.imports(ast.parse(registry))) == {"data.coco"}


@pytest.fixture(scope="module")
def warm():
    if sys.platform != "linux":
        pytest.skip("kernels are forked on Linux only")
    with pytest.MonkeyPatch.context() as patch:
        # what is parsed meanwhile is for those who run many pages
        patch.setattr(outputs, "before_forking", lambda: None)
        with outputs.warm_kernels() as address:
            yield address


CELLS = [
    "import os, sys\nprint(os.getcwd(), os.environ['OMP_NUM_THREADS'], sys.argv[0], __name__)",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "import subprocess\nprint(subprocess.run(['echo', '3'], capture_output=True).stdout)",
    "import natural_backdoors\nnatural_backdoors.__version__, input",
    # what was imported before has seen a notebook, and has changed nothing that a page shows
    "from fastcore.imports import IN_NOTEBOOK\nfrom tqdm.auto import tqdm\nIN_NOTEBOOK, tqdm.mro()",
    "import pandas\nfrom pathlib import Path\n"
    "left = [n in sys.modules for n in ('fastai', 'fastcore.xtras', 'polars')]\n"
    "print(Path('a').__repr__(), pandas.get_option('display.max_colwidth'), left)",
]


def test_a_warm_kernel_is_like_any_other(warm, tmp_path):
    import nbformat

    seen = []
    for address in (None, warm):
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        notebook = nbformat.v4.new_notebook(cells=cells)
        assert outputs.execute(notebook, tmp_path, set(), address) > 0, "CPU seconds"
        seen.append([outputs.shown(cell.outputs) for cell in notebook.cells])
    own, forked = seen
    # the first value is the path of ipykernel_launcher, in one of them as a file
    own[0] = outputs.Shown(own[0].kinds, (re_launcher(own[0].texts[0]),), ())
    assert forked == own
    assert "image/png" in forked[1].kinds


def re_launcher(text):
    return " ".join("ipykernel_launcher" if "ipykernel_launcher" in w else w for w in text.split())


def children(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def server_of(warm):
    servers = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if "--serve" in said and warm in said:
            servers.append(folder.name)
    (server,) = servers
    return server


def test_what_kernels_print_themselves_goes_nowhere(warm):
    "Each says how to connect to it; a pipe that nobody reads is full after some 160 pages"
    assert os.readlink(f"/proc/{server_of(warm)}/fd/1") == os.devnull


def test_a_warm_kernel_ends_with_the_one_who_asked(warm, tmp_path):
    server = server_of(warm)
    wait_for(lambda: not children(server))
    command = [sys.executable, outputs.WARM, warm, "-f", str(tmp_path / "kernel.json")]
    asking = subprocess.Popen(command, env=outputs.environment(), cwd=tmp_path)
    wait_for((tmp_path / "kernel.json").exists)
    assert len(children(server)) == 1
    asking.kill()
    asking.wait()
    wait_for(lambda: not children(server))
