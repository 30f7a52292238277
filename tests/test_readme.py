"""README.md is nbs/index.ipynb

That the outputs in it are what running it gives is checked by scripts/outputs.py
(`make notebooks`).
"""

import json

import pytest
import readme


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
    "What it is, a picture, three lines with a file of labels, what comes out, two commands"
    text, images = readme.render(index)
    places = ["relabels", "![", "```python", "n_poison", "```sh\nmake demo", "make test"]
    at = [text.index(place) for place in places]
    assert at == sorted(at) and images
    example = text.split("```python\n")[1].split("```")[0]
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 4 and 'TableDataset("labels.csv")' in example
    assert ".drop(" not in text and ".rename(" not in text


def test_relink():
    assert (
        readme.relink(
            "[a](api/base/01_errors.ipynb#x) [b](https://b.org/c) [d](../LICENSE) [e](#top)"
        )
        == "[a](nbs/api/base/01_errors.ipynb#x) [b](https://b.org/c) [d](LICENSE) [e](#top)"
    )
    assert readme.relink("`x[i](j)` ```\ny[i](j)\n```") == "`x[i](j)` ```\ny[i](j)\n```"
