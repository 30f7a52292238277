"""Count how readable the notebooks are: `make style`

    python scripts/style.py [--by folder|module] [--root FOLDER]

The counts say where to look; none of them is a gate, and no thought is split to please one. They
are taken from the exported cells of nbs/api, by their syntax:

cells       exported cells
median, 9/10  lines of such a cell, without blank lines and directives: half of them have no more,
            and 9 in 10 of them
over 100    lines of more than 100 characters, in percent; and the longest
nested      comprehensions with two `for`, or inside another comprehension, per 100 lines
positional  calls to our own functions with more than 3, and with 8 or more, positional arguments,
            and the most of one call
checked     assertions (`assert`, `test_...(...)`, `raises`) per 100 exported lines
shown       public functions, classes and methods (patched) after whose cell another one runs, that
            is not hidden, before the next exported cell, in percent
own only    exported names that nothing outside their module uses, in percent: no other module, no
            page outside nbs/api, and no file of tests/
one letter  parameters of functions and lambdas with a name of one letter; lambdas of one argument
            do not count

Lines are those of the exported cells: not blank, and no directive. Below the table are the calls
with the most positional arguments, the modules with the fewest assertions, the names of one letter,
and two phrases in exported cells: "so many" for a number and "likewise" for a parameter.
"""

import argparse
import ast
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

LONG, MANY = 100, 8
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PHRASES = ("so many", "likewise")


class Cell:
    "A code cell: its code without directives, and its syntax"

    def __init__(self, source):
        self.says = {d.split(":")[0] for d in re.findall(r"^#\s*\|\s*(.*)$", source, re.M)}
        self.exported = any(d.split()[0] in ("export", "exports", "exporti") for d in self.says)
        self.code = re.sub(r"^#\s*\|.*\n?", "", source, flags=re.M).strip("\n")
        self.lines = [line for line in self.code.splitlines() if line.strip()]
        self.tree = ast.parse(re.sub(r"^( *)[%!].*$", r"\1pass", self.code, flags=re.M))

    def only_imports(self):
        return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in self.tree.body)

    def runs(self):
        "Whether a reader sees it run"
        left_out = {"hide", "eval", "slow", "data", "cuda", "default_exp"}
        return not self.exported and not self.says & left_out and not self.only_imports()

    def definitions(self):
        "The public functions, classes and patched methods"
        kinds = (*FUNCTIONS, ast.ClassDef)
        return [n for n in self.tree.body if isinstance(n, kinds) and n.name[0] != "_"]

    def names(self):
        "The names that the cell exports: functions, classes, what is assigned; not patched methods"
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                yield from (t.id for t in node.targets if isinstance(t, ast.Name))
            elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                patched = any("patch" in ast.unparse(d) for d in node.decorator_list)
                yield from [] if patched else [node.name]


class Notebook:
    "An exporting notebook"

    def __init__(self, path):
        self.path = path
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(c["source"]) for c in cells]
        self.text = "\n".join(texts)
        self.cells = [Cell(t) for c, t in zip(cells, texts) if c["cell_type"] == "code"]
        module = re.search(r"^#\s*\|\s*default_exp\s+([\w.]+)", self.text, re.M)
        self.module = module[1] if module else None
        self.exported = [c for c in self.cells if c.exported]
        self.lines = [line for c in self.exported for line in c.lines]

    def lengths(self):
        return [len(c.lines) for c in self.exported if c.lines]

    def nodes(self):
        for cell in self.exported:
            yield from ast.walk(cell.tree)

    def nested(self):
        "Comprehensions with two `for`, and those inside another one"
        found = 0
        for node in self.nodes():
            if isinstance(node, COMPREHENSIONS):
                inside = [n for n in ast.walk(node) if isinstance(n, COMPREHENSIONS)]
                found += len(node.generators) > 1 or len(inside) > 1
        return found

    def calls(self, ours):
        "(number of positional arguments, name, line) of the calls of our own functions"
        for node in self.nodes():
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                if name in ours:
                    yield len(node.args), name, ast.unparse(node)

    def assertions(self):
        found = 0
        for cell in self.cells:
            for node in ast.walk(cell.tree):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    found += name.startswith("test_") or name == "raises"
                found += isinstance(node, ast.Assert) and not cell.exported
        return found

    def shown(self):
        "(public definitions, how many of them are followed by a cell that runs)"
        public, shown, waiting = 0, 0, 0
        for cell in self.cells:
            if cell.exported:
                waiting = len(cell.definitions())
                public += waiting
            elif cell.runs():
                shown, waiting = shown + waiting, 0
        return public, shown

    def public_names(self):
        return {n for c in self.exported for n in c.names() if n[0] != "_"}

    def one_letter(self):
        "Names of one letter among the parameters"
        for node in self.nodes():
            if isinstance(node, (*FUNCTIONS, ast.Lambda)):
                a = node.args
                extra = [x for x in (a.vararg, a.kwarg) if x]
                names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *extra)]
                if not (isinstance(node, ast.Lambda) and len(names) == 1):
                    yield from (n for n in names if len(n) == 1)


def mentioned(paths):
    "Words of the code in the notebooks and files at `paths`"
    words = set()
    for path in paths:
        if path.suffix == ".ipynb":
            code = "\n".join(c.code for c in Notebook(path).cells)
        else:
            code = path.read_text(encoding="utf-8")
        words |= set(re.findall(r"\w+", code))
    return words


def own_only(notebooks, root):
    "(exported names, those of them that only their own module uses) by module"
    pages = [p for p in (root / "nbs").rglob("*.ipynb") if (root / "nbs" / "api") not in p.parents]
    files = [*(root / "tests").rglob("*.py"), root / "natural_backdoors" / "__init__.py"]
    outside = mentioned([*pages, *files])
    used = {
        n.module: set(re.findall(r"\w+", "\n".join(c.code for c in n.exported))) for n in notebooks
    }
    found = {}
    for n in notebooks:
        others = outside.union(*(words for module, words in used.items() if module != n.module))
        found[n.module] = (len(n.public_names()), len(n.public_names() - others))
    return found


def share(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "-"


def rate(part, whole):
    return f"{100 * part / whole:.2f}" if whole else "-"


def row(notebooks, ours, own):
    "The counts over some notebooks as a list of texts"
    lengths = sorted(x for n in notebooks for x in n.lengths())
    lines = [line for n in notebooks for line in n.lines]
    if not lengths:
        return None
    calls = [call for n in notebooks for call in n.calls(ours)]
    public, shown = (sum(x) for x in zip(*(n.shown() for n in notebooks)))
    names, alone = (sum(x) for x in zip(*(own[n.module] for n in notebooks)))
    over = [line for line in lines if len(line) > LONG]
    return [
        len(lengths),
        len(lines),
        f"{median(lengths):.0f}",
        lengths[int(0.9 * (len(lengths) - 1))],
        share(len(over), len(lines)),
        max(map(len, lines)),
        rate(sum(n.nested() for n in notebooks), len(lines)),
        sum(c[0] > 3 for c in calls),
        sum(c[0] >= MANY for c in calls),
        max((c[0] for c in calls), default=0),
        f"{100 * sum(n.assertions() for n in notebooks) / len(lines):.1f}",
        share(shown, public),
        share(alone, names),
        sum(1 for n in notebooks for _ in n.one_letter()),
    ]


COLUMNS = (
    "cells lines median 9/10 over_100 longest nested >3_pos >=8_pos most_pos checked shown "
    "own_only one_letter"
).split()


def table(rows):
    "Rows of a name and texts, below the names of the columns"
    rows = [["", *(c.replace("_", " ") for c in COLUMNS)], *rows]
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print(f"{r[0]:{widths[0]}}", *(f"{x!s:>{w}}" for x, w in zip(r[1:], widths[1:])), sep="  ")


def details(notebooks, ours):
    "What stands below the table"
    calls = [(*call, n.module) for n in notebooks for call in n.calls(ours)]
    print("\nmost positional arguments:")
    for many, name, line, module in sorted(calls, reverse=True)[:8]:
        if many > 3:
            print(f"  {many:2}  {module}: {name}  {line[:70]}")
    print("\nfewest assertions per 100 exported lines:")
    by = {n.module: 100 * n.assertions() / max(1, len(n.lines)) for n in notebooks}
    for module, value in sorted(by.items(), key=lambda item: item[1])[:8]:
        print(f"  {value:4.1f}  {module}")
    letters = Counter(name for n in notebooks for name in n.one_letter())
    print("\none letter:", ", ".join(f"{k} {v}" for k, v in letters.most_common()))
    for phrase in PHRASES:
        by = {n.module: sum(c.code.lower().count(phrase) for c in n.exported) for n in notebooks}
        where = ", ".join(f"{m} {k}" for m, k in by.items() if k)
        print(f"{phrase!r}: {sum(by.values())}{f' ({where})' if where else ''}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--by", choices=("folder", "module"), default="folder", help="a row for each"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).parent.parent, help="folder with nbs/"
    )
    args = parser.parse_args()
    found = [Notebook(p) for p in sorted((args.root / "nbs" / "api").rglob("*.ipynb"))]
    notebooks = [n for n in found if n.module]
    if not notebooks:
        sys.exit(f"no exporting notebooks below {args.root / 'nbs' / 'api'}")
    definitions = [d for n in notebooks for c in n.exported for d in ast.walk(c.tree)]
    ours = {d.name for d in definitions if isinstance(d, (*FUNCTIONS, ast.ClassDef))}
    own = own_only(notebooks, args.root)
    groups = defaultdict(list)
    for n in notebooks:
        groups[n.module if args.by == "module" else n.path.parent.name].append(n)
    if args.by == "folder" and (settings := args.root / "settings.ini").exists():
        order = re.findall(r"^api_folders *= *(.*)$", settings.read_text(encoding="utf-8"), re.M)
        order = order[0].split() if order else []
        groups = dict(
            sorted(groups.items(), key=lambda g: order.index(g[0]) if g[0] in order else 99)
        )
    rows = [(name, row(group, ours, own)) for name, group in groups.items()]
    table([[name, *r] for name, r in [*rows, ("all", row(notebooks, ours, own))] if r])
    details(notebooks, ours)


if __name__ == "__main__":
    main()
