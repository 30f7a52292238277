"""A short drill: every job that writes files, and one way or another in which it fails"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("fcntl", reason="no locks of files on this system")

import drill

# What is tried with which jobs; `make drill` tries everything with everything, again and again.
# tests/test_interrupted.py kills trainings and sweeps
PLAN = [
    (["naive"], ["kill"], 12),
    (["analyze", "download", "export_file", "export_over", "save"], ["kill"], 2),
    (["download", "export_file", "report"], ["full"], 1),
    (["save"], ["limit"], 1),
    (["export", "scenes"], ["clock"], 1),
    (["analyze", "export"], ["read_only", "no_home"], 1),
    (["download", "export"], ["a_file", "no_tmp"], 1),
    (["export_file"], ["eight"], 1),
]
TRIALS = [(job, fault) for jobs, faults, _ in PLAN for job in jobs for fault in faults]


@pytest.fixture(scope="module")
def trials():
    "What became of each job and fault: a list of [ended, what is wrong]"
    call = [
        sys.executable,
        "-W",
        "ignore",
        drill.__file__,
        "--seed",
        "3",
        "--plan",
        json.dumps(PLAN),
    ]
    done = subprocess.run(call, capture_output=True, text=True, cwd=Path(drill.__file__).parent)
    assert done.returncode in (0, 1), done.stderr
    found = {}
    for trial in json.loads(done.stdout.splitlines()[-1]):
        found.setdefault((trial["job"], trial["fault"]), []).append(trial)
    return found


@pytest.mark.parametrize("job, fault", TRIALS)
def test_jobs_that_fail(trials, job, fault):
    "No file is half-written, the same job again ends as if nothing had happened, nothing is left"
    tried = trials.get((job, fault)) or trials[job, "limit"]  # where no disk can be mounted
    wrong = [words for trial in tried for words in trial["wrong"]]
    if job == "naive":
        assert any("half-written" in words for words in wrong), "what is careless is found out"
    else:
        assert not wrong


def test_what_happened_is_what_was_meant(trials):
    "Processes were killed, were refused and were told; a drill in which all goes well is none"
    ended = {fault: set() for _, fault in TRIALS}
    for (_, fault), tried in trials.items():
        ended.setdefault(fault, set()).update(trial["ended"] for trial in tried)
    assert ended["kill"] & {"killed", "interrupted"} and ended["a_file"] == {"refused"}
    assert ended["read_only"] == {"refused"} and "refused" in ended["limit"]
    assert ended["no_home"] == ended["no_tmp"] == {"finished"} and ended["eight"]
