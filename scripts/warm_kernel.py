"""Kernels for notebooks that do not have to import first: a process that has imported is forked

    python scripts/warm_kernel.py --serve SOCKET    makes kernels for whoever asks at SOCKET
    python scripts/warm_kernel.py SOCKET -f FILE    as `python -m ipykernel_launcher -f FILE`

The second one asks the first for a kernel and lives as long as the kernel does: a kernel ends when
the process that asked for it is killed. `scripts/outputs.py` runs both.

Imported before is what takes long, modules of ours too, but for what is in LEFT and those of ours
that begin with it: polars starts threads, which would not be there in the fork (those of a BLAS
know how to come back); fastai and fastcore.xtras change how pandas and Path show themselves, also
on pages that do not import them. What asks whether it is in a notebook when it is imported (tqdm
does, and fastcore) is told that it is.
"""

import builtins
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import warnings

IMPORTED = [
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",  # tqdm looks for it
    "ipykernel.debugger",
    "matplotlib.pyplot",
    "networkx",
    "pandas",
    "pdb",  # ipykernel looks for it
    "pyarrow.parquet",
    "scipy.sparse.csgraph",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.model_selection",
    "torch",
    "torch._dynamo",
    "torchvision",
    "hypothesis",
    "anywidget",
    "tqdm.auto",
    "timm",
]
OURS = "natural_backdoors"
LEFT = ("fastai", "fastcore.xtras", "polars")
# as ipykernel has it: matplotlib reads it when it is imported
BACKEND = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


# The server


@contextlib.contextmanager
def as_in_a_notebook():
    "Imports in this block find the shell of a notebook"
    shell = type("ZMQInteractiveShell", (), {})()
    builtins.get_ipython = lambda: shell
    try:
        yield
    finally:
        del builtins.get_ipython


class NotYet:
    "Refuses what is left to the pages; stands in `sys.meta_path`"

    def find_spec(self, name, path=None, target=None):
        if name in LEFT:
            raise ImportError(f"{name} is left to the pages")


def ours():
    "The names of all modules of ours"
    with contextlib.suppress(ImportError):
        package = importlib.import_module(OURS)
        for module in pkgutil.walk_packages(package.__path__, f"{OURS}."):
            yield module.name


def import_all():
    "Import what pages import, as far as it is there"
    sys.meta_path.insert(0, left := NotYet())
    with warnings.catch_warnings(), as_in_a_notebook():
        warnings.simplefilter("ignore")
        for name in [*IMPORTED, *ours()]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    sys.meta_path.remove(left)
    with contextlib.suppress(ImportError):
        import pandas

        # it takes this process for a terminal, where it would leave columns of wide tables out
        pandas.set_option("display.max_columns", 20)


def serve(address):
    "Make kernels until stdin ends"
    os.environ.update(BACKEND | os.environ)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger would warn
    sys.path.pop(0)  # this folder
    gc.disable()
    import_all()
    gc.collect()
    gc.freeze()  # no kernel looks through a million objects that stay
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    # nobody reads on, and each kernel says how to connect to it: after 160 of them the pipe is full
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    running = {}  # process -> its connection
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0.1)
        if sys.stdin in ready:
            break
        if listener in ready:
            connection, _ = listener.accept()
            request = json.loads(connection.makefile().readline())
            child = os.fork()
            if child == 0:
                be_a_kernel(listener, connection, request)
            running[child] = connection
        tell_the_end(running)
    for child in running:
        os.kill(child, signal.SIGKILL)
    os._exit(0)  # taking down what was imported would take a second


def tell_the_end(running):
    "Close the connections of kernels that have ended"
    for child in list(running):
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            connection = running.pop(child)
            # also held by what the kernel has started and left behind
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def be_a_kernel(listener, connection, request):
    "Become the kernel that is asked for; does not come back"
    from ipykernel.kernelapp import launch_new_instance

    code = 1
    try:
        listener.close()
        os.setsid()
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(BACKEND | request["environment"])
        os.environ.pop("JPY_PARENT_PID", None)
        threading.Thread(target=end_with, args=(connection,), daemon=True).start()
        sys.stdin = open(os.devnull)
        sys.argv = ["ipykernel_launcher", *request["arguments"]]
        launch_new_instance()
        code = 0
    except SystemExit as e:
        code = int(e.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def end_with(connection):
    "End this process when the one that asked for it has ended"
    with contextlib.suppress(OSError):
        connection.recv(1)
    os._exit(1)


# The process that asks


def ask(address, arguments):
    "Ask for a kernel, and wait until it ends"
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # comes before the end, and is meant for the kernel
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments}
    connection.sendall(json.dumps(request).encode() + b"\n")
    with contextlib.suppress(OSError):
        connection.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        ask(sys.argv[1], sys.argv[2:])
