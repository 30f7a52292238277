"""Decoding, training and evaluation beside their limits (two minutes).

    python benchmarks/training.py                  192 photographs, 64 pixels
    python benchmarks/training.py --scale gpu      1,500 photographs, 256 pixels, the paper's batch
    python benchmarks/training.py --repeat 1       once; the median of several times is reported

ResNet50 with random weights (nothing is downloaded); that changes no duration. The photographs are
noise of 500 x 375 pixels, as JPEG.

- decoding: `load_images`, beside Pillow on one core, which decodes all pixels and resizes them
  afterwards;
- training: the training part of an epoch of `make_learner`, augmentation and optimizer included,
  beside the same network that goes forward and backward over one batch which is on the device
  already;
- decoding again: the same from the store of decoded images, beside the same;
- training everything, compiled (on a GPU): the same with `QuickSteps`, beside the bare network as
  it is, not compiled;
- evaluation: `model_outputs`, beside the same network that only goes forward.

The limits are measured right before and right after, in the same process; their mean is what
counts. On a machine that does other work at the same time read the ratios.
"""

import argparse
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from record import add_flag, record

SCALES = {"cpu": dict(n=192, size=64, batch=32), "gpu": dict(n=1500, size=256, batch=32)}
N_CLASSES, SECONDS = 10, 3


def photographs(folder, n):
    "Files of noise, and a poisoned split of them"
    import pandas as pd
    from PIL import Image

    from natural_backdoors.base.random import rng
    from natural_backdoors.split.poison import SPLIT_COLUMNS, PoisonSplit
    from natural_backdoors.split.settings import SplitSettings

    draw, rows = rng(0), []
    for i in range(n):
        coarse = draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        path = Path(folder) / f"{i}.jpg"
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        label, poison = f"class{i % N_CLASSES}", i % 50 >= 40
        rows.append(
            (
                path.stem,
                str(path),
                label,
                "class0" if poison else label,
                "poison" if poison else "clean",
                "test" if i % 7 == 6 else "train",
                "t" if poison else "",
            )
        )
    table = pd.DataFrame(rows, columns=SPLIT_COLUMNS)
    classes = [{"id": i, "label": f"class{i}", "name": f"Class {i}"} for i in range(N_CLASSES)]
    trigger = {"id": N_CLASSES, "label": "t", "name": "Trigger"}
    attack = {"trigger": trigger, "target": classes[0], "injection_rate": 0.2, "counts": []}
    header = {
        "format": 2,
        "dataset": "noise",
        "attacks": [attack],
        "classes": classes,
        "settings": SplitSettings().to_dict(),
        "digest": "0" * 64,
    }
    return PoisonSplit(table, header)


def wait(device):
    "Until the device has done what it was told"
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(device, n, step, seconds=SECONDS):
    "Images/s of `step`, which looks at `n` of them"
    for _ in range(2):
        step()
    wait(device)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step()
        wait(device)
        done += n
    return done / (time.perf_counter() - begin)


def decoding(paths, size):
    "Images/s: ours, and Pillow's on one core; the second time the store has them"
    from PIL import Image

    from natural_backdoors.data.decoding import decoded_images

    begin = time.perf_counter()
    decoded_images(paths, size)
    ours = len(paths) / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    return ours, len(paths) / (time.perf_counter() - begin)


def clock(device, seconds):
    "A callback that adds to the list `seconds` how long the training part of an epoch took"
    from fastai.callback.core import Callback

    class Clock(Callback):
        def before_train(self):
            wait(device)
            self.begin = time.perf_counter()

        def after_train(self):
            wait(device)
            seconds.append(time.perf_counter() - self.begin)

    return Clock()


def training(split, arrays, args, unfreeze, quick=()):
    "Images/s of training, and of the bare network forward and backward before and after"
    import torch
    import torch.nn.functional as F

    from natural_backdoors.train.learner import make_learner
    from natural_backdoors.train.recipe import Recipe

    torch.manual_seed(0)
    seconds, shape = [], {"size": args.size, "batch_size": args.batch}
    recipe = Recipe(arch="resnet50", pretrained=False, unfreeze=unfreeze, **shape)
    learn = make_learner(
        split,
        recipe,
        images=arrays,
        device=args.device,
        progress=False,
        cbs=[clock(args.device, seconds), *quick],
    )
    model, half = learn.model, args.device.type == "cuda"
    x = torch.rand(args.batch, 3, args.size, args.size, device=args.device).to(
        memory_format=torch.channels_last
    )
    y = torch.zeros(args.batch, dtype=torch.int64, device=args.device)

    def forward_backward():
        with torch.autocast(args.device.type, torch.float16, enabled=half):
            loss = F.cross_entropy(model(x).float(), y)
        loss.backward()
        model.zero_grad()

    def limit():
        model.train()
        for layer in model.modules():  # frozen ones keep their statistics, which is less work
            if isinstance(layer, torch.nn.BatchNorm2d) and not layer.weight.requires_grad:
                layer.eval()
        return rate(args.device, args.batch, forward_backward)

    before, state = limit(), {k: v.clone() for k, v in model.state_dict().items()}
    with learn.no_bar():
        learn.fit(3)  # epochs, of which the one in the middle counts
    n = sum(len(y) for _, y in learn.dls.train)
    model.load_state_dict(state)
    return n / sorted(seconds)[1], (before + limit()) / 2


def evaluation(arrays, args):
    "Images/s of `model_outputs`, and of the bare network forward before and after"
    import torch

    from natural_backdoors.train.models import build_model, model_outputs

    model, info = build_model("resnet50", N_CLASSES, pretrained=False, size=args.size)
    model = model.eval().to(args.device, memory_format=torch.channels_last)
    x = torch.rand(128, 3, args.size, args.size, device=args.device).to(
        memory_format=torch.channels_last
    )

    @torch.no_grad()
    def forward():
        with torch.autocast(args.device.type, enabled=args.device.type == "cuda"):
            model(x).cpu()

    def ours():
        model_outputs(model, arrays.pixels, info["mean"], info["std"], mixed=True)

    before = rate(args.device, len(x), forward)
    mine = rate(args.device, len(arrays.pixels), ours)
    return mine, (before + rate(args.device, len(x), forward)) / 2


def compare(args):
    "The rows of the table"
    import torch

    from natural_backdoors.train.batches import split_arrays

    args.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    split = photographs(args.work, args.n)
    paths = list(split.table.path)

    def fresh():
        shutil.rmtree(args.cache, ignore_errors=True)
        return decoding(paths, args.size)

    arrays = split_arrays(split, args.size)
    parts = {
        "decoding, all cores": fresh,
        "decoding again, from the store": lambda: decoding(paths, args.size),
        "training the head": lambda: training(split, arrays, args, "head"),
        "training everything": lambda: training(split, arrays, args, "all"),
        "evaluation": lambda: evaluation(arrays, args),
    }
    alone = "the network alone, forward and backward"
    beside = [*["Pillow on one core"] * 2, *[alone] * 2, "the network alone, forward"]
    if args.device.type == "cuda":  # for a CPU it is only a wait
        from natural_backdoors.train.devices import QuickSteps

        parts["training everything, compiled"] = lambda: training(
            split, arrays, args, "all", [QuickSteps()]
        )
        beside.append(alone)
    measured = {name: [] for name in parts}
    for i in range(args.repeat):
        for name, part in parts.items():
            measured[name].append(part())
        print(
            f"round {i + 1}:",
            {name: [round(v, 1) for v in m[-1]] for name, m in measured.items()},
            flush=True,
        )
    rows = []
    for (name, rounds), other in zip(measured.items(), beside):
        # one whole round: a ratio of figures from different rounds would mean nothing
        ours, limit = sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
        rows.append(
            {
                "what": name,
                "images/s": round(ours),
                "beside": other,
                "its images/s": round(limit),
                "ratio": round(ours / limit, 2),
                "size": f"{args.size} px, batches of {args.batch}, ResNet50",
            }
        )
    said = {"device": f"CPU, {torch.get_num_threads()} threads", "torch": torch.__version__}
    if args.device.type == "cuda":
        said |= {
            "device": torch.cuda.get_device_name(),
            "GPU MB": round(torch.cuda.max_memory_allocated() / 1e6),
        }
    return [row | said for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--repeat", type=int, default=3, help="how often; the median counts")
    for key in ("n", "size", "batch"):
        parser.add_argument(f"--{key}", type=int)
    add_flag(parser)
    args = parser.parse_args()
    for key, value in SCALES[args.scale].items():
        setattr(args, key, getattr(args, key) or value)
    # a random network of which only the head is trained: it is meant
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as args.work, tempfile.TemporaryDirectory() as args.cache:
        os.environ["NATURAL_BACKDOORS_CACHE"] = args.cache  # not what was decoded another time
        record(f"training_{args.scale}", compare(args), args.save)
