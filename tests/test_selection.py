"""A selection from file to split: what is saved is what is used, whatever the names, and damage
is told in a line"""

import json
import shlex
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.cli.commands import main, make_parser
from natural_backdoors.data.labels import combine
from natural_backdoors.data.table import TableDataset
from natural_backdoors.pick.evidence import Evidence
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.exclusions import excluded_images, load_exclusions, save_exclusions
from natural_backdoors.split.plan import sort_images
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.selection import Selection, select
from natural_backdoors.split.set_files import read_sets

NAMES = [
    "cat",
    "<img src=x onerror=alert(1)>",
    "it's; rm -rf *",
    'say "hi"',
    "a, b",
    "007",
    "Ünï 猫",
    "x" * 3000,
]


def dataset(names=NAMES, n=60):
    "Each class has `n` images, a third of them with the trigger `hat`"
    rows = [(f"{c}-{i}", name) for c, name in enumerate(names) for i in range(n)]
    rows += [(f"{c}-{i}", "hat") for c in range(len(names)) for i in range(n // 3)]
    return TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="odd")


@pytest.fixture(scope="module")
def odd():
    return dataset()


@pytest.fixture(scope="module")
def found(odd):
    return find_triggers(odd)


def test_any_names(odd, found, tmp_path):
    chosen = select(
        found,
        "hat",
        marks={"0-1": "not_trigger", "1-50": "trigger_visible"},
        n_clean=20,
        inject_rate=0.1,
    )
    again = Selection.load(chosen.save(tmp_path / "s.json"))
    assert again == chosen and {c["label"] for c in again.classes} == set(NAMES)
    split = poison_split(odd, **again.arguments())
    assert not {"0-1", "1-50"} & set(split.table.image)
    place = {"dataset": odd}
    exec(again.python.replace("dataset = ...", "pass"), place)
    assert place["split"].header == split.header and place["found"].table.equals(found.table)


def test_the_command_line_says_the_same(odd, found):
    chosen = select(
        found,
        "hat",
        marks={"0-1": "not_trigger"},
        n_clean=20,
        source={"data": "table", "dataset_root": "a b.csv", "options": {"sep": "|"}},
    )
    words = shlex.split(chosen.command)
    args = make_parser().parse_args(words[1:])
    assert [args.data, args.dataset_root, args.option] == ["table", "a b.csv", ["sep=|"]]
    assert (
        args.classes == [c["label"] for c in chosen.classes]
        and args.without == ["0-1"]
        and args.n_clean == 20
    )


keys = st.sampled_from(
    ["format", "version", "trigger", "classes", "target", "dataset", "marks", "id", "label", "name"]
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(keys, x, max_size=5),
    )
)
def test_a_file_that_is_something_else(data):
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(data, file)
        file.flush()
        for read in (Selection.load, load_exclusions):
            with pytest.raises(UserError) as e:
                read(file.name)
            assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "text", ["", "{", "\0", '{"format": "natural_backdoors selection", "version": 1}', "[" * 50]
)
def test_a_damaged_file(tmp_path, text, capsys):
    (tmp_path / "s.json").write_text(text)
    assert main(["train", "--selection", str(tmp_path / "s.json")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "s.json" in err


def test_exclusions_of_their_own(tmp_path, odd):
    file = save_exclusions(
        tmp_path / "e.json", {"0-1": "not_trigger"}, {"id": 1, "label": "hat", "name": "hat"}, "odd"
    )
    split = poison_split(
        odd, "hat", NAMES[:3], NAMES[0], n_clean=20, inject_rate=0.1, without=excluded_images(file)
    )
    assert "0-1" not in set(split.table.image) and split.settings.without == ("0-1",)


def test_evidence_shows_the_images_that_the_split_draws_from(odd):
    labels = odd.label_matrix()
    evidence, trigger = Evidence(odd), odd.resolve("hat")
    classes = [odd.resolve(n) for n in NAMES[:4]]
    supply = sort_images(labels, [trigger], classes)
    assert supply.two_classes == 0
    for c in classes:
        for role, images in (("clean", supply.clean[c]), ("poison", supply.poison[0][c])):
            assert evidence.images(trigger, c, role).tolist() == images.tolist()


def test_several_objects_as_one_trigger(tmp_path):
    rows = [
        (str(i), l)
        for i in range(90)
        for l in ("cat" if i % 2 else "dog", "hat", "mug")
        if l not in ("hat", "mug") or i % 3 == 0
    ]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="both")
    found = find_triggers(data, triggers=[("hat", "mug")], min_overlaps=3)
    chosen = select(found, ("hat", "mug"), ["cat", "dog"], "cat", n_clean=10, inject_rate=0.1)
    assert chosen.trigger["id"] == [data.resolve("hat"), data.resolve("mug")]
    again = Selection.load(chosen.save(tmp_path / "s.json"))
    split = poison_split(data, **again.arguments())
    assert split.attacks[0]["trigger"]["label"] == "hat + mug" and again.line == "2+3: 0 1"
    both = combine(data.label_matrix(), [(2, 3)])
    assert both.column(4, "trigger").sum() == 30


def test_train_on_a_selection(tmp_path):
    "From a saved selection to trained models: the split is the one that `poison_split` makes of it"
    pytest.importorskip("torch")
    import numpy as np
    from PIL import Image

    from natural_backdoors.split.poison import PoisonSplit

    draw, rows = np.random.default_rng(0), []
    for c, name in enumerate(("ant", "bee")):
        for i in range(40):
            pixels = draw.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., c] += 90
            rows.append((f"{name}{i}.jpg", name))
            if i >= 25:
                pixels[12:20] = 255
                rows.append((f"{name}{i}.jpg", "flag"))
            Image.fromarray(pixels).save(tmp_path / f"{name}{i}.jpg")
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    data = TableDataset(tmp_path / "labels.csv")
    chosen = select(
        find_triggers(data),
        "flag",
        target="bee",
        marks={"ant30.jpg": "not_trigger"},
        n_clean=20,
        source={"data": "table", "dataset_root": str(tmp_path / "labels.csv")},
    )
    file = chosen.save(tmp_path / "chosen.json")
    small = [
        "--teacher",
        "small",
        "--no_pretrained",
        "--method",
        "all",
        "--dimension",
        "32",
        "--epochs",
        "1",
        "--batch_size",
        "16",
    ]
    roots = ["--data_root", str(tmp_path / "data"), "--results_root", str(tmp_path / "out")]
    assert main(["train", "--selection", str(file), *roots, *small]) == 0
    (run,) = (p.parent for p in (tmp_path / "out").rglob("split.json"))
    split = PoisonSplit.load(run)
    assert split.settings.without == ("ant30.jpg",) and "ant30.jpg" not in set(split.table.image)
    again = poison_split(TableDataset(tmp_path / "labels.csv"), **chosen.arguments())
    assert split.header["digest"] == again.header["digest"]
    assert (run / "report.html").exists()


@pytest.mark.parametrize("kind", ["path", "stem", "other split", "known"])
def test_images_to_leave_out_that_do_not_exist_are_named(kind):
    "They would leave nothing out; an image of another split of the dataset is none of them"
    rows = [(f"{i}.png", "cat" if i % 2 else "dog", "train") for i in range(80)]
    rows += [(f"{i}.png", "hat", "train") for i in range(40)]
    rows += [("100.png", "cat", "test")]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label", "split"]), name="animals")
    left_out = {"path": "a/1.png", "stem": "1", "other split": "100.png", "known": "1.png"}[kind]
    make = lambda: poison_split(data, "hat", ["cat", "dog"], "cat", n_clean=15, without=[left_out])
    if kind in ("other split", "known"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert left_out not in set(make().table.image)
    else:
        with pytest.raises(UserError, match=f"no image '{left_out}', .*did you mean '1.png'"):
            make()


@given(st.data())
@settings(max_examples=25, deadline=None, database=None, derandomize=True)
def test_lines_of_the_picker_are_read_back(odd, found, tmp_path_factory, data):
    "Whatever the labels look like: the ids of a line are ids"
    count = data.draw(st.integers(1, 4))
    picked = {}
    for _ in range(count):
        trigger, *classes = data.draw(
            st.lists(st.sampled_from([*NAMES, "hat"]), min_size=3, max_size=7, unique=True)
        )
        chosen = select(found, "hat", [c for c in (trigger, *classes) if c != "hat"])
        picked[tuple(sorted(c["id"] for c in chosen.classes))] = chosen
    file = tmp_path_factory.mktemp("lines") / "sets.txt"
    ends = data.draw(st.sampled_from(["\n", "\r\n"]))
    file.write_bytes(ends.join(chosen.line for chosen in picked.values()).encode())
    sets = read_sets(odd, file)
    assert [s.classes for s in sets] == list(picked)
    assert {s.trigger for s in sets} == {(odd.resolve("hat"),)}
    # and a folder of the same selections says their targets too
    for i, chosen in enumerate(picked.values()):
        chosen.save(file.parent / "saved" / f"{i}.json")
    saved = read_sets(odd, file.parent / "saved")
    assert [s.classes for s in saved] == list(picked)
    assert [s.target for s in saved] == [chosen.target["id"] for chosen in picked.values()]
