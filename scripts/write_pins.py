"Write what `pip install --report REPORT` would install as pins: `write_pins.py REPORT FILE`"

import json
import re
import sys
from pathlib import Path

HEAD = """\
# Exact versions of the whole environment, the core package and all its extras, on Python {python}.
# Made by `make constraints` within the bounds of settings.ini and bounds.txt. `make` and CI install
# these, so that what passed yesterday is what runs today.
"""


def by_name(metadata):
    return re.sub(r"[-_.]+", "-", metadata["name"]).lower()


def main(report, file):
    found = [item["metadata"] for item in json.loads(Path(report).read_text())["install"]]
    found = [m for m in found if m["name"] != "natural_backdoors"]
    pins = [f"{m['name']}=={m['version']}\n" for m in sorted(found, key=by_name)]
    python = ".".join(map(str, sys.version_info[:2]))
    Path(file).write_text(HEAD.format(python=python) + "".join(pins), encoding="utf-8")
    print(f"{file}: {len(pins)} packages")


if __name__ == "__main__":
    main(*sys.argv[1:])
