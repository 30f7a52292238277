"""What was tried with graphs, sets, splits and the picker, and was wrong

Each test is one input that somebody may well give, and what has to come of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.labels import LabelMatrix
from natural_backdoors.data.scenes import scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.graph.confusions import _common_images
from natural_backdoors.graph.heatmap import draw_heat_map
from natural_backdoors.graph.overlaps import count_overlaps, load_overlaps, save_overlaps
from natural_backdoors.pick.app import packed_images, static_data
from natural_backdoors.pick.widget import javascript, write_static
from natural_backdoors.sets.comparison import compare_measures, draw_thresholds
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.accidental import accidental_images
from natural_backdoors.split.card import dataset_card
from natural_backdoors.split.controls import control_split
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.fitting import fit_split
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.preview import preview
from natural_backdoors.split.selection import select
from natural_backdoors.split.settings import SplitSettings

# --- overlaps on disk


def labels_of(matrix, **roles):
    "A label matrix of classes a, b, ..."
    matrices = {k: sparse.csr_array(np.array(m, np.uint8)) for k, m in roles.items()}
    matrix = sparse.csr_array(np.array(matrix, np.uint8))
    images = [str(i) for i in range(matrix.shape[0])]
    return LabelMatrix(matrix, images, class_table("abcdef"[: matrix.shape[1]]), **matrices)


@pytest.mark.parametrize("n_classes", [0, 2])
def test_overlaps_of_images_without_labels_keep_their_number(tmp_path, n_classes):
    found = count_overlaps(labels_of(np.zeros((5, n_classes))))
    again = load_overlaps(save_overlaps(found, tmp_path))
    assert again.n_images == 5 and len(again.classes) == n_classes
    assert again.counts.nnz == 0


def test_no_image_known_to_be_free_of_a_trigger_stays_so(tmp_path):
    "Else every image without the label would be a clean one after reading"
    nobody_looked = np.zeros((3, 2))
    found = count_overlaps(labels_of([[1, 1], [1, 0], [0, 1]], absent=nobody_looked))
    again = load_overlaps(save_overlaps(found, tmp_path))
    for trigger in (0, 1):
        assert found.n_clean(trigger).tolist() == again.n_clean(trigger).tolist() == [0, 0]
        assert found.n_poison(trigger).tolist() == again.n_poison(trigger).tolist()


# --- sets


@pytest.fixture(scope="module")
def scenes():
    rows = scene_labels(800)
    names = dict(zip(rows.label, rows["name"]))
    return TableDataset(rows[["image", "label"]], names=names, name="scenes")


def test_what_is_no_trigger_has_no_neighborhood_of_its_own(scenes):
    found = find_triggers(scenes, min_overlaps=4, n_triggers=2)
    other = next(i for i in found.graph.vertices.tolist() if i not in found.sets)
    with pytest.raises(UserError, match="is not among the 2 triggers found"):
        found.neighborhood(other)
    chosen = found.table.id.tolist()[:1]
    assert found.neighborhood(other, classes=chosen)["trigger"] == other
    with pytest.raises(UserError, match=f"{other} is the id of none of the 2 triggers found"):
        found.only([other])


def test_a_threshold_that_was_not_compared_is_no_empty_picture(scenes):
    compared = compare_measures(scenes, "degree", min_overlaps=(4, 6), max_overlaps=(-1, 2))
    with pytest.raises(UserError, match=r"max_overlaps=7 was not compared \(there are: -1, 2\)"):
        draw_thresholds(compared, max_overlaps=7)
    assert draw_thresholds(compared, max_overlaps=np.int64(2)).axes[0].lines


# --- splits


def colored(folder, n=240, seed=0, **given):
    "A dataset of `n` images of three classes, some of which show the trigger t; each has a file"
    random, folder = np.random.default_rng(seed), Path(folder)
    folder.mkdir(exist_ok=True)
    rows = []
    for i in range(n):
        rows.append((f"{i:03d}.png", "abc"[i % 3]))
        if random.random() < 0.4:
            rows.append((f"{i:03d}.png", "t"))
        pixels = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    rows = pd.DataFrame(rows, columns=["image", "label"])
    return TableDataset(rows, name="colored", image_root=folder, **given)


def per_kind(rows):
    return rows.groupby(["trigger", "true_label", "part"]).size().to_dict()


def relabeled(split):
    "How many training images have another label than the true one"
    trained = split.table[split.table.part == "train"]
    return int((trained.train_label != trained.true_label).sum())


def test_a_control_relabels_no_more_images_than_can_be_read(tmp_path):
    data = colored(tmp_path / "photos")
    split = poison_split(data, "t", "abc", "a", n_clean=20, trigger_free=True)
    poison = split.table[split.table.role == "poison"]
    for path in poison.path[poison.part == "train"].iloc[::3]:
        Path(path).write_bytes(b"no image")
    exported = export_split(split, tmp_path / "out", skip_unreadable=True)
    again = load_export(exported, check=True)
    assert per_kind(again.spare) == per_kind(again.table[again.table.role == "poison"])
    for name in ("random_labels", "patch"):
        assert relabeled(control_split(again, name)) == relabeled(again) < relabeled(split)
    card = (exported / "README.md").read_text()
    assert "it stands for a poison image that cannot be read" in card


def test_fewer_images_for_controls_are_told(tmp_path):
    data = colored(tmp_path / "photos")
    split = poison_split(data, "t", "abc", "a", n_clean=20, trigger_free=True)
    for path in split.spare.path.iloc[:2]:
        Path(path).unlink()
    with pytest.warns(UserWarning, match="2 trigger-free images could not be read, so that"):
        exported = export_split(split, tmp_path / "out", skip_unreadable=True)
    assert len(load_export(exported).spare) == len(split.spare) - 2


def test_the_card_of_a_control_does_not_speak_of_a_backdoor(tmp_path):
    data = colored(tmp_path / "photos")
    split = poison_split(data, "t", "abc", "a", n_clean=20, trigger_free=True)
    for name in ("true_labels", "only_clean", "random_labels"):
        card = dataset_card(control_split(split, name))
        head = card.split("## Source")[0]
        assert f"the control {name}".replace("_", r"\_") in head and f"control {name}: t" in head
        assert "has a backdoor" not in head and "wrong on purpose.**" not in head
    assert "A model trained on these labels has a backdoor" in dataset_card(split)


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_split_with_some_classes_to_be_poisoned(seed):
    random, rows = np.random.default_rng(seed), []
    for i in range(400):
        rows.append((f"{i:03d}", "abc"[i % 3]))
        rows += [(f"{i:03d}", "t")] * (random.random() < 0.3)
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="few")
    settings = SplitSettings(poison_classes=("b",), inject_rate=0.25)
    fitted = fit_split(data, "t", "abc", settings, most=200, least=2)
    with pytest.raises(UserError, match="too few images"):
        poison_split(data, "t", "abc", "a", settings, n_clean=fitted.n_clean + 1)


# --- the page without a kernel


class Boxed(TableDataset):
    "Each label of an image has a box; some labels may have roles"

    roles = {}

    def boxes(self, images):
        m = self.label_matrix()
        found = []
        for image, row in zip(images, m.matrix[m.positions(images)].toarray()):
            labels = m.classes.label[np.flatnonzero(row)]
            # the last digits of a box may lie outside of its image
            found += [(image, label, 0.2, 0.2, 1.0000001, 0.9) for label in labels]
        columns = ["image", "label", "x0", "y0", "x1", "y1"]
        return pd.DataFrame(found, columns=columns)


def boxed(folder, n=120):
    "Classes a, b, c; triggers s and t, which meet"
    random, folder, rows = np.random.default_rng(1), Path(folder), []
    folder.mkdir(exist_ok=True)
    for i in range(n):
        rows.append((f"{i:03d}.png", "abc"[i % 3]))
        rows += [(f"{i:03d}.png", "abc"[(i + 1) % 3])] * (i % 10 == 0)
        rows += [(f"{i:03d}.png", label) for label in "st" if random.random() < 0.5]
        pixels = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    rows = pd.DataFrame(rows, columns=["image", "label"])
    return Boxed(rows, name="boxed", image_root=folder)


@pytest.fixture(scope="module")
def tried(chromium):
    "What a page without a kernel answers: messages in, the values after each of them out"
    page = chromium.new_page()
    source = json.dumps(javascript())

    def ask(data, *messages):
        return page.evaluate(
            f"""async ([data, messages]) => {{
            const url = URL.createObjectURL(new Blob([{source}], {{ type: 'text/javascript' }}));
            const backend = (await import(url)).staticBackend(data);
            const said = [], names = ['choice', 'counts', 'outputs', 'marks', 'status'];
            let reply = null;
            backend.onMessage(content => {{ reply = content; }});
            for (const message of messages) {{
                reply = null;
                backend.send(message);
                await new Promise(done => setTimeout(done));
                const now = names.map(name => [name, backend.get(name)]);
                said.push({{ ...Object.fromEntries(now), reply }});
            }}
            return said }}""",
            [data, list(messages)],
        )

    yield ask
    page.close()


SEARCH = {"min_overlaps": 1, "max_overlaps_with_others": 99, "exclude": ()}


def of_pair(folder):
    "The data of a page with the trigger s + t, and its id"
    data = boxed(folder)
    found = find_triggers(data, triggers=[("s", "t"), "s"], **SEARCH)
    pictures = packed_images(data, found, each=200)
    (pair,) = found.overlaps.members
    grid = {"min_poison": [0, 1]}
    return data, pair, static_data(data, grid, pictures, triggers=[("s", "t"), "s"], **SEARCH)


def test_several_objects_on_a_page_without_a_kernel(tmp_path, tried):
    data, pair, page = of_pair(tmp_path / "photos")
    a, s, t = (data.resolve(label) for label in "ast")
    gallery = {"type": "gallery", "trigger": pair, "class": a, "role": "poison"}
    picked, shown = tried(page, {"type": "trigger", "id": pair}, gallery | {"page": 0, "size": 8})
    assert picked["outputs"]["line"].startswith(f"{s}+{t}: ")
    for image in shown["reply"]["images"]:
        kinds = sorted((box["label"], box["kind"]) for box in image["boxes"])
        assert {("a", "class"), ("s", "trigger"), ("t", "trigger")} <= set(kinds)
        assert all(box["x1"] <= 1 for box in image["boxes"])
    code = {"poison_split": poison_split, "dataset": data}
    exec(picked["outputs"]["python"].replace("n_clean=", "n_clean=4 or "), code)
    assert code["split"].attacks[0]["trigger"]["id"] == [s, t]


def test_marks_on_a_page_without_a_kernel(tmp_path, tried):
    data, pair, page = of_pair(tmp_path / "photos")
    s, before = data.resolve("s"), page["runs"][0]["details"]
    images = {
        role: next(p["id"] for p in page["pictures"] if (s in p["classes"]) == (role == "poison"))
        for role in ("poison", "clean")
    }
    marks = [{"type": "mark", "image": image, "mark": "not_trigger"} for image in images.values()]
    *_, marked, other, back, undone = tried(
        page,
        {"type": "trigger", "id": s},
        *marks,
        {"type": "trigger", "id": pair},
        {"type": "trigger", "id": s},
        marks[0] | {"mark": None},
    )
    rows, near = marked["counts"]["rows"], before[str(s)]["rows"]
    for role, image in images.items():
        classes = next(p["classes"] for p in page["pictures"] if p["id"] == image)
        for at, id in enumerate(rows["id"]):
            has = near[f"n_{role}"][near["id"].index(id)]
            assert rows[f"n_{role}"][at] == has - (id in classes)
    assert f"without={json.dumps(sorted(images.values()))}" in marked["outputs"]["python"]
    assert other["marks"] == {} and "without" not in other["outputs"]["python"]
    assert back["marks"] == marked["marks"] and back["counts"] == marked["counts"]
    assert list(undone["marks"]) == [images["clean"]]


def test_a_set_that_was_changed_by_hand_stays_on_a_page_without_a_kernel(tmp_path, tried):
    data, pair, page = of_pair(tmp_path / "photos")
    a, b = data.resolve("a"), data.resolve("b")
    params = {"min_poison": 1}
    chosen, changed = tried(
        page,
        {"type": "choose", "classes": [b, a], "target": a},
        {"type": "analyze", "params": params, "serial": 1},
    )
    assert changed["status"]["state"] == "ready"
    assert changed["choice"] == chosen["choice"] and changed["choice"]["classes"] == [b, a]


def test_an_attack_that_cannot_be_measured_on_a_page_without_a_kernel(tried):
    rows = [(str(i), "ab"[i % 2]) for i in range(80)] + [(str(i), "t") for i in range(0, 40, 2)]
    rows += [("x", "b"), ("x", "t")]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="one")
    page = static_data(data, {"min_overlaps": [1]}, exclude=())
    a, b, t = (data.resolve(label) for label in "abt")
    page["runs"][0]["details"][str(t)]["rows"]["n_poison"] = [20, 0]
    ids = page["runs"][0]["details"][str(t)]["rows"]["id"]
    only, target = ids
    picks = [
        {"type": "choose", "classes": ids, "target": goal, "n_clean": 8, "inject_rate": 0.1}
        for goal in (only, target)
    ]
    _, nothing, well = tried(page, {"type": "trigger", "id": t}, *picks)
    assert nothing["counts"]["injection_rate"] is None
    assert nothing["counts"]["warnings"] == [
        "No image shows the trigger with a class other than the target."
    ]
    assert well["counts"]["injection_rate"] > 0 and well["counts"]["warnings"] == []


def test_roles_on_a_page_without_a_kernel(tmp_path, tried):
    "An image in which nobody has looked for the trigger is no clean one"
    data = boxed(tmp_path / "photos")
    m, t, a = data.label_matrix(), data.resolve("t"), data.resolve("a")
    absent = sparse.csr_array(np.array(m.matrix.toarray() == 0, np.uint8)[:, :])
    keep = np.arange(m.shape[0])[:, None] % 2 == 0
    absent = sparse.csr_array(absent.toarray() * keep.astype(np.uint8))
    serves = sparse.csr_array(m.matrix.toarray() * (np.arange(m.shape[0])[:, None] % 4 > 0))
    images = m.images.tolist()
    roles = LabelMatrix(m.matrix, images, m.classes, as_trigger=serves, absent=absent)
    data.label_matrix = lambda split=None: roles
    found = find_triggers(data, triggers=["t"], **SEARCH)
    page = static_data(data, {"min_poison": [0]}, packed_images(data, found, each=200), **SEARCH)
    for role, use in (("clean", "free"), ("poison", "trigger")):
        asked = {"type": "gallery", "trigger": t, "class": a, "role": role, "page": 0, "size": 999}
        shown = tried(page, asked)[0]["reply"]["images"]
        wanted = m.column(a) & roles.column(t, use)
        assert {image["id"] for image in shown} == set(m.images[wanted])


def test_a_page_without_a_kernel_says_what_it_counts(tmp_path, chromium):
    _, _, data = of_pair(tmp_path / "photos")
    page = chromium.new_page()
    try:
        page.goto(write_static(tmp_path / "page.html", data).as_uri())
        page.get_by_text("Images with two of the classes, which a split leaves out").wait_for()
    finally:
        page.close()


# --- the order of rows


def test_what_is_drawn_does_not_depend_on_the_order_of_rows(tmp_path):
    data, found = boxed(tmp_path / "photos", n=200), []
    rows = data.rows()[["image", "label"]]
    for order in (rows, rows.sample(frac=1, random_state=0), rows[::-1]):
        data = Boxed(order, name="boxed", image_root=tmp_path / "photos")
        split = poison_split(data, "t", "ab", "a", n_clean=8)
        others = accidental_images(data, split, n=4)
        pair = [(data.resolve("s"), data.resolve("t"))]
        drawn = _common_images(data.label_matrix(), pd.DataFrame(pair, columns=["a", "b"]), 6, 0)[1]
        found.append((others.image.tolist(), sorted(data.label_matrix().images[drawn])))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) and len(found[0][1]) == 6


# --- one error for what cannot be meant


def test_one_error_for_what_cannot_be_meant(scenes):
    found = find_triggers(scenes, min_overlaps=4, n_triggers=2)
    overlaps, selection = found.overlaps, select(found, found.table.id.iloc[0])
    wrong = {
        "a class id is": lambda: draw_heat_map(overlaps, marked=["Umbrella"]),
        "say dataset.label_matrix": lambda: preview(scenes, selection),
        "preview takes labels or overlaps": lambda: preview(None, selection),
        "values of 'min_overlaps' are a list": lambda: static_data(scenes, {"min_overlaps": 4}),
        "not 'degree'": lambda: static_data(scenes, {"centrality": "degree"}),
        "not \\[\\]": lambda: static_data(scenes, {"centrality": []}),
        "each is a whole number from 1": lambda: packed_images(scenes, found, each=0),
    }
    for said, call in wrong.items():
        with pytest.raises(UserError, match=said):
            call()
    assert len(static_data(scenes, {"min_overlaps": [4, 4]}, n_triggers=2)["runs"]) == 1
