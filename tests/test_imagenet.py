"ImageNet ReaL on the real labels; label maps as torch reads them; killed, damaged, two at once"

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import natural_backdoors.data.relabel as relabel
from natural_backdoors.base.errors import UserError
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.datasets import open_dataset
from natural_backdoors.data.imagenet import ImageNetReaL, read_class_index
from natural_backdoors.data.relabel import GRID, ImageNetReLabel, classes_present, read_folder
from natural_backdoors.data.torch_files import load_tensor
from natural_backdoors.graph.overlaps import count_overlaps
from natural_backdoors.sets.triggers import find_triggers

WNIDS = [f"n{1440764 + 13_000 * i:08d}" for i in range(1000)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


def write_index(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "imagenet_class_index.json").write_text(
        json.dumps({i: [w, f"class_{i}"] for i, w in enumerate(WNIDS)})
    )


def draw_maps(n, seed=0):
    "Label maps with ties, unsorted candidates and probabilities on both sides of the threshold"
    draw = np.random.default_rng(seed)
    scores = draw.normal(0, 1, (n, *GRID[1:]))
    scores[:, 0] += draw.choice([0, 5, 6.5, 9], (n, 15, 15), p=[0.9, 0.05, 0.03, 0.02])
    return np.stack([scores, draw.integers(0, 1000, scores.shape)], axis=1).astype(np.float32)


def slow(m, threshold, topk=1):
    "The rule of the published code by plain loops, corners left out"
    found = set()
    for y in range(15):
        for x in range(15):
            if (y, x) in ((0, 0), (0, 14), (14, 0), (14, 14)):
                continue
            scores = [float(v) for v in m[0, :, y, x]]
            e = [math.exp(v - max(scores)) for v in scores]
            found |= {
                int(m[1, k, y, x])
                for k in range(topk)
                if np.float32(e[k] / sum(e)) >= np.float32(threshold)
            }
    return found


def labels_of(data):
    "image -> class ids"
    m = data.label_matrix()
    return {image: set(m.matrix[[i]].indices.tolist()) for i, image in enumerate(m.images)}


# ---- ReaL, the real labels


@pytest.fixture(scope="module")
def real(real_data):
    return ImageNetReaL(real_data("imagenet_real"))


def test_real_counts(real):
    labels = real.label_matrix()
    assert (
        labels.split == "val"
        and labels.shape == (50_000, 1000)
        and real.n_unlabeled == (labels.matrix.sum(axis=1) == 0).sum() == 50_000 - 46_837
    )
    found = find_triggers(real, min_overlaps=10)
    assert len(found.overlaps.pairs(10)) == 245 and len(found.overlaps.pairs(15)) == 154
    assert len(count_overlaps(labels).pairs(10)) == 245


def test_real_against_json(real, real_data):
    folder = real_data("imagenet_real")
    ids = json.loads((folder / "real.json").read_text())
    index = json.loads((folder / "imagenet_class_index.json").read_text())
    labels = real.label_matrix()
    expected = {f"ILSVRC2012_val_{i + 1:08d}": sorted(set(c)) for i, c in enumerate(ids)}
    m = labels.matrix
    found = {
        image: m.indices[a:b].tolist() for image, a, b in zip(labels.images, m.indptr, m.indptr[1:])
    }
    assert found.keys() == expected.keys(), "images without a label too"
    assert [image for image in expected if found[image] != expected[image]] == []
    assert real.labels == [index[str(i)][0] for i in range(1000)]
    assert [n.replace(" ", "_") for n in real.classes.name] == [
        index[str(i)][1] for i in range(1000)
    ]
    assert (real.classes.name == "crane").sum() == 2 and real.resolve("n02012849") == 134
    with pytest.raises(UserError, match=r"n02012849 \(id 134\), n03126707 \(id 517\)"):
        real.resolve("crane")


def test_managers_keep_the_contract(real, tmp_path):
    assert not len(check_manager(real))
    torch = pytest.importorskip("torch")
    write_maps(torch, tmp_path / "data")
    assert not len(check_manager(ImageNetReLabel(tmp_path / "data", progress=False)))


def test_real_is_found_by_name(real_data):
    data = open_dataset("imagenet_real", real_data("imagenet_real"), image_root="/images")
    assert data.src_path("ILSVRC2012_val_00000001") == Path("/images/ILSVRC2012_val_00000001.JPEG")


@settings(max_examples=8, deadline=None)
@given(
    labeled=st.dictionaries(
        st.integers(0, 49_999),
        st.lists(st.integers(0, 999), min_size=1, max_size=4),
        min_size=1,
        max_size=30,
    )
)
def test_real_property(labeled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    write_index(folder)
    (folder / "real.json").write_text(json.dumps([labeled.get(i, []) for i in range(50_000)]))
    labels = ImageNetReaL(folder).label_matrix()
    assert labels.shape == (50_000, 1000)
    found = {}
    for i, label in zip(*map(list, labels.matrix.nonzero())):
        found.setdefault(str(labels.images[i]), set()).add(int(label))
    assert found == {f"ILSVRC2012_val_{i + 1:08d}": set(c) for i, c in labeled.items()}


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_any_json_is_read_or_refused(value):
    path = Path(os.environ["NATURAL_BACKDOORS_CACHE"]).parent / "any.json"
    path.write_text(json.dumps(value))
    for read in (read_class_index, ImageNetReaL(path, class_index=path).rows):
        with pytest.raises(UserError):
            read(path) if read is read_class_index else read()


# ---- one file, against torch


def saved(torch, tensor, path, zipped=True, **options):
    torch.save(tensor, path, _use_new_zipfile_serialization=zipped, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_load_tensor_equals_torch(tmp_path, zipped, dtype):
    torch = pytest.importorskip("torch")
    base = torch.from_numpy(draw_maps(3)).to(getattr(torch, dtype))
    tensors = {
        "whole": base,
        "one": base[1],
        "transposed": base[0].transpose(1, 3),
        "steps": base[:, :, ::2, 3:9:3],
        "expanded": base[0, 0, :1].expand(4, 15, 15),
        "scalar": base[0, 0, 0, 0, 0],
        "empty": base[:0],
        "grown": base[2].clone().requires_grad_(),
    }
    for name, tensor in tensors.items():
        path = saved(torch, tensor, tmp_path / f"{name}.pt", zipped)
        found, expected = (
            load_tensor(path),
            torch.load(path, weights_only=True).detach().float().numpy(),
        )
        assert found.shape == expected.shape and (found.astype(np.float32) == expected).all(), name


@pytest.mark.parametrize("zipped", [True, False])
def test_other_ways_of_saving(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    m = torch.from_numpy(draw_maps(1)[0])
    with open(tmp_path / "handle.pt", "wb") as f:
        saved(torch, m, f, zipped)
    for protocol in (2, 3, 4, 5):
        saved(torch, m, tmp_path / f"p{protocol}.pt", zipped, pickle_protocol=protocol)
    for path in tmp_path.glob("*.pt"):
        assert (load_tensor(path) == m.numpy()).all(), path


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_tensor_is_refused(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    m = torch.zeros(3)
    for value in (
        {"a": m},
        [m, m],
        (m,),
        "text",
        torch.nn.Linear(2, 2),
        torch.nn.Parameter(m),
        torch.arange(3),
        m > 0,
        Path("x"),
        m.to_sparse(),
        np.zeros(3),
        torch.zeros(3, dtype=torch.complex64),
    ):
        path = saved(torch, value, tmp_path / "other.pt", zipped)
        with pytest.raises(UserError, match="other.pt: it"):
            load_tensor(path)


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_file_is_refused_and_not_run(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "harm"
    path = saved(torch, Malicious(mark), tmp_path / "n01440764_1.pt", zipped)
    with pytest.raises(UserError, match=r"n01440764_1\.pt: it names 'posix\.system'"):
        load_tensor(path)
    tensor_and_more = saved(
        torch, [torch.zeros(3), Malicious(mark)], tmp_path / "n01440764_2.pt", zipped
    )
    with pytest.raises(UserError, match="posix.system"):
        load_tensor(tensor_and_more)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # it would have
    assert mark.exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), zipped=st.booleans())
def test_damaged_bytes_are_refused_or_harmless(data, zipped):
    "A change of bytes outside the numbers gives the same tensor, another, or a UserError"
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(torch.arange(20.0).reshape(4, 5), buffer, _use_new_zipfile_serialization=zipped)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content)] * 4 + [len(content) // 2]))]
    path = Path(os.environ["NATURAL_BACKDOORS_CACHE"]).parent / "damaged.pt"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's remarks
        try:
            load_tensor(path)
        except UserError as e:
            assert "damaged.pt: " in str(e) and "\n" not in str(e)


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=200))
def test_any_pickle_is_refused(content):
    path = Path(os.environ["NATURAL_BACKDOORS_CACHE"]).parent / "any.pt"
    path.write_bytes(b"\x80\x02" + content)
    with pytest.raises(UserError):
        load_tensor(path)


def test_large_claims(tmp_path):
    "A small file cannot ask for much memory or time"
    torch = pytest.importorskip("torch")
    for n, tensor in enumerate((torch.zeros(1).expand(10**9), torch.zeros(1).expand(10**5, 10**5))):
        for zipped in (True, False):
            with pytest.raises(UserError, match="larger than its numbers"):
                load_tensor(saved(torch, tensor, tmp_path / f"{n}{zipped}.pt", zipped))
    laughs = b"\x80\x02)" + b"2\x86" * 60 + b"}" + b"\x8c\x01a\x86."
    for program in (laughs, b"\x80\x02}" + b")" + b"q\x00h\x00\x86q\x00" * 60 + b"K\x01s."):
        (tmp_path / "laughs.pt").write_bytes(program)
        with pytest.raises(UserError):
            load_tensor(tmp_path / "laughs.pt")


# ---- the rule

cell_scores = st.sampled_from([-30, -1, 0, 0.5, 1, 3, 4.9, 5.1, 5.2, 5.5, 6, 6.5, 20, 3e38])


@settings(max_examples=40, deadline=None)
@given(
    scores=hnp.arrays(
        np.float32,
        (2, 5, 15, 15),
        elements=cell_scores.map(np.float32),
        fill=st.just(np.float32(0)),
    ),
    ids=hnp.arrays(
        np.int16, (2, 5, 15, 15), elements=st.integers(0, 999), fill=st.integers(0, 999)
    ),
    threshold=st.sampled_from(
        [0.01, 0.2, float(np.nextafter(np.float32(0.2), np.float32(1))), 0.25, 0.5, 0.9, 0.994, 1.0]
    ),
    topk=st.integers(1, 5),
)
def test_rule_property(scores, ids, threshold, topk):
    maps = np.stack([scores, ids.astype(np.float32)], axis=1)
    at, found = classes_present(maps, threshold, topk)
    for i, m in enumerate(maps):
        assert found[at == i].tolist() == sorted(slow(m, threshold, topk))


def test_rule_equals_the_published_code():
    torch = pytest.importorskip("torch")
    maps = draw_maps(60)
    for threshold in (0.3, 0.9, 0.994):
        at, found = classes_present(maps, threshold)
        for i, m in enumerate(torch.from_numpy(maps.copy())):
            for y in (0, -1):
                for x in (0, -1):
                    m[:, :, y, x] = torch.zeros(2, 5)
            p = torch.nn.Softmax(dim=0)(m[0])[0]
            expected = {int(c) for c in m[1, 0][p >= threshold]}
            assert set(found[at == i].tolist()) == expected == slow(maps[i], threshold)


def test_corners_do_not_count_at_a_low_threshold():
    m = np.zeros((1, *GRID), np.float32)
    m[0, 1] = np.arange(225).reshape(15, 15) + 100
    found = classes_present(m, 0.1)[1]
    assert len(found) == 221 and 0 not in found and not {100, 114, 310, 324} & set(found.tolist())


# ---- folders


def write_maps(torch, root, n_folders=3, n=5, zipped=True, seed=0):
    "Label maps of `n_folders` classes; image -> labels by the slow way"
    write_index(root)
    expected = {}
    for k in range(n_folders):
        (root / "maps" / WNIDS[k]).mkdir(parents=True)
        for i, m in enumerate(draw_maps(n, seed + k)):
            # names of different lengths give files of different sizes
            image = f"{WNIDS[k]}_{7**i}"
            new = zipped if zipped is not None else i % 2 == 0
            saved(torch, torch.from_numpy(m), root / "maps" / WNIDS[k] / f"{image}.pt", new)
            if found := slow(m, relabel.THRESHOLD):
                expected[image] = found
    return expected


@pytest.mark.parametrize("zipped", [True, False, None])
def test_folders_equal_loops(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n=70, zipped=zipped)
    data = ImageNetReLabel(tmp_path / "data", progress=False)
    assert labels_of(data) == expected and data.counts["files"] == 210
    assert list(labels_of(data)) == sorted(expected, key=lambda i: i + ".pt")
    assert labels_of(ImageNetReLabel(tmp_path / "data", progress=False)) == expected
    assert (
        data.labels == WNIDS
        and data.src_path("n01440764_7") == tmp_path / "data" / "n01440764" / "n01440764_7.JPEG"
    )


def test_other_number_types(tmp_path):
    torch = pytest.importorskip("torch")
    write_index(tmp_path)
    m = torch.from_numpy(draw_maps(1)[0])
    folder = tmp_path / WNIDS[0]
    folder.mkdir()
    batch = torch.stack([m, m])
    turned = m.transpose(2, 3).contiguous().transpose(2, 3)
    for name, t in {
        "f8": m.double(),
        "f2": m.half(),
        "view": batch[1],
        "turned": turned,
        "bf16": m.bfloat16(),
    }.items():
        torch.save(t, folder / f"{WNIDS[0]}_{name}.pt")
    found = read_folder(folder)
    (bad,) = found["bad"].tolist()
    assert bad.startswith(f"{WNIDS[0]}_bf16.pt: ") and "bfloat16" in bad
    labels = {
        i: set(found["label"][found["image"] == k].tolist())
        for k, i in enumerate(found["images"].astype(str))
    }
    assert set(labels) == {f"{WNIDS[0]}_{n}" for n in ("f8", "f2", "view", "turned")}
    for name in ("f8", "view", "turned"):
        assert labels[f"{WNIDS[0]}_{name}"] == slow(m.numpy(), 0.994)
    assert labels[f"{WNIDS[0]}_f2"] == slow(m.half().float().numpy(), 0.994)


def test_big_endian_archive(tmp_path):
    "A file written on a big-endian machine"
    torch = pytest.importorskip("torch")
    m = draw_maps(1)[0]
    saved(torch, torch.from_numpy(m), tmp_path / "little.pt")
    with (
        zipfile.ZipFile(tmp_path / "little.pt") as old,
        zipfile.ZipFile(tmp_path / "big.pt", "w") as new,
    ):
        for i in old.infolist():
            data = old.read(i)
            if i.filename.endswith("byteorder"):
                data = b"big"
            if i.filename.endswith("data/0"):
                data = m.astype(">f4").tobytes()
            new.writestr(i.filename, data)
    assert (load_tensor(tmp_path / "big.pt") == m).all()


def damaged(torch, good):
    "Contents of files that are no label maps, and what is said about each"

    def dumped(value):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()

    m = torch.from_numpy(draw_maps(1)[0])

    def changed(where, value):
        copy = m.clone()
        copy[where] = value
        return dumped(copy)

    return {
        "empty": (b"", "empty"),
        "cut": (good[:-1], "not complete"),
        "half": (good[:5000], "not complete"),
        "page": (b"<html>404</html>", "not a file of PyTorch"),
        "shape": (dumped(m[:, :, :7]), r"shape \[2, 5, 7, 15\]"),
        "one": (dumped(m[0]), "shape"),
        "id": (changed((1, 3, 5, 5), 1000), "1000 is not a class id"),
        "negative": (changed((1, 3, 5, 5), -1), "-1 is not a class id"),
        "part": (changed((1, 0, 5, 5), 7.5), "7.5 is not a class id"),
        "nan_id": (changed((1, 0, 5, 5), np.nan), "nan is not a class id"),
        "huge": (changed((1, 0, 5, 5), 65536.0), "65536 is not a class id"),
        "nan": (changed((0, 4, 5, 5), np.nan), "not a finite number"),
        "inf": (changed((0, 0, 5, 5), np.inf), "not a finite number"),
        "ints": (dumped(m.long()), "torch.LongStorage"),
        "dict": (dumped({"m": m}), "holds a dict"),
    }


def test_damaged_files(tmp_path):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n_folders=1, n=3)
    folder = tmp_path / "data" / "maps" / WNIDS[0]
    cases = damaged(torch, next(folder.glob("*.pt")).read_bytes())
    for name, (content, said) in cases.items():
        bad = folder / f"{WNIDS[0]}_bad_{name}.pt"
        bad.write_bytes(content)
        with pytest.raises(UserError, match=said) as e:
            ImageNetReLabel(tmp_path / "data", progress=False).classes
        assert (
            str(bad) in str(e.value)
            and "skip_unreadable" in str(e.value)
            and "\n" not in str(e.value)
        )
        bad.unlink()
    for name, (content, _) in cases.items():
        (folder / f"{WNIDS[0]}_bad_{name}.pt").write_bytes(content)
    (folder / f"{WNIDS[0]}_gone.pt").symlink_to(tmp_path / "nowhere")
    (folder / "._hidden.pt").write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = ImageNetReLabel(tmp_path / "data", skip_unreadable=True, progress=False)
        assert labels_of(data) == expected and data.counts["unreadable"] == len(cases) + 1


def test_junk_in_corners_is_allowed(tmp_path):
    torch = pytest.importorskip("torch")
    m = torch.from_numpy(draw_maps(1)[0])
    expected = slow(m.numpy(), 0.994)
    m[:, :, 0, 0], m[:, :, -1, 0], m[1, :, 0, -1], m[0, :, -1, -1] = np.nan, np.inf, -5, 1e30
    torch.save(m, tmp_path / "n01440764_1.pt")
    found = read_folder(tmp_path)
    assert set(found["label"].tolist()) == expected and not len(found["bad"])


def test_odd_file_names(tmp_path):
    torch = pytest.importorskip("torch")
    write_index(tmp_path)
    folder, m = tmp_path / WNIDS[0], torch.from_numpy(draw_maps(1)[0])
    folder.mkdir()
    for name in ("other", f"{WNIDS[0]}_Café", f"{WNIDS[0]}_a, b"):
        torch.save(m, folder / f"{name}.pt")
    data = ImageNetReLabel(tmp_path, image_root="/i", progress=False)
    assert set(labels_of(data)) == {f"{WNIDS[0]}/other", f"{WNIDS[0]}_Café", f"{WNIDS[0]}_a, b"}
    assert data.src_path(f"{WNIDS[0]}/other") == Path("/i") / WNIDS[0] / "other.JPEG"
    os.rename(folder / "other.pt", os.fsencode(folder) + b"/\xff.pt")
    with pytest.raises(UserError, match="not UTF-8"):
        read_folder(folder)


# ---- stale, killed, at the same time


def opened(monkeypatch):
    "A list that gets the name of each label map that is read"
    names, fill = [], relabel._fill

    def watch(folder, files, rows):
        names.extend(files)
        return fill(folder, files, rows)

    monkeypatch.setattr(relabel, "_fill", watch)
    return names


def test_only_changed_folders_are_read_again(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    expected, names = write_maps(torch, tmp_path / "data"), opened(monkeypatch)

    def read():
        names.clear()
        found = labels_of(ImageNetReLabel(tmp_path / "data", progress=False))
        return found, len(names)

    assert read() == (expected, 15) and read() == (expected, 0)
    m, path = draw_maps(1, 99)[0], tmp_path / "data" / "maps" / WNIDS[1] / f"{WNIDS[1]}_7.pt"
    torch.save(torch.from_numpy(m), path)
    with pytest.warns(UserWarning, match="1 of 3 folders were read anew.*older state"):
        found = read()
    changed = {**expected, path.stem: slow(m, 0.994)}
    assert found == (changed, 5) and read() == (changed, 0)
    path.rename(path.with_name(f"{WNIDS[1]}_8.pt"))
    with pytest.warns(UserWarning, match="1 of 3"):
        assert read()[1] == 5
    some = next((tmp_path / "cache" / "relabel").iterdir())
    some.write_bytes(some.read_bytes()[:100])
    with pytest.warns(UserWarning, match="damaged"):
        assert read()[1] == 5
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", "off")
    assert read()[1] == 15
    assert len(ImageNetReLabel(tmp_path / "data", 0.5, progress=False).label_matrix().images) == 15


CHILD = """
import os, sys, time
import natural_backdoors.data.relabel as relabel
fill = relabel._fill
def slowly(folder, names, rows): # says what it reads, and gives time to be killed
    time.sleep(.05)
    print(*names, sep="\\n", flush=True)
    return fill(folder, names, rows)
relabel._fill = slowly
data = relabel.ImageNetReLabel(sys.argv[1], progress=False, processes=1)
print("done", len(data.label_matrix().images), flush=True)
"""


def test_killed_in_the_middle(forks, tmp_path):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n_folders=12)
    first, seen = forks.start(CHILD, tmp_path / "data"), []
    for line in first.stdout:  # the sixth folder has been begun: five are done
        seen.append(line.strip())
        if line.startswith(WNIDS[5]):
            break
    first.send_signal(signal.SIGKILL)
    seen += [line.strip() for line in first.stdout]
    assert first.wait() == -signal.SIGKILL and "done" not in seen[-1]
    second = forks.start(CHILD, tmp_path / "data")
    again = second.communicate()[0].split()
    assert again[-2:] == ["done", str(len(expected))]
    twice = set(seen) & set(again)
    # at most the folder that it was at is read twice
    assert len(twice) <= 5 and {n[:9] for n in twice} <= {seen[-1][:9]}
    assert set(seen) | set(again[:-2]) == {
        f"{WNIDS[k]}_{7**i}.pt" for k in range(12) for i in range(5)
    }
    assert not [
        f
        for f in (tmp_path / "cache" / "relabel").iterdir()
        if f.name[0] != "." and f.suffix != ".npz"
    ]
    assert labels_of(ImageNetReLabel(tmp_path / "data", progress=False)) == expected


def test_two_at_the_same_time(forks, tmp_path):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n_folders=6)
    both = [forks.start(CHILD, tmp_path / "data") for _ in range(2)]
    for process in both:
        assert (
            process.communicate()[0].split()[-1] == str(len(expected)) and process.returncode == 0
        )
    assert labels_of(ImageNetReLabel(tmp_path / "data", progress=False)) == expected


def test_helping_processes(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n_folders=10)
    asked, ask = [], relabel._ask

    def watch(process, job):
        asked.append(job[0])
        return ask(process, job)

    monkeypatch.setattr(relabel, "_ask", watch)
    monkeypatch.setattr(relabel, "_PATIENCE", 0)
    read = relabel.read_folder

    def slowly(*args):  # leaves something to do for the others
        time.sleep(0.5)
        return read(*args)

    monkeypatch.setattr(relabel, "read_folder", slowly)
    assert (
        labels_of(ImageNetReLabel(tmp_path / "data", progress=False, processes=2)) == expected
        and asked
    )


def test_helping_process_that_dies_or_finds_a_bad_file(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    expected = write_maps(torch, tmp_path / "data", n_folders=6)
    monkeypatch.setattr(relabel, "_PATIENCE", 0)
    command, read = relabel._COMMAND, relabel.read_folder
    monkeypatch.setattr(relabel, "read_folder", lambda *args: (time.sleep(0.3), read(*args))[1])
    died = tmp_path / "died"
    monkeypatch.setattr(
        relabel,
        "_COMMAND",
        f"import sys; sys.stdin.readline(); open({str(died)!r}, 'w'); sys.exit(1)",
    )
    assert (
        labels_of(ImageNetReLabel(tmp_path / "data", progress=False, processes=2)) == expected
        and died.exists()
    )
    monkeypatch.setattr(relabel, "_COMMAND", command)
    os.mkdir(tmp_path / "data" / "maps" / WNIDS[6])
    os.close(os.open(os.fsencode(tmp_path / "data" / "maps" / WNIDS[6]) + b"/\xff.pt", os.O_CREAT))
    data = ImageNetReLabel(tmp_path / "data", progress=False, processes=2)
    with pytest.raises(UserError, match="not UTF-8"):
        data.classes


def test_reading_needs_no_torch(tmp_path):
    torch = pytest.importorskip("torch")
    write_maps(torch, tmp_path / "data")
    code = (
        "import sys; from natural_backdoors.data.relabel import ImageNetReLabel; "
        f"print(ImageNetReLabel({str(tmp_path / 'data')!r}, progress=False)); "
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1,000 classes" in run.stdout


def test_options_as_text(tmp_path):
    torch = pytest.importorskip("torch")
    write_maps(torch, tmp_path / "data")
    data = open_dataset(
        "imagenet_relabel",
        tmp_path / "data",
        threshold="0.5",
        topk="2",
        processes="1",
        skip_unreadable=True,
    )
    assert len(data.label_matrix().images) == 15
