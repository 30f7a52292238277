"""Python processes that do not have to import first: forks of one that has imported all of ours

    Forks(folder).start(code, *words)     like Popen([sys.executable, "-c", code, *words])
    Forks(folder).run(code, *words)       like run([...], capture_output=True, text=True)

Importing torch, fastai and ours takes seven seconds of a core, mostly more than what a process is
started for. All workers of a test session share one process from which others are forked: whoever
first needs it starts it, and it ends with the last one. What is forked has the words, folder,
environment and output that it is given, and ends at once, without taking down what was imported.
Tests of how a process begins or ends, or of what it imports, start one of their own."""

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

IMPORTED = ["hypothesis", "numpy", "pandas", "PIL.Image", "pyarrow.parquet", "pytest"]
IMPORTED += ["scipy.ndimage", "scipy.sparse", "sklearn", "torch", "torch._dynamo", "fastai.basics"]
OURS = ["cli.commands", "data.download", "data.openimages", "data.relabel", "data.scenes"]
OURS += ["data.table", "pick.state", "report.example", "report.report", "split.export"]
OURS += ["train.screening", "train.sweeps"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


# Those who ask


class Fork:
    "A process that was forked; `stdin` and `stdout` are pipes, `stderr` is a file"

    def __init__(self, address, code, words, cwd, env):
        self.stderr, self.returncode = tempfile.TemporaryFile("w+"), None
        (read, into), (out, write) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(into, "w"), os.fdopen(out)
        request = dict(code=code, words=list(map(str, words)), folder=str(cwd or os.getcwd()))
        request["environment"] = dict(os.environ if env is None else env)
        self.connection = connect(address, "fork")
        socket.send_fds(self.connection, [b"\n"], [read, write, self.stderr.fileno()])
        os.close(read)
        os.close(write)
        self.said = self.connection.makefile("rw")
        self.said.write(json.dumps(request) + "\n")
        self.said.flush()
        self.pid = int(self.said.readline())

    def poll(self):
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self):
        if self.returncode is None:
            self.stdin.close()
            self.returncode = int(self.said.readline())
            self.said.close()
            self.connection.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self):
        "What it prints until it ends, on stdout and on stderr"
        self.stdin.close()
        with self.stdout, self.stderr:
            said = self.stdout.read()
            self.wait()
            self.stderr.seek(0)
            return said, self.stderr.read()


class Forks:
    "Makes processes; `folder` is the same for all who share the one that they are forked from"

    def __init__(self, folder):
        self.address, self.stays = Path(folder) / "forks", None

    def start(self, code, *words, cwd=None, env=None):
        if self.stays is None:
            with alone(self.address):
                self.stays = self.connection()
        return Fork(self.address, code, words, cwd, env)

    def run(self, code, *words, **where):
        process = self.start(code, *words, **where)
        said = process.communicate()
        return subprocess.CompletedProcess(process.pid, process.returncode, *said)

    def connection(self):
        "One that tells the process that somebody is there; it is started if it is not there"
        with suppress(ConnectionRefusedError, FileNotFoundError):
            return connect(self.address, "stay")
        self.address.unlink(missing_ok=True)
        command = [sys.executable, __file__, self.address]
        how = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        server = subprocess.Popen(command, env=os.environ | ONE_THREAD, **how)
        with server.stdout:
            assert server.stdout.readline() == b"ready\n", "no process to make forks of"
        return connect(self.address, "stay")

    def close(self):
        if self.stays is not None:
            self.stays.close()


def connect(address, what):
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
        connection.sendall(what.encode())
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def alone(address):
    "Nobody else starts or ends the process meanwhile"
    with open(f"{address}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# The process that is forked


class WithoutPolars:
    "Refuses what would start threads, which fastcore imports where it is there"

    def find_spec(self, name, path=None, target=None):
        if name == "polars":
            raise ImportError("whoever needs it imports it in the fork")


def serve(address):
    "Fork until nobody is there any more"
    names = [*IMPORTED, *(f"natural_backdoors.{name}" for name in OURS)]
    gc.disable()
    sys.meta_path.insert(0, without := WithoutPolars())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with suppress(ImportError):  # what is not installed is not asked for
                importlib.import_module(name)
    sys.meta_path.remove(without)
    gc.collect()
    gc.freeze()  # no fork looks through a million objects that stay
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    # a signal that a fork has ended ends waiting
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    there, running = [], {}  # connections; process -> its connection
    while True:
        ready, _, _ = select.select([listener, woken, *there], [], [])
        for connection in set(ready) & set(there):
            there.remove(connection)
            connection.close()
            if not there and ends(listener, address):
                return
        if listener in ready:
            connection, _ = listener.accept()
            if connection.recv(4) == b"stay":
                there.append(connection)
            else:
                fork(connection, running)
        with suppress(BlockingIOError):
            woken.recv(1000)
        for process in list(running):
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with suppress(OSError), running.pop(process) as connection:
                    connection.sendall(f"{code}\n".encode())


def ends(listener, address):
    "Whether nobody has come meanwhile; then nobody finds this process any more"
    with alone(address):
        if not select.select([listener], [], [], 0)[0]:
            os.unlink(address)
            return True
    return False


def fork(connection, running):
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    process = os.fork()
    if not process:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run(request, files)
    for file in files:
        os.close(file)
    running[process] = connection
    connection.sendall(f"{process}\n".encode())


def run(request, files):
    "Become the process that is asked for; does not come back"
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        # connections of others end when they do
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["-c", *request["words"]]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(request["code"], "<string>", "exec"), main.__dict__)
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if code and not isinstance(e.code, int):
            print(e.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    serve(sys.argv[1])
    os._exit(0)
