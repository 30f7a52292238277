"Rules of the notebooks and of the package made from them"

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "natural_backdoors"
# what must not be imported by anything up to the poisoned split, nor by the report and the command line
HEAVY = ["torch", "torchvision", "fastai", "ipywidgets"]
# nobody imports these, except that the command line calls the report
LEAVES = {"widgets": {"picker"}, "picker": {"cli"}, "cli": set(), "report": {"cli"}}
MAX_CELLS, MAX_LINES = 60, 60


class Notebook:
    "A notebook of nbs/, as far as the rules below look at it"

    def __init__(self, path):
        self.path, self.name = path, path.relative_to(ROOT / "nbs").as_posix()
        self.cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in self.cells:
            cell["source"] = "".join(cell["source"])
        self.code = [c["source"] for c in self.cells if c["cell_type"] == "code"]
        self.exported = [s for s in self.code if re.match(r"#\s*\|\s*export[is]?\b", s)]
        found = [m[1] for s in self.code if (m := re.match(r"#\s*\|\s*default_exp\s+([\w.]+)", s))]
        self.module = found[0] if found else None
        number = re.match(r"(\d\d)_", path.name)
        self.number = int(number[1]) if number else None

    def imports(self):
        "Modules of ours that the exported code imports, wherever in it"
        for node in ast.walk(ast.parse("\n".join(self.exported))):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(filter(None, [PACKAGE if node.level else None, node.module]))
                # `from natural_backdoors import x`: x may be a module; it counts as one
                names = [f"{base}.{a.name}" for a in node.names] if base == PACKAGE else [base]
            else:
                continue
            yield from (n[len(PACKAGE) + 1 :] for n in names if n.startswith(PACKAGE + "."))

    def assertions(self):
        "How many `assert` statements and `test_...` calls there are"
        trees = [ast.parse(re.sub(r"^[%!].*$", "", s, flags=re.M)) for s in self.code]
        is_check = lambda n: (
            isinstance(n, ast.Assert)
            or (
                isinstance(n, ast.Call)
                and isinstance(n.func, ast.Name)
                and n.func.id.startswith("test_")
            )
        )
        return sum(is_check(node) for tree in trees for node in ast.walk(tree))


def in_use(path):
    return not any(part[0] in "._" for part in path.relative_to(ROOT / "nbs").parts)


NOTEBOOKS = [Notebook(p) for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if in_use(p)]
EXPORTING = [n for n in NOTEBOOKS if n.module]
NUMBER = {n.module: n.number for n in EXPORTING}
LIGHT = [n.module for n in EXPORTING if n.number <= 60 and n.module != "widgets"] + [
    m for m in ("report", "cli") if m in NUMBER
]
every = pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda n: n.name)
each_exporting = pytest.mark.parametrize("nb", EXPORTING, ids=lambda n: n.name)


def python(code):
    "What a fresh process running `code` prints"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@every
def test_title_and_description(nb):
    first = nb.cells[0]
    assert first["cell_type"] == "markdown"
    assert re.match(r"# \S.*\n\n> \S", first["source"]), (
        "the first cell is `# title`, an empty line, `> description`"
    )


@every
def test_size(nb):
    assert len(nb.cells) <= MAX_CELLS
    long = [s.splitlines()[1] for s in nb.exported if len(s.splitlines()) > MAX_LINES]
    assert long == [], f"exported cells of more than {MAX_LINES} lines"


@every
def test_outputs_are_for_readers(nb):
    "No stored error, and no path of the machine that the notebook was run on"
    outputs = [o for c in nb.cells for o in c.get("outputs", [])]
    assert [o["evalue"] for o in outputs if o["output_type"] == "error"] == []
    private = {str(p) for p in (ROOT, Path(sys.prefix), Path.home()) if len(p.parts) > 1}
    text = json.dumps(
        [
            {**o, "data": {k: v for k, v in o.get("data", {}).items() if not k.startswith("image")}}
            for o in outputs
        ]
    )
    assert [p for p in private if f"{p}/" in text] == []


@each_exporting
def test_numbered_and_checked(nb):
    assert nb.path.parent == ROOT / "nbs" / "api" and nb.number is not None, (
        "exporting notebooks are nbs/api/NN_name.ipynb"
    )
    assert nb.assertions() > 0


@each_exporting
def test_imports_only_from_lower_numbers(nb):
    imported = set(nb.imports())
    assert imported - set(NUMBER) == set(), (
        "our modules are imported one by one, and from notebooks that exist"
    )
    assert {m for m in imported if NUMBER[m] >= nb.number} == set()
    assert {m for m in imported if m in LEAVES and nb.module not in LEAVES[m]} == set(), (
        "nobody imports a leaf"
    )


def test_numbers_and_modules_are_unique():
    assert (
        len({n.module for n in EXPORTING}) == len({n.number for n in EXPORTING}) == len(EXPORTING)
    )


def test_every_module_has_its_notebook():
    files = {
        ".".join(p.relative_to(ROOT / PACKAGE).with_suffix("").parts)
        for p in (ROOT / PACKAGE).rglob("*.py")
    }
    by_hand = {f for f in files if f.split(".")[-1] in ("__init__", "_modidx")}
    assert files - by_hand == set(NUMBER), "export, and remove the modules whose notebook is gone"


def test_light_modules_stay_light():
    loaded = python(
        f"import importlib, sys, {PACKAGE}\n"
        f"for m in {LIGHT!r}: importlib.import_module('{PACKAGE}.' + m)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_import_is_light_and_takes_less_than_a_second():
    code = (
        f"import sys, time; start = time.perf_counter(); import {PACKAGE}; took = time.perf_counter() - start\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]; print(took)"
    )
    assert min(float(python(code)) for _ in range(3)) < 1


def test_every_name_of_the_front_door_leads_somewhere():
    lost = python(
        f"import {PACKAGE} as p; print([n for n in p.__all__ if getattr(p, n, None) is None])"
    )
    assert lost.strip() == "[]"


@every
def test_no_lasting_warning_filter(nb):
    "A filter that outlives its cell would hide, in the tests, the warnings of the notebooks that run after this one"
    lasting = [
        s
        for s in nb.code
        for l in s.splitlines()
        if re.match(r"warnings\.(simplefilter|filterwarnings)\(", l)
    ]
    assert lasting == []
