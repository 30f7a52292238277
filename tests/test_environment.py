"settings.ini, environment.yml and constraints.txt name the same packages, within the same bounds"

import configparser
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

EXTRAS = ("train", "scale", "huggingface", "export", "notebook", "docs", "dev")
ON_CONDA_FORGE = {"pytorch": "torch"}  # conda-forge's name -> the name on PyPI
DEBIAN_12 = "3.11.2"  # the oldest Python 3.11 that the pins have to work with
ONLY_CONDA = {"python", "pip", "graph-tool"}


def bounds(requirements):
    "{name: bounds} of requirements such as `numpy>=1.26`; of a name that comes twice, the narrower bounds"
    found = {}
    for r in map(Requirement, requirements):
        parts = found.setdefault(canonicalize_name(ON_CONDA_FORGE.get(r.name, r.name)), {})
        for part in r.specifier:
            kept = parts.setdefault(part.operator, part)
            higher = Version(part.version) > Version(kept.version)
            if part.operator == ">=" and higher or part.operator == "<" and not higher:
                parts[part.operator] = part
            else:
                assert part.operator in (">=", "<") or part == kept, (
                    f"{r}: bounds are written with >= and <"
                )
    return {name: SpecifierSet(",".join(map(str, parts.values()))) for name, parts in found.items()}


@pytest.fixture(scope="module")
def settings(root):
    cfg = configparser.ConfigParser(delimiters=["="], inline_comment_prefixes=None)
    cfg.read(root / "settings.ini", encoding="utf-8")
    return cfg["DEFAULT"]


@pytest.fixture(scope="module")
def wanted(settings):
    keys = ["requirements"] + [f"{extra}_requirements" for extra in EXTRAS]
    return bounds(r for key in keys for r in settings[key].split())


@pytest.fixture(scope="module")
def conda(root):
    return yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, equals, version = line.partition("==")
        assert equals and name and re.fullmatch(r"[\w.+!]+", version), f"not an exact pin: {line!r}"
        assert canonicalize_name(name) not in found, f"{name} is pinned twice"
        found[canonicalize_name(name)] = Version(version)
    return found


def test_the_light_install_is_light(settings):
    core = bounds(settings["requirements"].split())
    assert not {"torch", "torchvision", "fastai", "ipywidgets", "jupyterlab", "nbdev"} & set(core)
    assert "numpy" in core and core["numpy"].contains("2.0"), (
        "numpy 1.26 is the choice of our own environment only"
    )


def test_conda_has_the_same_names_and_bounds(conda, wanted, settings):
    listed = [d for d in conda["dependencies"] if isinstance(d, str)]
    by_pip = [r for d in conda["dependencies"] if isinstance(d, dict) for r in d["pip"]]
    own = [d for d in listed if re.match(r"[\w-]+", d)[0] in ONLY_CONDA]
    rest = bounds(
        [d for d in listed if d not in own] + [r for r in by_pip if not r.startswith("-")]
    )
    assert rest == wanted
    assert {re.match(r"[\w-]+", d)[0] for d in own} == ONLY_CONDA
    assert f"python={settings['min_python']}.*" in own
    assert conda["channels"] == ["conda-forge"]
    assert [r for r in by_pip if r.startswith("-")] == ["-e ."]


def test_every_requirement_is_pinned_within_its_bounds(pins, wanted):
    assert set(wanted) - set(pins) == set()
    assert {n: str(pins[n]) for n, b in wanted.items() if not b.contains(pins[n])} == {}


def test_pins_that_move_together(pins):
    "The reasons are at the top of constraints.txt"
    assert pins["numpy"] in SpecifierSet("<2") and pins["pyarrow"] in SpecifierSet("<26")


def test_this_environment_is_the_pinned_one(pins, wanted):
    "Whatever is needed, directly or not, is pinned and installed in the pinned version"
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("this environment was not made by make")
    todo, seen = [(name, "") for name in wanted], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for r in map(Requirement, importlib.metadata.requires(name) or []):
            if r.marker is None or r.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(r.name), e) for e in {"", *r.extras}]
    names = {name for name, _ in seen}
    assert names - set(pins) == set(), "needed but not pinned: make constraints"
    assert {n for n in names if Version(importlib.metadata.version(n)) != pins[n]} == set()
    pythons = {
        n: SpecifierSet(importlib.metadata.metadata(n).get("Requires-Python") or "") for n in names
    }
    assert {n for n, p in pythons.items() if not p.contains(DEBIAN_12)} == set(), (
        f"not for Python {DEBIAN_12}"
    )
    if sys.platform == "linux":  # the pins were made there; elsewhere torch needs fewer packages
        assert set(pins) - names - {"pip", "setuptools", "wheel"} == set(), (
            "pinned but not needed: make constraints"
        )


def test_graph_tool_is_there_where_required(graph_tool):
    assert graph_tool.Graph(directed=False).num_vertices() == 0


def test_versions_agree(root, settings):
    import natural_backdoors

    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert natural_backdoors.__version__ == settings["version"] == citation["version"]
