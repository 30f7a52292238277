"""Folders that one process at a time writes into, and what killed processes leave behind"""

import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.cache import cached
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import atomic_path, write_json
from natural_backdoors.base.locks import (
    LOCK,
    hold,
    hold_place,
    holder_of,
    remove_left_overs,
    scratch_folder,
)
from natural_backdoors.data.table import TableDataset
from natural_backdoors.graph.overlaps import save_overlaps
from natural_backdoors.pick.state import PickerState
from natural_backdoors.report.example import example_run
from natural_backdoors.report.report import write_report
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.export import export_split
from natural_backdoors.split.poison import PoisonSplit
from natural_backdoors.split.selection import Selection

pytest.importorskip("fcntl", reason="no locks of files on this system")


@pytest.fixture
def start(forks):
    "A function: a process that runs code, which can hold folders"
    names = "import os, signal, sys, time\nfrom natural_backdoors.base.locks import *\n"
    return lambda code, *words: forks.start(names + code, *words)


COUNT = """
folder = sys.argv[1]
deadline = time.monotonic() + 60
for _ in range(15):
    while time.monotonic() < deadline:
        try:
            with hold(folder):
                n = int(open(f"{folder}/n").read() or 0)
                time.sleep(0.001)
                open(f"{folder}/n", "w").write(str(n + 1))
            break
        except Exception as e:
            assert "is being written by" in str(e), e
"""


def test_nothing_is_lost_between_processes(start, tmp_path):
    "Three processes add one to a number again and again, each only while it holds the folder"
    (tmp_path / "n").write_text("0")
    processes = [start(COUNT, tmp_path) for _ in range(3)]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "45" and os.listdir(tmp_path) == ["n"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_lock_goes_with_its_process(start, tmp_path, how):
    wait = 'with hold(sys.argv[1], "train it"):\n    print("held", flush=True)\n    time.sleep(600)'
    process = start(wait, tmp_path / "new")
    assert process.stdout.readline() == "held\n"
    assert holder_of(tmp_path / "new").pid == process.pid
    with pytest.raises(UserError, match=rf"process {process.pid} on .* since .* \(train it\)"):
        hold(tmp_path / "new").__enter__()
    process.send_signal(how)
    process.wait()
    assert holder_of(tmp_path / "new") is None
    with hold(tmp_path / "new"):
        assert holder_of(tmp_path / "new").pid == os.getpid()
    assert os.listdir(tmp_path / "new") == []


WRITE = """
from natural_backdoors.base.files import atomic_path
with atomic_path(sys.argv[1] + "/sub/model.json") as scratch:
    scratch.write_text("half")
    print(scratch, flush=True)
    time.sleep(600)
"""


def test_left_overs_go_and_what_is_being_written_stays(start, tmp_path):
    process = start(WRITE, tmp_path)
    scratch = Path(process.stdout.readline().strip())
    with hold(tmp_path):
        assert scratch.exists(), "its process lives"
    process.kill()
    process.wait()
    assert scratch.exists()
    with hold(tmp_path):
        assert not scratch.exists()
    assert not (tmp_path / "sub" / "model.json").exists()


def test_only_the_folder_itself_is_locked(start, tmp_path):
    "Another folder is free, the same folder by another spelling is not, and errors let go of it"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold(tmp_path / "a"), hold(tmp_path / "b"):
            code = "try:\n    hold(sys.argv[1]).__enter__()\nexcept Exception as e:\n    print(e)"
            said = start(code, tmp_path / "link").communicate()[0]
            assert f"process {os.getpid()} on" in said
            1 / 0
        assert not list(tmp_path.rglob(LOCK))


def test_a_damaged_record_is_no_obstacle(tmp_path):
    (tmp_path / LOCK).write_bytes(b"\x00\xff{")
    with hold(tmp_path):
        assert holder_of(tmp_path).pid == os.getpid()
    assert os.listdir(tmp_path) == []


NAMES = st.from_regex(r"[a-z.]{0,12}(\.part-)?[a-z0-9_.]{0,12}(\.json|\.csv|)", fullmatch=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(names=st.sets(NAMES.filter(lambda name: name.strip("."))))
def test_names_that_people_give_stay(tmp_path_factory, names):
    "Nothing goes but hidden files with eight letters and digits where a scratch name has them"
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        (folder / name).touch()
    gone = {path.name for path in remove_left_overs(folder)}
    for name in gone:
        middle = [w.removeprefix("part-") for w in name.split(".")[2:]]
        assert name[0] == "." and any(len(w) == 8 for w in middle)
    assert {path.name for path in folder.iterdir()} == names - gone
    for path in folder.iterdir():
        path.unlink()


def test_a_file_is_written_as_before(tmp_path):
    "Permissions of any new file, nothing left, and a failure leaves the old one"
    file = write_json(tmp_path / "x.json", 1)
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(ZeroDivisionError), atomic_path(file) as scratch:
        scratch.write_text("2")
        1 / 0
    assert file.read_text() == "1\n" and sorted(os.listdir(tmp_path)) == ["plain", "x.json"]


UNFINISHED = """
from pathlib import Path
with scratch_folder(Path(sys.argv[1]) / "out") as folder:
    (folder / "images").mkdir()
    (folder / "images" / "1.png").touch()
    print(folder, flush=True)
    time.sleep(600)
"""


def test_exports_that_were_killed(start, tmp_path):
    "The next export to the same place takes them away, and none that goes on elsewhere or there"
    killed, lives = start(UNFINISHED, tmp_path), start(UNFINISHED, tmp_path)
    gone, stays = (Path(process.stdout.readline().strip()) for process in (killed, lives))
    killed.kill()
    killed.wait()
    (tmp_path / ".other.abcdefgh.unfinished").mkdir()
    with scratch_folder(tmp_path / "out") as mine:
        assert not gone.exists() and stays.exists() and mine.exists()
        with hold(tmp_path):
            assert stays.exists() and mine.exists()
    lives.kill()
    lives.wait()
    with hold(tmp_path):
        assert os.listdir(tmp_path) == [LOCK]


RACE = """
from pathlib import Path
from natural_backdoors.base import files
folder = Path(sys.argv[1])
for i in range(60):
    files._due.clear()  # as if each file were the first one that this process writes here
    with files.atomic_path(folder / f"{i % 3}.txt") as scratch:
        scratch.write_text(sys.argv[2] * 100)
    with scratch_folder(folder / "out") as unfinished:
        (unfinished / "1.txt").write_text(sys.argv[2])
        os.rename(unfinished, folder / f"{sys.argv[2]}{i}")
"""


def test_who_looks_after_a_folder_takes_nothing_from_others(start, tmp_path):
    "Four processes write and clean up as fast as they can; each file and each folder arrives"
    processes = [start(RACE, tmp_path, letter) for letter in "abcd"]
    assert [p.wait() for p in processes] == [0] * 4
    whole = {letter * 100 for letter in "abcd"}
    assert {(tmp_path / f"{i}.txt").read_text() in whole for i in range(3)} == {True}
    made = [tmp_path / f"{letter}{i}" / "1.txt" for letter in "abcd" for i in range(60)]
    assert [path.read_text() for path in made] == [path.parent.name[0] for path in made]
    assert not [name for name in os.listdir(tmp_path) if name[0] == "."]


def test_a_file_takes_left_overs_away(start, tmp_path):
    "Also where nobody holds the folder, and the lock of a process that was killed"
    process = start(WRITE, tmp_path)
    scratch = Path(process.stdout.readline().strip())
    wait = "with hold_place(sys.argv[1]):\n    print(1, flush=True)\n    time.sleep(600)"
    holder = start(wait, scratch.parent / "x")
    assert holder.stdout.readline() == "1\n"
    (scratch.parent / ".mine.lock").write_text("of another program")
    write_json(scratch.parent / "a.json", 1)
    assert scratch.exists() and (scratch.parent / ".x.lock").exists()
    with pytest.raises(UserError, match=rf"x is being written by process {holder.pid} on"):
        hold_place(scratch.parent / "x").__enter__()
    for p in (process, holder):
        p.kill()
        p.wait()
    remove_left_overs(tmp_path)
    assert sorted(os.listdir(scratch.parent)) == [".mine.lock", "a.json"]


def test_a_thread_that_waits_keeps_no_other_from_letting_go(tmp_path):
    held, got = threading.Event(), []

    def wait():
        held.wait(60)
        with hold(tmp_path, wait=60):
            got.append(holder_of(tmp_path))

    waiter = threading.Thread(target=wait)
    waiter.start()
    with hold(tmp_path):
        held.set()
        time.sleep(0.2)
        assert not got
        with hold(tmp_path / "other"):
            pass
    waiter.join(60)
    assert len(got) == 1


@contextmanager
def another(start, name, place):
    "A process that holds `place` meanwhile"
    wait = 'print("held", flush=True)\n    time.sleep(600)'
    process = start(f'with {name}(sys.argv[1], "the first"):\n    {wait}', place)
    try:
        assert process.stdout.readline() == "held\n"
        yield rf"process {process.pid} on .* since .* \(the first\)"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return example_run(tmp_path_factory.mktemp("finished") / "run")


def bytes_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def second(what, finished, out):
    "What comes second: where it writes, and the call"
    split = PoisonSplit.load(finished)
    overlaps = find_triggers(TableDataset(LABELS), FEW).overlaps
    return {
        "report": (finished, lambda: write_report(finished)),
        "report elsewhere": (finished, lambda: write_report(finished, out / "page.html")),
        "overlaps": (out, lambda: save_overlaps(overlaps, out)),
        "split": (out, lambda: split.save(out)),
        "export": (out / "there", lambda: export_split(split, out / "there", overwrite=True)),
    }[what]


FEW = SearchSettings(min_overlaps=1, min_clean=1, min_poison=1, min_classes=1)
LABELS = pd.DataFrame({"image": list("aabbcc"), "label": list("xyxzyx")})
WHAT = ["report", "report elsewhere", "overlaps", "split", "export"]


@pytest.mark.parametrize("what", WHAT)
def test_who_comes_second_is_told(start, finished, tmp_path, monkeypatch, what):
    "While another process writes there, nothing is written; afterwards it is"
    for module in ("graph.overlaps", "split.poison"):
        monkeypatch.setattr(f"natural_backdoors.{module}.SOON", 0)
    export_split(PoisonSplit.load(finished), tmp_path / "there", size=8)
    place, call = second(what, finished, tmp_path)
    with another(start, "hold", place) as who:
        before = bytes_below(tmp_path), bytes_below(finished)
        with pytest.raises(UserError, match=who):
            call()
        assert (bytes_below(tmp_path), bytes_below(finished)) == before
    call()
    remove_left_overs(finished)  # a page elsewhere writes nothing there, and so takes nothing away
    assert not [*tmp_path.rglob(".*"), *finished.rglob(".*")]


def test_an_export_to_a_name_that_another_makes(start, finished, tmp_path):
    split = PoisonSplit.load(finished)
    for name in ("folder", "file.parquet"):
        with another(start, "hold_place", tmp_path / name) as who:
            with pytest.raises(UserError, match=f"{name} is being written by {who}.*another name"):
                export_split(split, tmp_path / name, size=8)
            export_split(split, tmp_path / f"other_{name}", size=8)
        export_split(split, tmp_path / name, size=8)
    assert not list(tmp_path.glob(".*"))


def test_exports_that_were_killed_between_two_names(finished, tmp_path):
    "A card without its file is replaced, and an export that was to be replaced is there again"
    split = PoisonSplit.load(finished)
    file = export_split(split, tmp_path / "a.parquet", size=8)
    card = (tmp_path / "a.parquet.md").read_bytes()
    file.unlink()
    export_split(split, file, size=8)
    assert (tmp_path / "a.parquet.md").read_bytes() == card and file.is_file()
    (tmp_path / "b.parquet.md").write_text("notes of mine")
    with pytest.raises(UserError, match="b.parquet.md is there already"):
        export_split(split, tmp_path / "b.parquet", size=8)
    old = export_split(split, tmp_path / "old", size=8)
    before = bytes_below(old)
    for there in (False, True):
        (shutil.copytree if there else os.rename)(old, tmp_path / ".old.abcdefgh.old")
        with pytest.raises(UserError, match="old is there already"):
            export_split(split, old, size=8)
        assert bytes_below(old) == before
        remove_left_overs(tmp_path)
        assert not list(tmp_path.glob(".*"))


def test_two_pickers_with_one_file(start, tmp_path):
    "The second is told that the first has saved meanwhile, and who is just saving"
    path, states = tmp_path / "selection.json", []
    for _ in range(2):
        states.append(PickerState.of(TableDataset(LABELS), search=FEW))
        states[-1].begin()
    for state, classes in zip(states, ([0], [1])):
        state.trigger, state.path = 2, path
        state.choose(classes)
    states[0].save()
    with pytest.raises(UserError, match="holds another selection; save once more"):
        states[1].save()
    states[1].save()
    with pytest.raises(UserError, match="holds another selection; save once more"):
        states[0].save()
    with another(start, "hold", tmp_path) as who, pytest.raises(UserError, match=who):
        states[0].save()
    assert Selection.load(path) == states[1].selection
    states[0].save()
    assert Selection.load(path) == states[0].selection


def test_a_user_without_a_home(tmp_path, monkeypatch):
    "As in containers: nothing is cached, and that is said"

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("NATURAL_BACKDOORS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.warns(UserWarning, match="no home folder; NATURAL_BACKDOORS_CACHE"):
        assert cached("x", [], lambda: {"n": np.arange(3)})["n"].tolist() == [0, 1, 2]
