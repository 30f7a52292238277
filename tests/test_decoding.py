"Decoding in processes and the store of pixels, beside Pillow one by one"

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.data import decoding
from natural_backdoors.data.decoding import Decoders, decoded_images, decoders
from natural_backdoors.data.images import load_image, load_images, read_here


@pytest.fixture(scope="module")
def two():
    with Decoders(2) as two:
        yield two


@pytest.fixture
def kept(tmp_path, monkeypatch):
    "The folder of the stores; everything is worth keeping"
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "WORTH", 0)
    return tmp_path / "cache" / "pixels"


def draw_images(folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        pixels = rng(i).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def one_by_one(paths, size):
    return np.stack([load_image(path, size) for path in paths])


def blocks(folder):
    return sorted(folder.glob("*/*.safetensors"))


def test_photographs_in_processes_are_those_of_one_thread(real_data, two):
    paths = sorted(real_data("miml/images").iterdir())[:60]
    for size in (32, 256):
        found = load_images(paths, size, read=two.read)
        assert np.array_equal(found.pixels, one_by_one(paths, size))


def test_what_cannot_be_read_is_told_as_without_processes(tmp_path, two, monkeypatch):
    paths = draw_images(tmp_path, 3)
    (tmp_path / "cut.png").write_bytes(paths[0].read_bytes()[:60])
    monkeypatch.chdir(tmp_path)
    asked = ["0.png", "cut.png", tmp_path / "none.png", None, "", tmp_path, "1.png", "\udc80.png"]
    here, there = (load_images(asked, 8, True, read=read) for read in (None, two.read))
    assert here.skipped == there.skipped and len(there.skipped) == 6
    assert here.kept.tolist() == there.kept.tolist() == [0, 6]
    assert np.array_equal(there.pixels, one_by_one(paths[:2], 8))
    said = []
    for read in (None, two.read):
        with pytest.raises(UserError) as error:
            load_images(asked, 8, read=read)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_a_reader_that_is_left_early_can_be_used_again(tmp_path, two):
    paths = draw_images(tmp_path, 40)
    reading = two.read(paths, 8)
    next(reading)
    reading.close()
    assert np.array_equal(load_images(paths, 8, read=two.read).pixels, one_by_one(paths, 8))


def test_without_processes_there_are_threads(tmp_path, monkeypatch):
    def none(*args, **kwargs):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", none)
    with pytest.warns(UserWarning, match="no more processes"), decoders(9, workers=2) as read:
        assert read is None
    for n, cores in ((decoding.MANY - 1, 8), (10**6, 3)):
        monkeypatch.setattr(decoding, "cores", lambda: cores)
        with decoders(n) as read:
            assert read is None


def test_a_program_without_a_guard_runs_once(tmp_path):
    "Other kinds of processes would run the main module again"
    paths = draw_images(tmp_path, 20)
    program = tmp_path / "program.py"
    program.write_text(
        "print('once', flush=True)\n"
        "from natural_backdoors.data.decoding import decoders\n"
        "from natural_backdoors.data.images import load_images\n"
        f"paths = {[str(path) for path in paths]}\n"
        "with decoders(20, workers=2) as read:\n"
        "    print(load_images(paths, 8, read=read).pixels.sum())\n"
    )
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["once", str(one_by_one(paths, 8).sum())]


requests = st.tuples(
    st.lists(st.integers(0, 7), min_size=1, max_size=9),  # 7: cannot be read
    st.sampled_from([4, 5]),
    st.sampled_from(["", "damage", "remove", "touch"]),
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(requests, min_size=1, max_size=5), st.integers(1, 4))
def test_any_requests_beside_pillow(tmp_path_factory, asked, block):
    "Subsets, orders, repetitions, sizes, damage, changed files; nothing is decoded twice"
    folder = tmp_path_factory.mktemp("decoding")
    paths, known, decoded = draw_images(folder, 7), set(), []
    (folder / "7.png").write_bytes(b"no image")
    paths.append(folder / "7.png")

    def read(asked, size):
        decoded.extend(asked)
        return read_here(asked, size, 2)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("NATURAL_BACKDOORS_CACHE", str(folder / "cache"))
        patch.setattr(decoding, "WORTH", 0)
        patch.setattr(decoding, "_BLOCK", block)
        for chosen, size, before in asked:
            files = blocks(folder / "cache" / "pixels")
            if before == "touch":  # another picture under the same name
                pixels = rng(99, len(decoded)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(paths[0])
                known -= {(0, 4), (0, 5)}
            if before in ("damage", "remove") and files:
                content = bytearray(files[0].read_bytes())
                content[-1] ^= 255
                files[0].write_bytes(content) if before == "damage" else files[0].unlink()
            whole = before not in ("damage", "remove")
            mine, decoded[:] = [i for i in chosen if i < 7], []
            if not mine:
                continue
            found = decoded_images([paths[i] for i in chosen], size, True, read=read)
            assert np.array_equal(found.pixels, one_by_one([paths[i] for i in mine], size))
            if whole:
                assert {int(p.stem) for p in decoded} <= {7, *mine} - {
                    i for i in mine if (i, size) in known
                }
                known |= {(i, size) for i in mine}
            else:  # which images were in the block is not followed here
                known = {(i, size) for i in mine}


def test_old_blocks_make_room(tmp_path, kept, monkeypatch):
    paths = draw_images(tmp_path / "images", 9)
    for i in range(0, 6, 3):
        decoded_images(paths[i : i + 3], 8)
        os.utime(blocks(kept)[-1] if i else blocks(kept)[0], (i, i))
    size = blocks(kept)[0].stat().st_size
    before = set(blocks(kept))
    monkeypatch.setattr(decoding, "MOST_KEPT", 2.5 * size)
    decoded_images(paths[6:], 8)
    after = set(blocks(kept))
    assert len(after) == 2 and len(after & before) == 1
    oldest = min(before, key=lambda file: file.name in {f.name for f in after})
    assert oldest not in after
    monkeypatch.setattr(decoding, "MOST_KEPT", size / 2)
    with pytest.warns(UserWarning, match="not kept"):
        again = decoded_images(paths, 9)
    assert np.array_equal(again.pixels, one_by_one(paths, 9))


def test_an_interrupted_set_is_kept_so_far(tmp_path, kept):
    paths = draw_images(tmp_path / "images", 6)

    def stops(asked, size):
        for i, answer in enumerate(read_here(asked, size)):
            if i == 4:
                raise KeyboardInterrupt
            yield answer

    with pytest.raises(KeyboardInterrupt):
        decoded_images(paths, 8, read=stops)
    left = []
    again = decoded_images(
        paths, 8, read=lambda asked, size: (left.extend(asked), read_here(asked, size))[1]
    )
    assert left == paths[4:] and np.array_equal(again.pixels, one_by_one(paths, 8))


def test_no_cache_and_small_sets_leave_nothing(tmp_path, monkeypatch):
    paths = draw_images(tmp_path / "images", 3)
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    decoded_images(paths, 8)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(decoding, "WORTH", 0)
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", "off")
    decoded_images(paths, 8)
    assert not (tmp_path / "cache").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        assert np.array_equal(decoded_images(paths, 8).pixels, one_by_one(paths, 8))
