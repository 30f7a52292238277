"What several test files need: the folders of the project, real data beside it, and graph-tool"
import importlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("NB_REAL_DATA", ROOT.parent/"shared"/"data"))


@pytest.fixture(scope="session")
def root() -> Path:
    "The folder of the project"
    return ROOT


@pytest.fixture(scope="session")
def real_data():
    "A function: the path of a file or folder of real data that is not part of the project; skips where it is absent"
    def find(name):
        path = REAL_DATA/name
        if not path.exists(): pytest.skip(f"no {path} here (NB_REAL_DATA names the folder of the real data)")
        return path
    return find


@pytest.fixture(scope="session")
def graph_tool():
    "The graph_tool package; skips where it is not installed, fails there if NB_REQUIRE_GRAPH_TOOL=1"
    try:
        importlib.import_module("graph_tool.centrality")
        return importlib.import_module("graph_tool")
    except ImportError as e:
        if os.environ.get("NB_REQUIRE_GRAPH_TOOL") == "1": pytest.fail(f"graph-tool is required here, but: {e}")
        pytest.skip("graph-tool is not installed (conda-forge has it, and Debian: apt-get install python3-graph-tool)")
