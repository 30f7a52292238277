"Downloads against a real server on the loopback address that answers badly; archives"

import errno
import gzip
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import warnings
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json
from natural_backdoors.data import archives, download
from natural_backdoors.data.archives import extract
from natural_backdoors.data.datasets import Dataset
from natural_backdoors.data.download import (
    Remote,
    Report,
    choose_images,
    download_dataset,
    estimate_size,
    fetch,
)

sys.path.insert(0, str(Path(__file__).parent))
from http_server import serve

ROOT = Path(__file__).resolve().parent.parent
BIG = np.random.default_rng(0).bytes(3 * 2**20 + 17)  # large enough to be resumed by another run
QUICK = dict(progress=False, backoff=0.01, timeout=5)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with serve({"/a.jpg": b"\xff\xd8a", "/b.jpg": b"\xff\xd8bb", "/big.bin": BIG}) as running:
        yield running


def remotes(server, *paths, **kwargs):
    return [Remote(f"{server.url}/{p}", p, **kwargs) for p in paths]


def get(server, path, root, **options):
    return fetch(remotes(server, path), root, **{**QUICK, **options})


def only(root):
    "Names of all files below `root`, hidden ones too, apart from info.json"
    return sorted(
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.is_file() and p.name != "info.json"
    )


def reason(report):
    assert len(report.done) == 0 and len(report.failed) == 1, report.rows
    return report.failed.reason[0]


# -- what is downloaded, and what is not


def test_files_report_and_info(server, tmp_path):
    report = fetch(
        remotes(server, "a.jpg", "b.jpg", "gone.jpg", "a.jpg"), tmp_path / "new" / "root", **QUICK
    )
    root = tmp_path / "new" / "root"
    assert only(root) == ["a.jpg", "b.jpg"] and (root / "a.jpg").read_bytes() == b"\xff\xd8a"
    assert sorted(report.done.path) == ["a.jpg", "b.jpg"] and report.bytes == 7
    assert report.failed[["path", "reason"]].values.tolist() == [["gone.jpg", "404 Not Found"]]
    assert report.failed.url[0] == server.url + "/gone.jpg"
    info = read_json(root / "info.json")
    assert info["files"]["b.jpg"] == {
        "url": server.url + "/b.jpg",
        "when": info["files"]["b.jpg"]["when"],
        "size": 4,
        "sha256": hashlib.sha256(b"\xff\xd8bb").hexdigest(),
        "changed": (root / "b.jpg").stat().st_mtime_ns,
    }
    assert (
        set(info["files"]) == {"a.jpg", "b.jpg"}
        and info["failed"]["gone.jpg"]["reason"] == "404 Not Found"
    )
    assert len(server.asked("/gone.jpg")) == 1, "what is gone is not asked for again"


def test_second_run_asks_only_for_what_is_missing(server, tmp_path):
    files = remotes(server, "a.jpg", "gone.jpg")
    fetch(files, tmp_path, **QUICK)
    server.log.clear()
    server.files["/gone.jpg"] = b"back"
    report = fetch(files, tmp_path, **QUICK)
    assert [a.path for a in server.log] == ["/gone.jpg"] and list(report.skipped.path) == ["a.jpg"]
    assert read_json(tmp_path / "info.json")["failed"] == {}
    assert len(fetch(files, tmp_path, overwrite=True, **QUICK).done) == 2


def test_wrong_size_on_disk_is_replaced(server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"half")
    (tmp_path / "b.jpg").write_bytes(b"mine")
    report = fetch(
        [*remotes(server, "a.jpg", size=3), *remotes(server, "b.jpg")], tmp_path, **QUICK
    )
    assert list(report.done.path) == ["a.jpg"] and (tmp_path / "a.jpg").read_bytes() == b"\xff\xd8a"
    assert (tmp_path / "b.jpg").read_bytes() == b"mine", (
        "without a known size, what is there counts"
    )


def test_what_the_user_has_changed_is_kept(server, tmp_path):
    "A label file is corrected by hand: the next download leaves it alone, and says so"
    files = [*remotes(server, "a.jpg", size=3), *remotes(server, "b.jpg")]
    fetch(files, tmp_path, **QUICK)
    for name, text in {"a.jpg": b"aha", "b.jpg": b"longer than before"}.items():
        (tmp_path / name).write_bytes(text)
    server.files["/b.jpg"] = b"a new version"
    with pytest.warns(UserWarning, match="a.jpg and 1 more: changed .* remove it, or .*overwrite"):
        report = fetch(files, tmp_path, **QUICK)
    assert set(report.skipped.reason) == {"changed since it was fetched, and kept"}
    assert (tmp_path / "a.jpg").read_bytes() == b"aha"
    assert (tmp_path / "b.jpg").read_bytes() == b"longer than before"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "a.jpg").unlink()
        assert list(fetch(files[:1], tmp_path, **QUICK).done.path) == ["a.jpg"]
        os.utime(tmp_path / "a.jpg", ns=(1, 1))  # touched, and the same bytes
        assert list(fetch(files[:1], tmp_path, **QUICK).skipped.reason) == ["already there"]
        assert len(fetch(files, tmp_path, overwrite=True, **QUICK).done) == 2
    assert (tmp_path / "b.jpg").read_bytes() == b"a new version"
    (tmp_path / "b.jpg").write_bytes(b"")
    assert list(fetch(files, tmp_path, **QUICK).done.path) == ["b.jpg"], "nothing is no correction"


def test_checksums(server, tmp_path):
    good, bad = hashlib.sha256(b"\xff\xd8a").hexdigest(), "0" * 64
    assert len(fetch(remotes(server, "a.jpg", sha256=good.upper()), tmp_path, **QUICK).done) == 1
    assert read_json(tmp_path / "info.json")["files"]["a.jpg"]["sha256"] == good
    assert len(fetch(remotes(server, "a.jpg", sha256=good), tmp_path, **QUICK).skipped) == 1
    text = reason(fetch(remotes(server, "b.jpg", sha256=bad), tmp_path, **QUICK))
    assert text.startswith("sha256 is ") and only(tmp_path) == ["a.jpg"]
    assert len(server.asked("/b.jpg")) == 2, "one more try, not five"
    # the publisher has replaced a file by one of the same size
    server.files["/a.jpg"] = b"\xff\xd8A"
    new = fetch(
        remotes(server, "a.jpg", sha256=hashlib.sha256(b"\xff\xd8A").hexdigest()), tmp_path, **QUICK
    )
    assert len(new.done) == 1 and (tmp_path / "a.jpg").read_bytes() == b"\xff\xd8A"


@pytest.mark.parametrize(
    "fault, words",
    [
        (dict(content_type="text/html; charset=utf-8"), "web page"),
        (dict(body=b"\n<!DOCTYPE html><title>Not found</title>"), "web page"),
        (dict(body=b""), "empty file"),
        (dict(body=b"", chunked=True), "empty file"),
        (dict(status=403), "403 Forbidden"),
        (dict(status=302, location="/elsewhere/gone.jpg"), "404 Not Found"),
        (dict(status=302, location="/a.jpg"), "TooManyRedirects"),
        (dict(status=503, retry_after=100000), "asks to come back in 100000 s"),
    ],
)
def test_answers_that_are_not_the_file(server, tmp_path, fault, words):
    server.fault("/a.jpg", **fault)
    assert words in reason(get(server, "a.jpg", tmp_path))
    assert only(tmp_path) == []


def test_redirects_are_followed_but_not_out_of_https(server, tmp_path, monkeypatch):
    server.fault("/a.jpg", status=302, location="/b.jpg")
    assert (
        len(get(server, "a.jpg", tmp_path).done) == 1
        and (tmp_path / "a.jpg").read_bytes() == b"\xff\xd8bb"
    )
    monkeypatch.setattr(download, "_is_safe", lambda url: url.endswith("a.jpg"))
    assert "redirected from https" in reason(get(server, "a.jpg", tmp_path, overwrite=True))


def test_announced_size_is_not_the_expected_one(server, tmp_path):
    server.fault(
        "/big.bin", pace=0.02
    )  # else all of it may be on its way before the answer is read
    text = reason(fetch(remotes(server, "big.bin", size=5), tmp_path, **QUICK))
    assert text == f"the server has {len(BIG):,} bytes where 5 are expected" and server.log[
        0
    ].sent < len(BIG)
    server.fault("/a.jpg", chunked=True)
    assert "3 bytes arrived where 5 are expected" in reason(
        fetch(remotes(server, "a.jpg", size=5), tmp_path, **QUICK)
    )
    assert only(tmp_path) == []


@pytest.mark.parametrize(
    "fault",
    [
        dict(chunked=True),
        dict(no_length=True),
        dict(etag=None),
        dict(etag='W/"1"'),
        dict(encoding="gzip", body=gzip.compress(BIG)),
    ],
)
def test_other_ways_to_send_a_file(server, tmp_path, fault):
    server.fault("/big.bin", **fault)
    assert len(get(server, "big.bin", tmp_path).done) == 1
    assert (tmp_path / "big.bin").read_bytes() == BIG and only(tmp_path) == ["big.bin"]


# -- what is tried again


@pytest.mark.parametrize("wait", [None, 1])
def test_busy_server(server, tmp_path, wait):
    server.fault("/a.jpg", status=503, retry_after=wait, times=2)
    assert len(get(server, "a.jpg", tmp_path).done) == 1
    times = [a.at for a in server.asked("/a.jpg")]
    assert len(times) == 3
    assert min(np.diff(times)) >= (wait or 0.005), "as long as the server says, or the back-off"


def test_a_server_that_stays_busy(server, tmp_path):
    server.fault("/a.jpg", status=503)
    assert reason(get(server, "a.jpg", tmp_path, retries=2)) == "503 Service Unavailable"
    assert len(server.asked()) == 3


def test_a_server_that_stops_answering_is_given_up(server, tmp_path):
    paths = [f"{i}.jpg" for i in range(200)]
    for p in paths[2:]:
        server.fault("/" + p, status=500)
    server.files |= {"/" + p: b"x" for p in paths}
    report = fetch(remotes(server, *paths), tmp_path, workers=2, retries=1, **QUICK)
    assert len(report.done) == 2 and set(report.failed.reason) == {"500 Internal Server Error"}
    assert len(server.asked()) < 20


def test_unreachable(tmp_path, monkeypatch):
    with serve() as server:
        url = server.url
    files = [Remote(f"{url}/{i}.jpg", f"{i}.jpg") for i in range(2000)]
    report = fetch(files, tmp_path, **QUICK, retries=2)
    name = url.removeprefix("http://")
    assert repr(report) == (
        "0 files downloaded (0 bytes), 0 were there, 2,000 failed: "
        f"cannot reach {name} (Connection refused) (2,000)"
    )

    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    report = fetch([Remote("https://mirror.invalid/a", "a")], tmp_path, **QUICK, retries=0)
    assert reason(report) == "cannot reach mirror.invalid (Name or service not known)"


@pytest.mark.parametrize(
    "fault",
    [
        dict(truncate=2_000_000),
        dict(truncate=2_000_000, chunked=True),
        dict(truncate=2_000_000, stall=9),
    ],
)
def test_a_body_that_breaks_off_is_gone_on_with(server, tmp_path, fault):
    server.fault("/big.bin", times=1, **fault)
    assert len(get(server, "big.bin", tmp_path, timeout=0.5).done) == 1
    first, second = server.log
    assert (tmp_path / "big.bin").read_bytes() == BIG and only(tmp_path) == ["big.bin"]
    assert second.status == 206 and second.sent < len(BIG)


def test_a_small_file_is_gone_on_with_in_the_same_run(server, tmp_path):
    server.files["/small"] = bytes(range(256)) * 4
    server.fault("/small", truncate=1000, times=1)
    get(server, "small", tmp_path)
    assert [(a.range, a.sent) for a in server.log] == [(None, 1000), ("bytes=1000-", 24)]
    assert (tmp_path / "small").read_bytes() == server.files["/small"]


def test_a_server_that_says_nothing(server, tmp_path):
    server.fault("/a.jpg", stall=30)
    text = reason(get(server, "a.jpg", tmp_path, timeout=0.2, retries=1))
    assert text.startswith("no answer from 127.0.0.1:") and text.endswith("in 0.2 s")


def test_a_body_in_drips_is_a_stall(server, tmp_path):
    server.fault("/a.jpg", drip=0.1, body=b"\xff\xd8" + b"x" * 1000, times=1)
    assert len(get(server, "a.jpg", tmp_path, timeout=0.4).done) == 1 and len(server.log) == 2
    assert (tmp_path / "a.jpg").read_bytes() == b"\xff\xd8a"


@pytest.mark.parametrize(
    "fault",
    [
        dict(ignore_range=True),
        dict(etag='"other"'),
        dict(etag='"other"', ignore_if_range=True),
        dict(wrong_range=True),
        dict(etag='"other"', ignore_if_range=True, body=BIG[:2_100_000]),
        dict(status=416),
        dict(etag=None, ignore_if_range=True, body=BIG[::-1]),
    ],
)
def test_a_range_that_is_not_the_rest_starts_over(server, tmp_path, fault):
    server.fault("/big.bin", truncate=2_000_000, times=1)
    server.fault("/big.bin", times=1, **fault)
    assert len(get(server, "big.bin", tmp_path).done) == 1
    body = fault.get("body", BIG)
    assert (tmp_path / "big.bin").read_bytes() in (body, BIG) and only(tmp_path) == ["big.bin"]
    assert server.log[1].range is not None


def test_without_a_version_there_is_no_range(server, tmp_path):
    server.fault("/big.bin", truncate=2_000_000, times=1, etag=None)
    get(server, "big.bin", tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == BIG and [a.range for a in server.log] == [
        None,
        None,
    ]


@pytest.mark.parametrize("age, resumed", [(120, True), (5, False), (-5, False)])
def test_a_date_tells_versions_apart_only_where_it_is_old(server, tmp_path, age, resumed):
    "A file may change twice in the second that a date names"
    server.fault("/big.bin", truncate=2_000_000, times=1, etag=None, age=age)
    server.fault("/big.bin", times=1, etag=None, age=age)
    get(server, "big.bin", tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == BIG
    assert [a.range for a in server.log] == [None, "bytes=2000000-" if resumed else None]


def test_another_weak_etag_is_another_version(server, tmp_path):
    "Both versions bear the same date"
    server.fault("/big.bin", truncate=2_000_000, times=1, etag='W/"1"', body=BIG[::-1])
    server.fault("/big.bin", times=1, etag='W/"2"')
    get(server, "big.bin", tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == BIG
    assert server.log[1].range == "bytes=2000000-"


def test_a_web_page_does_not_cost_what_there_is(server, tmp_path):
    server.fault("/big.bin", truncate=2_000_000, times=1)
    server.fault("/big.bin", content_type="text/html", ignore_range=True, times=1)
    assert "web page" in reason(get(server, "big.bin", tmp_path))
    assert only(tmp_path) == ["big.bin.part", "big.bin.part-about"]
    report = get(server, "big.bin", tmp_path)
    assert (
        report.done.reason[0] == "resumed at 2,000,000 bytes"
        and report.bytes == len(BIG) - 2_000_000
    )
    assert (tmp_path / "big.bin").read_bytes() == BIG and only(tmp_path) == ["big.bin"]


@pytest.mark.parametrize(
    "about",
    [
        None,
        "{",
        "[]",
        '{"url": 1}',
        '{"url": "http://other/big.bin", "etag": "x", "validator": "x", "total": 9}',
    ],
)
def test_a_part_of_unknown_origin_is_not_used(server, tmp_path, about):
    (tmp_path / "big.bin.part").write_bytes(b"who knows")
    if about:
        (tmp_path / "big.bin.part-about").write_text(about)
    assert len(get(server, "big.bin", tmp_path).done) == 1
    assert (
        (tmp_path / "big.bin").read_bytes() == BIG
        and server.log[0].range is None
        and only(tmp_path) == ["big.bin"]
    )


OLD, NEW = BIG[:1_300_000], BIG[::-1][:1_200_000]
faults = st.fixed_dictionaries(
    {},
    optional={
        "truncate": st.integers(0, 1_300_000),
        "status": st.sampled_from([500, 503, 429, 416]),
        "ignore_range": st.booleans(),
        "ignore_if_range": st.booleans(),
        "wrong_range": st.booleans(),
        "chunked": st.booleans(),
        "body": st.sampled_from([OLD, NEW]),
        "etag": st.sampled_from([None, 'W/"w"']),
        "age": st.sampled_from([0, 30]),
    },
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(faults, max_size=5), st.integers(0, 3))
# the first try leaves an ETag and no byte, the second some bytes of another version
@example([{"truncate": 0}, {"body": OLD, "etag": None, "truncate": 1}], 1)
@example([{"truncate": 0}, {"body": OLD, "etag": 'W/"w"', "truncate": 1_200_000}], 1)
# both versions bear the same date
@example([{"body": OLD, "etag": 'W/"w"', "truncate": 1}], 0)
def test_whatever_goes_wrong_a_file_is_whole_or_absent(plan, retries):
    with serve({"/f": NEW}) as server, tempfile.TemporaryDirectory() as root:
        for fault in plan:
            server.fault("/f", times=1, **fault)
        for _ in range(3):
            report = fetch(remotes(server, "f"), root, progress=False, backoff=0, retries=retries)
            there = (Path(root) / "f").exists()
            assert there == (len(report.failed) == 0)
            if there:
                break
        if there:
            assert (Path(root) / "f").read_bytes() in (OLD, NEW) and only(Path(root)) == ["f"]
        assert set(read_json(Path(root) / "info.json")["files"]) == ({"f"} if there else set())


# -- names, space, and info.json


def test_names_from_outside_stay_inside(server, tmp_path):
    for path in ("../x", "/etc/x", "a/../../x", "", ".", "info.json", "a/../info.json"):
        with pytest.raises(UserError, match="leads out of the folder|cannot be the name"):
            fetch([Remote(server.url + "/a.jpg", path)], tmp_path / "root", **QUICK)
    assert server.log == [] and list(tmp_path.iterdir()) in ([], [tmp_path / "root"])
    with pytest.raises(UserError, match="begins with https://"):
        Remote("file:///etc/passwd", "x")
    with pytest.raises(UserError, match="two addresses"):
        fetch([Remote(server.url + "/a", "x"), Remote(server.url + "/b", "./x")], tmp_path, **QUICK)


def test_files_that_cannot_be_written_fail_alone(server, tmp_path):
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "file").write_text("")
    files = [
        *remotes(server, "a.jpg", "b.jpg"),
        Remote(server.url + "/b.jpg", "file/b.jpg"),
        Remote(server.url + "/b.jpg", "n" * 300),
    ]
    report = fetch(files, tmp_path, **QUICK)
    assert list(report.done.path) == ["b.jpg"]
    said = dict(zip(report.failed.path, report.failed.reason))
    assert said["a.jpg"] == f"{tmp_path / 'a.jpg'} is a folder; move it away"
    assert str(tmp_path / "file") in said["file/b.jpg"]
    assert said["n" * 300].startswith("File name too long")
    assert only(tmp_path) == ["b.jpg", "file"]


def test_no_room(server, tmp_path, monkeypatch):
    files = remotes(server, "big.bin", size=len(BIG))
    with pytest.raises(
        UserError, match="1 file: 3.1 MB are needed in .* make room or choose another folder"
    ):
        fetch(files, tmp_path, reserve=10**15, **QUICK)
    assert server.log == []

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    fetch(remotes(server, "a.jpg"), tmp_path, **QUICK)
    monkeypatch.setattr(download, "_finish", full)
    with pytest.raises(UserError, match="No space left on device.*make room and run this again"):
        fetch(remotes(server, "b.jpg", *(f"{i}.jpg" for i in range(100))), tmp_path, **QUICK)
    assert only(tmp_path) == ["a.jpg"] and set(read_json(tmp_path / "info.json")["files"]) == {
        "a.jpg"
    }


def test_info_of_others_and_broken_info(server, tmp_path):
    (tmp_path / "info.json").write_text('{"name": "somebody else\'s"}')
    fetch(remotes(server, "a.jpg"), tmp_path, **QUICK)
    assert read_json(tmp_path / "info.json") == {"name": "somebody else's"}
    assert set(read_json(tmp_path / "info.natural_backdoors.json")["files"]) == {"a.jpg"}
    (tmp_path / "info.json").write_text('{"made_by": "natural_ba')
    with pytest.warns(UserWarning, match="made anew"):
        fetch(remotes(server, "a.jpg", "b.jpg"), tmp_path, **QUICK)
    assert set(read_json(tmp_path / "info.json")["files"]) == {"a.jpg", "b.jpg"}, (
        "also what was there before"
    )


def test_file_system_without_locks(server, tmp_path, monkeypatch):
    import fcntl

    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    server.fault("/big.bin", truncate=2_000_000, times=1)
    both = [threading.Thread(target=get, args=(server, "big.bin", tmp_path)) for _ in range(2)]
    for t in both:
        t.start()
    for t in both:
        t.join()
    assert (tmp_path / "big.bin").read_bytes() == BIG and only(tmp_path) == ["big.bin"]
    server.fault("/b.jpg", status=500)
    get(server, "b.jpg", tmp_path, retries=1)
    assert only(tmp_path) == ["big.bin"]


# -- many files, other processes


def test_a_thousand_small_files(tmp_path, capsys):
    names = [f"{i % 7}/{i:05}.jpg" for i in range(1000)]
    with serve({"/" + n: n.encode() * 40 for n in names if not n.endswith("9.jpg")}) as server:
        report = fetch(remotes(server, *names), tmp_path, **QUICK)
        assert len(report.done) == 900 and len(report.failed) == 100 and len(server.log) == 1000
        again = fetch(remotes(server, *names), tmp_path, **QUICK)
    assert len(again.skipped) == 900
    assert all((tmp_path / n).read_bytes() == n.encode() * 40 for n in report.done.path)
    assert len(read_json(tmp_path / "info.json")["files"]) == 900
    with capsys.disabled():
        rate = len(names) / report.seconds
        print(
            f"\n  {len(names)} small files, server and client in one process: {rate:,.0f} files/s"
        )


def test_many_at_once(server, tmp_path):
    all_here, find = threading.Barrier(8), server.find

    def together(path):
        all_here.wait(timeout=20)
        return find(path)

    server.find = together
    server.files |= {f"/{i}": b"x" for i in range(16)}
    assert (
        len(fetch(remotes(server, *map(str, range(16))), tmp_path, workers=8, **QUICK).done) == 16
    )


PROGRAM = """
import sys
from natural_backdoors.data.download import Remote, fetch
url, root, *paths = sys.argv[1:]
print("begin", flush=True)
print(fetch([Remote(f"{url}/{p}", p) for p in paths], root, backoff=0.05))
"""


def start(server, root, *paths):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, str(root), *paths],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_and_resumed(server, tmp_path, how):
    server.fault("/big.bin", pace=0.15, times=1)
    process = start(server, tmp_path, "a.jpg", "big.bin")
    until(lambda: server.asked("/big.bin") and server.asked("/big.bin")[0].sent > 1_500_000)
    until(lambda: (tmp_path / "a.jpg").exists())
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert process.returncode != 0 and ("KeyboardInterrupt" in err) == (how == signal.SIGINT)
    assert only(tmp_path) == ["a.jpg", "big.bin.part", "big.bin.part-about"], (
        "nothing half under its final name"
    )
    if how == signal.SIGINT:
        assert set(read_json(tmp_path / "info.json")["files"]) == {"a.jpg"}
    report = fetch(remotes(server, "a.jpg", "big.bin"), tmp_path, **QUICK)
    assert list(report.done.path) == ["big.bin"] and "resumed at" in report.done.reason[0]
    assert (tmp_path / "big.bin").read_bytes() == BIG and only(tmp_path) == ["a.jpg", "big.bin"]
    again = server.asked("/big.bin")[1]
    assert again.status == 206 and again.sent < len(BIG) - 1_000_000, (
        "only the rest is asked for again"
    )
    assert set(read_json(tmp_path / "info.json")["files"]) == {"a.jpg", "big.bin"}


def test_stopped_before_the_last_step(server, tmp_path):
    "All bytes are there, the file has not got its name yet"
    server.fault("/big.bin", truncate=2_000_000)
    get(server, "big.bin", tmp_path, retries=0)
    with open(tmp_path / "big.bin.part", "ab") as f:
        f.write(BIG[2_000_000:])
    server.log.clear()
    assert len(get(server, "big.bin", tmp_path).done) == 1 and server.log == []
    assert (tmp_path / "big.bin").read_bytes() == BIG


def test_two_processes_at_once(server, tmp_path):
    paths = [f"{i}.jpg" for i in range(60)]
    server.files |= {"/" + p: p.encode() * 1000 for p in paths}
    for p in paths:
        server.fault("/" + p, stall=0.03)
    server.fault("/big.bin", pace=0.01)
    both = [start(server, tmp_path, "big.bin", *order) for order in (paths, paths[::-1])]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "0 failed" in out, err
    assert all((tmp_path / p).read_bytes() == server.files["/" + p] for p in ("big.bin", *paths))
    assert only(tmp_path) == sorted(["big.bin", *paths]), "no part is left"
    assert len(server.log) == 61, "each file is downloaded by one of them"
    assert set(read_json(tmp_path / "info.json")["files"]) == {"big.bin", *paths}


# -- sizes


def test_estimate(server):
    files = remotes(server, *(f"{i}.jpg" for i in range(100)))
    server.files |= {f"/{i}.jpg": b"x" * 10 * (1 + i % 2) for i in range(50)}
    assert estimate_size(files, sample=100) == 750 and {a.method for a in server.log} == {"HEAD"}
    server.log.clear()
    assert (
        estimate_size([*files, *remotes(server, "big.bin", size=10**9)], sample=7, seed=1) >= 10**9
    )
    assert len(server.log) == 7
    assert estimate_size(files, seed=2) == estimate_size(files, seed=2)
    server.fault("/a.jpg", no_head=True)
    assert estimate_size(remotes(server, "a.jpg")) == 3
    server.fault("/b.jpg", status=500)
    assert estimate_size(remotes(server, "b.jpg")) is None
    assert estimate_size([]) == 0


# -- datasets


class Zoo(Dataset):
    name, homepage = "zoo", "https://example.org/zoo"

    def __init__(self, root, url):
        self.root, self.url = Path(root), url

    def rows(self):
        return pd.read_csv(self.root / "labels" / "labels.csv", dtype=str)

    def src_path(self, image):
        return self.root / f"{image}.jpg"

    def annotation_files(self):
        packed = Remote(f"{self.url}/zoo.tar.gz", "labels/zoo.tar.gz", archive=True)
        return [packed, Remote(f"{self.url}/names", "names")]

    def image_file(self, image):
        split = "test" if image.startswith("t") else "train"
        return Remote(f"{self.url}/{split}/{image}.jpg", f"{split}/{image}.jpg")


@pytest.fixture
def zoo(tmp_path):
    rows = (
        [(f"{i:03}", "cat", "train") for i in range(20)]
        + [(f"{i:03}", "dog", "train") for i in range(15, 40)]
        + [(f"t{i}", "cat", "test") for i in range(3)]
        + [("100", "owl", "train")]
    )
    text = pd.DataFrame(rows, columns=["image", "label", "split"]).to_csv(index=False).encode()
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as t:
        m = tarfile.TarInfo("labels.csv")
        m.size = len(text)
        t.addfile(m, io.BytesIO(text))
    images = {f"/{s}/{i}.jpg": f"{i}".encode() for i, _, s in rows if i != "038"}
    with serve({"/zoo.tar.gz": memory.getvalue(), "/names": b"x", **images}) as server:
        made = Zoo(tmp_path / "zoo", server.url)
        made.server = server
        yield made


def test_annotations_only(zoo, capsys):
    report = download_dataset(zoo, **QUICK)
    assert (
        only(zoo.root) == ["labels/labels.csv", "labels/zoo.tar.gz", "names"]
        and len(report.done) == 2
    )
    assert 'classes="all" downloads every one' in capsys.readouterr().out
    assert len(download_dataset(zoo, **QUICK).skipped) == 2


def test_images_of_classes(zoo, capsys):
    report = download_dataset(zoo, classes=["cat", "owl"], **QUICK)
    out = capsys.readouterr().out
    assert "21 images: downloading 21 files, about " in out and str(zoo.root) in out
    assert sorted(p.name for p in (zoo.root / "train").iterdir()) == [
        f"{i:03}.jpg" for i in range(20)
    ] + ["100.jpg"]
    assert len(report.failed) == 0 and not (zoo.root / "test").exists()
    download_dataset(zoo, classes="dog", **QUICK)
    out = capsys.readouterr().out
    assert (
        "25 images (5 of the files are there): downloading 20 files" in out
        and "404 Not Found (1)" in out
    )
    download_dataset(zoo, classes=["cat"], split="test", **QUICK)
    assert sorted(p.name for p in (zoo.root / "test").iterdir()) == ["t0.jpg", "t1.jpg", "t2.jpg"]


def test_images_by_name_and_all(zoo, capsys):
    download_dataset(
        zoo, images=np.array(["t1", "007", "t1"], dtype=object), annotations=False, **QUICK
    )
    assert only(zoo.root) == ["test/t1.jpg", "train/007.jpg"]
    report = download_dataset(zoo, classes="all", **QUICK)
    assert (
        len([p for p in only(zoo.root) if p.startswith("train/")]) == 40 and len(report.failed) == 1
    )


def test_drawing_a_few_of_each_class(zoo, capsys):
    download_dataset(zoo, **QUICK)
    few = choose_images(zoo, ["cat", "dog"], 4, seed=3)
    assert few == choose_images(zoo, ["dog", 0, "cat"], 4, seed=3)
    assert few != choose_images(zoo, ["cat", "dog"], 4, seed=4)
    labels = zoo.label_matrix("train")
    rows = pd.Index(labels.images).get_indexer(few)
    assert (labels.matrix[rows].sum(axis=0)[:2] >= 4).all() and 4 <= len(few) <= 8
    # the draw of a class does not depend on which others are asked for
    assert set(choose_images(zoo, ["cat"], 4, seed=3)) <= set(few)
    assert choose_images(zoo, "all", 1000) == choose_images(zoo, "all") == sorted(labels.images)
    download_dataset(zoo, classes=["cat", "dog"], max_images_per_class=np.int64(4), seed=3, **QUICK)
    assert {p.stem for p in (zoo.root / "train").iterdir()} | {"038"} == set(few) | {"038"}
    for bad in (0, -1, 2.5, "3"):
        with pytest.raises(UserError, match="max_images_per_class is a whole number"):
            choose_images(zoo, "all", bad)


def test_labels_are_read_anew_after_new_annotation_files(zoo, capsys):
    (zoo.root / "labels").mkdir(parents=True)
    (zoo.root / "labels" / "labels.csv").write_text("image,label\n1,old\n")
    assert zoo.labels == ["old"]
    download_dataset(zoo, **QUICK)
    assert zoo.labels == ["cat", "dog", "owl"]


@pytest.mark.parametrize("archive_is_there", [True, False])
def test_a_corrected_label_file_is_kept(zoo, capsys, archive_is_there):
    download_dataset(zoo, **QUICK)
    labels = zoo.root / "labels" / "labels.csv"
    labels.write_text("image,label\n1,corrected\n")
    if not archive_is_there:
        (zoo.root / "labels" / "zoo.tar.gz").unlink()
    with pytest.warns(UserWarning, match="labels.csv is not as in .*; to extract a file .* remove"):
        download_dataset(zoo, **QUICK)
    assert "corrected" in labels.read_text()
    labels.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        download_dataset(zoo, **QUICK)
    assert "owl" in labels.read_text()


def test_missing_annotation_files_end_it(zoo, capsys):
    del zoo.server.files["/names"]
    with pytest.raises(
        UserError, match="1 of 2 annotation files could not be .* .names from .*: 404 Not Found.; "
    ):
        download_dataset(zoo, classes=["cat"], **QUICK)
    assert not (zoo.root / "train").exists()
    with serve() as away:
        zoo.url = away.url
    with pytest.raises(
        UserError, match="cannot reach 127.0.0.1:.*check the connection and run this again"
    ):
        download_dataset(zoo, classes=["cat"], **{**QUICK, "overwrite": True, "retries": 0})


def test_datasets_without_downloads(zoo, capsys):
    for root in ({"root": "/tmp"}, {}):
        with pytest.raises(
            UserError, match="'x' offers no files for download; see https://h for how to get it"
        ):
            download_dataset(SimpleNamespace(name="x", homepage="https://h", **root))
    zoo.image_file = lambda image: None
    with pytest.raises(UserError, match="'zoo' offers no files"):
        download_dataset(zoo, images=["1"], annotations=False)
    with pytest.raises(UserError, match="not both"):
        download_dataset(zoo, classes=["cat"], images=["1"])


def test_report_adds_up():
    a, b = (
        Report([("done", "x", "u", 1, "")], 1, 1.0),
        Report([("failed", "y", "u", None, "why")], 2, 1.0),
    )
    assert repr(a + b) == "1 file downloaded (3 bytes), 0 were there, 1 failed: why (1)"


# -- archives


def tar(path, members, mode="w"):
    "A tar file of (name, bytes or None, attributes)"
    with tarfile.open(path, mode) as t:
        for name, body, attributes in members:
            m = tarfile.TarInfo(name)
            m.size = len(body or b"")
            for k, v in attributes.items():
                setattr(m, k, v)
            t.addfile(m, io.BytesIO(body or b""))
    return path


parts = st.sampled_from(["..", ".", "", "a", "b", "\\", "..\\..", "C:", "~", "/", "é", "x" * 60])
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
    ]
)


@pytest.mark.parametrize("own_filter", [True, False])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(members=st.lists(st.tuples(names, kinds, names), min_size=1, max_size=5))
def test_no_archive_writes_outside(members, own_filter, monkeypatch):
    "With Python's own filter and without (Debian's 3.11.2 has none)"
    if not own_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with tempfile.TemporaryDirectory() as d:
        outer, folder = Path(d), Path(d) / "one" / "two"
        (outer / "secret").write_text("secret")
        made = [
            (n, b"new" if k == tarfile.REGTYPE else None, dict(type=k, linkname=l))
            for n, k, l in members
        ]
        tar(outer / "x.tar", made)
        try:
            extract(outer / "x.tar", folder, progress=False, reserve=0)
        except UserError as e:
            assert str(outer / "x.tar") in str(e) and "\n" not in str(e)
        written = [p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()]
        assert all(p.is_file() and not p.is_symlink() and p.read_bytes() == b"new" for p in written)
        assert sorted(p.name for p in outer.iterdir()) == ["one", "secret", "x.tar"]
        assert [p.name for p in (outer / "one").iterdir()] == ["two"] and (
            outer / "secret"
        ).read_text() == "secret"


def test_zip_links_and_bad_zips(tmp_path):
    def link(target):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
            z.writestr("a/real.txt", "hello")
            m = zipfile.ZipInfo("link.txt")
            m.create_system, m.external_attr = 3, 0o120777 << 16
            z.writestr(m, target)
        return tmp_path / "x.zip"

    assert extract(link("a/real.txt"), tmp_path / "good", progress=False) == [
        "a/real.txt",
        "link.txt",
    ]
    assert (tmp_path / "good" / "link.txt").read_text() == "hello" and not (
        tmp_path / "good" / "link.txt"
    ).is_symlink()
    for target in ("/etc/passwd", "../secret", "a"):
        with pytest.raises(UserError, match="nothing was extracted"):
            extract(link(target), tmp_path / "bad", progress=False)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.txt", "a" * 1000)
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    raw[40] ^= 255
    (tmp_path / "flipped.zip").write_bytes(raw)
    with pytest.raises(UserError, match="damaged or not complete"):
        extract(tmp_path / "flipped.zip", tmp_path / "bad", progress=False)
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(raw)
    with pytest.raises(UserError, match="is encrypted"):
        extract(tmp_path / "locked.zip", tmp_path / "bad", progress=False)
    assert only(tmp_path / "bad") == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_truncated_and_damaged_tars(tmp_path, mode):
    whole = tar(
        tmp_path / "x.tar",
        [(f"{i}.bin", BIG[i * 1000 : i * 1000 + 30_000], {}) for i in range(3)],
        mode,
    )
    assert extract(whole, tmp_path / "good", progress=False) == ["0.bin", "1.bin", "2.bin"]
    data = whole.read_bytes()
    for name, bad in (("cut", data[: len(data) * 2 // 3]), ("start", data[:30]), ("empty", b"")):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(UserError, match=f"{name} is damaged or not complete .*get it again"):
            extract(tmp_path / name, tmp_path / "bad", progress=False)
    if mode == "w":
        broken = bytearray(data)
        broken[512 + 30_208] ^= 255  # the header of the second member
        (tmp_path / "header").write_bytes(broken)
        with pytest.raises(UserError, match="bad header"):
            extract(tmp_path / "header", tmp_path / "bad", progress=False)
    assert only(tmp_path / "bad") == []


def test_bombs(tmp_path):
    m = tarfile.TarInfo("big")
    m.size = 10**15
    (tmp_path / "bomb.tar").write_bytes(m.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(UserError, match="bomb.tar, unpacked: 1000 TB are needed"):
        extract(tmp_path / "bomb.tar", tmp_path / "out", progress=False)
    # many links to one large file cost as much as they say
    size = archives.shutil.disk_usage(tmp_path).free // 50 + 2**20
    tar(
        tmp_path / "links.tar",
        [(f"{i}", None, dict(type=tarfile.LNKTYPE, linkname="real")) for i in range(60)],
    )
    with open(tmp_path / "links.tar", "r+b") as f:
        f.seek(60 * 512)
        real = tarfile.TarInfo("real")
        real.size = size
        f.write(real.tobuf(tarfile.GNU_FORMAT))
        f.truncate(61 * 512 + (size + 511) // 512 * 512 + 1024)
    with pytest.raises(UserError, match="unpacked: .* are needed"):
        extract(tmp_path / "links.tar", tmp_path / "out", progress=False)
    assert only(tmp_path / "out") == []


def test_extraction_goes_on_where_it_was(tmp_path, monkeypatch):
    archive = tar(
        tmp_path / "x.tar.gz", [(f"d/{i}.txt", f"{i}".encode(), {}) for i in range(10)], "w:gz"
    )
    opened, real = [], archives._Tar.open

    def counting(self, member):
        opened.append(member.name)
        if len(opened) == 6:
            raise KeyboardInterrupt
        return real(self, member)

    monkeypatch.setattr(archives._Tar, "open", counting)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "d").exists(), "nothing reads half an archive"
    assert extract(archive, tmp_path / "out", progress=False) == [f"d/{i}.txt" for i in range(10)]
    assert opened[6:] == [f"d/{i}.txt" for i in range(5, 10)], "the first five were kept"
    assert only(tmp_path / "out") == [f"d/{i}.txt" for i in range(10)]
    # nothing is written twice; a file that is not as in the archive is
    (tmp_path / "out" / "d" / "3.txt").write_text("changed")
    extract(archive, tmp_path / "out", progress=False)
    assert opened[11:] == ["d/3.txt"] and (tmp_path / "out" / "d" / "3.txt").read_text() == "3"
    # what another state of the archive has left is cleared away
    (tmp_path / "out" / ".x.tar.gz.1-2.extracting").mkdir()
    (tmp_path / "out" / "d" / "4.txt").unlink()
    extract(archive, tmp_path / "out", progress=False)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["d"]


def test_three_extractions_at_once(tmp_path):
    archive = tar(tmp_path / "x.tar", [(f"{i}.txt", b"x" * 1000, {}) for i in range(200)])
    options = dict(progress=False)
    all_three = [
        threading.Thread(target=extract, args=(archive, tmp_path / "out"), kwargs=options)
        for _ in range(3)
    ]
    for t in all_three:
        t.start()
    for t in all_three:
        t.join()
    assert only(tmp_path / "out") == sorted(f"{i}.txt" for i in range(200))


# -- servers that do not mean well


@contextmanager
def saying(*pieces, forever=b"", pause=0.0):
    "A server that answers every request with `pieces`, and goes on with `forever`"
    listener, open_ones = socket.create_server(("127.0.0.1", 0)), []
    # after such an answer the next request may come over the same connection: who closes it then
    # may be too late, and whoever asks finds it reset
    is_whole = any(b"Content-Length: 0\r\n" in piece for piece in pieces)

    def answer(connection):
        with connection, suppress(OSError):
            while connection.recv(2**16):
                for piece in pieces:
                    connection.sendall(piece)
                while forever:
                    connection.sendall(forever)
                    time.sleep(pause)
                if not is_whole:
                    return

    def listen():
        while True:
            try:
                open_ones.append(listener.accept()[0])
            except OSError:
                return
            threading.Thread(target=answer, args=(open_ones[-1],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            connection.close()


OK = b"HTTP/1.1 200 OK\r\n"
FULL = b"x" * 300_000
ZEROS = gzip.compress(bytes(2**26), 1)
ANSWERS = {
    "a body longer than its length": (
        dict(pieces=[OK + b"Content-Length: 1000\r\n\r\n" + FULL]),
        "the server announces 1,000 bytes and sends more",
    ),
    "a length that is a word": (
        dict(pieces=[OK + b"Content-Length: many\r\n\r\n" + FULL]),
        "the server announces a length that is no number: 'many'",
    ),
    "a length that is a power": (
        dict(pieces=[OK + b"Content-Length: \xb2\r\n\r\n" + FULL]),
        "the server announces a length that is no number: '²'",
    ),
    "a length below zero": (
        dict(pieces=[OK + b"Content-Length: -5\r\n\r\n" + FULL]),
        "the server announces a length that is no number: '-5'",
    ),
    "lengths that differ": (
        dict(pieces=[OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + FULL]),
        "Content-Length contained multiple unmatching values",
    ),
    "a body without an end": (
        dict(pieces=[OK + b"\r\n"], forever=FULL),
        "more than 5,000,000 bytes arrive, which is all that the file may have",
    ),
    "chunks without an end": (
        dict(
            pieces=[OK + b"Transfer-Encoding: chunked\r\n\r\n"],
            forever=b"%x\r\n%b\r\n" % (len(FULL), FULL),
        ),
        "more than 5,000,000 bytes arrive",
    ),
    "headers without an end": (dict(pieces=[OK], forever=b"X: y\r\n"), "got more than 100 headers"),
    "one header without an end": (dict(pieces=[OK + b"X: "], forever=FULL), "got more than 65536"),
    "other answers without an end": (
        dict(forever=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "more than 256 kB of headers or redirects",
    ),
    "a redirect with a body without an end": (
        dict(pieces=[b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"], forever=FULL),
        "more than 256 kB of headers or redirects",
    ),
    "a head in drips": (dict(pieces=[OK], forever=b"x", pause=0.02), "no end of the headers in"),
    "a body in drips": (dict(pieces=[OK + b"\r\n"], forever=b"x", pause=0.02), "stalled: "),
    "a size of a chunk in drips": (
        dict(pieces=[OK + b"Transfer-Encoding: chunked\r\n\r\n"], forever=b"0", pause=0.02),
        "stalled: ",
    ),
    "what unfolds to more": (
        dict(
            pieces=[
                OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZEROS) + ZEROS
            ]
        ),
        "more than 5,000,000 bytes arrive",
    ),
    "what is folded otherwise": (
        dict(pieces=[OK + b"Content-Encoding: br\r\n\r\n" + FULL]),
        "the body is encoded as 'br', without being asked",
    ),
    "folded twice": (
        dict(pieces=[OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + FULL]),
        "the body is encoded as 'gzip, gzip'",
    ),
    "what is not folded": (
        dict(pieces=[OK + b"Content-Encoding: gzip\r\n\r\n" + FULL]),
        "broken off (Error -3 while decompressing data",
    ),
    "what is folded and cut off": (
        dict(pieces=[OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc" * 99)[:-9]]),
        "broken off (the compressed body is cut off)",
    ),
    "a pause that is a power": (
        dict(pieces=[b"HTTP/1.1 503 Busy\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n"]),
        "503 Busy",
    ),
    "a pause of digits": (
        dict(
            pieces=[
                b"HTTP/1.1 503 Busy\r\nRetry-After: "
                + b"9" * 5000
                + b"\r\nContent-Length: 0\r\n\r\n"
            ]
        ),
        "503 Busy; the server asks to come back in",
    ),
    "a reason that rewrites the terminal": (
        dict(pieces=[b"HTTP/1.1 404 \x1b[2J\x07gone\x9b\r\nContent-Length: 0\r\n\r\n"]),
        "404 [2J gone",
    ),
    "a redirect to no address": (
        dict(pieces=[b"HTTP/1.1 302 F\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n"]),
        "sends an answer that cannot be read",
    ),
    "a redirect to no port": (
        dict(pieces=[b"HTTP/1.1 302 F\r\nLocation: http://a:99999/\r\nContent-Length: 0\r\n\r\n"]),
        "",
    ),
    "no HTTP": (dict(pieces=[b"\x00\xff" * 100]), "cannot reach"),
    "a status that is no number": (dict(pieces=[b"HTTP/1.1 two OK\r\n\r\n"]), "cannot reach"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_no_answer_is_taken_for_a_file_that_is_none(tmp_path, what):
    how, said = ANSWERS[what]
    how = dict(how)
    pace = 0.4 if "drips" in what else 10
    limits = dict(retries=1, timeout=pace, backoff=0, least_rate=1000, total_time=30)
    with saying(*how.pop("pieces", ()), **how) as url:
        report = fetch([Remote(url, "f")], tmp_path, progress=False, largest=5_000_000, **limits)
    assert said in reason(report) and reason(report).isprintable()
    assert only(tmp_path) == [] and report.bytes <= 2 * 5_500_000


def test_a_known_size_is_a_limit(tmp_path):
    "300,000 bytes are expected, and the server sends without an end"
    with saying(OK + b"\r\n", forever=FULL) as url:
        report = fetch([Remote(url, "f", size=300_000)], tmp_path, **QUICK)
    assert reason(report).startswith("more than 300,000 bytes arrive")
    assert report.bytes <= 2 * 300_000 and only(tmp_path) == []
    with saying(OK + b"Content-Length: 300000\r\n\r\n" + FULL) as url:
        assert len(fetch([Remote(url, "f", size=300_000)], tmp_path, **QUICK).done) == 1


def test_time_and_rate_can_be_set(tmp_path):
    drips = dict(forever=b"x" * 50, pause=0.02)
    with saying(OK + b"\r\n", **drips) as url:
        options = {**QUICK, "retries": 0, "timeout": 0.3}
        slow = fetch([Remote(url, "f")], tmp_path, least_rate=10**6, **options)
        late = fetch([Remote(url, "f")], tmp_path, least_rate=0, total_time=0.5, **options)
    assert reason(slow).startswith("stalled: ") and reason(late) == "not complete in 0.5 s"
    with pytest.raises(UserError, match="total_time is a number"):
        fetch([], tmp_path, total_time=0)
    with pytest.raises(UserError, match="least_rate is a number"):
        fetch([], tmp_path, least_rate="fast")


def test_a_file_of_unknown_size_leaves_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_LOOK", 2**20)
    real = download.shutil.disk_usage(tmp_path)
    room = real.free
    looked = []

    def filling(path):
        looked.append(path)
        return SimpleNamespace(free=room if len(looked) < 3 else 0)

    monkeypatch.setattr(download.shutil, "disk_usage", filling)
    with saying(OK + b"\r\n", forever=FULL) as url, pytest.raises(UserError, match="make room"):
        fetch([Remote(url, "f")], tmp_path, **QUICK)
    assert only(tmp_path) == []


def test_sizes_that_are_asked_for(tmp_path):
    for head, size in (
        (b"200 OK\r\nContent-Length: 12", 12),
        (b"200 OK\r\nContent-Length: \xb2", None),
        (b"200 OK\r\nContent-Length: " + b"9" * 5000, None),
        (b"302 F\r\nLocation: http://[::1", None),
    ):
        with saying(b"HTTP/1.1 " + head + b"\r\n\r\n") as url:
            assert estimate_size([Remote(url, "f")], timeout=1) == size
    with saying(forever=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000) as url:
        assert estimate_size([Remote(url, "f")], timeout=1) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a:port/",
        "http://a:99999/",
        "http://a b/c",
        "http://:80/",
        "http://a/\n",
    ],
)
def test_malformed_addresses(url):
    with pytest.raises(UserError, match="is not a whole address"):
        Remote(url, "f")


@pytest.mark.parametrize("name", ["a.jpg", "a.jpg.part", "a.jpg.part-about"])
@pytest.mark.parametrize("kind", ["folder", "fifo", "loop", "link out"])
def test_what_is_no_plain_file_is_in_the_way(server, tmp_path, name, kind):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    out.write_bytes(b"not ours")
    if kind == "folder":
        (root / name).mkdir()
    elif kind == "fifo":
        os.mkfifo(root / name)
    else:
        (root / name).symlink_to(out if kind == "link out" else root / name)
    report = get(server, "a.jpg", root)
    assert len(report.done) + len(report.failed) + len(report.skipped) == 1
    assert all(str(root) in said for said in report.failed.reason)
    assert out.read_bytes() == b"not ours"
    assert not len(report.done) or (root / "a.jpg").read_bytes() == b"\xff\xd8a"


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_info_that_is_no_file(server, tmp_path, kind):
    make = os.mkdir if kind == "folder" else os.mkfifo
    make(tmp_path / "info.json")
    assert len(get(server, "a.jpg", tmp_path).done) == 1
    assert set(read_json(tmp_path / "info.natural_backdoors.json")["files"]) == {"a.jpg"}
    (tmp_path / "info.natural_backdoors.json").unlink()
    make(tmp_path / "info.natural_backdoors.json")
    with pytest.raises(UserError, match="is not a file; move it away"):
        get(server, "b.jpg", tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb\ud800"])
def test_names_that_no_file_can_have(server, tmp_path, name):
    with pytest.raises(UserError, match="the file name|cannot be the name of a file"):
        fetch([Remote(server.url + "/a.jpg", name)], tmp_path, **QUICK)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["a/" * 5000 + "b", "a" * 256, "a" * 255 + "/" + "b" * 70_000])
def test_archives_with_paths_that_no_folder_can_hold(tmp_path, kind, name):
    if kind == "zip" and len(name) > 65_535:
        pytest.skip("a zip file cannot hold such a name")
    path = tmp_path / f"deep.{kind}"
    if kind == "tar":
        tar(path, [("first", b"x", {}), (name, b"x", {})])
    else:
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("first", "x")
            z.writestr(name, "x")
    with pytest.raises(UserError, match="which no folder can hold; nothing was extracted"):
        extract(path, tmp_path / "out", progress=False)
    assert only(tmp_path / "out") == []
    with pytest.raises(UserError, match="is a folder, and no archive"):
        extract(tmp_path, tmp_path / "out", progress=False)
    os.mkfifo(tmp_path / "fifo.tar")
    with pytest.raises(UserError, match="is not a plain file"):
        extract(tmp_path / "fifo.tar", tmp_path / "out", progress=False)
