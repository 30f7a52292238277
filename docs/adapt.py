"""From the notebooks as nbdev has processed them to the sources that Sphinx reads

Front matter becomes a title and a first line, `show_doc` cells become entries of the reference,
directives become tags, callouts admonitions, and links between notebooks links between pages. In
guides, checks and set-up are folded (`folding.py`). Each section and each folder of the reference
gets a front page.
"""

import json
import re
from posixpath import dirname, join, normpath, relpath

import folding
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
GROUPS = {"": "Tasks", "data": "By kind of data"}  # by `- group:` of a page
FOLDERS = {
    "base": ("Base", "Errors, checks, files, settings, random numbers, the cache."),
    "data": ("Datasets", "What is asked of a dataset, and a module for each format that is read."),
    "graph": ("Counting and the graph", "Which labels share images, how many, and how central."),
    "sets": ("Triggers and class sets", "The search: triggers, their classes, and why not others."),
    "split": ("Choosing and splitting", "From a choice to a poisoned split, controls and exports."),
    "train": ("Training, evaluation, sweeps", "One model or thousands, measured beside controls."),
    "defend": ("Defenses", "One contract, a module for each defense, and the panel of all."),
    "pick": ("The picker", "Look and choose: in a notebook, in a browser, in a terminal."),
    "report": ("Reports", "Pages to pass on: of a run, a study, a screening, an audit."),
    "paper": ("The publication", "Its facts, figures and experiments."),
    "cli": ("The command line", "Each command, its flags and what it says."),
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
                "group": front.get("group", ""),
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
        is_first = True
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
            alt = {"image": {"alt": says["fig-alt"].strip('"')}} if "fig-alt" in says else {}
            parts = [(code, None)]
            if dirname(name) in folding.GUIDES and not tags:
                parts = folding.fold(code, bool(cell["outputs"]), is_first)
            is_first = False
            for i, (part, kind) in enumerate(parts):
                outputs = cell["outputs"] if i == 0 else []
                cells.append(code_cell(part, outputs, tags, alt, kind))
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
        "The front page of a section: its pages with descriptions, in groups if they name some"
        title, says = SECTIONS[section]
        parts = [f"# {title}\n\n{says}"]
        if section == "api":
            return self.reference(parts)
        names = self.names_in(section)
        groups = [group for group in GROUPS if any(self.pages[n]["group"] == group for n in names)]
        for group in groups:
            members = [name for name in names if self.pages[name]["group"] == group]
            caption = [GROUPS[group]] if len(groups) > 1 else []
            parts += [f"## {text}" for text in caption]
            parts += [self.line_of(name, section) for name in members]
            entries = [relpath(self.pages[name]["page"], section) for name in members]
            options = [f":caption: {text}" for text in caption]
            parts.append(toctree(entries, ":hidden:", *options)["source"])
        self.write_page(f"{section}/index.md", parts)

    def reference(self, parts):
        "The front page of the reference: a line for each folder, then its modules; a page for each"
        folders = get_config().api_folders.split()
        rows = [f"| [{FOLDERS[f][0]}]({f}/index.md) | `{f}` | {FOLDERS[f][1]} |" for f in folders]
        parts.append("| stage | folder | |\n|---|---|---|\n" + "\n".join(rows))
        parts.append("{ref}`All symbols by name <genindex>`")
        for folder in folders:
            title, says = FOLDERS[folder]
            names = self.names_in(f"api/{folder}")
            parts += [f"## {title}", says, *(self.line_of(name, "api") for name in names)]
            inside = [f"# {title}\n\n{{.lead}}\n{says}"]
            inside += [self.line_of(name, f"api/{folder}") for name in names]
            entries = [relpath(self.pages[name]["page"], f"api/{folder}") for name in names]
            inside.append(toctree(entries, ":hidden:")["source"])
            self.write_page(f"api/{folder}/index.md", inside)
        parts.append(toctree([f"{f}/index" for f in folders], ":hidden:")["source"])
        self.write_page("api/index.md", parts)

    def names_in(self, folder):
        "The pages of a folder, in their order"
        pages = [(p["order"], name) for name, p in self.pages.items() if dirname(name) == folder]
        return [name for _, name in sorted(pages)]

    def write_page(self, path, parts):
        (self.src / path).parent.mkdir(parents=True, exist_ok=True)
        (self.src / path).write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def line_of(self, name, section):
        "A page in the list on the front page of its section"
        page = self.pages[name]
        link = f"{relpath(page['page'], section)}.ipynb"
        return f"- [{page['title']}]({link}): {page['description']}"


def code_cell(code, outputs, tags, settings, kind):
    "A cell of a page; `kind` is what it is folded as"
    if kind:
        tags = [*tags, "hide-input"]
        prompts = {"code_prompt_show": f"Show the {kind}", "code_prompt_hide": f"Hide the {kind}"}
        settings = {**settings, **prompts}
    metadata = {"tags": tags, **({"mystnb": settings} if settings else {})}
    return {"cell_type": "code", "source": code, "outputs": outputs, "metadata": metadata}


def toctree(entries, *options):
    return {
        "cell_type": "markdown",
        "source": "\n".join(["```{toctree}", *options, "", *entries, "```"]),
    }
