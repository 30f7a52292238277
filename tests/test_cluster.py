"A sweep on a Dask cluster of two processes, one of which is killed; workers that claim a GPU"

import multiprocessing
import os
import signal
import threading
import time

import pandas as pd
import pytest

distributed = pytest.importorskip(
    "distributed", reason="no Dask (pip install natural_backdoors[scale])"
)

from natural_backdoors.data.table import TableDataset
from natural_backdoors.train.cluster import gpu_workers, needs_gpu, on_cluster, sweep_on
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.sweeps import sweep

pytestmark = pytest.mark.filterwarnings("ignore:only the head is trained")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    "Squares in three colors, some with a bright bar"
    import numpy as np
    from PIL import Image

    folder, rows, random = tmp_path_factory.mktemp("squares"), [], np.random.default_rng(0)
    for c, name in enumerate(["red", "green", "blue"]):
        for i in range(30):
            pixels = random.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[8:24, 8:24, c] = 200
            if i >= 20:
                pixels[:6] = 250
            Image.fromarray(pixels).save(folder / f"{name}{i}.png")
            rows += [(f"{name}{i}.png", name)] + [(f"{name}{i}.png", "bar")] * (i >= 20)
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]), name="squares", image_root=str(folder)
    )


def grid_of(data, seeds=(1, 2, 3, 4)):
    "A task for each seed, since random weights cannot be shared"
    return make_grid(
        data,
        {"bar": ["red", "green", "blue"]},
        ["red", "blue"],
        [0.2],
        seeds=list(seeds),
        archs=["small"],
        pretrained=False,
        size=32,
        n_clean=16,
        epochs=2,
        lrs=[1e-2],
        batch_size=8,
    )


@pytest.fixture(scope="module")
def copied():
    "Dask's processes are copies of one that has imported; else each, and each anew, takes seconds"
    import dask
    from distributed.utils import get_mp_context

    os.environ["OMP_NUM_THREADS"] = "1"  # as Dask has it, but read when torch is imported
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context()  # which says what is to be imported, once and for all
        names = ["distributed", "natural_backdoors.train.cluster", "natural_backdoors.train.sweeps"]
        multiprocessing.get_context("forkserver").set_forkserver_preload(names)
        yield


@pytest.fixture(scope="module")
def cluster(copied):
    "Two processes that say they have a GPU each"
    # a task has failed when the second worker dies in it, not the fourth: each takes seconds
    options = {"dashboard": False, "allowed_failures": 1}
    scheduler = {"cls": distributed.Scheduler, "options": options}
    with (
        distributed.SpecCluster(gpu_workers(2), scheduler, silence_logs=50) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_workers_have_a_gpu_each(cluster):
    assert sorted(cluster.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["0", "1"]
    assert needs_gpu(cluster) == {"GPU": 1}


def slow(task, options):
    "As carry_out, but the first worker that gets the task of seed 1 waits to be killed"
    from natural_backdoors.train.cluster import carry_out

    mark = options.folder / "waiting"
    if task.runs[0].recipe.seed == 1 and not mark.exists():
        mark.write_text(str(os.getpid()))
        time.sleep(120)
    return carry_out(task, options)


def test_a_worker_is_killed(cluster, data, tmp_path, monkeypatch):
    from natural_backdoors.train import cluster as module

    grid, found = grid_of(data), []
    monkeypatch.setattr(module, "carry_out", slow)
    there = lambda: sweep_on(data, grid, tmp_path / "there", cluster, progress=False)
    sweeping = threading.Thread(target=lambda: found.append(there()), daemon=True)
    sweeping.start()
    end = time.monotonic() + 120
    while (
        not (tmp_path / "there" / "waiting").exists()
        or not (tmp_path / "there" / "waiting").read_text()
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(int((tmp_path / "there" / "waiting").read_text()), signal.SIGKILL)
    sweeping.join(200)
    assert found and found[0].failed.empty
    here = sweep(data, grid, tmp_path / "here", progress=False)
    pd.testing.assert_frame_equal(found[0].table, here.table, check_exact=False, rtol=1e-4)
    assert here.table.run.nunique() == 8


def fill_share(images, folder, share):
    "A task of a worker: the features of every fourth image"
    import torch
    from torch import nn

    from natural_backdoors.train.features import feature_bank

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    info = {"arch": "net", "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    bank = feature_bank(net, info, folder, device="cpu", batch_size=8)
    return bank.fill(images[share::4], 2).passes, os.getpid(), bank.plain(images[:10]).tolist()


def test_workers_fill_one_bank(cluster, data, tmp_path):
    "Shares of the images at once, and the first ones by all of them; each picture is computed once"
    images = sorted(map(str, data.src_path("red0.png").parent.glob("*.png")))
    futures = cluster.map(lambda i: fill_share(images, tmp_path, i), range(4), pure=False)
    passes, workers, rows = zip(*cluster.gather(futures))
    assert len(set(workers)) == 2 and all(row == rows[0] for row in rows)
    assert fill_share(images, tmp_path, 0)[0] == 0 and sum(passes) >= 90 * 3 - 10


# the last one: workers that begin again import everything again


def dies(task, options):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_kills_every_worker(cluster, data, tmp_path, monkeypatch):
    "It is listed as failed, and may be tried again"
    from natural_backdoors.train import cluster as module

    grid = grid_of(data, [1])
    with monkeypatch.context() as m:
        m.setattr(module, "carry_out", dies)
        lost = sweep(data, grid, tmp_path, progress=False, runner=on_cluster(cluster))
    assert len(lost.failed) == 2 and lost.failed.reason.str.contains("died again and again").all()
    assert sweep_on(data, grid, tmp_path, cluster, progress=False, retry_failed=True).failed.empty
