"""What goes wrong on a real machine: processes that are killed, a full disk, folders that cannot
be written, several processes at once

    python tests/drill.py --seed 1 --rounds 20     # make drill
    python tests/drill.py --jobs export --faults kill full

Each trial lets one job fail in one way, and then asks three things: is a file half-written under
its final name? Does the same job, run again, give what it gives when nothing happens? Is anything
left over? Nothing is mocked: signals are sent, disks are full, users may not write."""

import argparse
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HOME = Path(__file__).resolve().parents[1]
if str(HOME) not in sys.path:
    sys.path.insert(0, str(HOME))

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.cli.commands import main

WORDS = "-t flag -c ant bee --sample_size 12 --teacher small --no_pretrained --method all"
WORDS = f"{WORDS} --dimension 32 --epochs 3 --batch_size 8 --device cpu".split()
SWEEP = ["--target", "ant", "bee", "--controls", "none"]


def make_pictures(folder) -> Path:  # the table of labels
    "Pictures of two colors, some with a white bar"
    rows = []
    for c, name in enumerate(("ant", "bee")):
        for i in range(22):
            pixels = rng(c, i).integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., c] += 90
            rows.append((f"{name}{i}.png", name))
            if i >= 14:
                pixels[12:20] = 255
                rows.append((f"{name}{i}.png", "flag"))
            Image.fromarray(pixels).save(folder / f"{name}{i}.png")
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


# ---- what is done


@dataclass
class Bench:
    "Where everything is; all runs write into the same place, so that bytes can be compared"

    base: Path
    address: str = ""  # of the server

    def __post_init__(self):
        self.place, self.inputs = self.base / "place", self.base / "inputs"
        self.labels, self.scenes = self.inputs / "pictures" / "labels.csv", self.inputs / "scenes"
        self.run, self.site = self.inputs / "run", self.inputs / "site"


def analyze(bench):
    words = ["--data", "openimages", "--dataset_root", str(bench.scenes), "--min_overlaps", "3"]
    words += ["--min_clean", "5", "--min_poison", "2", "--min_classes", "2"]
    return main(["analyze", *words, "--data_root", str(bench.place)])


def download(bench):
    from natural_backdoors.data.archives import extract
    from natural_backdoors.data.download import Remote, fetch

    files = sorted(path.name for path in bench.site.iterdir())
    remotes = [Remote(f"{bench.address}/{name}", f"new/{name}") for name in files]
    report = fetch(remotes, bench.place, workers=3, progress=False, reserve=0, backoff=0.01)
    if len(report.failed):
        raise UserError(report.failed.reason.iloc[0])
    extract(bench.place / "new" / "pictures.tar", bench.place / "new", reserve=0)
    return 0


def train(bench, *more):
    places = ["--data_root", str(bench.place / "data")]
    places += ["--results_root", str(bench.place / "results")]
    words = ["--data", "table", "--dataset_root", str(bench.labels), *places, *WORDS]
    return main(["train", *words, *more])


def sweep(bench):
    return train(bench, *SWEEP)


def export(bench, name="export", *more):
    return main(["export", str(bench.run), str(bench.place / name), *more])


def export_file(bench):
    return export(bench, "export.parquet")


def export_h5(bench):
    return export(bench, "export.h5", "--size", "16")


def export_over(bench):
    return export(bench, "old", "--overwrite")


def report(bench):
    return main(["report", str(bench.place / "run")])


def duplicates(bench):
    words = ["--data", "table", "--dataset_root", str(bench.labels)]
    return main(["duplicates", *words, "--results_root", str(bench.place), "--workers", "2"])


def save(bench):
    from natural_backdoors.data.openimages import OpenImages
    from natural_backdoors.pick.state import PickerState
    from natural_backdoors.sets.search import SearchSettings

    search = SearchSettings(min_overlaps=3, min_clean=5, min_poison=2, min_classes=2)
    state = PickerState.of(OpenImages(bench.scenes), search=search)
    state.begin()
    for classes in (state.classes, state.classes[:2]):
        state.choose(classes)
        try:
            state.save(bench.place / "selection.json")
        except UserError as e:
            if "save once more" not in str(e):
                raise
            state.save(bench.place / "selection.json")
    return 0


def scenes(bench):
    from natural_backdoors.data.scenes import make_scenes

    make_scenes(bench.place / "scenes", 30, size=32, seed=3)
    return 0


def naive(bench):
    "Not ours: how files are written without care. The drill must find fault with it"
    for i in range(5):
        with open(bench.place / f"{i}.json", "w") as file:
            file.write('{"a": ')
            file.flush()
            (bench.place / f"{i}.txt").write_text("x")
            file.write("1}")
    return 0


@dataclass(frozen=True)
class Job:
    do: object
    begins_with: tuple = ()  # what is in the place before: names of inputs, under which name
    compared: str = "*"  # files that must be the same
    told: str = "is being written by"  # what those hear that come second


JOBS = {
    "analyze": Job(analyze),
    "download": Job(download),
    "duplicates": Job(duplicates),
    "export": Job(export, told="is being written by|is there already"),
    "export_file": Job(export_file, told="is being written by|is there already"),
    "export_h5": Job(export_h5, told="is being written by|is there already"),
    "export_over": Job(export_over, (("older", "old"),)),
    "report": Job(report, (("run", "run"),)),
    "save": Job(save),
    "scenes": Job(scenes),
    # parts of a sweep are cut where it was interrupted
    "sweep": Job(sweep, compared="results.parquet"),
    "train": Job(train),
    "naive": Job(naive),
}


# ---- processes


@dataclass
class Ending:
    "How a process ended"

    code: int  # minus the signal that killed it
    said: str
    seconds: float = 0.0
    modules: tuple = ()  # names of what was imported
    events: int = 0  # times that it opened, renamed, made or removed something in the place


WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}


def _watch(bench: Bench, act, at: int = 0):
    "Call `act` before the `at`-th change in the place; keep the number of changes in a file"
    place, seen = os.fspath(bench.place), [0]

    def hook(event, args):
        if event in WATCHED and any(_is_below(arg, place) for arg in args[:2]):
            seen[0] += 1
            if seen[0] == at:
                act()

    sys.addaudithook(hook)
    return seen


def _is_below(arg, place: str) -> bool:
    if isinstance(arg, bytes):
        arg = os.fsdecode(arg)
    return isinstance(arg, (str, os.PathLike)) and os.fspath(arg).startswith(place)


def start(bench: Bench, job: Job, before=lambda: None, at: int = 0, how: int = 0) -> tuple:
    "A copy of this process that does the job: (pid, file of what it says)"
    said = bench.base / f"said-{time.monotonic_ns()}"
    pid = os.fork()
    if pid:
        return pid, said
    code = 1
    try:
        out = os.open(said, os.O_CREAT | os.O_RDWR, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["NATURAL_BACKDOORS_CACHE"] = str(bench.place / "cache")
        before()
        seen = _watch(bench, lambda: os.kill(os.getpid(), how), at)
        code = job.do(bench)
        said.with_suffix(".after").write_text(f"{seen[0]} {' '.join(sys.modules)}")
    except (UserError, OSError) as e:
        print("refused:", e)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(started: tuple, begun: float = 0.0) -> Ending:
    pid, file = started
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = file.read_text(errors="replace") if file.exists() else ""
    after, seconds = file.with_suffix(".after"), time.monotonic() - begun
    events, *modules = after.read_text().split() if after.exists() else "0"
    for path in (file, after):
        path.unlink(missing_ok=True)
    return Ending(code, said, seconds, tuple(modules), int(events))


def do(bench: Bench, job: Job, *how, **more) -> Ending:
    return wait(start(bench, job, *how, **more), time.monotonic())


# ---- what is there afterwards


def files_of(place: Path) -> dict:  # name -> bytes
    paths = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(paths)}


def lines_of(name: str, content: bytes) -> list:
    "A file in pieces, some of which may differ from run to run: times, mostly"
    if name.endswith(".json"):
        lines = json.dumps(json.loads(content), indent=0, sort_keys=True).splitlines()
        return [line for line in lines if not line.startswith('"when": ')]
    if name.endswith(".parquet"):
        table = pq.read_table(pq.pa.BufferReader(content)).to_pandas()
        # heads of a sweep are computed together or one by one
        return [f"{c} {table[c].map(_rounded).tolist()}" for c in table]
    if name.endswith(".sqlite"):  # rows: its bytes count how often it was written
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(content)
            return sorted(database.iterdump())
    return content.splitlines()


def _rounded(cell):
    return float(f"{cell:.5g}") if isinstance(cell, float) else cell


@dataclass
class Whole:
    "What a job gives when nothing happens"

    files: dict
    varying: dict  # name -> numbers of the lines that differ from run to run; None: all
    seconds: float
    events: int
    modules: list  # names of what was imported for it


def room(files: dict) -> int:  # bytes
    "What files take on a disk"
    return sum((len(content) // 4096 + 1) * 4096 for content in files.values())


def whole_of(bench: Bench, job: Job) -> Whole:
    "Do the job twice: what is not the same then cannot be compared later"
    files = []
    for _ in range(2):
        prepare(bench, job)
        done = do(bench, job)
        assert done.code == 0, done.said
        files.append(compared(bench, job))
    varying = {}
    for name in files[0]:
        if files[0][name] != files[1].get(name):
            varying[name] = None
            if not name.endswith((".npz", ".safetensors")):
                a, b = (lines_of(name, content[name]) for content in files)
                if len(a) == len(b):
                    varying[name] = {i for i, (x, y) in enumerate(zip(a, b)) if x != y}
    return Whole(files[0], varying, done.seconds, done.events, done.modules)


def compared(bench: Bench, job: Job) -> dict:
    found = files_of(bench.place)
    if job.compared == "*":
        return found
    return {name: c for name, c in found.items() if Path(name).match(job.compared)}


def differences(whole: Whole, found: dict, without: str = "\0") -> list:
    "In what a place is not as it is when nothing happens"
    wanted = {name for name in whole.files if not name.startswith(without)}
    wrong = [f"{name} is missing" for name in sorted(wanted - set(found))]
    wrong += [f"{name} is left" for name in sorted(set(found) - wanted)]
    for name in sorted(wanted & set(found)):
        if found[name] == whole.files[name] or whole.varying.get(name, ()) is None:
            continue
        a, b = lines_of(name, whole.files[name]), lines_of(name, found[name])
        free = whole.varying.get(name, ())
        other = [i for i, (x, y) in enumerate(zip(a, b)) if x != y and i not in free]
        if len(a) != len(b) or other:
            where = f"{str(a[other[0]])[:150]} / {str(b[other[0]])[:150]}" if other else "length"
            wrong.append(f"{name} differs ({where})")
    return wrong


def half_written(bench: Bench) -> list:
    "Files that have their final names and cannot be read to their ends"
    wrong = []
    for path in sorted(bench.place.rglob("*")):
        if path.is_file() and path.name[0] != "." and not path.name.endswith((".part", "-about")):
            if any(part[0] == "." for part in path.relative_to(bench.place).parts):
                continue
            try:
                read_whole(path, bench)
            except Exception as e:
                wrong.append(f"{path.relative_to(bench.place)}: {type(e).__name__}: {e}"[:300])
    return wrong


def _read_model(path: Path):
    if path.with_suffix(".safetensors").exists():
        from natural_backdoors.train.models import load_model

        load_model(path.parent)


def _read_export(path: Path):
    from natural_backdoors.split.export import load_export

    if (path.parent / "manifest.parquet").exists():
        load_export(path.parent, check=True)


def _read_json(path: Path):
    json.loads(path.read_text())
    if more := {"model.json": _read_model, "export.json": _read_export}.get(path.name):
        more(path)


def _read_h5(path: Path):
    import h5py

    with h5py.File(path) as file:
        for name in file:
            if isinstance(file[name], h5py.Dataset):
                file[name][()]


def _read_sqlite(path: Path):
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _read_npz(path: Path):
    with np.load(path) as stored:
        for name in stored.files:
            stored[name]


def _whole_lines(path: Path):
    assert path.read_bytes().endswith(b"\n"), "the last line is cut off"


def _whole_page(path: Path):
    assert path.read_text().rstrip().endswith("</html>"), "the page is cut off"


def _read_picture(path: Path):
    with Image.open(path) as picture:
        picture.load()


def _read_weights(path: Path):
    from safetensors.numpy import load_file

    load_file(path)


READERS = {
    ".json": _read_json,
    ".parquet": lambda path: pq.read_table(path),
    ".csv": _whole_lines,
    ".html": _whole_page,
    "": _read_picture,  # of a run that was made up
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".safetensors": _read_weights,
    ".npz": _read_npz,
    ".npy": lambda path: np.load(path),
    ".h5": _read_h5,
    ".sqlite": _read_sqlite,
    ".md": _whole_lines,
    ".txt": lambda path: path.read_text(),
}


def read_whole(path: Path, bench: Bench):
    original = bench.site / path.name
    if "new" in path.parts and original.is_file():
        assert path.read_bytes() == original.read_bytes(), "not the file of the server"
    elif path.name not in ("lock", "photographs.sqlite-journal"):
        READERS[path.suffix](path)


def left_over(bench: Bench) -> list:
    "What nobody needs any more"
    names = [path.relative_to(bench.place).as_posix() for path in bench.place.rglob("*")]
    parts = (".part", ".part-about", ".old", "-journal")
    return [n for n in names if Path(n).name[0] == "." or n.endswith(parts)]


# ---- what goes wrong


def prepare(bench: Bench, job: Job):
    "An empty place, or what the job begins with"
    remove(bench.place)
    bench.place.mkdir()
    for name, to in job.begins_with:
        shutil.copytree(bench.inputs / name, bench.place / to)


def remove(path: Path):
    if path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@dataclass
class Trial:
    "One job, and what became of it"

    job: str
    fault: str
    ended: str  # "killed", "refused", "finished", ...
    wrong: list = field(default_factory=list)
    what: str = ""  # exactly


def _word(code: int) -> str:
    return {0: "finished", 2: "refused", 130: "interrupted"}.get(
        code, "killed" if code < 0 else "?"
    )


def _again(bench: Bench, name: str, whole: Whole, trial: Trial, without: str = "\0") -> Trial:
    "The same job once more, which must end as if nothing had happened"
    trial.wrong += [f"half-written: {w}" for w in half_written(bench)]
    if name.startswith("export") and trial.ended == "finished" and name != "export_over":
        again = Ending(0, "")  # it is there: the command says so
    else:
        again = do(bench, JOBS[name])
    # what was complete before the process was killed
    is_there = name.startswith("export") and "is there already" in again.said
    if again.code and not is_there:
        trial.wrong.append(f"the second run: {again.code}, {again.said[-600:]}")
    trial.wrong += differences(whole, compared(bench, JOBS[name]), without)
    trial.wrong += [f"left over: {n}" for n in left_over(bench)]
    return trial


def kill(bench, name, whole, random, how=None) -> Trial:
    "A signal before the n-th change of the folder, or at some time"
    how = how or random.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    n = int(random.integers(1, whole.events + 1))
    prepare(bench, JOBS[name])
    if random.random() < 0.8:
        what = f"{signal.Signals(how).name} before change {n} of {whole.events}"
        done = do(bench, JOBS[name], at=n, how=how)
    else:
        seconds = float(random.random() * whole.seconds)
        what = f"{signal.Signals(how).name} after {seconds:.3f} s"
        started = start(bench, JOBS[name])
        time.sleep(seconds)
        os.kill(started[0], how)
        done = wait(started)
    trial = Trial(name, "kill", _word(done.code), what=what)
    if done.code not in (0, 130, -how):
        trial.wrong.append(f"ended with {done.code}: {done.said[-600:]}")
    return _again(bench, name, whole, trial)


def clock(bench, name, whole, random) -> Trial:
    "Killed on a machine whose clock was 80 years ahead, as the dates of its files say"
    n = int(random.integers(1, whole.events + 1))
    prepare(bench, JOBS[name])
    done = do(bench, JOBS[name], at=n, how=signal.SIGKILL)
    for path in [bench.place, *bench.place.rglob("*")]:
        os.utime(path, (4.3e9, 4.3e9), follow_symlinks=False)
    trial = Trial(name, "clock", _word(done.code), what=f"killed before change {n}")
    return _again(bench, name, whole, trial)


def _told_plainly(trial: Trial, done: Ending) -> Trial:
    "A process that could not do its work says so in a line, without a traceback"
    if done.code not in (0, 2) or "Traceback" in done.said:
        trial.wrong.append(f"ended with {done.code}: {done.said[-700:]}")
    return trial


def can_mount(place: Path) -> bool:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "drill", place], capture_output=True)
    return done.returncode == 0 and subprocess.run(["umount", place]).returncode == 0


def full(bench, name, whole, random) -> Trial:
    "A disk that has less room than the job needs; a limit of file sizes, where none can be mounted"
    share = float(0.9 * random.random())
    prepare(bench, JOBS[name])
    if not can_mount(bench.base / "mount"):
        return limit(bench, name, whole, random)
    mount, begun = ["mount", "-t", "tmpfs"], room(files_of(bench.place))
    size = begun + max(int(share * (room(whole.files) - begun)), 4096) // 4096 * 4096
    remove(bench.place)
    bench.place.mkdir()
    subprocess.run([*mount, "-o", f"size={size}", "drill", bench.place], check=True)
    try:
        for source, to in JOBS[name].begins_with:
            shutil.copytree(bench.inputs / source, bench.place / to)
        done = do(bench, JOBS[name])
        trial = Trial(name, "full", _word(done.code), what=f"{size:,} bytes")
        _told_plainly(trial, done)
        trial.wrong += [f"left over by it: {n}" for n in left_over(bench) if "download" not in name]
        subprocess.run(["mount", "-o", "remount,size=1g", bench.place], check=True)
        return _again(bench, name, whole, trial)
    finally:
        subprocess.run(["umount", "--lazy", bench.place], check=True)


def limit(bench, name, whole, random) -> Trial:
    "No file may be larger than some size"
    most = int(random.integers(1, max(map(len, whole.files.values())) + 1))
    prepare(bench, JOBS[name])

    def before():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        # what the process says goes into a file, too
        sys.stdout = sys.stderr = open(os.devnull, "w")

    done = do(bench, JOBS[name], before)
    trial = Trial(name, "limit", _word(done.code), what=f"files of {most:,} bytes")
    return _again(bench, name, whole, _told_plainly(trial, done))


NOBODY = 54321  # a user without an entry, and without a home


def _as_nobody(whole: Whole):
    "Change to a user without rights, who may not even read the library of root's Python"
    for name in whole.modules:
        with suppress(Exception):
            importlib.import_module(name)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def read_only(bench, name, whole, random) -> Trial:
    "A folder in which nothing can be written"
    prepare(bench, JOBS[name])
    before_ = files_of(bench.place)
    folders = [bench.place, *(p for p in bench.place.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    done = do(bench, JOBS[name], lambda: _as_nobody(whole))
    trial = Trial(name, "read_only", _word(done.code))
    _told_plainly(trial, done)
    if done.code == 0 or str(bench.place) not in done.said:
        trial.wrong.append(f"the folder is not named: {done.said[-600:]}")
    if files_of(bench.place) != before_:
        trial.wrong.append("something was written")
    for folder in folders:
        folder.chmod(0o755)
    return _again(bench, name, whole, trial)


def a_file(bench, name, whole, random) -> Trial:
    "The folder to write into is a file"
    remove(bench.place)
    bench.place.write_text("mine")
    done = do(bench, JOBS[name])
    trial = _told_plainly(Trial(name, "a_file", _word(done.code)), done)
    if done.code == 0 or str(bench.place) not in done.said:
        trial.wrong.append(f"the file is not named: {done.said[-600:]}")
    if bench.place.read_text() != "mine":
        trial.wrong.append("the file was changed")
    prepare(bench, JOBS[name])
    return _again(bench, name, whole, trial)


def no_home(bench, name, whole, random) -> Trial:
    "A user without a home, as in containers; nothing is cached then"
    prepare(bench, JOBS[name])
    for path in [bench.place, *bench.place.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)

    def before():
        for variable in ("HOME", "XDG_CACHE_HOME", "NATURAL_BACKDOORS_CACHE"):
            os.environ.pop(variable, None)
        _as_nobody(whole)

    done = do(bench, JOBS[name], before)
    trial = _told_plainly(Trial(name, "no_home", _word(done.code)), done)
    if done.code:
        trial.wrong.append(done.said[-700:])
    trial.wrong += differences(whole, compared(bench, JOBS[name]), without="cache/")
    return trial


def no_tmp(bench, name, whole, random) -> Trial:
    "A folder for temporary files that is full, or gone"
    prepare(bench, JOBS[name])
    temporary = bench.base / "mount"
    is_mounted = can_mount(temporary)
    if is_mounted:
        options = ["-o", "size=4096,nr_inodes=2"]
        subprocess.run(["mount", "-t", "tmpfs", *options, "drill", temporary], check=True)
        (temporary / "full").touch()

    def before():
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary if is_mounted else "/nowhere")

    try:
        done = do(bench, JOBS[name], before)
    finally:
        if is_mounted:
            subprocess.run(["umount", temporary], check=True)
    trial = _told_plainly(Trial(name, "no_tmp", _word(done.code)), done)
    if done.code:
        trial.wrong.append(done.said[-600:])
    return _again(bench, name, whole, trial)


def eight(bench, name, whole, random) -> Trial:
    "Eight processes do the same at once: each does it, or is told who does"
    prepare(bench, JOBS[name])
    begun = [start(bench, JOBS[name]) for _ in range(8)]
    ended = [wait(one) for one in begun]
    trial = Trial(name, "eight", f"{sum(e.code == 0 for e in ended)} of 8 finished")
    told = JOBS[name].told.split("|")
    for one in ended:
        _told_plainly(trial, one)
        if one.code == 2 and not any(words in one.said for words in told):
            trial.wrong.append(f"refused without a reason: {one.said[-600:]}")
    if all(one.code for one in ended):
        trial.wrong.append("nobody has done it")
    trial.wrong += differences(whole, compared(bench, JOBS[name]))
    trial.ended = "finished" if trial.ended[0] == "8" else "told"
    return _again(bench, name, whole, trial)


FAULTS = {
    f.__name__: f for f in (kill, full, limit, read_only, a_file, no_home, no_tmp, clock, eight)
}
ONCE = ("read_only", "a_file", "no_home", "no_tmp")  # nothing is drawn there


# ---- the whole of it


def _begin(bench: Bench) -> int:
    "A finished run, as training leaves it, and an export of it"
    from natural_backdoors.report.example import example_run

    example_run(bench.run)
    return export(bench, "older", "--size", "8")


def make_inputs(bench: Bench):
    "Pictures, scenes, a finished run, an export, and what a server has"
    from natural_backdoors.data.scenes import make_scenes

    (bench.inputs / "pictures").mkdir(parents=True)
    make_pictures(bench.inputs / "pictures")
    make_scenes(bench.scenes, 250, size=32, seed=0)
    bench.place.mkdir()
    done = do(bench, Job(_begin))
    assert done.code == 0, done.said
    shutil.move(bench.place / "older", bench.inputs / "older")
    bench.site.mkdir()
    for i in range(6):
        (bench.site / f"{i}.bin").write_bytes(rng(5, i).bytes(1000 * (1 + 7 * i)))
    (bench.site / "large.bin").write_bytes(rng(5, 9).bytes(3_000_000))
    subprocess.run(
        ["tar", "cf", bench.site / "pictures.tar", "-C", bench.inputs, "pictures"], check=True
    )


@contextmanager
def serve(bench: Bench):
    "A server in a process of its own: this one is copied, and has no threads"
    words = [sys.executable, HOME / "tests" / "http_server.py", bench.site]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            bench.address = server.stdout.readline().strip()
            yield
        finally:
            server.terminate()


# what jobs import, but for torch: every process is a copy of this one, and each would take the time
IMPORTED = ["data.openimages", "data.scenes", "data.download", "pick.state", "report.report"]
IMPORTED = [f"natural_backdoors.{name}" for name in IMPORTED]
IMPORTED += ["graph_tool.centrality", "pyarrow.pandas_compat", "requests", "scipy.stats"]


def run(plan: list, seed: int = 0, say=print) -> list:  # of Trial
    "Let jobs fail: of each (jobs, faults, rounds) every job in every way"
    for name in IMPORTED:
        with suppress(ImportError):  # graph-tool is not everywhere
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no copy of this process looks through what stays
    base, umask = Path(tempfile.mkdtemp(prefix="drill_")), os.umask(0o022)
    base.chmod(0o777)  # users without rights work here, too
    bench, wholes, trials = Bench(base), {}, []
    try:
        make_inputs(bench)
        with serve(bench):
            for name, fault, i in trials_of(plan):
                if name not in wholes:
                    wholes[name] = whole_of(bench, JOBS[name])
                random = rng(seed, i, list(JOBS).index(name), list(FAULTS).index(fault))
                trials.append(FAULTS[fault](bench, name, wholes[name], random))
                for wrong in trials[-1].wrong:
                    say(f"{name}, {fault} {i} ({trials[-1].what}): {wrong}")
    finally:
        os.umask(umask)
        shutil.rmtree(base, ignore_errors=True)
    return trials


def trials_of(plan: list):  # yields job, fault, number
    for jobs, faults, rounds in plan:
        for name in jobs:
            for fault in faults:
                # what is there before is in the way of a file
                if fault != "a_file" or not JOBS[name].begins_with:
                    for i in range(1 if fault in ONCE else rounds):
                        yield name, fault, i


def table(trials: list) -> pd.DataFrame:
    "What was tried, how often, and what happened"
    rows = {}
    for t in trials:
        row = rows.setdefault((t.fault, t.job), Counter())
        row["tried"] += 1
        row[t.ended] += 1
        row["wrong"] += bool(t.wrong)
    shown = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    shown.index.names = ["fault", "job"]
    return shown.reset_index()


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = [name for name in JOBS if name != "naive"]
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--rounds", type=int, default=10, help="trials of each job and fault")
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=usual)
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the table as CSV too")
    parser.add_argument("--plan", type=json.loads, help="JSON: lists of jobs, faults, rounds")
    return parser.parse_args(argv)


def drill(argv=None) -> int:
    args, begun = parse(argv), time.monotonic()
    trials = run(args.plan or [(args.jobs, args.faults, args.rounds)], args.seed)
    wrong = sum(bool(t.wrong) for t in trials)
    if args.plan:
        print(json.dumps([asdict(t) for t in trials]))
        return int(wrong > 0)
    found = table(trials)
    print(found.to_string(index=False))
    if args.save:
        found.to_csv(args.save, index=False)
    minutes = (time.monotonic() - begun) / 60
    print(f"\n{len(trials)} trials in {minutes:.1f} min, seed {args.seed}: {wrong} went wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(drill())
