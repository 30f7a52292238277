"Processes that are forked from one that has imported ours do what processes of their own do"

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import os, sys, warnings
print(sys.argv, __name__, os.getcwd(), sorted(os.environ), os.environ["A"], sys.stdin.read())
warnings.warn("careful")
{}
"""
ENDS = {
    "end": "",
    "number": "raise SystemExit(3)",
    "words": "sys.exit('no')",
    "error": "1 / 0",
    "killed": "os.kill(os.getpid(), 9)",
    "interrupted": "import signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)",
}


def last(stderr):
    "Without the lines of a traceback, in which one of them has a caller"
    return [line for line in stderr.splitlines() if line[:1] != " "][-1:]


@pytest.mark.parametrize("how", ENDS)
def test_it_is_as_a_process_of_its_own(forks, tmp_path, how):
    code, env = CODE.format(ENDS[how]), os.environ | {"A": "é"}
    env.pop("LC_CTYPE", None)  # Python sets it where there is no other
    forked = forks.run(code, "x", 2, cwd=tmp_path, env=env)
    call = dict(capture_output=True, text=True, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL)
    own = subprocess.run([sys.executable, "-c", code, "x", "2"], **call)
    assert forked.returncode == own.returncode
    assert forked.stdout.replace("'LC_CTYPE', ", "") == own.stdout.replace("'LC_CTYPE', ", "")
    assert last(forked.stderr) == last(own.stderr) != []


def test_it_can_be_asked_and_killed(forks):
    process = forks.start("import time; print('ready', flush=True); time.sleep(600)")
    assert process.stdout.readline() == "ready\n" and process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM == process.poll()
    assert process.communicate()[0] == ""


def test_there_are_no_threads(forks):
    "What holds a lock in a thread would hold it for good in a fork; jemalloc knows of forks"
    if sys.platform != "linux":
        pytest.skip("threads are listed in /proc")
    names = "[t.read_text().strip() for t in Path('/proc', str(os.getppid())).glob('task/*/comm')]"
    said = forks.run(f"import os; from pathlib import Path; print(*{names})")
    found = said.stdout.split()
    assert found and all(name.startswith(("python", "jemalloc")) for name in found)
