"""A Python program called several times without importing everything each time: one process has
imported it, and each call is a copy of that one"""

import json
from contextlib import contextmanager

LOOP = """
import atexit, gc, importlib, json, os, runpy, sys, traceback
def end(program):
    # without taking down what was imported, which takes a second
    code = 1
    try:
        runpy.run_path(program, run_name="__main__")
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if not isinstance(e.code, (int, type(None))):
            print(e.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
program, *names = sys.argv[1:]
sys.path.insert(0, os.path.dirname(program))
gc.disable()
for name in names:
    importlib.import_module(name)
gc.freeze()
gc.enable()
for line in sys.stdin:
    said, *arguments = json.loads(line)
    child = os.fork()
    if not child:
        file = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.argv[:] = [program, *arguments]
        end(program)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def copies_of(forks, program, names, folder):
    """Yields a function that calls `program`, whose process has imported the modules `names`:
    (exit status, what was printed); `folder` is for what it prints"""
    process = forks.start(LOOP, program, *names)

    def call(*arguments):
        said = folder / "said.txt"
        process.stdin.write(json.dumps([str(said), *map(str, arguments)]) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline()), said.read_text()

    yield call
    process.communicate()
