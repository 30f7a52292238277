"README.md is nbs/index.ipynb, and what it shows is what running it prints"

import json

import nbformat
import pytest
import readme
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def index(root):
    return json.loads((root / readme.NOTEBOOK).read_text(encoding="utf-8"))


def test_in_step_with_the_notebook(root, index):
    text, images = readme.render(index)
    assert (root / readme.README).read_text(encoding="utf-8") == text, "out of date: make readme"
    assert {p.relative_to(root).as_posix() for p in (root / readme.IMAGES).glob("index-*")} == set(
        images
    )
    for name, data in images.items():
        assert (root / name).read_bytes() == data, f"{name} is out of date: make readme"


def test_links_lead_somewhere(root, index):
    text, _ = readme.render(index)
    links = readme.re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    assert [link for link in links if not (root / link).exists()] == []


def test_first_screen(index):
    "Two commands, then a short example with its output, then a picture"
    text, images = readme.render(index)
    assert (
        0
        < text.index("make demo")
        < text.index("make test")
        < text.index("```python")
        < text.index("![")
    )
    example = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    assert images


def test_relink():
    assert (
        readme.relink("[a](api/00_core.ipynb#x) [b](https://b.org/c) [d](../LICENSE) [e](#top)")
        == "[a](nbs/api/00_core.ipynb#x) [b](https://b.org/c) [d](LICENSE) [e](#top)"
    )
    assert readme.relink("`x[i](j)` ```\ny[i](j)\n```") == "`x[i](j)` ```\ny[i](j)\n```"


def printed(notebook):
    "The text that each cell of `notebook` shows, pictures aside"
    images = {}
    shown = [
        [readme.render_output(out, cell["id"], {}, images) for out in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    return [[text for text in texts if not text.startswith("![")] for texts in shown]


def test_output_is_real(root, index):
    "Running the front page prints what is stored in it; the cell that takes a picture with a browser is left out"
    index = {**index, "cells": [c for c in index["cells"] if "#| slow" not in "".join(c["source"])]}
    fresh = nbformat.from_dict(json.loads(json.dumps(index)))
    for cell in fresh.cells:
        # stored sources and outputs are lists of lines, nbclient works on text
        cell.source = "".join(cell.source)
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(
        fresh, timeout=600, resources={"metadata": {"path": str(root / "nbs")}}
    ).execute()
    assert printed(fresh) == printed(index)
