"""A real HTTP server on the loopback address, for tests: files, ranges, and everything that
goes wrong with them

    with serve({"/a.jpg": b"..."}, folder=None) as server:
        server.fault("/a.jpg", status=503, retry_after=1, times=2)  # two go wrong, then it works
        requests.get(server.url + "/a.jpg")
        server.log  # what was asked, and what was answered

`python tests/http_server.py FOLDER [PORT]` serves a folder until it is stopped.
"""

import hashlib
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    "What goes wrong with an answer"

    status: int = 0  # answer with this status instead
    retry_after: object = None  # ... and this Retry-After
    truncate: int | None = None  # close the connection after so many bytes of the body
    stall: float = (
        0  # seconds of silence after `truncate` bytes (or before the answer, without `truncate`)
    )
    drip: float = 0  # seconds between single bytes
    pace: float = 0  # seconds between pieces of 64 kB
    ignore_range: bool = False  # always send the whole file
    ignore_if_range: bool = False  # send the range also of another version
    wrong_range: bool = False  # a range that was not asked for
    content_type: str | None = None
    etag: object = ""  # another one; None = none
    age: float | None = None  # seconds since the last change; None: years, and no date without ETag
    body: bytes | None = None  # another body
    chunked: bool = False  # no Content-Length
    no_length: bool = False  # neither length nor chunks: the end is where the connection closes
    encoding: str | None = None  # Content-Encoding
    location: str | None = None  # of a redirect
    no_head: bool = False  # HEAD is answered with 405
    times: int = 10**9  # for so many requests


@dataclass
class Asked:
    "A request and its answer"

    method: str
    path: str
    range: str | None
    status: int = 0
    sent: int = 0  # bytes of the body
    at: float = field(default_factory=time.monotonic)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 2**16

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        site = self.server.site
        asked = Asked(self.command, unquote(urlsplit(self.path).path), self.headers.get("Range"))
        site.log.append(asked)
        fault, body = site.next_fault(asked.path), site.find(asked.path)
        if fault.body is not None:
            body = fault.body
        status = (
            404
            if body is None
            else 405
            if fault.no_head and self.command == "HEAD"
            else fault.status or 200
        )
        if fault.stall and fault.truncate is None:
            site.stopping.wait(fault.stall)
        headers = {}
        if fault.location:
            headers["Location"] = fault.location
        if fault.retry_after is not None:
            headers["Retry-After"] = fault.retry_after
        if status == 200:
            status, body, headers = self.ranged(fault, body)
        elif fault.body is None:
            body = f"{status}".encode()
        asked.status = status
        self.answer(asked, fault, body, headers)

    def ranged(self, fault, body):
        "Status, bytes and headers for the file `body`"
        etag = fault.etag if fault.etag != "" else f'"{hashlib.md5(body).hexdigest()}"'
        changed = 1.7e9 if fault.age is None else time.time() - fault.age
        modified = formatdate(changed, usegmt=True)
        if fault.etag is None and fault.age is None:
            modified = None
        headers = {k: v for k, v in (("ETag", etag), ("Last-Modified", modified)) if v}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if (
            not wanted
            or fault.ignore_range
            or not (fault.ignore_if_range or condition in (None, etag, modified))
        ):
            return 200, body, headers
        start, size = int(wanted[1]), len(body)
        if start >= size:
            return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
        if fault.wrong_range:
            start = 0
        return 206, body[start:], headers | {"Content-Range": f"bytes {start}-{size - 1}/{size}"}

    def answer(self, asked, fault, body, headers):
        default = "image/jpeg" if asked.path.endswith(".jpg") else "application/octet-stream"
        self.send_response(asked.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", fault.content_type or default)
        if fault.encoding:
            self.send_header("Content-Encoding", fault.encoding)
        if fault.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif fault.no_length:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.send(asked, fault, body)
            except OSError:
                self.close_connection = True
        if fault.no_length:
            self.close_connection = True

    def send(self, asked, fault, body):
        cut = len(body) if fault.truncate is None else min(fault.truncate, len(body))
        piece, pause = (1, fault.drip) if fault.drip else (2**16, fault.pace)
        for i in range(0, cut, piece):
            part = body[i : min(i + piece, cut)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if fault.chunked else part)
            asked.sent += len(part)
            if pause:
                self.wfile.flush()
                if self.server.site.stopping.wait(pause):
                    cut = 0
        self.wfile.flush()
        if cut < len(body):
            self.close_connection = True
            if fault.stall:
                self.server.site.stopping.wait(fault.stall)
        elif fault.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args):
        pass


class Listener(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # the other side has gone: that is what is being tested


class Site:
    "The files of a server, what is to go wrong, and what has been asked"

    def __init__(self, files=None, folder=None):
        self.files, self.folder = dict(files or {}), folder and Path(folder)
        self.faults, self.log, self.stopping, self.lock = (
            {},
            [],
            threading.Event(),
            threading.Lock(),
        )
        self.url = ""

    def fault(self, path, **kwargs):
        "Let the answers for `path` go wrong; several faults of one path come one after the other"
        self.faults.setdefault(path, []).append(Fault(**kwargs))

    def next_fault(self, path):
        with self.lock:
            for fault in self.faults.get(path, []):
                if fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault()

    def find(self, path):
        "The bytes of the file at `path`, or None"
        if path in self.files:
            return self.files[path]
        if self.folder is None or ".." in path.split("/"):
            return None
        found = self.folder / path.lstrip("/")
        return found.read_bytes() if found.is_file() else None

    def asked(self, path=None):
        "The requests for `path`, or all"
        return [a for a in self.log if path in (None, a.path)]


@contextmanager
def serve(files=None, folder=None, port=0):
    "A running server; `files` maps paths to bytes, `folder` is looked through after them"
    site, listener = Site(files, folder), Listener(("127.0.0.1", port), Handler)
    listener.site, site.url = site, f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.stopping.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


if __name__ == "__main__":
    with serve(folder=sys.argv[1], port=int(sys.argv[2]) if len(sys.argv) > 2 else 0) as running:
        print(running.url, flush=True)
        threading.Event().wait()
