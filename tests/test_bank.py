"The bank of features beside a dictionary; killed, shared by processes, damaged, without room"

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from natural_backdoors.base import blocks
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng, uniforms
from natural_backdoors.train import features
from natural_backdoors.train.batches import turn_batch
from natural_backdoors.train.features import feature_bank
from natural_backdoors.train.looks import Change
from natural_backdoors.train.models import private_seed, to_input

torch.set_num_threads(1)
SIZE, WIDTH = 16, 8
INFO = {"arch": "net", "size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}


class Net(nn.Module):
    "A small network that counts pictures, and does something before some of them"

    def __init__(self, before=None):
        super().__init__()
        with private_seed(5):
            self.inner = nn.Sequential(
                nn.Conv2d(3, WIDTH, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )
        self.seen, self.before = 0, before

    def forward(self, x):
        self.seen += len(x)
        if self.before:
            self.before(self.seen)
        return self.inner(x)


def draw_images(folder, n=12):
    "PNG files of noise; the last one is a copy of the first"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:02d}.png" for i in range(n)]
    for i, path in enumerate(paths):
        pixels = rng(i % (n - 1)).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def stripe(pixels):
    pixels = pixels.copy()
    pixels[:, :3] = 255
    return pixels


STRIPE = Change("stripe, 3 rows", stripe)


def bank_of(folder, net=None, **kwargs):
    how = dict(change=STRIPE, batch_size=5, device="cpu") | kwargs
    return feature_bank(net or Net(), INFO, folder, **how)


def one_by_one(path, view, changed, augment=1.0, seed=1234, borders="mirror"):
    "The features of one picture by itself"
    import hashlib

    pixels = np.array(Image.open(path).convert("RGB"))[None]
    x = to_input(torch.from_numpy(stripe(pixels) if changed else pixels), [0.5] * 3, [0.25] * 3)
    if view is not None and augment:
        name = hashlib.sha256(path.read_bytes()).hexdigest()
        draws = rng(seed, view, int(name[:16], 16)).random(4, dtype=np.float32)
        how = dict(degrees=30 * augment, shift=0.2 * augment, borders=borders)
        x = turn_batch(x, torch.from_numpy(draws[:, None]), **how)
    with torch.no_grad():
        return Net().eval()(x)[0].half().numpy()


def alike(a, b):
    return np.allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=3e-3, atol=3e-4)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)), max_size=6),
    st.integers(1, 5),
)
def test_many_streams_are_those_of_numpy(seed, pairs, n):
    found = uniforms(seed, [view for view, _ in pairs], np.array([i for _, i in pairs], "u8"), n)
    assert found.shape == (n, len(pairs)) and found.dtype == np.float32
    for column, (view, i) in zip(found.T, pairs):
        assert np.array_equal(column, rng(seed, view, i).random(n, dtype=np.float32))


requests = st.tuples(
    st.sampled_from(["fill", "plain", "view"]),
    st.lists(st.tuples(st.integers(0, 11), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 3),
    st.booleans(),  # asked of a bank that is opened again
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(requests, min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 7))
def test_any_requests_beside_a_dictionary(tmp_path_factory, asked, portion, batch):
    "Subsets, orders, repetitions, views, changed images; nothing is computed twice"
    folder = tmp_path_factory.mktemp("bank")
    paths, net, known = draw_images(folder / "images"), Net(), set()
    keep, features.PORTION = features.PORTION, portion
    try:
        bank = bank_of(folder / "bank", net, batch_size=batch)
        for what, chosen, view, again in asked:
            if again:
                bank = bank_of(folder / "bank", net, batch_size=batch)
            images = bank.images([paths[i] for i, _ in chosen], [changed for _, changed in chosen])
            views = {"fill": [None, *range(view)], "plain": [None], "view": [view]}[what]
            known |= {(i % 11, changed, v) for i, changed in chosen for v in views}
            if what == "fill":
                bank.fill(images, view)
            else:
                rows = bank.plain(images) if what == "plain" else bank.view(images, view)
                alone = [one_by_one(paths[i], views[0], changed) for i, changed in chosen]
                assert rows.dtype == torch.float16 and alike(rows, np.stack(alone))
            assert net.seen == len(known)
    finally:
        features.PORTION = keep


def test_settings_of_views_have_rows_of_their_own(tmp_path):
    paths, net = draw_images(tmp_path / "images"), Net()
    several = dict(seed=1), dict(augment=0.5), dict(borders="nearest"), dict(augment=0.0)
    rows = {}
    for how in several:
        rows[str(how)] = bank_of(tmp_path / "bank", net, **how).view(paths, 1)
        assert alike(rows[str(how)], np.stack([one_by_one(p, 1, False, **how) for p in paths]))
    assert net.seen == 4 * 11 and len({r.numpy().tobytes() for r in rows.values()}) == 4


# Other processes. They are forks of one that has done nothing but import


def said_by(forks, code, *arguments):
    "What a process prints that runs `code` beside this file"
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r})\nfrom test_bank import *\n{code}"
    done = forks.run(code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_forks(*functions):
    "Run functions in processes of their own, all at once; their exit codes"
    children = []
    for function in functions:
        child = os.fork()
        if not child:
            function()
            os._exit(0)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def die():
    os.kill(os.getpid(), 9)


def fill_and_die(images, folder, moment, n):
    "Fill a bank and be killed in the middle of the n-th pass or block"
    features.PORTION, real, written = 2, blocks.write_block, []

    def write(folder, items, kinds, rows):
        written.append(items)
        last = len(written) == n
        if last and moment == "before":
            die()
        if last and moment == "half":
            with blocks.atomic_path(Path(folder) / "half.safetensors") as scratch:
                scratch.write_bytes(b"half of it")
                die()
        file = real(folder, items, kinds, rows)
        if last and moment == "after":
            die()
        return file

    blocks.write_block = write
    passes = lambda seen: die() if moment == "pass" and seen > n else None
    bank_of(folder, Net(passes)).fill(sorted(Path(images).glob("*.png")), 2)


def kill_drill(images, folder, moments):
    "One fork after the other goes on where the last one was killed; how many rows there are then"
    counts = []
    for moment, n in moments:
        (code,) = in_forks(lambda: fill_and_die(images, folder, moment, n))
        bank = bank_of(folder)
        there = [
            bank.store.there(kind, bank.store.index.number) for kind in bank.store.index.places
        ]
        counts.append([code, int(sum(map(sum, there))), len(list(bank.folder.glob(".*")))])
    print(json.dumps(counts))


def fill_slowly(images, folder, number):
    "Begin when all three are ready, every second one from the other end"
    features.PORTION = 1
    bank = bank_of(folder, Net(lambda seen: time.sleep(0.05)))
    paths = sorted(Path(images).glob("*.png"))[:: 1 if number % 2 else -1]
    Path(folder, f"{number}.ready").touch()
    while len(list(Path(folder).glob("*.ready"))) < 3:
        time.sleep(0.01)
    Path(folder, f"{number}.txt").write_text(str(bank.fill(paths, 2).passes))


MOMENTS = [["before", 1], ["half", 2], ["pass", 7], ["after", 1], ["half", 1], ["pass", 1]]


@pytest.fixture(scope="module")
def drills(forks, tmp_path_factory):
    "Images, a bank whose processes were killed, one that three processes filled; what was printed"
    folder = tmp_path_factory.mktemp("drills")
    paths = draw_images(folder / "images")
    (folder / "shared").mkdir()
    code = f"""images, folder = Path(sys.argv[1]), Path(sys.argv[2])
kill_drill(images, folder / "killed", {MOMENTS})
print(in_forks(*(lambda i=i: fill_slowly(images, folder / "shared", i) for i in range(3))))"""
    return paths, folder, said_by(forks, code, folder / "images", folder).splitlines()[-2:]


def test_killed_at_any_point(drills):
    paths, folder, (counts, _) = drills
    # portions of 2 images with 3 looks each; what was begun is lost, what was done is there
    assert json.loads(counts) == [[-9, rows, 0] for rows in (0, 6, 12, 18, 18, 18)]
    net = Net()
    bank = bank_of(folder / "killed", net)
    bank.fill(paths, 2)
    assert net.seen == 33 - 18
    for view in (None, 0, 1):
        rows = bank.plain(paths) if view is None else bank.view(paths, view)
        assert alike(rows, np.stack([one_by_one(p, view, False) for p in paths]))


def test_three_processes_share_the_work(drills):
    "In opposite orders; each picture is computed once, and all of them are done when one returns"
    paths, folder, (_, codes) = drills
    passes = [int(file.read_text()) for file in (folder / "shared").glob("*.txt")]
    assert codes == "[0, 0, 0]" and sum(passes) == 33 and max(passes) < 33
    net = Net()
    rows = bank_of(folder / "shared", net).view(paths, 1)
    assert net.seen == 0 and alike(rows, np.stack([one_by_one(p, 1, False) for p in paths]))


# Damage, and too little room


def flip(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)


DAMAGES = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "one bit": flip,
    "empty": lambda file: file.write_bytes(b""),
    "another file": lambda file: file.write_text('{"a": ' * 5000),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_blocks_are_made_again(tmp_path, damage, is_open, monkeypatch):
    "Those and no others, with a warning, whether the bank was open or not"
    monkeypatch.setattr(features, "PORTION", 4)
    paths, net = draw_images(tmp_path / "images"), Net()
    bank = bank_of(tmp_path / "bank", net)
    bank.fill(paths, 1)
    before = [bank.plain(paths), bank.view(paths, 0)]
    block, seen = bank.store.index.blocks[1], net.seen
    DAMAGES[damage](block.file)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not is_open:
            bank = bank_of(tmp_path / "bank", net)
        after = [bank.plain(paths), bank.view(paths, 0)]
    assert all(alike(a, b) for a, b in zip(before, after))
    again = {len(block.items) * 2}
    if damage == "one bit" or (
        is_open and damage == "cut off"
    ):  # only the rows of the view are not sound
        again = {len(block.items)}
    harmless = is_open and damage == "lengthened"
    assert net.seen - seen in ({0} if harmless else again)
    told = [str(w.message) for w in said if "is damaged" in str(w.message)]
    assert len(told) == (damage != "gone" and not harmless)
    assert all(str(block.file) in text for text in told)


def test_a_block_that_is_damaged_again_and_again(tmp_path, monkeypatch):
    paths, bank = draw_images(tmp_path / "images"), bank_of(tmp_path / "bank")

    def never_sound(self, kind):
        raise ValueError("its rows are not those that were written")

    monkeypatch.setattr(blocks.Block, "rows", never_sound)
    with warnings.catch_warnings(), pytest.raises(UserError, match="is the disk sound"):
        warnings.simplefilter("ignore")
        bank.plain(paths)


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(28, "No space left on device"), "No space left on device; .* is kept: make room"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "the GPU has too little memory for ba"),
        (MemoryError(), "too little memory for batches of 5 images of 16 pixels; lower batch_size"),
    ],
)
def test_without_room_what_is_computed_is_kept(tmp_path, monkeypatch, error, said):
    monkeypatch.setattr(features, "PORTION", 4)
    paths, real = draw_images(tmp_path / "images"), blocks.write_block
    net, n = Net(), iter(range(9))

    def fails(*args):
        if next(n) == 1:
            raise error
        return real(*args)

    def too_much(seen):
        if seen > 12:
            raise error

    if isinstance(error, OSError):
        monkeypatch.setattr(blocks, "write_block", fails)
    else:
        net.before = too_much
    with pytest.raises(UserError, match=said) as caught:
        bank_of(tmp_path / "bank", net).fill(paths, 2)
    assert "computed is kept" in str(caught.value)
    monkeypatch.setattr(blocks, "write_block", real)
    again = Net()
    assert bank_of(tmp_path / "bank", again).fill(paths, 2).passes == again.seen == 33 - 12


def test_a_plan_is_what_is_done_then(tmp_path):
    paths, net = draw_images(tmp_path / "images"), Net()
    bank = bank_of(tmp_path / "bank", net)
    bank.fill(paths[:5], 1)
    plan, seen = bank.plan(paths, 3, measure=False), net.seen
    assert net.seen == seen and plan.seconds is None and plan.images == 11
    assert bank.plan(paths, 3).seconds > 0
    size = sum(f.stat().st_size for f in bank.folder.glob("*.safetensors"))
    assert bank.fill(paths, 3).passes == plan.missing == plan.passes - 10 == 34
    grown = sum(f.stat().st_size for f in bank.folder.glob("*.safetensors")) - size
    assert plan.nbytes == 34 * WIDTH * 2 < grown < plan.nbytes + 5000, "and headers"
