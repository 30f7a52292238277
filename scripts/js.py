"""The picker's script: `js.py` makes it from js/src, `js.py --check` fails if it is not that

js/src holds ES modules. What is shipped is natural_backdoors/pick/static/widget.js, one text made
from them by esbuild, so that whoever installs the package needs neither node nor the network. The
tools come from npm, pinned in js/package-lock.json, into js/node_modules.

The first line of the made file holds a digest of the sources and of the file itself, so that a
forgotten `make js`, or a change by hand, is seen without node too. With node, --check also looks
at style (prettier) and mistakes (eslint), and makes the file anew to compare it.
NB_REQUIRE_NODE=1: fail where node is missing.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "js"
STATIC = ROOT / "natural_backdoors" / "pick" / "static"
MADE = "widget.js"  # from the source of the same name and what it imports
HEAD = "// Made from js/src by `make js`; not to be changed by hand. sha256 "
NODE = (20, 19)  # what eslint asks for
OPTIONS = "--bundle --format=esm --target=es2022 --charset=utf8 --log-level=warning"


def digest(body):
    "Of all sources, of the versions of the tools, and of a made text"
    found = hashlib.sha256()
    for path in [*sorted((FOLDER / "src").glob("*.js")), FOLDER / "package-lock.json"]:
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    found.update(body.encode())
    return found.hexdigest()


def stale():
    "Whether the first line of the made file does not fit the sources or the rest of the file"
    path = STATIC / MADE
    head, _, body = (path.read_text(encoding="utf-8") if path.exists() else "").partition("\n")
    return head != HEAD + digest(body)


def missing():
    "Why the tools cannot run here; empty if they can"
    if not (shutil.which("node") and shutil.which("npm")):
        return "node and npm are not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    least = ".".join(map(str, NODE))
    return "" if numbers >= NODE else f"node {version.strip()} is too old: {least} is needed"


def install():
    "The pinned tools into js/node_modules, if they are not there; none of their scripts is run"
    lock, done = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "ci", *flags], cwd=FOLDER, check=True)
    shutil.copy(lock, done)


def tool(name, *flags):
    "Run a program of js/node_modules; whether it was content"
    program = FOLDER / "node_modules" / ".bin" / name
    return subprocess.run([program, *flags], cwd=FOLDER).returncode == 0


def make(folder):
    "Write the made file into a folder"
    path = folder / MADE
    if not tool("esbuild", f"src/{MADE}", *OPTIONS.split(), f"--outfile={path}"):
        raise SystemExit("esbuild could not make the script; see above")
    body = path.read_text(encoding="utf-8")
    path.write_text(f"{HEAD}{digest(body)}\n{body}", encoding="utf-8")


def check():
    "What is wrong, as sentences"
    wrong = [f"{MADE} is not what js/src gives: run `make js` and commit it"] if stale() else []
    if why := missing():
        if os.environ.get("NB_REQUIRE_NODE") == "1":
            return [*wrong, f"the script cannot be checked: {why}"]
        print(f"script: digest compared; eslint and prettier left out, {why}")
        return wrong
    install()
    if not tool("prettier", "--check", "--log-level=warn", "."):
        wrong.append("prettier would write some sources otherwise: run `make js`")
    if not tool("eslint", "--max-warnings=0", "."):
        wrong.append("eslint found mistakes; see above")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        same = (Path(folder) / MADE).read_bytes() == (STATIC / MADE).read_bytes()
    if not same and not wrong:
        wrong.append("esbuild makes another file than the one that is there: run `make js`")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is needed")
    if parser.parse_args().check:
        if wrong := check():
            raise SystemExit("\n".join(wrong))
        return
    if why := missing():
        raise SystemExit(f"the script cannot be made: {why}")
    install()
    tool("prettier", "--write", "--log-level=warn", ".")
    make(STATIC)
    print(f"{(STATIC / MADE).relative_to(ROOT)}: {(STATIC / MADE).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
