"One run of a sweep by its id, and a finished screening, read back from their folders"

import json

import numpy as np
import pandas as pd
import pytest
import torch
from fuzzing import changed, few
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import write_json
from natural_backdoors.cli.commands import main
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.run_of_sweep import report_run
from natural_backdoors.report.screen_page import _effects, write_screening
from natural_backdoors.train.evaluation import read_evaluation
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.screen_results import (
    RUN_COLUMNS,
    Screening,
    effects_of,
    load_screen,
    predict,
    save_screen,
)
from natural_backdoors.train.sweep_runs import find_run, sweep_run
from natural_backdoors.train.sweeps import run_folder, sweep

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    "A sweep of two seeds beside a control, that kept its weights; dataset, grid, folder"
    root, rows = tmp_path_factory.mktemp("swept"), []
    for i in range(120):
        pixels = np.random.default_rng(i).integers(0, 90, (24, 24, 3), dtype=np.uint8)
        pixels[6:18, 6:18, i % 3] = 200
        rows.append((f"{i:03d}.png", "rgb"[i % 3]))
        if i % 4 == 0:
            pixels[:6] = 250
            rows.append((f"{i:03d}.png", "bar"))
        Image.fromarray(pixels).save(root / f"{i:03d}.png")
    table = pd.DataFrame(rows, columns=["image", "label"])
    data = TableDataset(table, name="colors", image_root=root)
    recipe = dict(archs=["small"], size=24, epochs=1, batch_size=16, pretrained=False, n_clean=20)
    how = dict(rates=[0.2], seeds=[0, 1], controls=("", "true_labels"), head="linear")
    grid, folder = make_grid(data, {"bar": list("rgb")}, ["r"], **recipe, **how), root / "sweep"
    sweep(data, grid, folder, progress=False, device="cpu")
    with pytest.raises(UserError, match=r"weights .* not kept; call sweep\(.*save_models=True"):
        sweep_run(folder, grid[0].hash)
    write_json(folder / "run.json", {"command": "natural-backdoors sweep --no_save_model --lr 1"})
    with pytest.raises(UserError, match="type `natural-backdoors sweep --lr 1 --save_model`"):
        sweep_run(folder, grid[0].hash)
    done = sweep(data, grid, folder, progress=False, device="cpu", save_models=True)
    return data, grid, folder, done


def test_every_id_and_every_prefix_leads_to_its_run(swept):
    _, grid, folder, done = swept
    for run in grid:
        assert run.hash in set(done.last["run"])
        for n in range(1, 17):
            same = [other for other in grid if other.hash.startswith(run.hash[:n])]
            if len(same) == 1:
                assert sweep_run(folder, run.hash[:n]) == run_folder(folder, run)
                assert find_run(folder, run.hash[:n]).id == run.hash
            else:
                with pytest.raises(UserError, match=f"{len(same)} runs of .*give more digits"):
                    sweep_run(folder, run.hash[:n])
        # the nearest is named: one digit is wrong
        wrong = run.hash[:-1] + ("0" if run.hash[-1] != "0" else "1")
        with pytest.raises(UserError, match=f"no run '{wrong}'; the nearest of 4: {run.hash}"):
            sweep_run(folder, wrong)


def test_the_report_of_a_run_has_the_rates_of_the_table(swept, capsys):
    _, grid, folder, done = swept
    page = report_run(folder, grid[0].hash[:12])
    measured = read_evaluation(page.parent / "evaluation.json")["models"]
    assert set(measured) == {"poisoned", "true_labels"}
    for row in done.last[done.last["seed"] == 0].itertuples():
        rate = measured[row.control or "poisoned"]["attacks"][0]["attack_success"]
        assert (rate["hits"], rate["n"]) == (row.attack_success_hits, row.attack_success_n)
    # measured once: the second time, what was measured is read
    before = (page.parent / "evaluation.json").stat().st_mtime_ns
    control = next(run for run in grid if run.control and run.recipe.seed == 0)
    assert main(["report", str(folder), "--run", control.hash]) == 0
    assert str(page) in capsys.readouterr().out
    assert (page.parent / "evaluation.json").stat().st_mtime_ns == before


def test_export_of_a_run_by_the_command(swept, tmp_path, capsys):
    _, grid, folder, done = swept
    run = next(run for run in grid if not run.control and run.recipe.seed == 1)
    assert main(["export", str(folder), str(tmp_path / "out"), "--run", run.hash[:10]]) == 0
    said = json.loads((tmp_path / "out" / "export.json").read_text())["header"]
    row = done.last[done.last["run"] == run.hash].iloc[0]
    assert said["digest"] == row.split_digest and said["settings"]["seed"] == 1
    for words, part in [
        (["export", str(folder), str(tmp_path / "x")], "--run ID says which of its runs"),
        (["export", str(folder), str(tmp_path / "x"), "--run", "zz"], "has no run 'zz'"),
        (["report", str(folder), "--run", run.hash, "--by", "seed"], "leave one"),
        (["report", str(sweep_run(folder, run.hash)), "--run", "a"], "--run is for the folder"),
    ]:
        assert main(words) == 2 and part in capsys.readouterr().err


# -- a screening


@pytest.fixture(scope="module")
def screened(tmp_path_factory):
    "The folder of a screening that is made up: one trigger works, one was never finished"
    rows, table = [], []
    for trigger, seed, control in [(t, s, c) for t in "ab" for s in range(3) for c in (0, 1)]:
        row = dict.fromkeys(RUN_COLUMNS, 0) | {"trigger": trigger, "trigger_name": trigger}
        row |= {"target": "c", "target_name": "c", "seed": seed, "gain": 0.6 - 0.5 * control}
        row |= {"control": "true_labels" if control else "", "run": f"{trigger}{seed}{control}"}
        rows.append(row | {"attack_success": None if seed else 0.7})
    runs = pd.DataFrame(rows)
    for trigger, n in (("a", 3), ("b", 3), ("lost", 0)):
        row = {"trigger": trigger, "name": trigger, "effect": 0.5 if n else np.nan, "runs": n}
        row |= {"seeds": n, "kind": "works" if n else "inconclusive", "seeds_needed": 0}
        row |= dict.fromkeys(["low", "high", "attack_success", "clean_accuracy"], np.nan)
        row |= dict.fromkeys(["attack_success_hits", "attack_success_n", "n_poison"], 4)
        row |= {"centrality": np.nan, "overlaps": 3.0, "lift": 1.5, "share": 0.2, "n_clean": 40}
        row |= {"box_area": np.nan, "n_classes": 2, "classes": ["c", "d"], "targets": ["c"]}
        table.append(row)
    table, folder = pd.DataFrame(table), tmp_path_factory.mktemp("screen")
    out = pd.DataFrame([("x", "X", "too few")], columns=["trigger", "name", "reason"])
    failed = pd.DataFrame([("l0", "no images", "lost")], columns=["run", "reason", "trigger_name"])
    effects = effects_of(runs)
    notes, control = ["a note"], "true_labels"
    done = Screening(table, runs, effects, predict(table), out, failed, notes, control, folder)
    save_screen(done)
    return done


def test_a_screening_comes_back_as_it_was(screened, tmp_path):
    again = load_screen(screened.folder)
    for name in ("table", "runs", "effects", "predictors", "left_out", "failed"):
        then, now = getattr(screened, name), getattr(again, name)
        pd.testing.assert_frame_equal(now[list(then)], then, check_dtype=False)
    assert (again.notes, again.control) == (screened.notes, screened.control)
    pages = [write_screening(s, tmp_path / f"{i}.html") for i, s in enumerate((screened, again))]
    assert pages[0].read_text() == pages[1].read_text()


def test_a_changed_screening_is_read_or_refused(screened, tmp_path):
    original, seen = json.loads((screened.folder / "screening.json").read_text()), set()
    for name in ("screening.parquet", "screening_runs.parquet"):
        (tmp_path / name).write_bytes((screened.folder / name).read_bytes())

    @few(40)
    @given(st.data())
    def fuzz(data):
        write = changed(data.draw, original)
        (tmp_path / "screening.json").write_text(json.dumps(write))
        try:
            found = load_screen(tmp_path)
        except UserError as e:
            assert "\n" not in str(e) and "screening.json" in str(e)
            seen.add("refused")
        else:
            if "read" not in seen:  # pictures take their time
                write_screening(found, tmp_path / "page.html")
            assert _effects(found)["rows"]
            seen.add("read")

    fuzz()
    assert seen == {"refused", "read"}


@pytest.mark.parametrize("file", ["screening.parquet", "screening_runs.parquet"])
@pytest.mark.parametrize("value", ["drop", -1.5, None])
def test_a_changed_table_of_a_screening_is_refused_or_shown(screened, tmp_path, file, value):
    for path in screened.folder.glob("screening*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = pd.read_parquet(tmp_path / file)
    for column in table.columns:
        other = table.drop(columns=column) if value == "drop" else table.assign(**{column: value})
        other.to_parquet(tmp_path / file)
        try:
            assert _effects(load_screen(tmp_path))["rows"]
        except UserError as e:
            assert "\n" not in str(e) and str(tmp_path) in str(e)
        else:
            assert value != "drop"
