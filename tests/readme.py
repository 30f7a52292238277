"""Make README.md from nbs/index.ipynb and the outputs stored in it: `make readme`.

Text comes out as text and pictures as files in nbs/images/, so that the page reads the same on
GitHub, on a package index and in a terminal. Of the directives, `#| hide` leaves a cell out,
`#| echo: false` its code, `#| output: false` its output, and `#| fig-alt: ...` describes a picture.
"""

import base64
import json
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, README, IMAGES = "nbs/index.ipynb", "README.md", "nbs/images"


def relink(markdown, folder="nbs"):
    "Links relative to `folder` become links relative to the top; those in code stay as they are"

    def link(m):
        path, hash_, tail = m[2].partition("#")
        return f"{m[1]}({posixpath.normpath(posixpath.join(folder, path))}{hash_}{tail})"

    parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)
    parts[::2] = [re.sub(r"(\])\((?!\w+:|#|/)([^)\s]+)\)", link, part) for part in parts[::2]]
    return "".join(parts)


def directives(source):
    "The `#| key: value` lines at the top of a code cell as a dict, and the code without them"
    lines = source.splitlines()
    found = [line for line in lines if re.match(r"#\s*\|", line)]
    keys = [re.sub(r"#\s*\|", "", line).partition(":") for line in found]
    kept = [line for line in lines if line not in found]
    return {k.strip(): v.strip() for k, _, v in keys}, "\n".join(kept).strip("\n")


def render_output(out, cell_id, says, images):
    "One output as Markdown; a picture also goes into `images`"
    data = out.get("data", {})

    def text(value):
        return value if isinstance(value, str) else "".join(value)

    if "text/markdown" in data:
        return text(data["text/markdown"]).strip()
    if "image/png" in data:
        name = f"{IMAGES}/index-{says.get('label', cell_id.removeprefix('index-'))}.png"
        images[name] = base64.b64decode(text(data["image/png"]))
        return f"![{says.get('fig-alt', '').strip(chr(34))}]({name})"
    plain = text(data.get("text/plain", "")) or (
        text(out.get("text", "")) if out.get("name") == "stdout" else ""
    )
    return f"```\n{plain.rstrip()}\n```" if plain.strip() else ""


def render(notebook):
    "README.md for `notebook` (a dict): its text, and {path: bytes} of the pictures in it"
    parts, images = [], {}
    for cell in notebook["cells"]:
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(relink(source).strip())
        if cell["cell_type"] != "code":
            continue
        says, code = directives(source)
        if {"hide", "default_exp", "export"} & says.keys():
            continue
        if code and says.get("echo") != "false":
            parts.append(f"```python\n{code}\n```")
        if says.get("output") != "false":
            parts += [render_output(out, cell["id"], says, images) for out in cell["outputs"]]
    made_from = f"<!-- Made from {NOTEBOOK} by `make readme`; edit that one. -->"
    return "\n\n".join([part for part in parts if part] + [made_from]) + "\n", images


def main():
    text, images = render(json.loads((ROOT / NOTEBOOK).read_text(encoding="utf-8")))
    (ROOT / IMAGES).mkdir(exist_ok=True)
    for old in (ROOT / IMAGES).glob("index-*"):
        old.unlink()
    for name, data in images.items():
        (ROOT / name).write_bytes(data)
    (ROOT / README).write_text(text, encoding="utf-8")
    print(f"{README}: {len(text.splitlines())} lines, {len(images)} pictures")


if __name__ == "__main__":
    main()
