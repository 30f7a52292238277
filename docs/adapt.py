"""From the notebooks as nbdev has processed them to the sources that Sphinx reads

Front matter becomes a title and a first line, `show_doc` cells become entries of the reference,
directives become tags, callouts admonitions, and links between notebooks links between pages. Each
section gets a front page.
"""

import json
import re
from posixpath import dirname, join, normpath, relpath

import symbols
import yaml
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup

SECTIONS = {
    "tutorials": ("Tutorials", "Learn by doing, on data that comes with the package."),
    "howto": ("How-to", "One task a page."),
    "api": ("Reference", "Every module, in the order in which they build on one another."),
    "explanations": ("Explanations", "Why it works, what the numbers mean and what they do not."),
}
FOLDERS = {
    "base": "Base",
    "data": "Datasets",
    "graph": "Counting and the graph",
    "sets": "Triggers and class sets",
    "split": "Choosing and splitting",
    "train": "Training, evaluation, sweeps",
    "defend": "Defenses",
    "pick": "The picker",
    "report": "Reports",
    "paper": "The publication",
    "cli": "The command line",
}
WIDGET, STATE = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
)


def text(value):
    return value if isinstance(value, str) else "".join(value)


def directives(source):
    "The `#| key: value` lines of a code cell as a dict, and the code without them"
    found = re.findall(r"^#\s*\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M)
    return dict(found), re.sub(r"^#\s*\|.*\n?", "", source, flags=re.M).strip("\n")


class Site:
    "The pages, and what they say of one another"

    def __init__(self, root, tree, src):
        self.root, self.tree, self.src = root, tree, src
        self.host = get_config().doc_host + get_config().doc_baseurl
        self.pages = {}  # by the path of the notebook below nbs/
        for path in sorted((tree / "_proc").rglob("*.ipynb")):
            name = path.relative_to(tree / "_proc").as_posix()
            notebook = json.loads(path.read_text(encoding="utf-8"))
            front = yaml.safe_load(text(notebook["cells"][0]["source"]).strip().strip("-"))
            page = join(dirname(name), front["output-file"].removesuffix(".html"))
            self.pages[name] = {
                "page": page,
                "title": front["title"],
                "description": front.get("description", ""),
                "order": front.get("order", 1000),
                "ran": front.get("ran"),
                "cells": notebook["cells"][1:],
            }
        self.known = {}  # full names of what the reference describes, by the names that prose uses
        for page in self.pages.values():
            module = page["page"].removeprefix("api/").replace("/", ".")
            inside = page["page"].startswith("api/")
            page["module"] = f"{symbols.PACKAGE}.{module}" if inside else None
            for cell in page["cells"]:
                if cell["cell_type"] == "code" and (
                    m := re.search(r"^show_doc\(([\w.]+)", text(cell["source"]), re.M)
                ):
                    cell["symbol"] = m[1]
                    if "._" not in f".{m[1]}":
                        self.known[m[1]] = f"{page['module']}.{m[1]}"

    def linked(self, markdown, name):
        "Names of symbols become references, links to notebooks links to pages; code stays as it is"

        def symbol(m):
            module = f"{symbols.PACKAGE}.{m[2].replace('/', '.')}"
            full = f"{module}.{m[1].removeprefix(module + '.').removesuffix('()')}"
            return f"{{py:obj}}`{m[1]} <{full}>`" if full in self.known.values() else f"`{m[1]}`"

        def link(m):
            path, _, anchor = m[2].partition("#")
            to = normpath(join("nbs", dirname(name), path))
            inner, here = to.removeprefix("nbs/"), dirname(name) or "."
            if inner in self.pages:
                path = relpath(self.pages[inner]["page"], here) + ".ipynb"
            elif inner in SECTIONS:
                path = relpath(join(inner, "index.md"), here)
            elif not to.startswith("nbs/") and (self.root / to).is_file():
                (self.src / "about").mkdir(exist_ok=True)
                content = (self.root / to).read_bytes()
                if to.endswith(".md"):
                    content = b"---\norphan: true\n---\n\n" + content
                (self.src / "about" / to.replace("/", "-")).write_bytes(content)
                path = relpath(join("about", to.replace("/", "-")), here)
            return f"{m[1]}({path}{'#' + anchor if anchor else ''})"

        # nbdev has made them links to the address at which the site would be
        markdown = re.sub(
            rf"\[`([^`\]]+)`\]\({re.escape(self.host)}/api/([\w/]+)\.html#[^)\s]*\)",
            symbol,
            markdown,
        )
        parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)
        parts[::2] = [re.sub(r"(\])\((?!\w+:|#|/)([^)\s]+)\)", link, part) for part in parts[::2]]
        return re.sub(
            r"^:{3,}\s*\{\s*\.callout-(\w+)[^}]*\}", r":::{\1}", "".join(parts), flags=re.M
        )

    def adapt(self, name):
        "The notebook that Sphinx reads: title, text, reference entries, code and outputs"
        page, lookup = self.pages[name], NbdevLookup()

        def prose(s):
            return self.linked(lookup.linkify(s) or "", name)

        state = json.loads((self.tree / "states" / name).read_text())
        alive = state.get(STATE, {}).get("state", {})
        cells = [
            {
                "cell_type": "markdown",
                "source": f"# {page['title']}\n\n{{.lead}}\n{prose(page['description'])}",
            }
        ]
        if page["ran"]:
            note = f"The outputs below are from {page['ran']}; the code has not changed since."
            cells.append({"cell_type": "markdown", "source": f":::{{note}}\n{note}\n:::"})
        for cell in page["cells"]:
            source = text(cell["source"])
            if cell["cell_type"] != "code":
                if source.startswith("<!-- WARNING"):
                    continue  # nbdev's remark that the copy is not to be edited
                cells.append({"cell_type": "markdown", "source": self.linked(source, name)})
                continue
            if "symbol" in cell:
                if "._" in f".{cell['symbol']}":
                    continue
                cells.append(
                    {
                        "cell_type": "markdown",
                        "source": symbols.entry(page["module"], cell["symbol"], self.known, prose),
                    }
                )
                continue
            says, code = directives(source)
            tags = [
                tag
                for key, value, tag in (
                    ("echo", "false", "remove-input"),
                    ("output", "false", "remove-output"),
                    ("code-fold", "true", "hide-input"),
                    ("code-fold", "show", "hide-input"),
                )
                if says.get(key) == value
            ]
            for out in cell["outputs"]:
                data = out.get("data", {})
                if data.get(WIDGET, {}).get("model_id") not in alive:
                    data.pop(WIDGET, None)  # not alive
            if not code:
                continue
            metadata = {"tags": tags}
            if "fig-alt" in says:
                metadata["mystnb"] = {"image": {"alt": says["fig-alt"].strip('"')}}
            cells.append(
                {
                    "cell_type": "code",
                    "source": code,
                    "outputs": cell["outputs"],
                    "metadata": metadata,
                }
            )
        if name == "index.ipynb":
            cells.append(toctree([f"{s}/index" for s in SECTIONS], ":hidden:"))
        for i, cell in enumerate(cells):
            cell |= {"id": f"cell-{i}", "metadata": cell.get("metadata", {})}
            if cell["cell_type"] == "code":
                cell["execution_count"] = None
        notebook = {
            "cells": cells,
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3"},
                "language_info": {"name": "python"},
                **({"widgets": state} if alive else {}),
            },
        }
        path = self.src / f"{page['page']}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    def write(self):
        "All sources, and for the templates the notebook of each page and the modules"
        for name in self.pages:
            self.adapt(name)
        for folder in SECTIONS:
            self.section(folder)
        notebooks = {page["page"]: f"notebooks/{name}" for name, page in self.pages.items()}
        modules = [
            page["module"].removeprefix(f"{symbols.PACKAGE}.")
            for page in self.pages.values()
            if page["module"]
        ]
        (self.src / "pages.json").write_text(
            json.dumps({"notebooks": notebooks, "modules": modules}), encoding="utf-8"
        )

    def section(self, section):
        "The front page of a section: its pages with descriptions, those of the reference by folder"
        title, says = SECTIONS[section]
        parts = [f"# {title}\n\n{says}"]
        folders = [section]
        if section == "api":
            parts.append("{ref}`All symbols by name <genindex>`")
            folders = [f"api/{folder}" for folder in get_config().api_folders.split()]
        for folder in folders:
            pages = [
                (p["order"], name) for name, p in self.pages.items() if dirname(name) == folder
            ]
            names = [name for _, name in sorted(pages)]
            stage = FOLDERS[folder.removeprefix("api/")] if section == "api" else None
            if stage:
                parts.append(f"## {stage}")
            parts += [self.line_of(name, section) for name in names]
            entries = [relpath(self.pages[name]["page"], section) for name in names]
            captions = [f":caption: {stage}"] if stage else []
            parts.append(toctree(entries, ":hidden:", *captions)["source"])
        (self.src / section).mkdir(exist_ok=True)
        (self.src / section / "index.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def line_of(self, name, section):
        "A page in the list on the front page of its section"
        page = self.pages[name]
        link = f"{relpath(page['page'], section)}.ipynb"
        return f"- [{page['title']}]({link}): {page['description']}"


def toctree(entries, *options):
    return {
        "cell_type": "markdown",
        "source": "\n".join(["```{toctree}", *options, "", *entries, "```"]),
    }
