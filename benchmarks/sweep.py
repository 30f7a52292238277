"""A sweep on a frozen network beside the same runs one at a time (some minutes).

    python benchmarks/sweep.py                     10 classes x 12 images of 64 pixels, 6 epochs
    python benchmarks/sweep.py --scale gpu         10 classes x 250 images of 256 pixels, 40 epochs
    python benchmarks/sweep.py --plain 24          train all runs one at a time, not only some
    python benchmarks/sweep.py --repeat 1          once; the least of several times is reported

24 runs, 3 targets x 8 injection rates, ResNet50 frozen up to the paper's head, as many views as
epochs. Weights are random (nothing is downloaded); that changes no duration. The pictures are
noise, and as many as the runs need.

- sweep: `natural_backdoors.sweep`, everything from the image files to the table of results;
- plain: `train_split` for each run, without the control and without writing models or
  checkpoints. A run costs what its injection rate costs, so that by default four are trained,
  with rates from the lowest to the highest, and counted six times;
- a study, half of whose images are new: its features, where another study has filled the bank
  with the other half, beside the same with an empty bank;
- the network alone, on a GPU in three ways: in mixed precision as PyTorch does it, in half
  precision, and that compiled. It is given images that are on the device already, right before and
  right after the sweep, in the same process, and nothing else is done: the limit for the bank.

Both are processes of their own, and they take turns. On a machine that does other work at the same
time read the ratios, and of these that of CPU seconds.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from record import add_flag, record

RATES = [0.01, 0.05, 0.1, 0.15, 0.185, 0.2, 0.25, 0.3]
SCALES = {"cpu": dict(n_clean=12, size=64, epochs=6), "gpu": dict(n_clean=250, size=256, epochs=40)}
N_CLASSES, TARGETS = 10, 3


def dataset(folder, n_clean, size):
    "Pictures of noise: `n_clean` of each class, and with the trigger what the highest rate needs"
    import pandas as pd
    from PIL import Image

    from natural_backdoors.base.random import rng
    from natural_backdoors.data.table import TableDataset

    n_poison, rows, draw = int(0.6 * n_clean) + 3, [], rng(0)
    Path(folder).mkdir(exist_ok=True)
    for c in range(N_CLASSES):
        for i in range(n_clean + n_poison):
            name = f"{c}-{i}.jpg"
            if not (Path(folder) / name).exists():
                coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
                picture.save(Path(folder) / name, quality=90)
            rows += [(name, f"class{c}")] + [(name, "trigger")] * (i >= n_clean)
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]), name="noise", image_root=str(folder)
    )


def runs_of(data, settings):
    from natural_backdoors.train.grids import make_grid

    return make_grid(
        data,
        {"trigger": [f"class{c}" for c in range(N_CLASSES)]},
        TARGETS,
        RATES,
        archs=["resnet50"],
        pretrained=False,
        **settings,
    )


def peak():
    "Highest memory of this process, and of its GPU, in MB"
    import torch

    gpu = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0
    return {
        "MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "GPU MB": round(gpu),
    }


def sweep_part(data, runs, args):
    from natural_backdoors.train.sweeps import sweep

    size = runs[0].recipe.size
    before, banks = network_alone(size, args.batch), args.work / "sweep" / "banks"
    begin, cpu = time.perf_counter(), time.process_time()
    how = {"bank_batch": args.batch, "banks": banks, "progress": False}
    result = sweep(data, runs, args.work / "sweep", **how)
    spent = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    quick = said_of_bank(args, runs[0].recipe)
    assert result.failed.empty and result.table.run.nunique() == len(runs), result.failed
    return {
        "runs": len(runs),
        "alone": [before, network_alone(size, args.batch)],
        "half": limits_of_half(size, args.batch),
        "quick": quick,
        "studies": studies(args, runs[0].recipe),
        **spent,
        **result.speeds[0],
    }


def studies(args, recipe):
    "Seconds for the features of a study, and of a second one, half of whose images are new"
    from natural_backdoors.train.features import feature_bank, frozen_part
    from natural_backdoors.train.models import build_model

    model, info = build_model("resnet50", N_CLASSES, pretrained=False, size=recipe.size)
    images, seconds = sorted((args.work / "images").glob("*.jpg")), []
    half = len(images) // 3
    for bank, first in (("one", 0), ("one", half), ("other", half)):
        folder = args.work / "sweep" / bank
        filling = feature_bank(frozen_part(model)[0], info, folder, batch_size=args.batch)
        seconds.append(filling.fill(images[first : first + 2 * half], recipe.epochs).seconds)
    return seconds


def plain_part(data, runs, args):
    from natural_backdoors.train.grids import draw_split
    from natural_backdoors.train.runs import train_split

    # sorted by rate, so that those which are taken stand for all
    runs = sorted(runs, key=lambda run: run.split.inject_rate)
    runs = [runs[i] for i in np.linspace(0, len(runs) - 1, args.plain).round().astype(int)]
    for run in runs:
        train_split(
            draw_split(data, run),
            args.work / "plain" / run.hash,
            run.recipe,
            controls=(),
            progress=False,
            save_model=False,
            checkpoint=False,
        )
    return {"runs": len(runs)}


def said_of_bank(args, recipe):
    "Which fast ways the bank takes here, and how far half precision is from 32 bits"
    from natural_backdoors.train.features import _at_work, feature_bank, frozen_part
    from natural_backdoors.train.models import build_model

    model, info = build_model("resnet50", N_CLASSES, pretrained=False, size=recipe.size)
    bank = feature_bank(frozen_part(model)[0], info, args.work / "said", batch_size=args.batch)
    with _at_work(bank.network):
        quick = bank.network.quick
    return quick and {"said": quick.said, "difference": quick.difference}


def network_alone(size, batch, half=False, compiled=False):
    "Images/s of the frozen network"
    import torch

    from natural_backdoors.train.models import build_model

    device, passes = "cuda" if torch.cuda.is_available() else "cpu", 0
    (body, _), _ = build_model("resnet50", N_CLASSES, pretrained=False, size=size)
    body = body.eval().to(device, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    if half:
        body, x = body.half(), x.half()
    body = torch.compile(body, dynamic=False) if compiled else body
    with torch.no_grad(), torch.autocast(device, enabled=device == "cuda" and not half):
        for _ in range(2):
            body(x).cpu()
        begin = time.perf_counter()
        while time.perf_counter() - begin < 5:
            body(x).cpu()
            passes += batch
    return passes / (time.perf_counter() - begin)


def limits_of_half(size, batch):
    "The same in half precision, and compiled; None where there is no GPU or no compiler"
    import torch

    found = []
    for compiled in (False, True) if torch.cuda.is_available() else ():
        try:
            found.append(network_alone(size, batch, half=True, compiled=compiled))
        except Exception as e:  # a compiler that is not there, say
            print(f"not measured: half, compiled={compiled}: {e}"[:300], file=sys.stderr)
            found.append(None)
    return found


PARTS = {"sweep": sweep_part, "plain": plain_part}


def part(name, args):
    "Carry out one part in this process and print what it took"
    import torch

    warnings.simplefilter("ignore")  # only the head is trained, on random weights: it is meant
    data = dataset(args.work / "images", args.settings["n_clean"], args.settings["size"])
    runs = runs_of(data, args.settings)
    if torch.cuda.is_available():
        torch.zeros(1).cuda()  # starting CUDA is not what is measured
    begin, cpu = time.perf_counter(), time.process_time()
    done = PARTS[name](data, runs, args)
    spent = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(json.dumps({**spent, **done, **peak(), "device": device, "torch": torch.__version__}))


def process(name, args):
    "What a process of its own prints about a part"
    command = [
        sys.executable,
        __file__,
        "--part",
        name,
        "--scale",
        args.scale,
        "--work",
        str(args.work),
        "--plain",
        str(args.plain),
        "--batch",
        str(args.batch),
    ]
    for key, value in args.settings.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare(args):
    "The rows of the table"
    dataset(args.work / "images", args.settings["n_clean"], args.settings["size"])
    measured = []
    for i in range(args.repeat):
        measured.append([process(name, args) for name in PARTS])
        print(
            f"round {i + 1}:",
            {n: round(p["seconds"], 1) for n, p in zip(PARTS, measured[-1])},
            flush=True,
        )
        shutil.rmtree(args.work / "sweep")  # the features are to be computed again
    sweep, plain = (min(parts, key=lambda p: p["seconds"]) for parts in zip(*measured))
    times, s = sweep["runs"] / plain["runs"], args.settings
    bank, limit = sweep["bank_passes"] / sweep["bank_seconds"], sum(sweep["alone"]) / 2
    what = f"{N_CLASSES} classes x {s['n_clean']} images, {s['size']} px, {s['epochs']} epochs"
    what += ", ResNet50"
    memory = lambda part: {key: part[key] for key in ("MB", "GPU MB")}
    said = {"device": sweep["device"], "torch": sweep["torch"]}
    rows = [
        {
            "what": f"{sweep['runs']} runs one at a time"
            + f" ({plain['runs']} of them measured)" * (times > 1),
            "s": plain["seconds"] * times,
            "CPU s": plain["cpu"] * times,
        }
        | memory(plain),
        {"what": f"{sweep['runs']} runs as a sweep", "s": sweep["seconds"], "CPU s": sweep["cpu"]}
        | memory(sweep),
        {"what": "  of this: features", "s": sweep["bank_seconds"], "images/s": bank},
        {"what": "  of this: heads", "s": sweep["heads_seconds"]},
        {"what": "features of a study, half of whose images are new", "s": sweep["studies"][1]}
        | {"of a whole one": sweep["studies"][1] / sweep["studies"][2]},
        {"what": "the network alone", "images/s": limit},
    ]
    for name, found in zip(("half precision", "half precision, compiled"), sweep["half"]):
        rows.append({"what": f"the network alone, {name}", "images/s": found or "not measured"})
    if sweep["quick"]:
        for way, why in sweep["quick"]["said"].items():
            rows.append({"what": f"  features: {way}", "taken": f"no: {why}" if why else "yes"})
        rows[-1]["from 32 bits"] = float(sweep["quick"]["difference"])
    rows[1] |= {
        "times faster": rows[0]["s"] / rows[1]["s"],
        "times less CPU": rows[0]["CPU s"] / rows[1]["CPU s"],
    }
    rows[2]["of the limit"] = bank / limit
    short = lambda v: round(v, 2 if v < 100 else 0) if isinstance(v, float) else v
    return [{"size": what} | {k: short(v) for k, v in row.items()} | said for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--plain", type=int, default=4, help="how many runs to train one at a time")
    parser.add_argument("--repeat", type=int, default=2, help="how often")
    parser.add_argument("--batch", type=int, default=0, help="images at a time for the bank")
    for key in ("n_clean", "size", "epochs"):
        parser.add_argument(f"--{key}", type=int)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    add_flag(parser)
    args = parser.parse_args()
    args.batch = args.batch or (256 if args.scale == "gpu" else 32)
    args.settings = {k: getattr(args, k) or v for k, v in SCALES[args.scale].items()}
    if args.part:
        part(args.part, args)
    else:
        with tempfile.TemporaryDirectory() as args.work:
            args.work = Path(args.work)
            record(f"sweep_{args.scale}", compare(args), args.save)
