"""Make the documentation site from the notebooks: `make docs`

    python docs/build.py [--execute | --trust_outputs] [--root FOLDER]

The notebooks are copied to build/site/, processed by nbdev, turned into what MyST-NB reads
(`adapt.py`), and made into pages in _docs/ by Sphinx. Stored outputs are shown, and a page whose
outputs are not what its cells give now breaks the build (`scripts/outputs.py`; what it has found
true before is not run again). With --execute all notebooks are run and what comes out is shown;
with --trust_outputs none is looked at.

A notebook whose front matter says `- run_at_build: true` is always run: so a page can write files
into `_static/` beside it, which go to the same place of the site, and show them with IPython's
`IFrame("_static/picker.html", ...)`; widgets that it shows stay alive.
"""

import argparse
import ast
import gc
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))
import links
import npm
import outputs
from adapt import Site, directives, text


def problems(notebook, flags):
    "Outputs that are errors, and cells that show something when they are run but have no output"
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        says, code = directives(text(cell["source"]))
        for out in cell["outputs"]:
            if out["output_type"] == "error":
                yield f"{out['ename']}: {out['evalue']}"
        if cell["outputs"] or says.keys() & {"hide", *flags} or says.get("eval") == "false":
            continue
        try:
            last = ast.parse(code).body[-1:]
        except SyntaxError:
            continue  # a magic
        shows = (
            last
            and isinstance(last[0], ast.Expr)
            and (
                isinstance(last[0].value, ast.Name)
                or isinstance(last[0].value, ast.Call)
                and getattr(last[0].value.func, "id", "") in ("print", "display")
            )
        )
        if shows:
            yield f"never executed: {code.splitlines()[-1]}"


def execute(path, flags):
    "Run a notebook in its own folder and store what comes out in it"
    import nbformat

    notebook = nbformat.read(path, 4)
    outputs.execute(notebook, path.parent, set(flags))
    nbformat.write(notebook, path)


def main():
    # nearly all that Sphinx makes stays: to look through it again and again for what has become
    # useless takes a fifth of the time
    gc.set_threshold(100_000, 20, 100)
    parser = argparse.ArgumentParser()
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--execute", action="store_true", help="run all notebooks, show what comes out"
    )
    how.add_argument(
        "--trust_outputs", action="store_true", help="do not ask whether stored outputs are true"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parent.parent,
        help="folder with nbs/ and settings.ini",
    )
    args = parser.parse_args()
    root = args.root.resolve()
    sys.path.insert(0, str(root))
    if not (args.execute or args.trust_outputs):
        stale = [
            r.path for r in outputs.check_all([root / "nbs"], root, changed=True) if r.problems
        ]
        if stale:
            names = " ".join(p.relative_to(root).as_posix() for p in sorted(stale))
            sys.exit(
                f"stale pages; store what comes out: python scripts/outputs.py --write {names}"
            )
    npm.main(Path(sys.prefix) / "npm")
    work, out = root / "build" / "site", root / "_docs"
    tree, src = work / "tree", work / "src"
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        root / "nbs",
        tree / "nbs",
        ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", ".*"),
    )
    # a notebook that is run finds what lies beside nbs/ where it always is
    for path in root.iterdir():
        if path.name not in (
            "nbs",
            "settings.ini",
            "build",
            "_docs",
            "_proc",
        ) and not path.name.startswith("."):
            (tree / path.name).symlink_to(path)
    settings = (root / "settings.ini").read_text(encoding="utf-8")
    # what exec_show_docs would run is written by symbols.entry
    (tree / "settings.ini").write_text(
        settings + "\nskip_procs = exec_show_docs\n", encoding="utf-8"
    )
    flags = re.search(r"^tst_flags *= *(.*)$", settings, re.M)[1].split()

    wrong = []
    for path in sorted((tree / "nbs").rglob("*.ipynb")):
        name = path.relative_to(tree / "nbs").as_posix()
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if args.execute or re.search(
            "^- run_at_build: *true", text(notebook["cells"][0]["source"]), re.M
        ):
            print(f"running {name}", flush=True)
            execute(path, flags)
            notebook = json.loads(path.read_text(encoding="utf-8"))
        wrong += [f"nbs/{name}: {p}" for p in problems(notebook, flags)]
        # nbdev trips over the state of linked widgets
        (tree / "states" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "states" / name).write_text(json.dumps(notebook["metadata"].pop("widgets", {})))
        path.write_text(json.dumps(notebook), encoding="utf-8")
    if wrong:
        sys.exit("\n".join(wrong))

    # numpydoc sections that fastcore does not know are read as text
    warnings.filterwarnings("ignore", module="fastcore.docscrape")
    os.chdir(tree)
    from nbdev.serve import proc_nbs

    proc_nbs(force=True, n_workers=0)
    src.mkdir()
    shutil.copytree(
        tree / "nbs", src, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ipynb", "*.yml")
    )
    Site(root, tree, src).write()

    from sphinx.cmd.build import build_main

    html = work / "html"
    failed = build_main(
        [
            "-q",
            "-W",
            "--keep-going",
            "-c",
            str(Path(__file__).parent),
            "-d",
            str(work / "doctrees"),
            str(src),
            str(html),
        ]
    )
    shutil.copytree(root / "nbs", html / "notebooks", ignore=shutil.ignore_patterns("*.yml", ".*"))
    for static in (tree / "nbs").rglob("_static"):
        shutil.copytree(static, html / static.relative_to(tree / "nbs"), dirs_exist_ok=True)
    shutil.copy(
        Path(sys.prefix) / "share/jupyter/nbextensions/anywidget/index.js",
        html / "_static" / "anywidget.js",
    )
    n, broken, outside = links.check(html)
    if broken:
        print("broken links:", *broken, sep="\n")
    if broken or failed:
        sys.exit(1)
    (work / "outside_links.txt").write_text("\n".join(outside) + "\n")
    html.rename(out)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(
        f"{out}: {len(list(out.rglob('*.html')))} pages, {size / 1e6:.0f} MB, {n} links followed; "
        f"{len(outside)} lead elsewhere: {work / 'outside_links.txt'}"
    )


if __name__ == "__main__":
    main()
