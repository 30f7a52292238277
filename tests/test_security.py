"""What a downloaded file may do is to be read: it starts no code, and configures nothing

Each test plants files as a stranger would, and looks for the mark that they leave when they run."""

import functools
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import natural_backdoors.data.relabel as relabel
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.text import Printable, printable
from natural_backdoors.cli.commands import main
from natural_backdoors.data.datasets import available, manager_class, may_be_named
from natural_backdoors.data.relabel import ImageNetReLabel
from natural_backdoors.data.scenes import scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.data.torch_files import save_tensor
from natural_backdoors.data.yolo import _read_yaml
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.card import source_of
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.selection import Selection, select

HELPER = """
from pathlib import Path
Path({mark!r}).write_text("ran")
import pandas as pd
from natural_backdoors import Dataset
class D(Dataset):
    def __init__(self, dataset_root): self.root = dataset_root
    def rows(self): return pd.read_csv(self.root)[["image", "label"]]
    def src_path(self, image): return image
"""


ROWS = scene_labels(1000, seed=0)
LABELS = ROWS.assign(label=ROWS["name"])[["image", "label"]].to_csv(index=False)


needs_anywidget = pytest.mark.skipif(
    not find_spec("anywidget"), reason="pip install natural_backdoors[notebook]"
)
REQUEST = "NATURAL_BACKDOORS_PICK"


@pytest.fixture
def mark(tmp_path):
    "The file that planted code writes"
    return tmp_path / "mark"


@pytest.fixture
def download(tmp_path, mark, monkeypatch):
    "A folder with labels, and what a stranger added; it is the working folder"
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "labels.csv").write_text(LABELS)
    (folder / "helper.py").write_text(HELPER.format(mark=str(mark)))
    monkeypatch.chdir(folder)
    return folder


def plant_package(folder):
    "A package that is not installed: it merely lies there, and says that it has a dataset manager"
    info = folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[natural_backdoors.data.datasets]\nevil = helper:D\n")


@functools.cache
def found_in_labels():
    "What a search finds in them, in which folder they may lie"
    dataset = TableDataset(pd.read_csv(io.StringIO(LABELS)))
    dataset.name = "evil"
    return find_triggers(dataset, min_overlaps=4, min_clean=5, min_poison=3)


def plant_selection(folder, data, file="selection.json"):
    "A selection that says how its dataset is opened"
    dataset = TableDataset(folder / "labels.csv")
    dataset.name = "evil"
    source = {"data": data, "dataset_root": str(folder / "labels.csv"), "options": {}}
    chosen = select(found_in_labels(), "Umbrella", n_clean=10, source=source | {"name": None})
    chosen.save(folder / file)
    return dataset, chosen


# --- a selection names its dataset

KINDS = ["helper.py:D", "HELPER", "./helper.py:D", "helper.py", "helper:D", "evil"]


@pytest.mark.parametrize("data", KINDS)
@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--selection", "selection.json", "--epochs", "1"],
        ["pick", "--no_browser"],
        ["pick", "--no_browser", "--selection", "selection.json"],
        ["pick", "--no_browser", "--dataset_root", "labels.csv"],
    ],
    ids=["train", "bare pick", "pick", "pick elsewhere"],
)
def test_a_selection_runs_nothing(download, mark, monkeypatch, capsys, argv, data):
    plant_package(download)
    monkeypatch.syspath_prepend(str(download))  # as `python -c` and notebooks do
    data = data.replace("HELPER", str(download / "helper.py:D"))
    plant_selection(download, data)
    before = (download / "selection.json").read_bytes()
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and data in told, told
    if data != "helper.py":
        assert f"add --data {data}" in told
    assert not mark.exists() and (download / "selection.json").read_bytes() == before


def test_what_a_person_names_is_run(download, mark, monkeypatch):
    "The remedy that the message names works, and the planted file would have left its mark"
    plant_selection(download, "helper.py:D")
    asked = []
    monkeypatch.setattr(
        "natural_backdoors.pick.server.serve", lambda request, *_, **__: asked.append(request)
    )
    assert main(["pick", "--no_browser", "--data", "helper.py:D", "--name", "evil"]) == 0
    assert mark.exists() and asked[0]["source"]["data"] == "helper.py:D"


@pytest.mark.parametrize(
    "odd, word",
    [
        ({"name": "../../elsewhere"}, "--name"),
        ({"name": "/elsewhere"}, "--name"),
        ({"name": ".."}, "--name"),
        ({"name": ["x"]}, "source.name: a text"),
        ({"options": {"data": "helper.py:D"}}, "option 'data'"),
        ({"options": {"dataset_root": "/"}}, "option 'dataset_root'"),
        ({"options": ["helper.py:D"]}, "source.options: a table"),
        (["helper.py:D"], "source: a table"),
        ({"data": ["helper.py:D"]}, "source.data: a text"),
        ({"data": {"helper.py:D": 1}}, "source.data: a text"),
    ],
)
def test_what_a_selection_says_of_its_dataset_is_checked(download, mark, capsys, odd, word):
    "Neither a folder outside the results, nor anything in place of settings"
    plant_selection(download, "table")
    content = json.loads(Path("selection.json").read_text())
    content["source"] = content["source"] | odd if isinstance(odd, dict) else odd
    Path("selection.json").write_text(json.dumps(content))
    before = sorted(p.name for p in download.parent.rglob("*"))
    for argv in (["train", "--selection", "selection.json"], ["pick", "--no_browser"]):
        assert main(argv) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and word in told, told
    assert not mark.exists() and sorted(p.name for p in download.parent.rglob("*")) == before


@needs_anywidget
def test_what_a_person_names_is_found_from_the_folder_of_the_command(download, mark, monkeypatch):
    "The window is another process, in another folder"
    source = {"data": "helper.py:D", "dataset_root": "labels.csv"}
    request = {"source": source, "search": {"min_overlaps": 4}, "folder": str(download)}
    path = download.parent / "request.json"
    path.write_text(json.dumps(request))
    monkeypatch.setenv(REQUEST, str(path))
    monkeypatch.chdir(download.parent)
    from natural_backdoors.pick.app import app

    assert app().found is not None and mark.exists()


def test_a_selection_in_python_runs_nothing(download, mark):
    "Loading one, going on with it and opening it are not the dataset's code"
    from natural_backdoors.pick.state import PickerState

    dataset, _ = plant_selection(download, "helper.py:D")
    chosen = Selection.load("selection.json")
    for selection in (chosen, "selection.json"):
        state = PickerState.resume(dataset, selection)
        state.begin()
        assert state.selection.source["data"] == "helper.py:D"
    assert "--data helper.py:D" in chosen.command  # to be read, and typed
    assert not mark.exists()


def test_a_split_and_its_files_run_nothing(download, mark, monkeypatch):
    "The card asks the dataset's manager for its license: only one that is installed"
    plant_package(download)
    monkeypatch.syspath_prepend(str(download))
    dataset, chosen = plant_selection(download, "evil")
    split = poison_split(dataset, **chosen.arguments())
    for name in ("evil", "helper.py:D"):
        split.header["dataset"] = name
        assert source_of(split) == {"title": "", "license": "", "homepage": ""}
    assert not mark.exists()
    assert "evil" in available() and not may_be_named("evil")
    assert manager_class("evil").__name__ == "D" and mark.exists()  # by name, as a person does


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text(max_size=5), max_size=2)))
def test_only_what_is_installed_may_be_named(data):
    assert may_be_named(data) == (isinstance(data, str) and data in available())


# --- helping processes

BASIC = ("json", "numpy", "torch", "io", "os", "pickle", "multiprocessing", "natural_backdoors")


def plant_modules(folder, mark, names=BASIC):
    "Modules with the names of others, which leave a mark when they are imported"
    for name in names:
        text = f"open({str(mark)!r}, 'a').write({name!r} + chr(10))\nraise ImportError('planted')\n"
        (folder / f"{name}.py").write_text(text)


def label_maps(folder, n_folders=6):
    "ReLabel's maps, and the index of classes that they need"
    import numpy as np

    wnids = [f"n{k:08d}" for k in range(1000)]
    index = {str(k): [wnid, f"class {k}"] for k, wnid in enumerate(wnids)}
    (folder / "imagenet_class_index.json").write_text(json.dumps(index))
    draw = np.random.default_rng(0)
    for wnid in wnids[:n_folders]:
        (folder / "maps" / wnid).mkdir(parents=True)
        scores = draw.normal(size=(1, 5, 15, 15)) * 9
        ids = draw.integers(0, 1000, (1, 5, 15, 15))
        values = np.stack([scores, ids], axis=1)[0].astype("float32")
        save_tensor(folder / "maps" / wnid / f"{wnid}_1.pt", values)


def test_helping_processes_import_nothing_from_the_working_folder(download, mark, monkeypatch):
    "`analyze --data imagenet_relabel` inside a download: its folders are read by other processes"
    label_maps(download)
    plant_modules(download, mark)
    asked, ask, read = [], relabel._ask, relabel.read_folder

    def watch(process, job):
        done = ask(process, job)
        asked.append(job[0])
        return done

    def slowly(*args):  # leaves something to do for the others
        time.sleep(0.5)
        return read(*args)

    monkeypatch.setattr(relabel, "_ask", watch)
    monkeypatch.setattr(relabel, "_PATIENCE", 0)
    monkeypatch.setattr(relabel, "read_folder", slowly)
    monkeypatch.setattr(sys, "path", ["", *sys.path, str(download)])
    data = ImageNetReLabel(download, progress=False, processes=2)
    assert len(data.label_matrix().images) == 6
    assert asked and not mark.exists()


def test_a_command_gives_its_safe_path_on(download, mark, monkeypatch):
    "Whatever a library starts later, such as workers, begins without the working folder too"
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert main(["datasets"]) == 0
    plant_modules(download, mark)
    code = "import json, multiprocessing, pickle, numpy"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not mark.exists()


# --- YAML


READ = """
import sys
from natural_backdoors.base.errors import UserError
from natural_backdoors.data.yolo import _read_yaml
for path in sys.argv[1:]:
    try:
        _read_yaml(path)
    except UserError as e:
        print(e, flush=True)
"""


def test_deep_yaml_is_refused(tmp_path):
    "In another process, so that a crash is seen"
    paths = []
    for i, part in enumerate([("[", ""), ("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")]):
        n = 100_000 // len(part[0])
        paths.append(tmp_path / f"{i}.yaml")
        paths[-1].write_text("names: \n  " + part[0] * n + "x" + part[1] * n)
    command = [sys.executable, "-c", READ, *map(str, paths)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = run.stdout.splitlines()
    assert len(told) == len(paths)
    for path, line in zip(paths, told):
        assert line.startswith(f"{path}, line 2: "), line


def test_large_and_multiplied_yaml_is_refused(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text("names: [cat]\n" + "#" * 10_000_000)
    with pytest.raises(UserError, match="10,000,013 bytes"):
        _read_yaml(path)
    lines = ["a0: &a0 [x, x]"]
    for i in range(1, 60):
        lines.append(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]")
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"more than 100 repeated parts"):
        _read_yaml(path)


PLAIN = st.text("abc:*&-", min_size=1, max_size=6).map(lambda t: "w" + t.replace(":", "_"))


@settings(max_examples=50, deadline=None)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=12))
def test_ordinary_yaml_is_read_as_before(tmp_path_factory, value):
    import yaml

    path = tmp_path_factory.mktemp("yaml") / "data.yaml"
    path.write_text(yaml.safe_dump({"names": value, "train": "images"}))
    assert _read_yaml(path) == {"names": value, "train": "images"}


# --- what a terminal obeys

ODD = "\x1b]0;mine\x07\x1b[2J\x9b1m\rcat\u202etac"


DIRECTIONS = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


def obeyed(text):
    "The characters of `text` that a terminal would obey; newlines and tabs are none"
    import unicodedata

    turns = "\u061c\u200e\u200f"
    kinds = {c: unicodedata.category(c) for c in text if c not in "\n\t"}
    return {
        c
        for c, kind in kinds.items()
        if kind in ("Cc", "Cs", "Zl", "Zp")
        or c in turns
        or unicodedata.bidirectional(c)
        in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    }


@given(st.text(st.characters(), max_size=30))
def test_printable_text_is_obeyed_by_nobody(text):
    shown = printable(text)
    assert not obeyed(shown)
    if not obeyed(text) and not any("\ufff9" <= c <= "\ufffb" or c >= "\U000e0000" for c in text):
        assert shown == text


@given(st.lists(st.text("\r\x1b[A ab\n", max_size=6), max_size=6))
def test_a_print_of_several_values_moves_nothing(values):
    "However a text is cut into pieces, nothing in a line that has begun is written over"
    shown = io.StringIO()
    print("cat:", *values, file=Printable(shown))
    assert obeyed(shown.getvalue()) <= {"\r"}
    for line in shown.getvalue().split("\n"):
        assert "\r" not in line[1:]
    assert shown.getvalue().startswith("cat:") and "\r" not in shown.getvalue().split("\n")[0]


def test_progress_bars_are_drawn_as_before():
    from tqdm import tqdm

    def drawn(stream):
        with tqdm(range(2), file=stream, bar_format="{n}", position=0) as outer:
            for _ in tqdm(range(2), file=stream, bar_format="{n}", position=1, mininterval=0):
                outer.update()

    plain, screen = io.StringIO(), io.StringIO()
    drawn(plain)
    drawn(Printable(screen))
    assert screen.getvalue() == plain.getvalue() and "\x1b[A" in plain.getvalue()


@pytest.mark.parametrize("odd", [ODD, "two\nlines", "\x7fa\u2028b"])
def test_labels_files_and_errors_on_a_terminal(tmp_path, monkeypatch, capsys, odd):
    "Tables, warnings and errors: what others wrote is shown, and not obeyed"
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = [(str(i), label) for i in range(60) for label in ("hat", odd, "cat")[: 2 + i % 2]]
    dataset = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="odd" + odd)
    monkeypatch.setattr("natural_backdoors.cli.opening.open_dataset", lambda *_, **__: dataset)
    table = ["analyze", "--data", "table", "--dataset_root", "x"]
    less = ["--min_overlaps", "1", "--min_clean", "0", "--min_poison", "1", "--min_classes", "1"]
    runs = [[*table, *less], ["datasets", *table[1:]], [*table, "--split", odd]]
    runs += [["report", odd], ["analyze", "--data", odd, "--dataset_root", "x"], [odd]]
    for argv in runs:
        main(argv)
        told = capsys.readouterr()
        assert told.out + told.err and not obeyed(told.out + told.err), argv

    def warns(*_, **__):
        warnings.warn(f"a strange answer: {odd}", stacklevel=1)
        raise UserError(f"HTTP 404 {odd}")

    monkeypatch.setattr("natural_backdoors.cli.opening.open_dataset", warns)
    assert main(table) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 2 and not obeyed(told) and "HTTP 404" in told


# --- the picker as a server

needs_voila = pytest.mark.skipif(
    not find_spec("voila"), reason="the picker needs Voila: pip install natural_backdoors[notebook]"
)
OPEN = {"Voila": {"ip": "0.0.0.0", "token": "", "port": 0}, "ServerApp": {"ip": "0.0.0.0"}}
OPEN |= {"IdentityProvider": {"token": ""}, "VoilaConfiguration": {"file_allowlist": [".*"]}}


def plant_settings(folder, mark):
    "What Jupyter, Voila and IPython would read, and what would be run as a kernel"
    text = f"open({str(mark)!r}, 'a').write(__file__ + chr(10))\n"
    names = ["voila", "voila_config", "jupyter_config", "jupyter_server_config"]
    names += ["jupyter_notebook_config", "ipython_config", "ipython_kernel_config"]
    places = [folder, folder / ".jupyter", folder / "config", folder / "profile_default"]
    places += [folder / ".ipython" / "profile_default", folder / "ipython" / "profile_default"]
    for place in places:
        (place / "startup").mkdir(parents=True, exist_ok=True)
        (place / "startup" / "00.py").write_text(text)
        for name in names:
            (place / f"{name}.py").write_text(text)
            (place / f"{name}.json").write_text(json.dumps(OPEN))
    (folder / "startup.py").write_text(text)
    # templates of pages, which are programs
    for name in ("lab", "base"):
        template = folder / "share" / "voila" / "templates" / name
        template.mkdir(parents=True)
        (template / "index.html.j2").write_text("PLANTED")
        (template / "conf.json").write_text("{}")
    kernel = folder / ".local" / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, str(folder / "startup.py")]
    spec = {"argv": argv, "display_name": "python3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    shutil.copytree(kernel, folder / "data" / "kernels" / "python3")
    return {
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_PATH": str(folder / "share"),
        "JUPYTER_CONFIG_PATH": str(folder / "config"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONSTARTUP": str(folder / "startup.py"),
    }


MAIN = "import sys; from natural_backdoors.cli.commands import main; sys.exit(main())"


def start_picker(folder, env):
    "`natural-backdoors pick` in a folder; the process and the address that it prints"
    command = [sys.executable, "-P", "-c", MAIN, "pick", "--no_browser"]
    command += ["--data", "table", "--dataset_root", "labels.csv", "--selection", "new.json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": (folder / "stderr.txt").open("w")}
    process = subprocess.Popen(command, cwd=folder, env=os.environ | env, text=True, **pipes)
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
            return process, int(found[1]), found[2]
    raise AssertionError((folder / "stderr.txt").read_text())


@pytest.fixture(scope="module")
def picker(tmp_path_factory):
    "A picker that was started inside a download: the folder, the process, its port and token"
    folder = tmp_path_factory.mktemp("planted")
    (folder / "labels.csv").write_text(LABELS)
    env = plant_settings(folder, folder / "mark")
    plant_modules(folder, folder / "mark", [*BASIC, "ipykernel_launcher", "tornado"])
    env["NATURAL_BACKDOORS_CACHE"] = str(folder / "cache")
    process, port, token = start_picker(folder, env)
    yield folder, process, port, token
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)


def ask(port, path, method="GET", **headers):
    "Status and text of an answer; the path is sent as it is, dots and all"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


@needs_voila
def test_a_picker_reads_no_settings_but_ours(picker):
    import psutil

    folder, process, port, token = picker
    status, page = ask(port, f"/?token={token}")
    assert status == 200 and "vnd.jupyter.widget-view+json" in page and "PLANTED" not in page
    mark = folder / "mark"
    assert not mark.exists(), mark.read_text()
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) > 1
    kernels = [p.environ() for p in family[1:] if "ipykernel" in " ".join(p.cmdline())]
    assert kernels
    for env in kernels:  # whose page reads the labels of the planted folder, by their relative name
        assert env["PYTHONSAFEPATH"] == "1" and "PYTHONSTARTUP" not in env
        assert json.loads(Path(env[REQUEST]).read_text())["folder"] == str(folder)
    listening = {
        c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}


KERNEL = """
import json, sys
from jupyter_client.manager import KernelManager
from natural_backdoors.pick import server
own = server.own_kernels()
with server.environment(**server._own_settings(sys.argv[1])):
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=own())
    manager.start_kernel(cwd=sys.argv[2])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    code = '''
import json, sys
from IPython.core.application import BaseIPythonApplication
from IPython.core.application import ENV_CONFIG_DIRS as env, SYSTEM_CONFIG_DIRS as machine
app = BaseIPythonApplication.instance() if BaseIPythonApplication.initialized() else None
app = app or get_ipython().parent
print(json.dumps([sys.prefix, sys.path, env, machine, app.config_file_paths]))
'''
    found = []
    client.execute_interactive(code, timeout=120, output_hook=lambda m: found.append(m["content"]))
    manager.shutdown_kernel(now=True)
print("".join(part.get("text", "") for part in found))
"""


@needs_voila
def test_a_kernel_reads_nothing_of_the_whole_machine(tmp_path, mark):
    "Neither `etc/ipython` of this Python, which is planted here, nor that of the system"
    import site
    import venv

    here, work = tmp_path / "python", tmp_path / "work"
    venv.create(here, symlinks=True)
    (packages,) = here.glob("lib/python*/site-packages")
    ours = [p for p in sys.path if p.endswith("site-packages")] + site.getsitepackages()
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(ours)]
    lines.append(str(Path(__file__).resolve().parents[1]))
    (packages / "ours.pth").write_text("\n".join(lines) + "\n")
    text = f"open({str(mark)!r}, 'a').write(__file__ + chr(10))\n"
    (here / "etc" / "ipython" / "startup").mkdir(parents=True)
    for name in ("ipython_config.py", "ipython_kernel_config.py", "startup/00.py"):
        (here / "etc" / "ipython" / name).write_text(text)
    work.mkdir()
    (tmp_path / "own").mkdir()
    plant_modules(work, mark, [*BASIC, "ipykernel", "IPython", "polars"])
    (work / "ipython_config.py").write_text(text)
    command = [here / "bin" / "python", "-P", "-c", KERNEL, tmp_path / "own", work]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work)
    assert run.returncode == 0, run.stderr
    prefix, path, env, machine, places = json.loads(run.stdout)
    assert prefix == str(here) and env == machine == []
    assert all(place.startswith(str(tmp_path / "own")) for place in places), places
    assert "" not in path and str(work) not in path
    assert not mark.exists(), mark.read_text()


PATHS = ["/", "/login", "/logout", "/voila/static/main.js", "/voila/files/labels.csv", "/x/y"]
PATHS += ["/voila/files/..", "/voila/files/../../app.py", "/voila/files/%2e%2e/app.py"]
PATHS += ["/voila/templates/lab/static/voila.js", "/voila/templates/../static/x", "/api/kernels"]
PATHS += ["/voila/api/themes/x", "/voila/labextensions/x", "/voila/query/x", "//etc/passwd"]


@needs_voila
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_without_the_token_there_is_nothing(picker, method):
    _, _, port, token = picker
    for path in PATHS:
        for headers in ({}, {"Authorization": "token guess"}, {"Cookie": f"x={token}"}):
            status, text = ask(port, path, method, **headers)
            assert status in (403, 404) and len(text) < 200, (path, text)


@needs_voila
def test_with_the_token_from_elsewhere_there_is_nothing(picker):
    "Another page, or a name of this machine that somebody else has made"
    _, _, port, token = picker
    key = {"Authorization": f"token {token}"}
    here = f"http://127.0.0.1:{port}"
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "0.0.0.0", "["):
        assert ask(port, f"/?token={token}", Host=host)[0] in (400, 403)
        assert ask(port, "/", **key, Host=host)[0] in (400, 403)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", ""):
        for path in ("/", "/voila/query/00000000-0000-0000-0000-000000000000"):
            assert ask(port, path, **key, Origin=origin)[0] == 403
    assert ask(port, "/voila/files/x", **key, Origin=here)[0] == 403  # no file, whoever asks
    for path in ("/voila/files/..", "/voila/files/app.ipynb", "/voila/files/%2e%2e/app.py"):
        assert ask(port, path, **key)[0] in (403, 404)


@needs_voila
def test_nobody_listens_in(picker):
    "Websockets, through which the page and its kernel speak, have the same door"
    from tornado.httpclient import HTTPClientError, HTTPRequest
    from tornado.ioloop import IOLoop
    from tornado.websocket import websocket_connect

    _, process, port, token = picker
    # the number of a kernel is the name of its connection file
    import psutil

    lines = [p.cmdline() for p in psutil.Process(process.pid).children()]
    kernel = next(re.search(r"kernel-([-\w]+)\.json", " ".join(line))[1] for line in lines)
    evil = {"Origin": "http://evil.example", "Authorization": f"token {token}"}
    for path in (f"/api/kernels/{kernel}/channels", f"/voila/query/{kernel}"):
        for headers in ({}, evil, {"Authorization": "token guess"}):
            asked = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=headers)
            with pytest.raises(HTTPClientError, match="403"):
                IOLoop().run_sync(lambda asked=asked: websocket_connect(asked), timeout=60)
        right = {"Authorization": f"token {token}", "Origin": f"http://127.0.0.1:{port}"}
        asked = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=right)
        IOLoop().run_sync(lambda asked=asked: websocket_connect(asked), timeout=60).close()


@needs_voila
@pytest.mark.parametrize(
    "what, changes",
    [
        ("address", {"ip": "0.0.0.0"}),
        ("token", {"identity_provider": SimpleNamespace(token="")}),
        ("token", {"identity_provider": SimpleNamespace(token="another" * 9)}),
        ("origin", {"allow_origin": "*"}),
        ("origin", {"allow_origin_pat": ".*"}),
        ("host", {"allow_remote_access": True}),
        ("host", {"disable_check_xsrf": True}),
    ],
)
def test_a_server_that_is_set_otherwise_is_not_started(what, changes):
    from natural_backdoors.pick.server import _check, _Door, listen_on

    door = _Door("secret" * 9, "cookie")
    usual = {"ip": "127.0.0.1", "identity_provider": SimpleNamespace(token=door.token)}
    with listen_on(0) as taken:
        _check(SimpleNamespace(**usual, app=SimpleNamespace(settings={})), taken, door)
        odd = SimpleNamespace(**usual | changes, app=SimpleNamespace(settings=changes))
        with pytest.raises(RuntimeError, match=f"its {what} is not"):
            _check(odd, taken, door)


def test_a_bug_is_told_without_what_a_terminal_obeys(tmp_path):
    "A mistake of ours, whose traceback Python itself prints"
    code = (
        "import sys, natural_backdoors.cli.commands as c\n"
        "def broken(argv): raise ValueError('cat' + chr(27) + '[2J')\n"
        "c.run = broken\nsys.exit(c.main(['x']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1 and "ValueError: cat\\x1b[2J" in run.stderr
    assert not obeyed(run.stderr)


@needs_voila
@pytest.mark.parametrize("port", ["taken", "80000", "-1", "65536"])
def test_ports_that_cannot_be_had(download, capsys, port):
    "One line, exit code 2, before anything is read or started"
    from natural_backdoors.pick.server import listen_on, serve

    with listen_on(0) as taken:
        port = str(taken.getsockname()[1]) if port == "taken" else port
        assert main(["pick", "--no_browser", "--port", port]) == 2
        told = capsys.readouterr()
        assert told.err.count("\n") == 1 and port in told.err and not told.out
        with pytest.raises(UserError, match="port"):
            serve({}, int(port), browser=False)
