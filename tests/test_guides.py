"""Pages that each show one kind of dataset, the words of the search, and what is folded in guides

None of these builds the site; `test_docs.py` does, and asks the search in a browser.
"""

import json
import re
import shlex
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.cli.commands import make_parser
from natural_backdoors.data.datasets import listing, manager_class
from natural_backdoors.data.kinds import manager_options

GUIDES = ("tutorials", "howto", "explanations")
PARTS = ["Where the files come from", "What they must look like", "One command", "One picture"]


@pytest.fixture(scope="module", autouse=True)
def docs(root):
    sys.path.append(str(root / "docs"))


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text(path):
    "All that a reader sees of a page"
    return "\n".join("".join(c["source"]) for c in cells(path) if "#| hide" not in c["source"][0])


def data_pages(root):
    return sorted((root / "nbs" / "howto").glob("data_*.ipynb"))


def commands(page):
    "The command lines of a page, in fences, in back-ticks and in calls of its `shell`"
    page = page.replace("\\\\\n", " ").replace("\\\n", " ")
    found = re.findall(r"^natural-backdoors (.+)$", page, re.M)
    found += re.findall(r"`natural-backdoors ([^`]+ [^`]+)`", page)
    called = re.findall(r"shell\([\"']+natural-backdoors (.+?)[\"']+\)$", page, re.M)
    return found + called


def test_each_kind_page_says_the_same_things(root):
    for path in data_pages(root):
        page = text(path)
        at = [page.find(f"## {part}\n") for part in [*PARTS, "Limits"]]
        assert -1 not in at, (path.name, at)
        pictures = [
            o for c in cells(path) for o in c.get("outputs", []) if "image/png" in o.get("data", {})
        ]
        assert len(pictures) == 1, path.name
        assert "\n- group: data\n" in page, path.name


def test_every_kind_has_a_page(root):
    pages = "\n".join(text(path) for path in data_pages(root))
    assert [kind for kind in listing()["data"] if kind not in pages] == []


def test_commands_of_kind_pages_are_understood(root):
    "With flags, kinds and options that there are"
    parser, n = make_parser(), 0
    for path in data_pages(root):
        for line in commands(text(path)):
            args = parser.parse_args(shlex.split(line))
            n += 1
            options = (
                [part.partition("=")[0] for part in args.option or []] if "option" in args else []
            )
            if options:
                known = manager_options(manager_class(args.data or "table"))
                assert set(options) <= set(known), line
    assert n > 12


# The search


def test_keywords_are_of_pages_that_there_are(root):
    import site_search

    same, pages = site_search.known_words()
    there = {"index"}
    for path in (root / "nbs").rglob("*.ipynb"):
        name = path.relative_to(root / "nbs").with_suffix("").as_posix()
        there.add(re.sub(r"/\d+_", "/", name))
    named = {page for page in pages if not page.startswith("about/")}
    assert named - there == set()
    guides = {page for page in there if page.startswith(GUIDES)}
    assert guides - named == set(), "say in docs/search.yml by which words people look for it"
    words = [word for group in same for word in group]
    assert len(words) == len(set(words)), "a word is in two groups"


def test_thinned_text_keeps_what_is_asked_for():
    import site_search

    same = [["asr", "attack success rate"], ["openimages", "open images"]]
    said = site_search.thinned("The attack success rate of Open Images: rate, Rate, rate, 12", same)
    assert said.split().count("=0") == 1 and "openimages" in said and "12" not in said
    assert said.lower().split().count("rate") == site_search.OFTEN


# What is folded

STATEMENTS = [
    "x = f(1)",
    "print(x)",
    "assert x == 2",
    "import os",
    "x",
    "def g():\n    assert x\n    return 1",
]


def test_what_is_folded():
    from folding import CHECK, SETUP, fold

    assert fold("assert x\nassert y", False, False) == [("assert x\nassert y", CHECK)]
    assert fold("n = len(x)\nassert n == 2", False, False) == [("n = len(x)\nassert n == 2", CHECK)]
    assert fold("import os\n\nx = 1", False, True) == [("import os\n\nx = 1", SETUP)]
    assert fold("import os\n\nx = 1", False, False) == [("import os\n\nx = 1", None)]
    assert fold("print(x)\n# why\nassert x", True, False) == [
        ("print(x)", None),
        ("# why\nassert x", CHECK),
    ]
    assert fold("assert x\nprint(x)", True, False) == [("print(x)", None), ("assert x", CHECK)]
    # what is computed after an assertion relies on it; what it calls may be what is shown
    assert fold("assert x\ny = 2\nprint(y)", True, False) == [("assert x\ny = 2\nprint(y)", None)]
    assert fold("assert show(x) == 2", True, False) == [("assert show(x) == 2", None)]
    assert fold("%matplotlib inline", False, False) == [("%matplotlib inline", None)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_folding_loses_nothing(statements, has_output, is_first):
    from folding import CHECK, fold

    code = "\n".join(statements)
    parts = fold(code, has_output, is_first)
    lines = [line for part, _ in parts for line in part.split("\n")]
    assert sorted(lines) == sorted(code.split("\n"))
    assert len(parts) <= 2 and all(part.strip() for part, _ in parts)
    if len(parts) == 2:  # all that computes is in the first
        assert parts[0][1] is None and parts[1][1] == CHECK
        assert set(parts[1][0].split("\n")) == {"assert x == 2"}


def test_an_audit_for_the_web_shows_no_photograph(tmp_path, monkeypatch):
    "What the pages on medical tables and on intended use promise"
    from PIL import Image

    from natural_backdoors.cli.commands import main

    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = ["image,label"]
    for i in range(8):  # two by two the same photograph
        Image.new("RGB", (32, 32), (40 * (i // 2), 0, 0)).save(f"{i}.jpg")
        rows += [f"{i}.jpg,hat"] * (i < 4) + [f"{i}.jpg,{'dog' if i % 2 else 'cat'}"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    shown = {}
    for flags in ([], ["--images", "0", "--no_duplicates"]):
        assert (
            main(["audit", "labels.csv", "--min_overlaps", "1", "--sample_size", "2", *flags]) == 0
        )
        page = (tmp_path / "results/labels/audit/audit.html").read_text(encoding="utf-8")
        shown[len(flags)] = page.count("data:image/jpeg")
    assert shown[0] > 0 and shown[3] == 0
