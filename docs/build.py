"""Make the documentation site from the notebooks: `make docs`, or `build.py [--execute] [--root FOLDER]`

The notebooks are copied to build/site/, processed by nbdev, turned into what MyST-NB reads (`adapt`), and made into
pages in _docs/ by Sphinx. Stored outputs are shown, unless --execute is given. A notebook whose front matter says
`- run_at_build: true` is always run: so a page can write files into `_static/` beside it, which go to the same place
of the site, and show them with IPython's `IFrame("_static/picker.html", ...)`; widgets that it shows stay alive.
"""
import argparse
import ast
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

import links
import npm
import symbols

SECTIONS = {"tutorials": ("Tutorials", "Learn by doing, on data that comes with the package."),
            "howto": ("How-to", "One task a page."),
            "api": ("Reference", "Every module, in the order in which they build on one another."),
            "explanations": ("Explanations", "Why it works, what the numbers mean and what they do not.")}
STAGES = {10: "Base", 26: "Datasets", 30: "Counting", 34: "Graph", 50: "Triggers", 70: "Choosing and splitting",
          84: "Training and evaluation", 100: "Pictures, picker, report and command line"}
WIDGET, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


def text(value): return value if isinstance(value, str) else "".join(value)


def directives(source):
    "The `#| key: value` lines of a code cell as a dict, and the code without them"
    found = re.findall(r"^#\s*\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M)
    return dict(found), re.sub(r"^#\s*\|.*\n?", "", source, flags=re.M).strip("\n")


def problems(notebook, flags):
    "Outputs that are errors, and cells that show something when they are run but have no output"
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code": continue
        says, code = directives(text(cell["source"]))
        for out in cell["outputs"]:
            if out["output_type"] == "error": yield f"{out['ename']}: {out['evalue']}"
        if cell["outputs"] or says.keys() & {"hide", *flags} or says.get("eval") == "false": continue
        try: last = ast.parse(code).body[-1:]
        except SyntaxError: continue # a magic
        shows = last and isinstance(last[0], ast.Expr) and (isinstance(last[0].value, ast.Name) or
                isinstance(last[0].value, ast.Call) and getattr(last[0].value.func, "id", "") in ("print", "display"))
        if shows: yield f"never executed: {code.splitlines()[-1]}"


def execute(path, flags):
    "Run a notebook in its own folder and store the outputs and the state of its widgets in it"
    import nbformat
    from nbclient import NotebookClient
    class Client(NotebookClient):
        async def async_execute_cell(self, cell, *args, **kwargs):
            says = directives(cell.source)[0] if cell.cell_type == "code" else {}
            if says.keys() & set(flags) or says.get("eval") == "false": return cell
            return await super().async_execute_cell(cell, *args, **kwargs)
    notebook = nbformat.read(path, 4)
    Client(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code": cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.write(notebook, path)


class Site:
    "The pages, and what they say of one another"
    def __init__(self, root, tree, src):
        self.root, self.tree, self.src = root, tree, src
        self.pages = {} # notebook, relative to nbs/ -> (page without suffix, title, description, order, cells, metadata)
        for path in sorted((tree/"_proc").rglob("*.ipynb")):
            import yaml
            name = path.relative_to(tree/"_proc").as_posix()
            notebook = json.loads(path.read_text(encoding="utf-8"))
            front = yaml.safe_load(text(notebook["cells"][0]["source"]).strip().strip("-"))
            page = join(dirname(name), front["output-file"].removesuffix(".html"))
            self.pages[name] = {"page": page, "title": front["title"], "description": front.get("description", ""),
                                "order": front.get("order", 1000), "cells": notebook["cells"][1:]}
        self.known = {} # full names of what the reference describes, by the names that prose uses
        for name, page in self.pages.items():
            page["module"] = f"{symbols.PACKAGE}.{page['page'].removeprefix('api/')}" if name.startswith("api/") else None
            for cell in page["cells"]:
                if cell["cell_type"] == "code" and (m := re.search(r"^show_doc\(([\w.]+)", text(cell["source"]), re.M)):
                    cell["symbol"] = m[1]
                    if "._" not in f".{m[1]}": self.known[m[1]] = f"{page['module']}.{m[1]}"

    def linked(self, markdown, name):
        "Names of symbols become references, links between notebooks links between pages; code stays as it is"
        def symbol(m):
            known = self.known.get(m[1].removeprefix(f"{symbols.PACKAGE}.").removesuffix("()"))
            return f"{{py:obj}}`{m[1]} <{known}>`" if known else f"`{m[1]}`"
        def link(m):
            path, _, anchor = m[2].partition("#")
            to = normpath(join("nbs", dirname(name), path))
            inner, here = to.removeprefix("nbs/"), dirname(name) or "."
            if inner in self.pages: path = relpath(self.pages[inner]["page"], here) + ".ipynb"
            elif inner in SECTIONS: path = relpath(join(inner, "index.md"), here)
            elif not to.startswith("nbs/") and (self.root/to).is_file():
                (self.src/"about").mkdir(exist_ok=True)
                content = (self.root/to).read_bytes()
                if to.endswith(".md"): content = b"---\norphan: true\n---\n\n" + content
                (self.src/"about"/to.replace("/", "-")).write_bytes(content)
                path = relpath(join("about", to.replace("/", "-")), here)
            return f"{m[1]}({path}{'#' + anchor if anchor else ''})"
        markdown = re.sub(r"\[`([^`\]]+)`\]\(https?://[^)\s]*\.html#[^)\s]*\)(?=)", symbol, markdown)
        parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)
        parts[::2] = [re.sub(r"(\])\((?!\w+:|#|/)([^)\s]+)\)", link, part) for part in parts[::2]]
        return re.sub(r"^:{3,}\s*\{\s*\.callout-(\w+)[^}]*\}", r":::{\1}", "".join(parts), flags=re.M)

    def adapt(self, name):
        "The notebook that Sphinx reads: title, text, reference entries, code and outputs"
        from nbdev.doclinks import NbdevLookup
        page, lookup = self.pages[name], NbdevLookup()
        prose = lambda s: self.linked(lookup.linkify(s) or "", name)
        state = json.loads((self.tree/"states"/name).read_text())
        alive = state.get(STATE, {}).get("state", {})
        cells = [{"cell_type": "markdown", "source": f"# {page['title']}\n\n{{.lead}}\n{prose(page['description'])}"}]
        for cell in page["cells"]:
            source = text(cell["source"])
            if cell["cell_type"] != "code":
                if not source.startswith("<!-- WARNING"): cells.append({"cell_type": "markdown", "source": self.linked(source, name)})
                continue
            if "symbol" in cell:
                if "._" in f".{cell['symbol']}": continue
                cells.append({"cell_type": "markdown",
                              "source": symbols.entry(page["module"], cell["symbol"], self.known, prose)})
                continue
            says, code = directives(source)
            tags = [tag for key, value, tag in (("echo", "false", "remove-input"), ("output", "false", "remove-output"),
                    ("code-fold", "true", "hide-input"), ("code-fold", "show", "hide-input")) if says.get(key) == value]
            for out in cell["outputs"]:
                if out.get("data", {}).get(WIDGET, {}).get("model_id") not in alive: out.get("data", {}).pop(WIDGET, None)
            if not code: continue
            metadata = {"tags": tags}
            if "fig-alt" in says: metadata["mystnb"] = {"image": {"alt": says["fig-alt"].strip('"')}}
            cells.append({"cell_type": "code", "source": code, "outputs": cell["outputs"], "metadata": metadata})
        if name == "index.ipynb": cells.append(toctree([f"{s}/index" for s in SECTIONS], ":hidden:"))
        for i, cell in enumerate(cells):
            cell |= {"id": f"cell-{i}", "metadata": cell.get("metadata", {})}
            if cell["cell_type"] == "code": cell["execution_count"] = None
        notebook = {"cells": cells, "nbformat": 4, "nbformat_minor": 5,
                    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"},
                                 "language_info": {"name": "python"}, **({"widgets": state} if alive else {})}}
        path = self.src/f"{page['page']}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    def section(self, folder):
        "The front page of a section: its pages with their descriptions, those of the reference by stage"
        title, says = SECTIONS[folder]
        pages = sorted((p["order"], name) for name, p in self.pages.items() if dirname(name) == folder)
        groups = {}
        for _, name in pages:
            number = re.match(r"api/(\d+)_", name)
            stage = next(t for limit, t in STAGES.items() if int(number[1]) < limit) if number else None
            groups.setdefault(stage, []).append(name)
        parts = [f"# {title}\n\n{says}"]
        if folder == "api": parts.append("{ref}`All symbols by name <genindex>`")
        for stage, names in groups.items():
            if stage: parts.append(f"## {stage}")
            parts += [f"- [{self.pages[n]['title']}]({relpath(self.pages[n]['page'], folder)}.ipynb): "
                      f"{self.pages[n]['description']}" for n in names]
            parts.append(toctree([relpath(self.pages[n]["page"], folder) for n in names], ":hidden:",
                                 *([f":caption: {stage}"] if stage else []))["source"])
        (self.src/folder).mkdir(exist_ok=True)
        (self.src/folder/"index.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def toctree(entries, *options):
    return {"cell_type": "markdown", "source": "\n".join(["```{toctree}", *options, "", *entries, "```"])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--execute", action="store_true", help="run all notebooks instead of showing stored outputs")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="folder with nbs/ and settings.ini")
    args = parser.parse_args()
    root = args.root.resolve()
    npm.main(Path(sys.prefix)/"npm")
    work, out, conf = root/"build"/"site", root/"_docs", Path(__file__).parent.resolve()
    tree, src = work/"tree", work/"src"
    for folder in (work, out): shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root/"nbs", tree/"nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", ".*"))
    settings = (root/"settings.ini").read_text(encoding="utf-8")
    # what exec_show_docs would run is written by symbols.entry
    (tree/"settings.ini").write_text(settings + "\nskip_procs = exec_show_docs\n", encoding="utf-8")
    flags = re.search(r"^tst_flags *= *(.*)$", settings, re.M)[1].split()

    wrong = []
    for path in sorted((tree/"nbs").rglob("*.ipynb")):
        name = path.relative_to(tree/"nbs").as_posix()
        if args.execute or re.search(r'"- run_at_build: *true', path.read_text(encoding="utf-8")):
            print(f"running {name}", flush=True)
            execute(path, flags)
        notebook = json.loads(path.read_text(encoding="utf-8"))
        wrong += [f"nbs/{name}: {p}" for p in problems(notebook, flags)]
        # nbdev trips over the state of linked widgets
        (tree/"states"/name).parent.mkdir(parents=True, exist_ok=True)
        (tree/"states"/name).write_text(json.dumps(notebook["metadata"].pop("widgets", {})))
        path.write_text(json.dumps(notebook), encoding="utf-8")
    if wrong: sys.exit("\n".join(wrong))

    # numpydoc sections that fastcore does not know are read as text
    warnings.filterwarnings("ignore", module="fastcore.docscrape")
    os.chdir(tree)
    from nbdev.serve import proc_nbs
    proc_nbs(force=True, n_workers=0)
    src.mkdir()
    shutil.copytree(tree/"nbs", src, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ipynb", "*.yml"))
    site = Site(root, tree, src)
    for name in site.pages: site.adapt(name)
    for folder in SECTIONS: site.section(folder)
    (src/"pages.json").write_text(json.dumps({"notebooks": {p["page"]: f"notebooks/{name}" for name, p in site.pages.items()},
                                              "modules": [p["page"][4:] for p in site.pages.values() if p["module"]]}))

    from sphinx.cmd.build import build_main
    failed = build_main(["-q", "-W", "--keep-going", "-c", str(conf), "-d", str(work/"doctrees"), str(src), str(out)])
    shutil.copytree(root/"nbs", out/"notebooks", ignore=shutil.ignore_patterns("*.yml", ".*"))
    for static in (tree/"nbs").rglob("_static"): shutil.copytree(static, out/static.relative_to(tree/"nbs"), dirs_exist_ok=True)
    n, broken, outside = links.check(out)
    if broken: print("broken links:", *broken, sep="\n")
    if broken or failed: sys.exit(1)
    (work/"outside_links.txt").write_text("\n".join(outside) + "\n")
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{out}: {len(list(out.rglob('*.html')))} pages, {size/1e6:.0f} MB, {n} links followed; "
          f"{len(outside)} lead elsewhere: {work/'outside_links.txt'}")


if __name__ == "__main__": main()
