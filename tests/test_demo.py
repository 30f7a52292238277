"""The main job on the embedded dataset: what must be true at the end of `make demo`, and the same
again with `demo --quick`

CI has run both before the tests, the second from the wheel, and says so: NB_DEMO_DONE=1. Elsewhere
they are run here."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DONE = os.environ.get("NB_DEMO_DONE") == "1"
OF_WHEEL = ROOT / "build" / "demo-of-wheel"


def run_demo(out, *flags, threads=None):
    "The results folder of a run of the demo; the pictures are drawn once and kept in data/"
    # a process of its own, as `make demo` is, with its number of threads: last digits depend on it
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        env["OMP_NUM_THREADS"] = str(threads)
    main = "from natural_backdoors.cli.commands import main; raise SystemExit(main())"
    places = ["--data_root", "data", "--results_root", str(out)]
    # a split names the folder of its images as the command did
    subprocess.run(
        [sys.executable, "-c", main, "demo", *flags, *places], check=True, env=env, cwd=ROOT
    )
    return only_run(out)


def only_run(results):
    "The folder of the one run below a folder of results, without that of `demo --quick` beside it"
    runs = sorted(results.glob("scenes/*/*/demo_*"))
    (run,) = [r for r in runs if len(runs) == 1 or not r.name.startswith("demo_quick_")]
    return run


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    "The results folder of the demo"
    return only_run(ROOT / "results") if DONE else run_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    "The results folder of `demo --quick`, from the wheel if CI has run it there"
    return only_run(OF_WHEEL) if DONE else run_demo(tmp_path_factory.mktemp("quick"), "--quick")


def read(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_the_backdoor_works_and_the_control_does_not(demo):
    poisoned, control = (read(demo)["models"][model] for model in ("poisoned", "true_labels"))
    assert poisoned["clean_accuracy"]["value"] >= 0.85
    assert poisoned["attacks"][0]["attack_success"]["value"] >= 0.85
    assert control["attacks"][0]["attack_success"]["value"] <= 0.20
    assert control["clean_accuracy"]["value"] >= 0.85
    # enough images for these to mean something
    assert (
        poisoned["clean_accuracy"]["n"] >= 80
        and poisoned["attacks"][0]["attack_success"]["n"] >= 60
    )


def test_the_trigger_is_a_planted_one(demo):
    from natural_backdoors.data.scenes import SCENE_CLASSES

    split = json.loads((demo / "split.json").read_text())
    hubs = set(SCENE_CLASSES[SCENE_CLASSES.role == "hub"]["name"])
    assert split["attacks"][0]["trigger"]["name"] in hubs
    found = json.loads((demo / "triggers.json").read_text())
    assert found[0]["trigger"]["name"] in hubs
    # all triggers of the dataset are ranked, not only those with as many images as the run asks for
    assert len(found) >= 10
    used = {c["label"] for c in split["classes"]}
    assert used <= {c["label"] for c in found[0]["classes"]}


def test_the_same_numbers_again(quick, tmp_path):
    "To the byte, with as many threads"
    threads = json.loads((quick / "poisoned" / "model.json").read_text())["threads"]
    again = run_demo(tmp_path, "--quick", threads=threads)
    assert again.name == quick.name
    assert read(again) == read(quick)
    names = ["split.json"]
    for model in ("poisoned", "true_labels"):
        names += [f"{model}/log.csv", f"{model}/model.safetensors"]
    for name in names:
        assert (quick / name).read_bytes() == (again / name).read_bytes(), name


class Addresses(HTMLParser):
    "What a page asks for: the values of `src` and `href`"

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [v for k, v in attrs if k in ("src", "href", "xlink:href")]


def test_the_page_stands_alone(demo):
    page = (demo / "report.html").read_text()
    addresses = Addresses()
    addresses.feed(page)
    assert [a[:80] for a in addresses.found if not a.startswith(("data:", "#"))] == []
    assert sum(a.startswith("data:image") for a in addresses.found) >= 10
    split = json.loads((demo / "split.json").read_text())
    assert all(c["name"] in page for c in (split["attacks"][0][k] for k in ("trigger", "target")))
