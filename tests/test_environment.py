"settings.ini, environment.yml and constraints/ name the same packages, within the same bounds"

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("train", "scale", "huggingface", "export", "notebook", "docs", "dev")
ON_CONDA_FORGE = {"pytorch": "torch", "python-build": "build"}  # its name -> that on PyPI
OLDEST = {"3.11": "3.11.2"}  # the oldest that the pins have to work with: Debian 12's
FRAMEWORK = {"python-fasthtml", "starlette", "uvicorn"}  # what fastprogress 1.1 brings
ONLY_CONDA = {"python", "pip", "graph-tool"}


def bounds(requirements):
    "{name: bounds} of requirements such as `numpy>=1.26`; of a name that comes twice, the narrower"
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
def versions(settings):
    "The versions of Python that are tested, such as 3.11"
    return settings["python_versions"].split()


def read_pins(root, python):
    "{name: version} of the pins for a version of Python such as 3.11"
    file = root / "constraints" / f"py{python.replace('.', '')}.txt"
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, equals, version = line.partition("==")
        assert equals and name and re.fullmatch(r"[\w.+!]+", version), f"not an exact pin: {line!r}"
        assert canonicalize_name(name) not in found, f"{name} is pinned twice"
        found[canonicalize_name(name)] = Version(version)
    return found


@pytest.fixture(scope="module")
def pins(root, versions):
    "{version of Python: its pins}"
    return {python: read_pins(root, python) for python in versions}


@pytest.fixture(scope="module")
def own_bounds(root):
    "The requirements in constraints/bounds.txt"
    lines = (root / "constraints" / "bounds.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_light_install_is_light(settings):
    core = bounds(settings["requirements"].split())
    assert not {"torch", "torchvision", "fastai", "ipywidgets", "jupyterlab", "nbdev"} & set(core)
    assert "numpy" in core and core["numpy"].contains("2.0"), (
        "numpy 1.26 is the choice of our own environment only"
    )


def test_conda_has_the_same_names_and_bounds(conda, wanted, versions):
    listed = [d for d in conda["dependencies"] if isinstance(d, str)]
    by_pip = [r for d in conda["dependencies"] if isinstance(d, dict) for r in d["pip"]]
    own = [d for d in listed if re.match(r"[\w-]+", d)[0] in ONLY_CONDA]
    rest = bounds(
        [d for d in listed if d not in own] + [r for r in by_pip if not r.startswith("-")]
    )
    assert rest == wanted
    assert {re.match(r"[\w-]+", d)[0] for d in own} == ONLY_CONDA
    assert f"python>={versions[0]},<3.{int(versions[-1].split('.')[1]) + 1}" in own
    assert conda["channels"] == ["conda-forge"]
    assert [r for r in by_pip if r.startswith("-")] == ["-e ."]


def test_each_version_of_python_has_its_pins(root, settings, versions):
    assert versions == sorted(versions, key=Version) and versions[0] == settings["min_python"]
    there = {p.name for p in (root / "constraints").glob("py*.txt")}
    assert there == {f"py{v.replace('.', '')}.txt" for v in versions}


def test_every_requirement_is_pinned_within_its_bounds(pins, wanted):
    for python, pinned in pins.items():
        assert set(wanted) - set(pinned) == set(), python
        outside = {n: str(pinned[n]) for n, b in wanted.items() if not b.contains(pinned[n])}
        assert outside == {}, python


def test_pins_are_within_our_own_bounds(pins, own_bounds):
    "The reasons are in constraints/bounds.txt"
    for python, pinned in pins.items():
        bound = [b for b in own_bounds if b.marker.evaluate({"python_version": python})]
        outside = [str(b) for b in bound if pinned[canonicalize_name(b.name)] not in b.specifier]
        assert outside == [], python


def test_graph_tool_fits_python_311_only_and_the_others_are_new(pins):
    assert pins["3.11"]["numpy"] in SpecifierSet("<2")
    newer = [pinned for python, pinned in pins.items() if python != "3.11"]
    assert newer and all(p["numpy"].major >= 2 and p["pandas"].major >= 3 for p in newer)


def test_no_web_framework(pins, wanted):
    assert not wanted["fastprogress"].contains("1.1")
    assert {python: FRAMEWORK & set(pinned) for python, pinned in pins.items()} == {
        python: set() for python in pins
    }


def test_this_environment_is_the_pinned_one(pins, wanted):
    "Whatever is needed, directly or not, is pinned and installed in the pinned version"
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("this environment was not made by make")
    python = "{}.{}".format(*sys.version_info)
    pinned, oldest = pins[python], OLDEST.get(python, f"{python}.0")
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
    assert names - set(pinned) == set(), "needed but not pinned: make constraints"
    assert {n for n in names if Version(importlib.metadata.version(n)) != pinned[n]} == set()
    pythons = {
        n: SpecifierSet(importlib.metadata.metadata(n).get("Requires-Python") or "") for n in names
    }
    too_new = {n for n, p in pythons.items() if not p.contains(oldest)}
    assert too_new == set(), f"not for Python {oldest}"
    if sys.platform == "linux":  # the pins were made there; elsewhere torch needs fewer packages
        assert set(pinned) - names - {"pip", "setuptools", "wheel"} == set(), (
            "pinned but not needed: make constraints"
        )


def test_graph_tool_is_there_where_required(graph_tool):
    assert graph_tool.Graph(directed=False).num_vertices() == 0


def test_versions_agree(root, settings):
    import natural_backdoors

    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert natural_backdoors.__version__ == settings["version"] == citation["version"]


FIND = "scripts/find_python.sh"


def stand_in(folder, name, version):
    "A program `name` in `folder` that answers like a Python of that version; None: it does not run"
    program = folder / name
    answer = f"echo {version} /opt/{name}" if version else "echo not here >&2; exit 127"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def find_python(root, tmp_path):
    "A function: what find_python.sh answers where only these {name: version} are there"

    def find(programs, *args, **variables):
        for tool in ("bash", "dirname", "sed"):
            (tmp_path / tool).symlink_to(shutil.which(tool))
        for name, version in programs.items():
            stand_in(tmp_path, name, version)
        done = subprocess.run(
            [tmp_path / "bash", root / FIND, *args],
            env={"PATH": str(tmp_path), **variables},
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() or done.stderr.strip()

    return find


@pytest.mark.parametrize(
    "programs, answer",
    [
        ({"python3.11": "3.11", "python3.13": "3.13", "python3.12": "3.12"}, "/opt/python3.13"),
        # a version manager has the name also where the version is not in use
        ({"python3.13": None, "python3.12": None, "python3.11": "3.11"}, "/opt/python3.11"),
        # the name may be any other
        ({"python3": "3.12", "python": "2.7"}, "/opt/python3"),
        (
            {"python3": "3.10", "python3.14": "3.14"},
            "no Python 3.13 or 3.12 or 3.11 found: make PYTHON=/path/to/python",
        ),
    ],
)
def test_the_newest_python_is_taken(find_python, programs, answer):
    assert find_python(programs) == answer


def test_one_version_is_asked_for(find_python):
    assert find_python({"python3.11": "3.11", "python3.13": "3.13"}, "3.11") == "/opt/python3.11"


@pytest.mark.parametrize(
    "version, answer",
    [
        ("3.12", "/opt/mine"),
        ("3.10", "Python 3.13 or 3.12 or 3.11 is needed, {} is 3.10"),
        (None, "not here\n{} does not run"),
    ],
)
def test_a_python_that_is_named_wins(find_python, tmp_path, version, answer):
    mine = stand_in(tmp_path, "mine", version)
    assert find_python({"python3.13": "3.13"}, PYTHON=str(mine)) == answer.format(mine)


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda p: p.name)
def test_programs_can_be_run_and_say_what_they_do(path):
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first == "#!/usr/bin/env bash" and second.startswith("# ")
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_hooks_are_programs_of_the_environment(root, wanted):
    "No hook is fetched from anywhere"
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    programs = {re.search(r"\.venv/bin/([\w-]+)", entry)[1] for entry in entries}
    assert programs == {"nbdev_clean", "nbdev_export", "ruff"}
    assert {"nbdev", "ruff", "pre-commit"} <= set(wanted)
