"Rules of the notebooks and of the package made from them"

import ast
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "natural_backdoors"
SETTINGS = ConfigParser(delimiters=["="])
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
# the folders of nbs/api in the order of dependence
FOLDERS = SETTINGS["DEFAULT"]["api_folders"].split()
# what is for the end of a job, and who else imports it
LEAVES = {"pick": {"cli"}, "report": {"paper", "cli"}, "paper": {"cli"}, "cli": set()}
# what nothing up to the poisoned split imports, nor the report and the command line
HEAVY = ["torch", "torchvision", "fastai", "ipywidgets"]
LIGHT_FOLDERS = [*FOLDERS[: FOLDERS.index("split") + 1], "report", "cli"]
LIGHT_MODULES = ["train.recipe"]  # settings only, for the flags of the command line
MAX_CELLS, MAX_LINES = 60, 100
# the module of each name of the front door
FRONT_DOOR = ast.literal_eval(
    re.search(r"^_MODULE_OF = ({.*?^})", (ROOT / PACKAGE / "__init__.py").read_text(), re.M | re.S)[
        1
    ]
)


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
        self.folder = path.parent.name
        number = re.match(r"(\d\d)_", path.name)
        self.number = int(number[1]) if number else None

    def place(self):
        "Where it stands in the order of dependence"
        return FOLDERS.index(self.folder), self.number

    def imports(self):
        "Modules of ours that the exported code imports, wherever in it"
        for node in ast.walk(ast.parse("\n".join(self.exported))):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                # one dot is the folder of this notebook, two are the package
                inside = [PACKAGE, self.folder][: 3 - node.level] if node.level else []
                base = ".".join([*inside, *filter(None, [node.module])])
                # `from natural_backdoors.data import x`: x may be a module; it counts as one
                is_folder = base == PACKAGE or base.removeprefix(f"{PACKAGE}.") in FOLDERS
                names = [f"{base}.{a.name}" for a in node.names] if is_folder else [base]
                if base == PACKAGE:
                    names = [f"{PACKAGE}.{FRONT_DOOR.get(a.name, a.name)}" for a in node.names]
            else:
                continue
            yield from (n[len(PACKAGE) + 1 :] for n in names if n.startswith(PACKAGE + "."))

    def assertions(self):
        "How many `assert` statements and `test_...` calls there are"
        trees = [ast.parse(re.sub(r"^[%!].*$", "", s, flags=re.M)) for s in self.code]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        called = [getattr(n.func, "id", "") for n in nodes if isinstance(n, ast.Call)]
        asserts = [n for n in nodes if isinstance(n, ast.Assert)]
        return len(asserts) + sum(name.startswith("test_") for name in called)


def in_use(path):
    return not any(part[0] in "._" for part in path.relative_to(ROOT / "nbs").parts)


NOTEBOOKS = [Notebook(p) for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if in_use(p)]
EXPORTING = [n for n in NOTEBOOKS if n.module]
OF = {n.module: n for n in EXPORTING}
LIGHT = [n.module for n in EXPORTING if n.folder in LIGHT_FOLDERS or n.module in LIGHT_MODULES]
every = pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda n: n.name)
each_exporting = pytest.mark.parametrize("nb", EXPORTING, ids=lambda n: n.name)


def python(code, *arguments):
    "What a fresh process running `code` prints"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
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
def test_name_and_checks(nb):
    "nbs/api/FOLDER/NN_name.ipynb exports FOLDER.name, and checks something"
    assert nb.path.parent.parent == ROOT / "nbs" / "api" and nb.folder in FOLDERS
    assert nb.number is not None and nb.module == f"{nb.folder}.{nb.path.stem[3:]}"
    assert nb.assertions() > 0


@each_exporting
def test_imports_go_down(nb):
    "To earlier folders, or to lower numbers of the same; and nobody imports a leaf"
    imported = set(nb.imports())
    assert imported - set(OF) == set(), (
        "our modules are imported one by one, and from notebooks that exist"
    )
    assert {m for m in imported if OF[m].place() >= nb.place()} == set()
    leaves = {m for m in imported if OF[m].folder in LEAVES and OF[m].folder != nb.folder}
    assert {m for m in leaves if nb.folder not in LEAVES[OF[m].folder]} == set()


def test_no_cycle():
    "A check of the package itself, that does not rely on names and numbers"
    imported = {n.module: {m for m in n.imports() if m in OF} for n in EXPORTING}
    assert len(list(TopologicalSorter(imported).static_order())) == len(EXPORTING)


def test_folders_and_numbers():
    "Folders of nbs/api are listed in settings.ini; numbers in a folder, and modules, are unique"
    there = {p.parent.name for p in (ROOT / "nbs" / "api").rglob("*.ipynb") if in_use(p)}
    assert there <= set(FOLDERS) and len(FOLDERS) == len(set(FOLDERS))
    assert len({n.place() for n in EXPORTING}) == len(OF) == len(EXPORTING)
    assert set(SETTINGS["DEFAULT"]["core_folders"].split()) <= set(LIGHT_FOLDERS)


def test_every_module_has_its_notebook():
    files = {
        ".".join(p.relative_to(ROOT / PACKAGE).with_suffix("").parts)
        for p in (ROOT / PACKAGE).rglob("*.py")
    }
    by_hand = {f for f in files if f.split(".")[-1] in ("__init__", "_modidx")}
    assert files - by_hand == set(OF), "export, and remove the modules whose notebook is gone"


def test_light_modules_stay_light():
    loaded = python(
        f"import importlib, sys, {PACKAGE}\n"
        f"for m in {LIGHT!r}: importlib.import_module('{PACKAGE}.' + m)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_import_is_light_and_takes_less_than_a_second():
    code = (
        f"import sys, time; start = time.perf_counter(); import {PACKAGE}\n"
        f"took = time.perf_counter() - start\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]; print(took)"
    )
    assert min(float(python(code)) for _ in range(3)) < 1


def test_no_module_or_folder_has_a_name_of_the_front_door():
    "Importing the module would put it in the place of the function"
    taken = {part for module in OF for part in module.split(".")}
    assert taken & set(FRONT_DOOR) == set()


@every
def test_no_lasting_warning_filter(nb):
    "A filter that outlives its cell hides the warnings of the cells below it"
    assert (
        re.findall(r"^warnings\.(?:simplefilter|filterwarnings)\(.*", "\n".join(nb.code), re.M)
        == []
    )


@every
def test_links_lead_to_files(nb):
    text = "\n".join(c["source"] for c in nb.cells if c["cell_type"] == "markdown")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    assert [link for link in links if not (nb.path.parent / link).exists()] == []


# Extension points

# dicts of functions that are not open to others
CLOSED = {
    "cli.commands:COMMANDS",  # of the program
    "data.painting:OBJECTS",  # what the drawn scenes are made of
    "base.files:COMPRESSED",  # compressed files that are read
    "paper.miniatures:MINIATURES",  # stand-ins of the published experiments
}
# what graph.centrality puts together, engine by engine
for engine in ("scipy", "graph_tool", "networkx"):
    CLOSED |= {f"graph.engine_{engine}:{table}" for table in ("MEASURES", "ORIGINAL", "EARLY")}
IMPORTED = f"""
import gc, importlib, json, re, sys
gc.disable()  # nearly all that is made stays
import {PACKAGE} as p
from {PACKAGE}.base.settings import Settings

def lost():
    return [name for name in p.__all__ if not callable(getattr(p, name, None))]

def is_open(value):
    if isinstance(value, str):
        return bool(re.fullmatch(r"natural_backdoors[.][\\w.]+:\\w+", value))
    if isinstance(value, dict):
        return bool(value) and all(callable(v) for v in value.values())
    return callable(value) or callable(getattr(value, "write", None)) or isinstance(value, Settings)

found, not_callable = {{}}, lost() + lost()
for module in json.loads(sys.argv[1]):
    for name, value in vars(importlib.import_module("{PACKAGE}." + module)).items():
        if isinstance(value, dict) and re.fullmatch("[A-Z][A-Z_]+", name):
            if value and all(is_open(v) for v in value.values()):
                found.setdefault(id(value), []).append(module + ":" + name)
print(json.dumps({{"lost": not_callable + lost() + lost(), "points": list(found.values())}}))
"""


@pytest.fixture(scope="module")
def imported():
    "What a process says that imports every module"
    pytest.importorskip("torch")
    pytest.importorskip("ipywidgets")
    return json.loads(python(IMPORTED, json.dumps(sorted(OF))))


def test_the_front_door_leads_to_functions_and_classes(imported):
    "Also the second time, and when every module has been imported"
    assert imported["lost"] == []


def test_every_extension_point_is_on_the_page(imported):
    "Dicts that are found by name and hold functions, classes, settings or where to import them"
    code = "\n".join(Notebook(ROOT / "nbs" / "howto" / "extension_points.ipynb").code)
    points = next(
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assign) and node.targets[0].id == "POINTS"
    )
    found = imported["points"]
    # a dict has the names of all modules that import it, and is described by one of them
    assert {
        tuple(names) for names in found if not set(names) & {*points.values(), *CLOSED}
    } == set()
    assert {*points.values()} <= {name for names in found for name in names}


def test_every_group_of_entry_points_is_on_the_page():
    groups = set()
    for nb in EXPORTING:
        groups |= set(re.findall(r'entry_points\(group="([\w.]+)"', "\n".join(nb.exported)))
    page = (ROOT / "nbs" / "howto" / "extension_points.ipynb").read_text(encoding="utf-8")
    assert groups and {group for group in groups if group not in page} == set()
