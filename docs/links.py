"Follow every link, script and picture of the built pages: it must be there, with its anchor"

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    "The addresses a page names, and the anchors it has"

    def __init__(self, path):
        super().__init__()
        self.addresses, self.anchors = set(), set()
        # most tags are colors of code, which say nothing here
        self.feed(re.sub(r'<span class="[^"]*">|</span>', "", path.read_text(encoding="utf-8")))

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key == "id" or (tag, key) == ("a", "name"):
                self.anchors.add(value)
            elif key in ("href", "src", "poster", "data-src") and value:
                self.addresses.add(value)


def check(folder):
    "(number of links on the site, list of broken ones, sorted list of addresses outside of it)"
    folder = Path(folder).resolve()
    files = {str(path) for path in folder.rglob("*") if path.is_file()}
    pages = {
        path: Page(Path(path))
        for path in sorted(files)
        if path.endswith(".html") and "_static" not in Path(path).parts
    }
    n, broken, outside = 0, [], set()
    for path, page in pages.items():
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if parts.scheme not in ("data", "javascript", "mailto", "blob"):
                    outside.add(address)
                continue
            n += 1
            # by the name alone: to ask the disk about each of fifty thousand takes seconds
            to = os.path.join(os.path.dirname(path), unquote(parts.path)) if parts.path else path
            to = os.path.normpath(to)
            if to not in files:
                to = os.path.join(to, "index.html")
            anchor = unquote(parts.fragment)
            if to not in files or (anchor and to in pages and anchor not in pages[to].anchors):
                broken.append(f"{os.path.relpath(path, folder)}: {address}")
    return n, broken, sorted(outside)
