"""All defenses of training data on a bank of features: `python benchmarks/defenses.py`

    python benchmarks/defenses.py --images 2000 --features 512      smaller
    python benchmarks/defenses.py --defenses spectral spectre       only these

Made-up features of ten classes with a patch in them, as many as a bank may hold (10,000 images of
2,048 features, in half precision), and a clean set of 50 images a class. Each defense runs once,
blind, as a panel would run it; its seconds include the shuffle. Machines are noisy: on a busy one
the sum says little.

`--cleanse` measures Neural Cleanse instead: the masks of ten classes searched for at once, beside
one class at a time with the same pictures and steps.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
from record import add_flag, record

from natural_backdoors.defend.defenses import DEFENSES, ImageSet, defense_class, make_defense
from natural_backdoors.defend.example import made_features
from natural_backdoors.defend.judging import judge_scores, run_blind
from natural_backdoors.defend.neural_cleanse import NeuralCleanse

OF_DATA = [name for name in DEFENSES if defense_class(name).stage == "data"]


def as_a_bank(images):
    "The set with features in half precision, as a bank keeps them"
    return ImageSet(images.labels, images.features.astype(np.float16))


def example_of(n_images, n_features, n_classes=10, rate=0.05):
    "An example with about `n_images` training images"
    each = round(n_images * (1 - rate) / n_classes)
    example = made_features(
        "patch", each, rate, n_classes=n_classes, n_features=n_features, n_clean=50
    )
    given = example.given
    given = replace(given, train=as_a_bank(given.train), clean=as_a_bank(given.clean))
    return example._replace(given=given)


def network_of(n_classes, size):
    "A network of random weights, and random pictures for it"
    import torch

    from natural_backdoors.defend.defenses import Given
    from natural_backdoors.train.models import build_model

    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (64, size, size, 3), dtype=np.uint8)
    images = ImageSet(np.arange(64) % n_classes, pixels=pixels)
    model, _ = build_model("small", n_classes, pretrained=False, size=size)
    return Given(images, n_classes, clean=images, network=model.eval()), torch.get_num_threads()


def cleanse(n_classes=10, size=32, steps=20):
    "Seconds of Neural Cleanse, all masks at once and one class at a time"
    given, threads = network_of(n_classes, size)
    search, rows = NeuralCleanse(steps=steps, batch_size=32, repeats=1), {}
    for way, goals in (("all at once", [None]), ("one at a time", range(n_classes))):
        start, cpu = time.perf_counter(), time.process_time()
        for goal in goals:
            search.search(given, seed=0, goals=None if goal is None else [goal])
        rows[way] = time.perf_counter() - start, time.process_time() - cpu
    ratio = rows["one at a time"][0] / rows["all at once"][0]
    return [
        {
            "network": f"small, {size} px",
            "classes": n_classes,
            "steps": steps,
            "threads": threads,
            "masks": way,
            "seconds": round(seconds, 2),
            "CPU seconds": round(cpu, 2),
            "one at a time / all at once": round(ratio, 2),
        }
        for way, (seconds, cpu) in rows.items()
    ]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--defenses", nargs="+", choices=OF_DATA, default=OF_DATA, metavar="NAME")
    parser.add_argument("--cleanse", action="store_true", help="Neural Cleanse instead")
    add_flag(parser)
    args = parser.parse_args(argv)
    if args.cleanse:
        record("neural_cleanse", cleanse(), args.save)
        return
    example, rows, total = example_of(args.images, args.features), [], 0
    for name in args.defenses:
        cpu = time.process_time()
        run = run_blind(make_defense(name), example.given, example.poison)
        judged = judge_scores(run.result.scores, example.poison, resamples=100)
        row = {
            "images": len(example.poison),
            "features": args.features,
            "defense": name,
            "seconds": round(run.seconds, 2),
            "CPU seconds": round(time.process_time() - cpu, 2),
            "AUROC": round(judged["auroc"]["value"], 3),
        }
        total += run.seconds
        print(row, flush=True)
        rows.append(row)
    print(f"all of them: {total:.1f} s")
    record("defenses", rows, args.save)


if __name__ == "__main__":
    main()
