"""Run notebooks, each once, and compare what comes out with what they store: `make notebooks`

    python scripts/outputs.py [--write] [--changed] [--flags "data slow"] [--workers 2] [PATH ...]

PATH is a notebook or a folder; without one it is all of nbs/. A notebook fails where a cell fails,
and where a stored output is not what the cell gives now: each such cell is named and shown, stored
and new side by side. `--write` stores what comes out. `--changed` leaves out what this program has
found true before, on this machine, with the same notebook and the same code. (A page that shows
files of the project names them below its title: `- reads: ../../benchmarks/results/*`.)

What is compared: printed text, and text, HTML and Markdown of what is displayed. Not compared: what
goes to stderr, addresses in memory, names of temporary files, the width of blanks and rules in
tables, and hidden cells. A picture has to be there, and of about the stored size. Numbers are equal
if they differ by no more than

- one in the last decimal that is shown (whole numbers: not at all); or
- the tolerance that the page names below its title: `- tolerance: 0.02` allows 0.02 for numbers up
  to 1 and two percent for larger ones.

A cell whose output is not the same on every machine or in every run says so, with the reason:
`#| varies: seconds`. Of it, only the kinds of output are compared. What such cells store stays as
it is, unless another cell of the page gives something new: what a page shows is of one run.

Cells with a flag of `tst_flags` in settings.ini (`#| data`, `#| cuda`, `#| slow`) are run if
`--flags` names it. Otherwise their stored outputs hold as long as the code does: the notebook says
when and on what they were run and has a digest of the modules that it imports, and fails if those
have changed. The two lines stand below the title, or in the cell as `#| ran: ...` and
`#| code: ...`:

    - ran: 2026-07-24, 2 CPU cores, Python 3.11
    - code: 0123456789ab

`--write` with `--flags` keeps them. Comments and docstrings do not count as code.
"""

import argparse
import ast
import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import date
from difflib import SequenceMatcher
from functools import cache
from html import unescape
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import NamedTuple

# nbformat imports jsonschema, which makes a grammar of international addresses where it can. That
# takes a second, and no notebook has any.
sys.modules.setdefault("rfc3987_syntax", None)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "natural_backdoors"
WARM = str(ROOT / "scripts" / "warm_kernel.py")
RECORDS = ROOT / "build" / "outputs"
TIMEOUT = 900  # seconds a cell
LINES = 25  # of a traceback that are shown
# CPU seconds, as a kernel knows them: its own, and those of processes that it has waited for
SPENT = "sum(__import__('os').times()[:4])"
# Last digits depend on the number of threads (several kernels run at a time, with one each), and on
# how many numbers the processor adds at once. Both are others on each machine, and a training makes
# much of them.
SAME_SUMS = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
# shown by a front end that is alive, or by none: their content is not what a page says
NOT_COMPARED = ("application/vnd.jupyter.widget-view+json", "application/javascript")


# Notebooks and what they say of themselves


def text(value):
    return value if isinstance(value, str) else "".join(value)


def directives(source):
    "The `#| key: value` lines of a code cell as a dict"
    return dict(re.findall(r"^#\s*\|\s*([\w-]+):?[ \t]*(.*)$", source, re.M))


def front_matter(notebook):
    "The `- key: value` lines below the title as a dict"
    return dict(re.findall(r"^- (\w+): *(.*\S)", text(notebook["cells"][0]["source"]), re.M))


def skip_flags(root=ROOT):
    settings = (root / "settings.ini").read_text(encoding="utf-8")
    return set(re.search(r"^tst_flags *= *(.*)$", settings, re.M)[1].split())


def left_out(cell, skipped):
    "Whether a code cell is not run"
    says = directives(text(cell["source"]))
    return bool(says.keys() & skipped) or says.get("eval") == "false"


def notebooks(paths):
    "The notebooks at `paths`, files or folders; names that begin with _ or . are left out"
    for path in map(Path, paths):
        if path.is_file():
            yield path.resolve()
        for file in sorted(path.rglob("*.ipynb")):
            if not any(part[0] in "._" for part in file.relative_to(path).parts):
                yield file.resolve()


# The code that a notebook uses


@cache
def front_door():
    "The module of each name that `natural_backdoors` itself offers"
    tree = ast.parse((ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "_MODULE_OF":
            return ast.literal_eval(node.value)


def module_file(name):
    "The file of a module of ours (`data.coco`), or None"
    path = ROOT / PACKAGE / Path(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def imports(tree, inside=""):
    "Modules of ours that `tree` imports anywhere, or names in a string; `inside` is its own name"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
            if PACKAGE in names:
                yield from front_door().values()
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = [PACKAGE, *inside.split(".")][: -node.level]
                base = ".".join([*package, *filter(None, [base])])
            names = [base, *(f"{base}.{a.name}" for a in node.names)]
            if base == PACKAGE:
                yield from (front_door()[a.name] for a in node.names if a.name in front_door())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # registries name the modules of what is loaded later: "data.coco:Coco"
            known = re.fullmatch(r"(?:natural_backdoors\.)?(\w+\.\w+)(:\w+)?", node.value)
            names = [f"{PACKAGE}.{known[1]}"] if known else []
        else:
            continue
        yield from (n[len(PACKAGE) + 1 :] for n in names if n.startswith(f"{PACKAGE}."))


def canonical(node):
    "A syntax tree as nested lists that are the same for all versions of Python, without docstrings"
    if isinstance(node, list):
        return [canonical(n) for n in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            fields["body"] = node.body[1:]
    kept = {k: v for k, v in fields.items() if v not in (None, []) and k not in ("ctx", "kind")}
    return [type(node).__name__, {k: canonical(v) for k, v in kept.items()}]


@cache
def module_code(name):
    "(digest, modules it imports) of a module of ours"
    tree = ast.parse(module_file(name).read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps(canonical(tree), sort_keys=True).encode()).hexdigest()
    return digest, sorted({m for m in imports(tree, name) if module_file(m)})


def code_digest(notebook):
    "A digest of all modules of ours that the code of `notebook` imports, directly or not"
    sources = [text(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    todo, found = set(), {}
    for source in sources:
        if own := directives(source).get("default_exp"):
            todo.add(own)
        todo |= set(imports(ast.parse(without_magics(source)), "notebook"))
    while todo:
        name = todo.pop()
        if name not in found and module_file(name):
            found[name], more = module_code(name)
            todo |= set(more)
    return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()[:12]


def without_magics(source):
    return re.sub(r"^( *)[%!].*$", r"\1pass", source, flags=re.M)


# Comparing


class Shown(NamedTuple):
    "What a reader sees of the outputs of a cell"

    kinds: tuple  # kinds of output in their order, printed text first
    texts: tuple  # a text for each of them
    sizes: tuple  # (width, height) of pictures


ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
TEMPORARY = re.compile(
    r"(?:(?:/private)?(?:/var/folders/\w+/\w+/T|/tmp)/tmp\w+|\btmp[a-z0-9_]{8}\b)"
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
NUMBER = re.compile(r"(?:(?<![\w.)\]-])[-+])?(?<![\w.])\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")


def normal(value):
    "Text without what differs from run to run, blanks and rules shortened, as lines"
    value = TEMPORARY.sub("/tmp/TEMPORARY", ADDRESS.sub("", ANSI.sub("", value)))
    lines = []
    for line in value.split("\n"):
        line = re.sub(r"\s+", " ", line).strip()
        lines.append(re.sub(r"([-=─])\1+", r"\1\1", line))
    return "\n".join(filter(None, lines))


def html_text(html):
    "The text of HTML, a line for each row or block"
    html = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.S)
    html = re.sub(r"\s+", " ", html)
    html = re.sub(r"</(tr|p|div|li|h\d|details|summary)>|<br[^>]*>", "\n", html)
    return normal(unescape(re.sub(r"<[^>]+>", " ", html)))


def png_size(data):
    raw = base64.b64decode(text(data)[:64])
    return struct.unpack(">II", raw[16:24]) if raw[1:4] == b"PNG" else (0, 0)


def shown(outputs):
    "`Shown` of a list of outputs in the format of notebooks"
    printed = "".join(text(o["text"]) for o in outputs if o.get("name") == "stdout")
    kinds, texts, sizes = (["printed"], [normal(printed)], []) if printed.strip() else ([], [], [])
    for out in outputs:
        data = out.get("data", {})
        for kind, value in sorted(data.items()):
            if kind in NOT_COMPARED or (kind == "text/plain" and "text/html" in data):
                continue
            kinds.append(kind)
            if kind == "image/png":
                sizes.append(png_size(value))
            if kind == "text/html":
                texts.append(html_text(text(value)))
            elif kind.startswith("text/"):
                texts.append(normal(text(value)))
            elif kind.endswith("json"):
                texts.append(normal(json.dumps(value, sort_keys=True)))
    return Shown(tuple(kinds), tuple(texts), tuple(sizes))


def as_number(printed):
    return float(printed.replace(",", ""))


def last_decimal(printed):
    "One in the last decimal of a number as it is printed; 0 for whole numbers"
    mantissa, _, exponent = printed.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    # a page may show a number that no float holds, such as 1e999
    power = min(int(exponent or 0) - decimals, 300)
    return 10.0**power if decimals or exponent else 0.0


def close(stored, new, tolerance=0.0):
    "Whether two numbers, as they are printed, are the same as far as is asked"
    if stored == new:
        return True
    a, b = as_number(stored), as_number(new)
    step = max(last_decimal(stored), last_decimal(new))
    allowed = max(step, tolerance * max(1, abs(a), abs(b)))
    return abs(a - b) <= allowed * (1 + 1e-9)


def same_line(stored, new, tolerance=0.0):
    "Whether two lines differ in nothing but numbers that are close"
    numbers = [NUMBER.findall(line) for line in (stored, new)]
    if NUMBER.sub("#", stored) != NUMBER.sub("#", new) or len(numbers[0]) != len(numbers[1]):
        return False
    return all(close(a, b, tolerance) for a, b in zip(*numbers))


def different_lines(stored, new, tolerance=0.0):
    "Pairs of lines that differ between two texts; None where a line has no partner"
    stored, new = stored.splitlines(), new.splitlines()
    if len(stored) == len(new):
        return [(a, b) for a, b in zip(stored, new) if not same_line(a, b, tolerance)]
    pairs = []
    for what, a, b, c, d in SequenceMatcher(None, stored, new, autojunk=False).get_opcodes():
        if what != "equal":
            pairs += zip_longest(stored[a:b], new[c:d])
    return [p for p in pairs if None in p or not same_line(*p, tolerance)]


def differences(stored, new, tolerance=0.0, varies=False):
    "Pairs (stored, new) of what differs between two lists of outputs"
    stored, new = shown(stored), shown(new)
    if stored.kinds != new.kinds:
        kinds = tuple(", ".join(s.kinds) or "no output" for s in (stored, new))
        texts = ("\n".join(s.texts) for s in (stored, new))
        return [kinds, *different_lines(*texts, tolerance)]
    if varies:
        return []
    found = []
    for a, b in zip(stored.texts, new.texts):
        found += different_lines(a, b, tolerance)
    for a, b in zip(stored.sizes, new.sizes):
        if any(abs(x - y) > 0.15 * max(x, y) for x, y in zip(a, b)):
            found.append((f"picture of {a[0]} x {a[1]}", f"picture of {b[0]} x {b[1]}"))
    return found


def side_by_side(pairs, width=58, most=12):
    "The pairs as two columns"
    lines = [f"      {'stored':{width}} | new"]
    for a, b in pairs[:most]:
        a, b = ("" if s is None else s for s in (a, b))
        for i in range(0, max(len(a), len(b), 1), width):
            lines.append(f"      {a[i : i + width]:{width}} | {b[i : i + width]}".rstrip())
    if len(pairs) > most:
        lines.append(f"      ... and {len(pairs) - most} more lines")
    return "\n".join(lines)


# Running


def environment():
    "The environment variables of kernels"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**SAME_SUMS, **os.environ, "PYTHONPATH": path}


@contextmanager
def shared_scenes():
    "A folder in which pages find scenes that another page has drawn"
    with TemporaryDirectory(prefix="nb") as folder:
        given = os.environ.setdefault("NATURAL_BACKDOORS_SCENES", folder)
        try:
            yield
        finally:
            if given == folder:
                del os.environ["NATURAL_BACKDOORS_SCENES"]


def before_forking():
    "What each process that runs pages would do anew"
    import nbclient  # noqa: F401
    import nbformat  # noqa: F401

    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        names = file.relative_to(ROOT / PACKAGE).with_suffix("").parts
        module_code(".".join(n for n in names if n != "__init__"))


@contextmanager
def warm_kernels():
    "The address of a process that has imported what pages import, and makes kernels by forking"
    with TemporaryDirectory(prefix="nb") as folder:
        address = f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, WARM, "--serve", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        try:
            before_forking()  # meanwhile
            if not server.stdout.readline():
                raise RuntimeError(f"{WARM} has ended, for the reason above")
            yield address
        finally:
            server.stdin.close()
            server.wait()


def execute(notebook, folder, skipped, warm=None):
    """Run a notebook (of nbformat) in `folder`; outputs and the state of widgets are stored in it

    Gives the CPU seconds that its kernel has spent.

    `warm`: the address that `warm_kernels` gives; None: a kernel of its own."""
    from nbclient import NotebookClient

    class Client(NotebookClient):
        spent = 0.0  # CPU seconds of the kernel, and of processes that it has waited for

        async def async_execute_cell(self, cell, *args, **kwargs):
            if cell.cell_type == "code" and left_out(cell, skipped):
                return cell
            return await super().async_execute_cell(cell, *args, **kwargs)

        def create_kernel_manager(self):
            # sockets with names: kernels that start at the same time may take the same port
            manager = super().create_kernel_manager()
            manager.transport, manager.connection_file = "ipc", f"{sockets}/kernel.json"
            if warm:
                manager.kernel_spec.argv = [sys.executable, "-S", WARM, warm, "-f"]
                manager.kernel_spec.argv.append("{connection_file}")
            return manager

        @asynccontextmanager
        async def async_setup_kernel(self, **kwargs):
            async with super().async_setup_kernel(**kwargs):
                yield
                await self.ask_for_spent()

        async def ask_for_spent(self):
            message = self.kc.execute("", silent=True, user_expressions={"spent": SPENT})
            reply = await self.async_wait_for_reply(message)
            self.spent = float(reply["content"]["user_expressions"]["spent"]["data"]["text/plain"])

    with TemporaryDirectory(prefix="nb") as sockets:
        client = Client(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
            # a kernel that was forked leaves nothing to be tidied up when it ends
            shutdown_kernel="immediate" if warm else "graceful",
        )
        # what is cached on this machine is not what a page shows
        client.execute(env=environment() | {"NATURAL_BACKDOORS_CACHE": f"{sockets}/cache"})
    for cell in notebook.cells:
        if cell.cell_type == "code" and not left_out(cell, skipped):
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            if text(cell.source).rstrip().endswith(";"):
                cell.outputs = [o for o in cell.outputs if o["output_type"] != "execute_result"]
    return client.spent


class Result(NamedTuple):
    path: Path
    problems: list  # what is wrong, in words
    seconds: float  # from its beginning to its end
    spent: float = 0.0  # CPU seconds


def pictures(outputs):
    "The images of a cell, as they are stored"
    found = [(o.get("data") or {}).items() for o in outputs]
    return [text(value).strip() for items in found for kind, value in items if "image" in kind]


def check(path, skipped, write=False, force=(), warm=None):
    "Run the notebook at `path` and compare; `force`: flags of cells that are run all the same"
    import nbformat
    from nbclient.exceptions import CellExecutionError

    start = time.monotonic()
    stored = json.loads(path.read_text(encoding="utf-8"))
    says = front_matter(stored)
    if says.get("skip_exec") == "true":
        return Result(path, [], 0.0)
    skipped = set(skipped) - set(force)
    new = nbformat.read(path, 4)
    for cell in new.cells:
        if cell.cell_type == "code" and not left_out(cell, skipped):
            cell.outputs = []
    try:
        spent = execute(new, path.parent, skipped, warm)
    except CellExecutionError as e:
        said = ANSI.sub("", e.traceback).strip().splitlines()[-LINES:]
        return Result(path, ["\n".join(["a cell fails:", *said])], time.monotonic() - start)
    problems = [] if write else code_problems(stored, skipped)
    tolerance = float(says.get("tolerance", 0))
    varying, anew = [], False
    for i, (a, b) in enumerate(zip(stored["cells"], new.cells)):
        if a["cell_type"] != "code" or left_out(a, skipped):
            continue
        says_cell = directives(text(a["source"]))
        varies = "varies" in says_cell
        if "hide" in says_cell:  # nobody reads it
            b.outputs = nbformat.from_dict(a["outputs"])
        elif pairs := differences(a["outputs"], b.outputs, tolerance, varies):
            code = re.sub(r"^#\s*\|.*\n?", "", text(a["source"]), flags=re.M).strip()
            first = shorten(code.split("\n")[0], 90)
            problems.append(f"cell {i}: {first}\n{side_by_side(pairs)}")
            anew = True
        elif pictures(a["outputs"]) or pictures(b.outputs):
            anew = anew or pictures(a["outputs"]) != pictures(b.outputs)
        elif varies:
            varying.append((a, b))
        elif differences(a["outputs"], b.outputs):
            anew = True
        else:
            b.outputs = nbformat.from_dict(a["outputs"])
    if not anew:  # else a page would show numbers of two runs
        for a, b in varying:
            b.outputs = nbformat.from_dict(a["outputs"])
    if write:
        store(path, new, ran=flagged(stored, force))
        problems = []
    return Result(path, problems, time.monotonic() - start, spent)


def flagged(notebook, flags):
    "Code cells with one of `flags`"
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    return [c for c in cells if directives(text(c["source"])).keys() & set(flags)]


def code_problems(notebook, skipped):
    "What is wrong with stored outputs of cells that are not run"
    if not any(c["outputs"] for c in flagged(notebook, skipped)):
        return []
    sources = "\n".join(text(c["source"]) for c in notebook["cells"])
    of = dict(re.findall(r"^(?:- |#\| )(ran|code): *(.*\S)", sources, re.M))
    if of.keys() != {"ran", "code"}:
        return [
            "it has outputs of cells that are not run here, and does not say when and on what they "
            "were run: store them with --write --flags"
        ]
    if of["code"] != code_digest(notebook):
        return [
            f"the code has changed since its outputs were made ({of['ran']}): run it again with "
            f"--write --flags, where there is what it needs"
        ]
    return []


def machine():
    "When and on what: for the line `ran`"
    says = [date.today().isoformat(), f"{os.cpu_count()} CPU cores"]
    says.append("Python {}.{}".format(*sys.version_info))
    if "torch" in sys.modules or os.path.exists("/dev/nvidia0"):
        import torch

        if torch.cuda.is_available():
            says.append(torch.cuda.get_device_name())
    return ", ".join(says)


def store(path, notebook, ran=()):
    "Write a notebook as nbdev_clean leaves it; `ran`: cells that need something and were run"
    from execnb.nbio import dict2nb, write_nb
    from nbdev.clean import clean_nb

    as_dict = json.loads(json.dumps(notebook))
    for cell in as_dict["cells"]:
        cell["source"] = text(cell["source"])
        if cell["cell_type"] == "code" and ran:
            cell["source"] = renewed(cell["source"], "#| ", code_digest(as_dict))
    if ran:
        first = as_dict["cells"][0]
        first["source"] = renewed(first["source"], "- ", code_digest(as_dict))
    as_dict["metadata"] = {k: v for k, v in as_dict["metadata"].items() if k == "kernelspec"}
    for cell in as_dict["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
        for out in cell.get("outputs", []):
            split_lines(out)
    as_nb = dict2nb(as_dict)
    clean_nb(as_nb)
    write_nb(as_nb, path)


def renewed(source, mark, digest):
    "`source` with its lines `ran` and `code` brought up to date"
    source = re.sub(rf"^{re.escape(mark)}ran:.*$", f"{mark}ran: {machine()}", source, flags=re.M)
    return re.sub(rf"^{re.escape(mark)}code:.*$", f"{mark}code: {digest}", source, flags=re.M)


def split_lines(out):
    "Text of an output as a list of lines, as notebooks are stored"
    if "text" in out:
        out["text"] = text(out["text"]).splitlines(keepends=True)
    for kind, value in out.get("data", {}).items():
        if kind.startswith("text/") or kind == "image/svg+xml":
            out["data"][kind] = text(value).splitlines(keepends=True)


def record(path, skipped):
    "The file that is there if the notebook, with the code as it is, has been found true"
    content = path.read_bytes()
    notebook = json.loads(content)
    reads = front_matter(notebook).get("reads", "")
    files = [file.read_bytes().hex() for file in sorted(path.parent.glob(reads))] if reads else []
    known = [content.hex(), code_digest(notebook), files, sys.version, sorted(skipped)]
    return RECORDS / hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def check_all(paths, root=ROOT, workers=2, write=False, changed=False, force=()):
    "Check the notebooks at `paths`, print what is wrong; the `Result` of each that was run"
    skipped = skip_flags(root)
    todo = list(notebooks(paths))
    if changed:
        todo = [p for p in todo if not record(p, skipped).exists()]
    # pages train and take longest
    todo.sort(key=lambda p: ("api" in p.parts, "train" not in p.parts))
    results = []
    with ExitStack() as stack:
        stack.enter_context(shared_scenes())
        # for a few pages the imports would take as long there; elsewhere a fork is not safe
        worth_it = len(todo) >= 4 and sys.platform == "linux"
        warm = stack.enter_context(warm_kernels()) if worth_it else None
        # one more than there are cores for: a page also waits for its kernel, and for processes
        at_a_time = min(workers + (workers > 1), len(todo))
        pool = stack.enter_context(ProcessPoolExecutor(max(1, at_a_time)))
        running = [pool.submit(check, p, skipped, write, force, warm=warm) for p in todo]
        for done in as_completed(running):
            result = done.result()
            results.append(result)
            name = result.path.relative_to(root) if root in result.path.parents else result.path
            word = "FAILED" if result.problems else "ok"
            print(f"{word:6} {result.seconds:4.0f} s {result.spent:6.1f} s of CPU  {name}")
            for problem in result.problems:
                print("   ", problem.replace("\n", "\n    "))
            sys.stdout.flush()
            if not result.problems and not force:
                kept = record(result.path, skipped)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.touch()
    return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks or folders")
    parser.add_argument("--write", action="store_true", help="store what comes out")
    parser.add_argument("--changed", action="store_true", help="only what is not known to be true")
    parser.add_argument("--flags", default="", help="cells with these flags are run as well")
    parser.add_argument("--workers", type=int, default=2, help="notebooks at a time")
    args = parser.parse_args()
    if gone := [str(p) for p in args.paths if not p.exists()]:
        parser.error(f"no such notebook or folder: {', '.join(gone)}")
    results = check_all(
        args.paths or [ROOT / "nbs"],
        workers=args.workers,
        write=args.write,
        changed=args.changed,
        force=args.flags.split(),
    )
    failed = sorted(str(r.path.relative_to(ROOT)) for r in results if r.problems)
    print(f"{len(results)} notebooks run, {len(failed)} failed", *failed, sep="\n  ")
    if failed:
        print("stale outputs are renewed by: python scripts/outputs.py --write NOTEBOOK ...")
        sys.exit(1)


if __name__ == "__main__":
    main()
