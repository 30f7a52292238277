"What several test files need: the folders of the project, real data beside it, and graph-tool"

import gc
import importlib
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("NB_REAL_DATA", ROOT.parent / "shared" / "data"))


# Read when torch, graph-tool or a BLAS is loaded. Several processes share the cores, and threads
# that wait for one another take them from each other: on two busy cores, training a small network
# takes several times as long with two threads as with one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Those that take longest, first, by seconds of one core. Several processes share the files; none
# should be left with a long one while the others have no more.
LONG = (
    "test_docs",
    "test_demo",
    "test_picker",
    "test_sweep",
    "test_drill",
    "test_widgets",
    "test_train",
    "test_class_sets",
    "test_security",
    "test_screening",
    "test_panel",
    "test_cli",
    "test_centrality",
    "test_stored_files",
    "test_reproduce",
    "test_triggers",
    "test_report",
    "test_positive_controls",
    "test_analysis",
    "test_controls",
    "test_repository",
    "test_interrupted",
    "test_outputs",
    "test_export",
    "test_shards",
    "test_imagenet",
    "test_exports",
    "test_formats",
    "test_download",
    "test_voc",
    "test_audit",
    "test_sweep_runs",
)


# Importing torch, fastai and all tests makes a million objects that stay: none are looked for among
# them, neither meanwhile nor later, which would take a tenth of the time
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # what is still there when Python ends would be called leaked


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    "A cache for this session: tests neither find what the user has cached nor add to it"
    before = os.environ.get("NATURAL_BACKDOORS_CACHE")
    os.environ["NATURAL_BACKDOORS_CACHE"] = before or str(tmp_path_factory.mktemp("cache"))
    yield


def of_all_workers(tmp_path_factory) -> Path:
    "The folder for temporary files that all processes of this session share"
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def same_scenes(tmp_path_factory):
    "The same scenes are drawn once, and not by each test that asks for them"
    folder = of_all_workers(tmp_path_factory) / "scenes"
    os.environ.setdefault("NATURAL_BACKDOORS_SCENES", str(folder))
    yield


@pytest.fixture(scope="module", autouse=True)
def environment_variables():
    """As they were before: Dask, for one, sets the number of threads of its workers in this
    process too, for good"""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    "Makes processes that do not have to import first, from one that all workers share"
    pytest.importorskip("fcntl", reason="processes are not forked on this system")
    from forks import Forks

    made = Forks(of_all_workers(tmp_path_factory))
    yield made
    made.close()


@pytest.fixture(scope="session")
def root() -> Path:
    "The folder of the project"
    return ROOT


@pytest.fixture(scope="session")
def real_data():
    """A function: the path of a file or folder of real data that is not part of the project;
    skips where it is absent"""

    def find(name):
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"no {path} here (NB_REAL_DATA names the folder of the real data)")
        return path

    return find


@pytest.fixture(scope="session")
def graph_tool():
    """The graph_tool package; skips where it is not installed, fails there if
    NB_REQUIRE_GRAPH_TOOL=1"""
    try:
        importlib.import_module("graph_tool.centrality")
        return importlib.import_module("graph_tool")
    except ImportError as e:
        if os.environ.get("NB_REQUIRE_GRAPH_TOOL") == "1":
            pytest.fail(f"graph-tool is required here, but: {e}")
        pytest.skip(
            "graph-tool is not installed (conda-forge has it, and Debian: "
            "apt-get install python3-graph-tool)"
        )


# Of a module, not of the session: while it runs, no other event loop can run in this process.
@pytest.fixture(scope="module")
def chromium():
    "A browser; skips where there is none, fails there if NB_REQUIRE_BROWSER=1"
    missing = pytest.fail if os.environ.get("NB_REQUIRE_BROWSER") == "1" else pytest.skip
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install playwright)")
    path = (
        os.environ.get("NB_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
    )
    if path is None:
        missing(
            "no chromium here (Debian: apt-get install chromium; NB_CHROMIUM names another place)"
        )
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as e:
            missing(f"{path} does not start: {e}")
        yield browser
        browser.close()
