"""What the search of the site knows: each page with its title, headings, keywords and text, and the
symbols of the reference

Sphinx's own search asks for all words at once and counts a page once, however often it has a word.
Instead, `static/search.js` lets MiniSearch rank what is written here as `_static/search-index.js`.
Which words mean the same, and by which words people look for a page, stands in `search.yml`.
"""

import json
import re
from collections import Counter
from html import unescape
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes

WORDS = Path(__file__).with_name("search.yml")
# The browser makes its index of all pages at once, so of a page count
OFTEN, WORDS_OF_A_PAGE = 3, 1200  # times that it has a word, and its first different words
KINDS = {
    "tutorials": "Tutorial",
    "howto": "How-to",
    "explanations": "Explanation",
    "api": "Reference",
    "about": "About",
}


def plain(doctree, with_code):
    "The texts of a page, with those of tables that pandas has made"
    for node in doctree.findall(lambda n: isinstance(n, (nodes.Text, nodes.raw))):
        if isinstance(node, nodes.raw):
            if "<table" in node.astext() and len(node.astext()) < 50_000:  # no picture in it
                text = re.sub(r"<style.*?</style>|<[^>]+>", " ", node.astext(), flags=re.S)
                yield unescape(text)
        elif with_code or node.parent.get("language") not in ("ipython3", "python"):
            yield str(node)


def flat(text):
    "Small letters, numbers and blanks"
    return " ".join(re.findall(r"[^_\W]+", text.lower()))


def joined(text, same):
    "Names that are also written as one word, so written: Hugging Face, Open Images"
    for word in (word for group in same for word in group):
        one = word.replace(" ", "")
        if " " in word and any(one in group for group in same):
            text = re.sub(rf"\b{word}\b", one, text, flags=re.I)
    return text


def thinned(text, same):
    "The words of a text, each a few times, and `=3` where it says something of the third group"
    seen, kept = Counter(), []
    for word in re.findall(r"\w{2,40}", joined(text, same)):
        if seen[word.lower()] or len(seen) < WORDS_OF_A_PAGE:
            seen[word.lower()] += 1
        if 0 < seen[word.lower()] <= OFTEN and not re.fullmatch(r"[\d_]+", word):
            kept.append(word)
    all_words = f" {flat(text)} "
    for number, group in enumerate(same):
        phrases = [phrase for phrase in map(flat, group) if " " in phrase]
        if any(f" {phrase} " in all_words for phrase in phrases):
            kept.append(f"={number}")
    return " ".join(kept)


def page(name, doctree, keywords, same):
    "A page as the search knows it"
    paragraphs = (p for p in doctree.findall(nodes.paragraph) if "lead" in p["classes"])
    lead = next(paragraphs, None)
    sections = [s for s in doctree.findall(nodes.section) if s["ids"]]
    headings = [[s.next_node(nodes.title).astext(), s["ids"][0]] for s in sections]
    return {
        "id": name,
        "title": headings[0][0] if headings else name,
        "kind": KINDS.get(name.partition("/")[0], "Page"),
        "keywords": ", ".join(keywords),
        "description": lead.astext() if lead else "",
        "headings": headings[1:],
        # the code of the reference is most of the site, and its symbols are found by their names
        "text": thinned(" ".join(plain(doctree, not name.startswith("api/"))), same),
    }


def symbols(name, doctree):
    "The symbols that a page of the reference describes"
    for signature in doctree.findall(addnodes.desc_signature):
        if not signature["ids"]:
            continue
        content = signature.parent.next_node(addnodes.desc_content)
        said = content and content.next_node(nodes.paragraph)
        yield {
            "id": f"{name}#{signature['ids'][0]}",
            "title": signature["fullname"],
            "kind": signature["module"],
            "description": said.astext() if said else "",
        }


def known_words():
    "The groups of words with one meaning, and the keywords of pages"
    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    pages = {name: listed(text) for name, text in words["pages"].items()}
    return [listed(line) for line in words["same"]], pages


def listed(text):
    return [word.strip() for word in text.split(",")]


class Collected:
    "The pages of one build"

    def __init__(self):
        self.same, self.keywords = known_words()
        self.found = []

    def remember(self, app, name, template, context, doctree):
        "Called for each page"
        if doctree is not None:
            self.found.append(page(name, doctree, self.keywords.get(name, []), self.same))
            self.found += symbols(name, doctree)

    def write(self, app, failed):
        "Called when all pages are written"
        if failed is None:
            content = json.dumps({"same": self.same, "pages": self.found}, ensure_ascii=False)
            path = Path(app.outdir) / "_static" / "search-index.js"
            path.write_text(f"const SEARCH_INDEX = {content};\n", encoding="utf-8")


def search_page(app):
    yield "search", {}, "search.html"


def no_other_index(app):
    app.builder.search = False


def setup(app):
    app.connect("builder-inited", no_other_index, priority=100)
    app.connect("html-collect-pages", search_page)
    collected = Collected()
    app.connect("html-page-context", collected.remember)
    app.connect("build-finished", collected.write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
