"""Fetch the scripts that pages with widgets or formulas need: `npm.py FOLDER`

With them no page asks another host. Which files of which packages is written in npm.json, with the
checksum of each archive. Nothing is fetched if FOLDER has them already, so that building needs no
network after the installation.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import urllib.request
from fnmatch import fnmatch
from pathlib import Path

LIST = Path(__file__).with_name("npm.json")
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
HELP = """{url} could not be fetched: {error}
The documentation needs a few scripts from the npm registry. Either run `make docs` once where it
can be reached, name a mirror (NPM_CONFIG_REGISTRY=https://... make docs), or copy .venv/npm/ from a
machine that has it."""


def fetch(package, version, integrity):
    "The archive of a package as bytes, checked"
    url = f"{REGISTRY}/{package}/-/{package.split('/')[-1]}-{version}.tgz"
    try:
        data = urllib.request.urlopen(url, timeout=60).read()
    except OSError as e:
        raise SystemExit(HELP.format(url=url, error=e)) from e
    if "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode() != integrity:
        raise SystemExit(f"{url} is not the file that docs/npm.json names: its sha512 differs")
    return data


def unpack(data, files, folder):
    "Write the members named by `files` ({pattern: name, or a folder that ends in /}) into `folder`"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar.getmembers():
            name = member.name.partition("/")[2]
            to = next(
                (to for pattern, to in files.items() if member.isfile() and fnmatch(name, pattern)),
                None,
            )
            if to is None:
                continue
            path = folder / (to if to and not to.endswith("/") else to + Path(name).name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar.extractfile(member).read())


def main(folder):
    done = folder / "npm.json"
    if done.exists() and done.read_bytes() == LIST.read_bytes():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for entry in json.loads(LIST.read_text()):
        files = entry.pop("files")
        unpack(fetch(**entry), files, folder)
    # its icons lie beside it, wherever the page lies
    script = folder / "embed-amd.js"
    script.write_text(
        script.read_text(encoding="utf-8").replace(
            '.p=""', '.p=document.documentElement.dataset.content_root+"_static/"'
        ),
        encoding="utf-8",
    )
    shutil.copy(LIST, done)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB of scripts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
