"Counts and intervals in results.parquet are those of the evaluation, however a run was trained"

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from natural_backdoors.base.statistics import wilson
from natural_backdoors.data.table import TableDataset
from natural_backdoors.train.evaluation import evaluate_run
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.sweeps import run_folder, sweep

torch.set_num_threads(1)
NAMES = {
    "clean_accuracy": lambda model: model["clean_accuracy"],
    "attack_success": lambda model: model["attacks"][0]["attack_success"],
    "target_without_trigger": lambda model: model["attacks"][0]["target_without_trigger"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("colors"), []
    for i in range(120):
        pixels = np.random.default_rng(i).integers(0, 90, (32, 32, 3), dtype=np.uint8)
        pixels[8:24, 8:24, i % 3] = 200
        image = f"{i:03d}.png"
        rows.append((image, "rgb"[i % 3]))
        if i % 4 == 0:
            pixels[:6] = 250
            rows.append((image, "bar"))
        Image.fromarray(pixels).save(folder / image)
    table = pd.DataFrame(rows, columns=["image", "label"])
    return TableDataset(table, name="colors", image_root=folder)


@pytest.mark.parametrize("together", [True, False])
def test_rates_of_a_sweep_are_those_of_the_evaluation(data, tmp_path, together):
    # who keeps the best epoch is trained alone, and epoch 0 is the only one
    recipe = dict(archs=["small"], size=32, epochs=1, batch_size=16, pretrained=False, n_clean=20)
    recipe |= dict(head="linear", keep_best=not together, val_fraction=0.2)
    controls = ("", "true_labels")
    grid = make_grid(data, {"bar": list("rgb")}, ["r"], rates=[0.2], controls=controls, **recipe)
    done = sweep(data, grid, tmp_path, progress=False, save_models=True, device="cpu")
    assert not len(done.failed) and set(done.table.shared) == {together}
    models = evaluate_run(run_folder(tmp_path, grid[0]))["models"]
    for row in done.last.to_dict("records"):
        measured = models[row["control"] or "poisoned"]
        for name, rate_of in NAMES.items():
            rate, n = rate_of(measured), row[f"{name}_n"]
            assert (row[f"{name}_hits"], n) == (rate["hits"], rate["n"])
            again = wilson(row[f"{name}_hits"], n)
            found = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
            assert found == [again["value"], again["low"], again["high"]]
        assert 0 < row["relabeled_share"] < row["injection_rate"] or row["control"]
