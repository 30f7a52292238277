"Labels that a detector found: known truth with planted errors, killed runs, bad input"

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors import UserError, corrected_overlaps, pseudo_labels
from natural_backdoors.base.files import read_table, write_csv, write_json, write_table
from natural_backdoors.cli.commands import main
from natural_backdoors.data.found_labels import found_labels
from natural_backdoors.data.scores import BOX, SCORE_COLUMNS, read_scores
from natural_backdoors.data.single_label import LabeledImages, labeled_images
from natural_backdoors.data.table import TableDataset
from natural_backdoors.data.verified import (
    EDGES,
    draw_sample,
    finds_of,
    rates_at,
    rates_of,
    read_verified,
)
from natural_backdoors.graph.corrected import _counted

LABELS = ["cup", "hat", "table"]


def images_called(names, rows=()):
    "Images without files, with the labels that people gave"
    given_rows = pd.DataFrame(list(rows), columns=["image", "label"], dtype=object)
    return LabeledImages(list(names), [Path(name) for name in names], given_rows)


def scores_of(rows):
    "A table of scores without boxes"
    table = pd.DataFrame(rows, columns=SCORE_COLUMNS[:3])
    return table.reindex(columns=SCORE_COLUMNS)


def planted(n, seed, hit, false, with_given=False):
    "Images whose truth is known (label -> bools), and a detector that errs at these rates"
    r = np.random.default_rng(seed)
    cup = r.random(n) < 0.2
    truth = {"cup": cup, "hat": r.random(n) < 0.12}
    truth["table"] = np.where(cup, r.random(n) < 0.5, r.random(n) < 0.08)
    names, rows = [f"{i}.jpg" for i in range(n)], []
    for label, there in truth.items():
        found = np.where(there, r.random(n) < hit[label], r.random(n) < false[label])
        score = np.where(there, r.beta(6, 2, n), r.beta(2, 3, n)).clip(0.31, 1)
        rows += [(names[i], label, score[i]) for i in np.flatnonzero(found)]
    people = [i for i in np.flatnonzero(truth["hat"]) if with_given and r.random() < 0.5]
    return images_called(names, [(names[i], "hat") for i in people]), scores_of(rows), truth


def seen(pairs, truth):
    "The answers of somebody who knows the truth"
    numbers = pairs["image"].str.removesuffix(".jpg").astype(int)
    there = [truth[label][i] for i, label in zip(numbers, pairs["label"])]
    return pairs.assign(present=np.where(there, "yes", "no"))


def all_pairs(images):
    pairs = [(image, label) for image in images.images for label in LABELS]
    return pd.DataFrame(pairs, columns=["image", "label"])


# Counts, precision and recall

find = st.tuples(st.integers(0, 7), st.sampled_from(LABELS), st.integers(0, 100))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(find, max_size=25),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(LABELS)), max_size=5),
)
def test_steps_are_counted_as_a_loop_counts_them(found, given_pairs):
    rows = [(f"{i}.jpg", label, score / 100) for i, label, score in found]
    given_rows = [(f"{i}.jpg", label) for i, label in given_pairs]
    finds = finds_of(images_called([f"{i}.jpg" for i in range(8)], given_rows), scores_of(rows))
    best = {}
    for image, label, score in rows:
        if score >= EDGES[0] and (image, label) not in given_rows:
            best[image, label] = max(score, best.get((image, label), 0))
    labels = {label for _, label in best} | {label for _, label in given_rows}
    labels |= {label for _, label, score in rows if score >= EDGES[0]}
    assert finds.labels == sorted(labels)
    for number, label in enumerate(finds.labels):
        people = len({image for image, l in given_rows if l == label})
        mine = [score for (_, l), score in best.items() if l == label]
        ends = [*EDGES, 2]
        steps = [sum(low <= s < high for s in mine) for low, high in zip(ends, ends[1:])]
        assert finds.counts[number].tolist() == [8 - people - len(mine), *steps]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_with_all_answers_the_rates_are_those_of_the_truth(step):
    images, scores, truth = planted(
        600, 1, dict.fromkeys(LABELS, 0.7), dict.fromkeys(LABELS, 0.1), with_given=True
    )
    finds = finds_of(images, scores)
    known = rates_of(finds, read_verified(seen(all_pairs(images), truth), finds))
    found = rates_at(known, np.full(len(LABELS), step)).set_index("label")
    for label in LABELS:
        people = set(images.given["image"][images.given["label"] == label])
        really = {f"{i}.jpg" for i in np.flatnonzero(truth[label])} - people
        mine = scores[(scores["label"] == label) & (scores["score"] >= EDGES[step - 1])]
        mine = set(mine["image"]) - people
        row = found.loc[label]
        assert row["precision"] == pytest.approx(len(mine & really) / len(mine))
        assert row["recall"] == pytest.approx(len(mine & really) / len(really))
        for rate in ("precision", "recall"):
            assert row[f"{rate}_low"] == pytest.approx(row[f"{rate}_high"])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 200), st.booleans())
def test_a_sample_has_every_step_and_no_pair_twice(seed, n, with_given):
    rates = dict.fromkeys(LABELS, 0.5)
    images, scores, _ = planted(60, seed, rates, rates, with_given)
    finds = finds_of(images, scores)
    sample = draw_sample(finds, n, seed=seed)
    each, pairs = -(-n // 6), list(zip(sample["image"], sample["label"]))
    assert len(set(pairs)) == len(pairs)
    people = set(zip(images.given["image"], images.given["label"]))
    assert not people & set(pairs)
    best = scores.groupby(["image", "label"])["score"].max().to_dict()
    steps = [np.searchsorted(EDGES, best.get(pair, 0), side="right") for pair in pairs]
    taken = np.bincount(steps, minlength=6)
    assert taken.tolist() == np.minimum(finds.counts.sum(axis=0), each).tolist()


# Planted errors: the correction recovers the counts


def solved(labels, a, b):
    "How many images show both, from the four counts and the confusion of each label"
    finds, counted = labels.finds, _counted(labels)
    rates = []
    for label in (a, b):
        hit, false = (float(values[label]) for values in counted.guess[:2])
        rates.append(np.array([[hit, false], [1 - hit, 1 - false]]))
    found = counted.found.toarray()[:, [a, b]].astype(bool)
    kinds = [(1, 1), (1, 0), (0, 1), (0, 0)]
    counts = [int((found == np.array(kind, bool)).all(axis=1).sum()) for kind in kinds]
    assert sum(counts) == len(finds.images)
    return np.linalg.solve(np.kron(*rates), counts)[0]


def test_the_correction_is_the_solution_of_the_confusion_matrix():
    hit, false = dict.fromkeys(LABELS, 0.85), dict.fromkeys(LABELS, 0.06)
    images, scores, truth = planted(1500, 3, hit, false)
    labels = found_labels(images, scores, min_score=0.3)
    labels = labels.verify(seen(all_pairs(images), truth), min_precision=0)
    for row in corrected_overlaps(labels, 1).itertuples():
        a, b = (labels.finds.labels.index(label) for label in (row.a, row.b))
        guess = _counted(labels).guess
        both = solved(labels, a, b)
        assert row.with_missed == pytest.approx(both, rel=1e-9)
        assert row.corrected == pytest.approx(both * guess.hit[a] * guess.hit[b], rel=1e-9)


@pytest.fixture(scope="module")
def many():
    "A row a pair and seed: raw and corrected overlaps, and what is true"
    rows = []
    cases = [(0.7, 0.1, False), (0.95, 0.03, True)]
    for seed, (hits, often, with_given) in [(s, case) for s in range(9) for case in cases]:
        hit, false = dict.fromkeys(LABELS, hits), {"cup": 0.02, "hat": 0.03, "table": often}
        images, scores, truth = planted(1200, seed, hit, false, with_given)
        labels = found_labels(images, scores, min_score=0.3)
        answers = seen(labels.draw_sample(500, seed=seed), truth)
        labels = labels.verify(answers, min_precision=0)
        table = labels.table
        has = {x: set(table["image"][table["label"] == x]) for x in LABELS}
        really = {x: {f"{i}.jpg" for i in np.flatnonzero(truth[x])} for x in LABELS}
        found = corrected_overlaps(labels)
        for row in found.to_dict("records"):
            both = really[row["a"]] & really[row["b"]]
            assert row["overlaps"] == len(has[row["a"]] & has[row["b"]])
            row["shown"] = len(both & has[row["a"]] & has[row["b"]])
            rows.append(row | {"true": len(both), "case": hits})
        for row in labels.thresholds.to_dict("records"):
            mine = has[row["label"]] - set(
                images.given["image"][images.given["label"] == row["label"]]
            )
            precision = len(mine & really[row["label"]]) / len(mine)
            inside = row["precision_low"] - 1e-9 <= precision <= row["precision_high"] + 1e-9
            rows.append({"case": "precision", "inside": inside})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name, truth", [("corrected", "shown"), ("with_missed", "true")])
def test_intervals_hold_the_planted_truth(many, name, truth):
    pairs = many[many["case"] != "precision"]
    inside = pairs[truth].between(pairs[f"{name}_low"], pairs[f"{name}_high"])
    assert len(pairs) == 54 and inside.mean() > 0.85


def test_intervals_hold_the_planted_precision(many):
    assert many.loc[many["case"] == "precision", "inside"].mean() > 0.85


def test_corrected_counts_are_right_on_average_and_raw_ones_are_not(many):
    pairs = many[many["case"] == 0.7]
    sums = pairs.groupby(["a", "b"])[
        ["overlaps", "corrected", "with_missed", "shown", "true"]
    ].sum()
    # nine seeds scatter by 0.07; over 40 of them the largest is 0.04
    assert (sums["corrected"] / sums["shown"] - 1).abs().max() < 0.2
    assert (sums["with_missed"] / sums["true"] - 1).abs().max() < 0.3
    assert (sums["overlaps"] / sums["shown"] - 1).max() > 0.5


def test_nothing_is_corrected_where_nobody_has_looked():
    hit = dict.fromkeys(LABELS, 0.8)
    images, scores, truth = planted(200, 0, hit, dict.fromkeys(LABELS, 0.1))
    labels = found_labels(images, scores, min_score=0.3)
    assert corrected_overlaps(labels, 1).iloc[:, 3:].isna().all(axis=None)
    # looked at what was found only: nothing is known of what was missed
    sample = seen(labels.draw_sample(300), truth)
    found = set(zip(scores["image"], scores["label"]))
    keep = [pair in found for pair in zip(sample["image"], sample["label"])]
    half = corrected_overlaps(labels.verify(sample[keep], 0), 1)
    assert half["corrected"].notna().all() and half["with_missed"].isna().all()


def test_no_finds_and_no_pairs():
    rates = dict.fromkeys(LABELS, 0.8), dict.fromkeys(LABELS, 0.1)
    images, scores, _ = planted(50, 0, *rates, with_given=True)
    whole = found_labels(images, scores)
    none = corrected_overlaps(whole, 51)
    assert len(none) == 0
    assert none.columns.equals(corrected_overlaps(whole, 1).columns)
    bare = found_labels(images, scores[:0])
    assert len(bare.finds.score) == 0 and len(corrected_overlaps(bare, 51)) == 0


# Bad input is named

SOUND = [(f"{i}.jpg", "cup", 0.5, 0.1, 0.2, 0.6, 0.8) for i in range(5)]
WRONG = {
    "score": [(1.01, "1.01"), (-0.1, "-0.1"), (np.nan, "without a score"), (np.inf, "inf")],
    "x1": [(640.0, "640"), (-0.5, "-0.5"), (0.05, "no area"), (np.nan, "lacks a corner")],
    "label": [("cupp", "did you mean 'cup'"), (None, "without a label")],
    "image": [("9.jpg", "'9.jpg' is not one of the 5 images"), (None, "no image")],
}
WRONG = [(name, value, said) for name, cases in WRONG.items() for value, said in cases]


@pytest.mark.parametrize("name, value, said", WRONG)
@pytest.mark.parametrize("kind", ["csv", "frame"])
def test_a_wrong_cell_is_named_with_its_row(tmp_path, kind, name, value, said):
    table = pd.DataFrame(SOUND, columns=SCORE_COLUMNS).astype({"label": object, "image": object})
    table.loc[3, name] = value
    source = table
    if kind == "csv":
        table.to_csv(source := tmp_path / "scores.csv", index=False)
    with pytest.raises(UserError, match="line 5" if kind == "csv" else "row 3") as caught:
        read_scores(source, [f"{i}.jpg" for i in range(5)], ["cup", "hat"])
    assert said in str(caught.value)


def test_an_image_or_a_row_that_is_there_twice_is_named(tmp_path):
    with pytest.raises(UserError, match="'a.jpg' is listed twice, at 0 and 2"):
        pseudo_labels(["a.jpg", "b.jpg", "./a.jpg"], scores_of([]))
    with pytest.raises(UserError, match="row 5 .*is there already"):
        read_scores(pd.DataFrame([*SOUND, SOUND[2]], columns=SCORE_COLUMNS))


def test_answers_of_a_spreadsheet_are_read_back(tmp_path):
    "Names that a spreadsheet would run are marked as text when they are written"
    names = ["=1+1.jpg", "-a/b.jpg", "plain.jpg"]
    labels = found_labels(images_called(names), scores_of([(name, "@cup", 0.8) for name in names]))
    sample = labels.draw_sample(100)
    write_csv(tmp_path / "verify.csv", sample)
    filled = pd.read_csv(tmp_path / "verify.csv", dtype=str).assign(present="yes")
    assert filled["image"].str.startswith("'").sum() == 2
    filled.to_csv(tmp_path / "filled.csv", index=False)
    again = read_verified(tmp_path / "filled.csv", labels.finds)
    assert len(again) == len(sample) == 3
    assert set(labels.verify(tmp_path / "filled.csv").table["image"]) == set(names)


# Boxes of a table of labels

cell = st.sampled_from([None, 0.0, 0.25, 0.5, 1.0, 1.5, -0.1])
row_of_boxes = st.tuples(st.sampled_from("abc"), st.sampled_from(LABELS), cell, cell, cell, cell)


@pytest.mark.filterwarnings("ignore:.*not in shares of width and height")
@settings(max_examples=12, deadline=None)
@given(st.lists(row_of_boxes, min_size=1, max_size=8), st.sets(st.sampled_from("abcd")))
def test_boxes_of_a_table_against_a_loop(rows, asked):
    table = pd.DataFrame(rows, columns=["image", "label", *BOX])
    found = TableDataset(table).boxes(asked)
    expected = []
    for image, label, x0, y0, x1, y1 in rows:
        corners = (x0, y0, x1, y1)
        if image in asked and None not in corners and all(0 <= c <= 1 for c in corners):
            if x0 < x1 and y0 < y1:
                expected.append((image, label, *corners))
    assert list(found.itertuples(index=False, name=None)) == expected


# Runs


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "A folder with class folders, and a file with a detector"
    home = tmp_path_factory.mktemp("home")
    (home / "mine.py").write_text(
        "import os, signal\n"
        "calls = []\n"
        "def find(images):\n"
        "    calls.append(len(images))\n"
        "    if len(calls) == int(os.environ.get('KILL_AT', 0)):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    red = [image.getpixel((0, 0))[0] for image in images]\n"
        "    return [[('sofa', r / 255, (0.1, 0, 1, 0.5))] if r > 90 else [] for r in red]\n"
    )
    for number in range(150):
        file = home / "photos" / ("cat" if number % 3 else "dog") / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (int(number * 1.7), 0, 0)).save(file)
    return home


def test_killed_and_gone_on_gives_the_same_bytes(forks, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    words = ["label", "photos", "--detector", "mine.py:find", "--sample", "40"]
    here = f"from natural_backdoors.cli.commands import main; main({words!r})"
    killed = forks.run(here, env=os.environ | {"KILL_AT": "12"})
    assert killed.returncode == -signal.SIGKILL
    place = photos / "results" / "photos" / "labels"
    assert (
        len(list((place / "parts").glob("*.parquet"))) == 1
        and not (place / "scores.parquet").exists()
    )
    assert main(words) == 0
    assert main([*words, "--results_root", "others"]) == 0
    whole = photos / "others" / "photos" / "labels"
    files = sorted(file.relative_to(whole) for file in whole.rglob("*.*") if file.is_file())
    assert files == sorted(file.relative_to(place) for file in place.rglob("*.*") if file.is_file())
    for file in files:
        if file.name != "labels.json":
            assert (place / file).read_bytes() == (whole / file).read_bytes(), file
    assert "150 images: 150 labels given" in capsys.readouterr().out


def test_parts_are_made_again_for_changed_images_and_only_for_these(photos, tmp_path):
    seen_images = []

    def find(images):
        seen_images.extend(images)
        return [[("sofa", 0.9)] for _ in images]

    def count():
        seen_images.clear()
        pseudo_labels(photos / "photos", find, tmp_path, batch_size=10, progress=False)
        return len(seen_images)

    assert (count(), count()) == (150, 0)
    os.utime(photos / "photos" / "cat" / "001.png", ns=(1, 1))
    assert (count(), count()) == (60, 0)
    assert len(list((tmp_path / "parts").iterdir())) == 3


def test_a_part_that_says_something_else_is_named(photos, tmp_path):
    find = lambda images: [[("sofa", 0.9)] for _ in images]
    run = lambda: pseudo_labels(photos / "photos", find, tmp_path, progress=False)
    run()
    file = sorted((tmp_path / "parts").iterdir())[0]
    table = read_table(file)
    for broken, said in (
        (table.assign(score=7.0), "score"),
        (table.assign(image="../../etc/passwd"), "not about its images"),
        (table.drop(columns="label"), "label"),
    ):
        write_table(file, broken)
        with pytest.raises(UserError, match=said) as caught:
            run()
        assert file.name in str(caught.value) and "remove it" in str(caught.value)
    file.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a readable Parquet"):
        run()


def test_images_that_do_not_decode(photos, tmp_path):
    for name, content in {"a": b"", "b": b"GIF89a"}.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    find = lambda images: [[("sofa", 0.9)] for _ in images]
    with pytest.raises(UserError, match=r"a\.png.*skip_unreadable"):
        pseudo_labels(tmp_path, find, progress=False)
    labels = pseudo_labels(tmp_path, find, skip_unreadable=True, progress=False)
    assert set(labels.unreadable) == {"a.png", "b.png"} and labels.table["image"].tolist() == [
        "c.png"
    ]
    (tmp_path / "c.png").unlink()
    with pytest.raises(UserError, match="none of the 2 images could be read"):
        pseudo_labels(tmp_path, find, skip_unreadable=True, progress=False)


def test_results_of_another_folder_and_answers_are_kept(photos, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(photos)
    words = ["label", "photos", "--detector", "mine.py:find", "--sample", "6"]
    words += ["--results_root", str(tmp_path)]
    assert main(words) == 0
    place = tmp_path / "photos" / "labels"
    answers = pd.read_csv(place / "verify.csv", dtype=str)
    answers.loc[0, "present"] = "yes"
    answers.to_csv(place / "verify.csv", index=False)
    before = (place / "verify.csv").read_bytes()
    assert main(words) == 0 and (place / "verify.csv").read_bytes() == before
    assert "has answers and stays as it is" in capsys.readouterr().out
    (tmp_path / "photos2" / "photos" / "x").mkdir(parents=True)
    assert main(["label", str(tmp_path / "photos2" / "photos"), *words[2:]]) == 2
    assert "another --name" in capsys.readouterr().err
    write_json(place / "labels.json", {"folder": 7})
    assert main(words) == 2 and "labels.json, folder" in capsys.readouterr().err


# Networks of torchvision


def test_a_network_with_random_weights(photos, tmp_path):
    torch = pytest.importorskip("torch")
    files = labeled_images(photos / "photos").paths[:2]
    how = {"pretrained": False, "device": "cpu", "progress": False, "min_score": 0.01}
    name = "ssdlite320_mobilenet_v3_large"
    state = torch.random.get_rng_state()
    labels = pseudo_labels(files, name, tmp_path, batch_size=2, **how)
    assert torch.equal(state, torch.random.get_rng_state())
    part = sorted((tmp_path / "parts").iterdir())[0].read_bytes()
    pseudo_labels(files, name, tmp_path, batch_size=2, resume=False, **how)
    assert sorted((tmp_path / "parts").iterdir())[0].read_bytes() == part
    found = labels.dataset().boxes(labels.images.images)
    assert len(found) and labels.dataset().image_counts == {"train": 2}
    assert (found[BOX].ge(0) & found[BOX].le(1)).all(axis=None)


@pytest.fixture
def hub(tmp_path):
    "An empty folder for weights"
    torch = pytest.importorskip("torch")
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    yield tmp_path
    torch.hub.set_dir(before)


@pytest.mark.parametrize("answer", [None, 404, 200])
def test_weights_that_cannot_be_had_are_told(photos, hub, monkeypatch, answer, server):
    import torchvision

    name = "ssdlite320_mobilenet_v3_large"
    weights = torchvision.models.get_model_weights(name).DEFAULT
    url, before = server(answer), weights.value.url
    object.__setattr__(weights.value, "url", f"{url}/weights-a79551df.pth")
    try:
        with pytest.raises(UserError, match=f"weights of the detector '{name}'") as caught:
            pseudo_labels(photos / "photos", name, progress=False)
    finally:
        object.__setattr__(weights.value, "url", before)
    said = str(caught.value)
    assert url in said and str(hub) in said and "file of scores" in said
    assert {None: "refused", 404: "404", 200: "hash"}[answer] in said
    assert list(hub.rglob("*.pth")) == []


@pytest.fixture
def server():
    "Starts a server that gives one answer to everything; None: nobody listens"
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    running = []

    def start(answer):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(answer)
                self.end_headers()
                self.wfile.write(b"no weights")

            def log_message(self, *_):
                pass

        found = HTTPServer(("127.0.0.1", 0), Answer)
        if answer is None:
            found.server_close()
        else:
            running.append(found)
            Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{found.server_port}"

    yield start
    for found in running:
        found.shutdown()
        found.server_close()
