"The benchmark for GPUs as far as it runs without one: its time, its environment, what it says"

import ast
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest


def program(root, path):
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), root / f"{path}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "minutes, takes, asked, said",
    [
        (8, [100, 200], ["1", "1"], []),
        (20, [300, 700], ["3", "3"], []),
        (8, [300, 0], ["1"], ["sweep.py: it takes about 250 s, and 180 s are left"]),
        (8, [500, 0], ["1"], ["training.py was ended after 480 s", "sweep.py"]),
        (1, [], [], ["training.py", "sweep.py"]),
    ],
)
def test_the_time_is_kept_and_what_is_left_out_told(root, capsys, minutes, takes, asked, said):
    gpu, now, rounds, takes = program(root, "benchmarks/gpu"), [0.0], [], iter(takes)

    def run(command, timeout):
        rounds.append(command[command.index("--repeat") + 1])
        seconds = next(takes)
        now[0] += min(seconds, timeout)
        if seconds > timeout:
            raise subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(returncode=0)

    status = gpu.main(SimpleNamespace(minutes=minutes, save=True), run, lambda: now[0])
    lines = capsys.readouterr().err.splitlines()
    assert rounds == asked and now[0] <= 60 * minutes
    assert status == bool(said) and len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines))


def test_a_part_that_fails_is_told(root, capsys):
    gpu = program(root, "benchmarks/gpu")
    fails = lambda command, timeout: SimpleNamespace(returncode=3)
    assert gpu.main(SimpleNamespace(minutes=8, save=False), fails) == 1
    assert "training.py failed" in capsys.readouterr().err


def imported(root, modules):
    "The packages that are imported when these modules of ours are, read off their text"
    todo, seen, packages = list(modules), set(), set()
    while todo:
        module = todo.pop()
        if module in seen or not (file := root / f"{module.replace('.', '/')}.py").exists():
            continue
        seen.add(module)
        # what a function imports is not needed before it is called
        for node in ast.parse(file.read_text()).body:
            for part in [node, *(node.body if isinstance(node, ast.With) else ())]:
                if isinstance(part, ast.Import):
                    names = [alias.name for alias in part.names]
                elif isinstance(part, ast.ImportFrom):
                    parts = module.split(".")[: -part.level] if part.level else []
                    names = [".".join([*parts, *filter(None, [part.module])])]
                else:
                    continue
                todo += names
                packages |= {name.split(".")[0] for name in names}
    assert len(seen) > 30
    return packages


def test_the_environment_is_small_and_its_modules_import_no_more(root):
    environment = program(root, "scripts/gpu_environment")
    names = [environment.name_of(line) for line in environment.requirements()]
    assert len(names) == len(set(names)) and {"torch", "fastai", "numpy", "pandas"} <= set(names)
    others = ["polars", "imagehash", "jinja2", "sphinx", "jupyterlab", "ipywidgets", "timm", "dask"]
    assert not set(others) & set(names)
    assert not set(others) & imported(root, environment.MODULES)
    assert set(environment.CORE) <= {*names}, "each is a requirement in settings.ini"
    assert environment.works(sys.executable + " none") is False
