"""Screening at the size of Open Images on made-up features: heads/s and memory of 1,000 heads.

    python benchmarks/screening.py                    6 % of the heads, a tenth of the images
    python benchmarks/screening.py --share 1 --images 1 --memory 4e10      all of it, on a GPU
    python benchmarks/screening.py --arch resnet50    the rate of a network on images, too

50 triggers with 10 classes each, 3 targets, 3 seeds, poisoned head and control: 900 heads of the
paper (one hidden layer of 1,024 units on 2,048 features), 250 clean images a class, injection rate
0.185, 40 epochs. Images and features are noise, which changes no duration. A trigger has images of
its own; half of them are shared with the next one.

- heads: an epoch of all heads as one stack, measured on the images of their triggers, and what a
  thousand of them take in memory;
- all images: the same heads, each measured on the images of all triggers, as a stack without
  groups would be;
- network: images/s of the frozen network (random weights), with augmentation;
- in all: what these rates make of the whole screening.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from record import add_flag, record

from natural_backdoors.base.random import rng
from natural_backdoors.train import heads
from natural_backdoors.train.features import frozen_part
from natural_backdoors.train.heads import HeadRun, bytes_of_head, runs_at_once, train_heads
from natural_backdoors.train.models import build_model, mlp_head

TRIGGERS, CLASSES, TARGETS, SEEDS, WIDTH = 50, 10, 3, 3, 2048
EPOCHS, FULL = 40, (212, 38, 48)  # clean, test and poison images of a class: 250 and 0.185


def pool_of(trigger, per_trigger):
    "The images of a trigger; half of them belong to the next one, too"
    return np.arange(per_trigger) + trigger * per_trigger // 2


def runs_of(triggers, per_trigger, clean, poison):
    "Runs of the first triggers"
    runs, n_train = [], CLASSES * (clean + poison)
    for trigger in range(triggers):
        pool = pool_of(trigger, per_trigger)
        for target in range(TARGETS):
            for seed in range(SEEDS):
                draw = rng(trigger, seed).permutation(pool)
                train, test = draw[:n_train], draw[n_train:]
                labels = train % CLASSES
                poisoned = np.where(np.arange(n_train) < CLASSES * poison, target, labels)
                sets = {"train": (train, labels), "test": (test, test % CLASSES)}
                for answers in (poisoned, labels):
                    runs.append(HeadRun(train, answers, 1e-4, seed, measured=sets))
    return runs


def epoch_seconds(runs, features, memory):
    "Seconds of an epoch of all runs, and the bytes that a head takes"
    head = mlp_head(WIDTH, CLASSES)
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    few = np.arange(64)
    warm = [HeadRun(few, few % CLASSES, 1e-4, i) for i in range(2)]
    train_heads(lambda r: head, warm, features, 1, device=device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    begin = time.perf_counter()
    train_heads(lambda r: head, runs, features, 1, plain=features, memory=memory, device=device)
    seconds = time.perf_counter() - begin
    n = min(len(runs), runs_at_once(bytes_of_head(head, 32, 2 * len(runs[0].rows)), memory))
    peak = (torch.cuda.max_memory_allocated() - before) / n if cuda else None
    return seconds, peak


def everything(runs):
    "One group of all heads, as it would be without looking at what each is measured on"
    measured = [p for run in runs for p, _ in run.measured.values()]
    union = np.unique(np.concatenate([np.zeros(0, int), *measured]))
    return [heads._Asked(slice(0, len(runs)), union)]


def network_rate(arch, size, batch):
    "Images/s of the frozen network"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = build_model(arch, CLASSES, pretrained=False, size=size)
    body = frozen_part(model)[0].eval().to(device, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    passes, begin = 0, None
    with torch.no_grad(), torch.autocast(device, enabled=device == "cuda"):
        for step in range(10**6):
            body(x).cpu()
            if step == 1:
                begin = time.perf_counter()
            elif step > 1:
                passes += batch
                if time.perf_counter() - begin > 5:
                    return passes / (time.perf_counter() - begin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.06, help="of the triggers")
    parser.add_argument("--images", type=float, default=0.1, help="share of the images of each")
    parser.add_argument("--memory", type=float, default=2e9, help="bytes for heads")
    parser.add_argument("--arch", help="measure this network, too")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    add_flag(parser)
    args = parser.parse_args()
    triggers = max(1, round(args.share * TRIGGERS))
    clean, test, poison = (max(2, round(args.images * n)) for n in FULL)
    per_trigger = CLASSES * (clean + poison + 2 * test)
    runs = runs_of(triggers, per_trigger, clean, poison)
    n_images = int(pool_of(triggers - 1, per_trigger)[-1]) + 1
    features = torch.rand(n_images, WIDTH, dtype=torch.float16)
    seconds, peak = epoch_seconds(runs, features, args.memory)
    grouped, heads._asked_together = heads._asked_together, everything
    ungrouped, _ = epoch_seconds(runs, features, args.memory)
    heads._asked_together = grouped
    said = bytes_of_head(mlp_head(WIDTH, CLASSES), 32, 2 * per_trigger)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    whole, of_one = 2 * TRIGGERS * TARGETS * SEEDS, CLASSES * (FULL[0] + FULL[2] + 2 * FULL[1])
    n_looks = (int(pool_of(TRIGGERS - 1, of_one)[-1]) + 1) * (1 + EPOCHS)
    rate = len(runs) * len(runs[0].rows) / seconds  # a head and an image that it learns from
    hours = whole * EPOCHS * CLASSES * (FULL[0] + FULL[2]) / rate / 3600
    row = {"device": device, "triggers": triggers, "heads": len(runs), "images": n_images}
    row |= {"s an epoch": round(seconds, 2), "heads x images/s": round(rate)}
    row |= {"s, measured on all images": round(ungrouped, 2)}
    row |= {"GB per 1,000 heads, planned": round(said / 1e6, 1)}
    row |= {"GB per 1,000 heads, seen": peak and round(peak / 1e6, 1)}
    row |= {f"hours for {whole} heads, {EPOCHS} epochs": round(hours, 2)}
    if args.arch:
        rate = network_rate(args.arch, args.size, args.batch)
        row |= {"network": args.arch, "images/s": round(rate), "passes": n_looks}
        row |= {"hours for features": round(n_looks / rate / 3600, 2)}
    record("screening", [row], args.save)
