"""The curator's page for many labels: `python benchmarks/audit.py` (a minute)

    python benchmarks/audit.py --save     keep the table

Labels are drawn: frequencies by Zipf, and clusters of labels that like to meet. `n_clean` is what
an attack is taken to need: with the usual 250 few labels are frequent enough, with 25 hundreds are.
No image is read. What a browser does is measured where there is one: until the page is loaded,
and until a search of the ranked table has drawn its rows.
"""

import argparse
import shutil
import tempfile
import time

from record import add_flag, record
from run import random_labels

from natural_backdoors import audit, write_audit


def in_browser(page):
    "Seconds to load a page, and for a search in it; None without a browser"
    path = shutil.which("chromium")
    if path is None:
        return None, None
    from playwright.sync_api import sync_playwright

    search = """() => { const start = performance.now()
      document.getElementById('ranked').search('c00 c1')
      document.body.offsetHeight
      return (performance.now() - start) / 1000 }"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri())
        loaded = time.perf_counter() - start
        searched = tab.evaluate(search)
        browser.close()
    return round(loaded, 2), round(searched, 3)


def measure(n_images, n_labels, n_clean):
    "One row of the table"
    labels = random_labels(n_images, n_labels)
    start = time.perf_counter()
    found = audit(labels, n_clean=n_clean)
    audited = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        page = write_audit(found, folder)
        written = time.perf_counter()
        loaded, searched = in_browser(page)
        size = page.stat().st_size
    return {
        "labels": n_labels,
        "images": n_images,
        "n_clean": n_clean,
        "triggers": len(found.tables["triggers"]),
        "pairs": len(found.tables["exposure"]),
        "audit s": round(audited - start, 2),
        "files s": round(written - audited, 2),
        "page MB": round(size / 1e6, 2),
        "load s": loaded,
        "search s": searched,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_flag(parser)
    args = parser.parse_args()
    sizes = [(30_000, 1000, 250), (60_000, 5000, 250), (60_000, 5000, 25)]
    record("audit", [measure(*size) for size in sizes], args.save)
