"Sphinx, as docs/build.py calls it"

import json
import sys
from configparser import ConfigParser
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
import symbols

settings = ConfigParser()
settings.read(DOCS.parent / "settings.ini")
settings = settings["DEFAULT"]
project, author, release = settings["title"], settings["author"], settings["version"]
copyright = settings["copyright"]

extensions = [
    "myst_nb",
    "sphinx.ext.linkcode",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "site_search",
]
nitpicky = True
templates_path = ["templates"]

# the stored outputs are shown; build.py has run what is to be run
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {
    "require.js": {},
    "widgets.js": {},
    "embed-amd.js": {"data-jupyter-widgets-cdn": "./not-bundled/"},
}
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4
mathjax_path = "mathjax/tex-chtml.js"
add_module_names = False
toc_object_entries_show_parents = "hide"
pygments_style = "default"

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["static", str(Path(sys.prefix) / "npm")]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    f"{name}/**": ["sidebar-nav-bs"] for name in ("tutorials", "howto", "api", "explanations")
} | {name: [] for name in ("index", "genindex", "search", "source/*", "about/*")}
html_theme_options = {
    "logo": {"text": project},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "article_header_end": ["notebook"],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": [],
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}


def linkcode_resolve(domain, info):
    "Where [source] leads: all pages of the reference lie two folders deep, in api/FOLDER/"
    module = info["module"].removeprefix(f"{symbols.PACKAGE}.")
    return f"../../source/{module}.html#line-{symbols.line(info['module'], info['fullname'])}"


def source_pages(app):
    "The modules, highlighted, with an anchor on each line"
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    for name in json.loads((Path(app.srcdir) / "pages.json").read_text())["modules"]:
        path = Path(symbols.import_module(f"{symbols.PACKAGE}.{name}").__file__)
        code = highlight(
            path.read_text(encoding="utf-8"), PythonLexer(), HtmlFormatter(linespans="line")
        )
        title = f"{symbols.PACKAGE}/{name.replace('.', '/')}.py"
        yield (
            f"source/{name}",
            {"title": title, "body": f"<h1>{escape(title)}</h1>{code}"},
            "page.html",
        )


def add_notebook(app, pagename, templatename, context, doctree):
    context["notebook"] = json.loads((Path(app.srcdir) / "pages.json").read_text())[
        "notebooks"
    ].get(pagename)


def setup(app):
    app.connect("html-collect-pages", source_pages)
    app.connect("html-page-context", add_notebook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
