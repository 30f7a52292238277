"""Sets, splits and the picker with odd input: what is asked for is done, or said in one sentence"""

import io
import warnings
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from natural_backdoors import TableDataset, expose, find_triggers, poison_split
from natural_backdoors.base.errors import UserError
from natural_backdoors.pick.state import PickerState
from natural_backdoors.pick.terminal import choose_in_terminal
from natural_backdoors.sets.combinations import disjoint_triggers, find_pairs
from natural_backdoors.sets.comparison import compare_measures
from natural_backdoors.sets.exposure import exposure_table, review_list
from natural_backdoors.sets.triggers import search_triggers
from natural_backdoors.split.accidental import accidental_images
from natural_backdoors.split.plan import Supply, TooFewImages, too_few
from natural_backdoors.split.preview import preview
from natural_backdoors.split.selection import Selection, select
from natural_backdoors.split.set_files import read_sets
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.split.stream import readable
from natural_backdoors.split.visibility import success_by_visibility

SEARCH = {"min_overlaps": 5, "max_overlaps_with_others": 60, "min_poison": 5}


def table(n=600, names=tuple("abcdefgh"), share=0.3, seed=0):
    "Images with labels drawn at random"
    draw, rows = np.random.default_rng(seed), []
    for image in range(n):
        for name in np.array(names)[draw.random(len(names)) < share]:
            rows.append((f"{image:04d}.jpg", str(name)))
    return pd.DataFrame(rows, columns=["image", "label"])


@pytest.fixture(scope="module")
def dataset():
    return TableDataset(table())


@pytest.fixture(scope="module")
def found(dataset):
    return find_triggers(dataset, **SEARCH)


@pytest.fixture(scope="module")
def pairs(found):
    "The best of all pairs, in an order that is not that of their ids"
    best = find_pairs(found, n_pairs=5)
    assert best.table.id.tolist() != sorted(best.table.id)
    return best


@pytest.fixture
def state(dataset, tmp_path):
    made = PickerState.of(dataset, path=tmp_path / "selection.json", **SEARCH)
    made.begin()
    return made


def said(call) -> str:
    "What a mistake is answered with"
    with pytest.raises(UserError) as error:
        call()
    return str(error.value)


# several objects together


def test_a_choice_of_several_objects_stays_when_a_setting_changes(pairs):
    state = PickerState.of(pairs)
    state.begin()
    image = str(state.labels.images[0])
    for name in pairs.table.label:
        state.pick(name)
        state.mark(image, "not_trigger")
        for least in (7, 5):
            state.accept(state.analyze({"min_poison": least}))
            assert state.selection.trigger["label"] == name
            assert state.selection.marks == {image: "not_trigger"}
        state.mark(image, None)


def test_several_objects_that_a_setting_leaves_out_come_back(pairs):
    state = PickerState.of(pairs)
    state.begin()
    for least, n in ((10**6, 0), (5, 5)):
        state.accept(state.analyze({"min_poison": least}))
        assert len(state.found) == n
    assert sorted(state.found.table.label) == sorted(pairs.table.label)


def test_what_was_asked_for_and_has_too_few_classes_can_be_had_with_fewer(dataset):
    asked = [("a", "b"), ("c", "d")]
    state = PickerState.of(search_triggers(dataset, triggers=asked, min_classes=9, **SEARCH))
    state.begin()
    assert len(state.found) == 0
    state.accept(state.analyze({"min_classes": 1}))
    assert sorted(state.found.table.label) == ["a + b", "c + d"]


def test_several_objects_can_be_asked_for_with_a_dataset(dataset):
    state = PickerState.of(dataset, triggers=[("a", "b"), "c"], **SEARCH)
    state.begin()
    assert sorted(state.found.table.label) == ["a + b", "c"]
    assert state.overlaps.classes["name"][state.found.resolve("a + b")] == "a + b"


def test_the_window_names_several_objects_after_a_change(pairs):
    pytest.importorskip("anywidget")
    from natural_backdoors.pick.app import TriggerPicker, static_data

    picker = TriggerPicker(pairs)
    picker.answer({"type": "analyze", "params": {"min_poison": 7}, "serial": 1})
    picker.settle()
    names = dict(zip(picker.classes["id"], picker.classes["name"]))
    shown = [names[id] for id in picker.result["triggers"]["id"]]
    assert shown == picker.found.table.name.tolist()
    data = static_data(pairs.source, {"min_poison": [5, 7]}, triggers=[("a", "b")], min_overlaps=5)
    assert data["classes"]["name"][-1] == "a + b"


# the picker


@pytest.mark.parametrize("n", [0, -5, 1, 2.5, True])
def test_a_size_that_is_refused_changes_nothing(state, n):
    before = state.settings, state.sized, state.choice_value()
    assert "n_clean is a whole number from 2" in said(
        lambda: state.choose(state.classes[:2], n_clean=n)
    )
    assert (state.settings, state.sized, state.choice_value()) == before


def test_classes_are_chosen_by_whole_numbers_of_any_kind(state):
    state.choose([np.int64(2), 1], np.int64(1))
    assert state.choice_value()["classes"] == [2, 1] and state.target == 1
    assert "unknown class id True" in said(lambda: state.choose([True]))


def test_leaving_out_a_class_that_is_to_be_poisoned_is_said_in_the_preview(state):
    gone, *rest = state.classes
    state.choose(state.classes, poison_classes=[state.overlaps.classes.label[gone]])
    state.choose(rest)
    assert state.classes == rest
    (first, *_) = state.counts_value()["warnings"]
    assert "to be poisoned, but not among the classes" in first


def test_a_class_to_be_poisoned_may_be_spelled_in_another_case():
    named = TableDataset(table(names=("Ant", "Bee", "Cat", "Dog", "Emu")))
    state = PickerState.of(named, min_overlaps=5, max_overlaps_with_others=10**6)
    state.begin()
    classes = [named.resolve(c) for c in ("Bee", "Cat", "Dog")]
    state.pick("Ant")
    sizes = []
    for spelled in ("Bee", "bee"):
        state.choose(classes, classes[1], poison_classes=[spelled], n_clean=None)
        sizes.append(state.settings.n_clean)
    assert sizes[0] == sizes[1] < 250


def test_images_that_are_not_there_are_neither_marked_nor_shown(state):
    assert "has no image 'none.jpg'" in said(lambda: state.mark("none.jpg", "duplicate"))
    for image in ("none.jpg", "../../etc/passwd"):
        assert "has no image" in said(lambda image=image: state.large(image, 0, 1))
    assert not state.marks.get(state.trigger)


@pytest.mark.parametrize("name", ["x" * 300, "~none of us/x.json", "a\0b.json"])
def test_a_file_name_that_cannot_be_is_said(state, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert "choose another name" in said(lambda: state.save(name))
    assert state.save() == tmp_path / "selection.json"


def test_marks_count_when_a_selection_is_taken_up_without_a_size(dataset, state, tmp_path):
    state.choose(state.classes[:2])
    clean = state.counts_value()["rows"]["n_clean"]
    scarce = state.classes[int(np.argmin(clean))]
    for image in state.evidence.images(state.trigger, scarce, "clean"):
        state.mark(image, "trigger_visible")
        if state.counts_value()["size"]["fits"] < min(clean) - 5:
            break
    later = PickerState.resume(dataset, state.save(), sized=False)
    later.begin()
    assert later.settings.n_clean == state.settings.n_clean == later.counts_value()["size"]["fits"]


@pytest.mark.parametrize("call", [{"n": 0}, {"n": -1}, {"n": 1.5}])
def test_a_sheet_has_images(state, call):
    assert "n is a whole number from 1" in said(lambda: state.evidence.sheet(0, 1, **call))


# the terminal


def told(state, *lines) -> str:
    "What is said to lines that are typed"
    typed, words = iter(lines), io.StringIO()

    def read():
        for line in typed:
            return line
        raise EOFError

    with redirect_stdout(words):
        choose_in_terminal(state, read, speak=lambda text: f"<{text}>")
    return words.getvalue()


@pytest.mark.parametrize("line", ["show a", "triggers b", "quit now", "help me", "classes 5"])
def test_words_behind_an_action_that_takes_none_are_not_dropped(state, line):
    first, rest = line.split()
    assert f"`{first}` stands alone, and {rest!r} follows it" in told(state, line)
    assert state.trigger is not None


@pytest.mark.parametrize("line", ["add", "drop"])
def test_an_action_that_needs_a_class_asks_for_it(state, line):
    assert "which class?" in told(state, "pick a", line)


def test_ctrl_c_ends_what_takes_long_and_not_the_choice(state, monkeypatch):
    def slow(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(state.found), "explain", slow)
    words = told(state, "pick a", "why b", f"save {state.path}")
    assert "stopped" in words and Selection.load(state.path).trigger["name"] == "a"


def test_warnings_of_the_terminal_are_in_its_words(state):
    assert "- <sample_size=2 with test_fraction" in told(state, "pick a", "sample_size 2")


# previews and splits


def asked_for(found, **settings):
    classes = found["a"].id.tolist()[:3]
    return select(found, "a", classes, classes[0], check_images=False, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"poison_classes": ["target"]},
        {"poison_classes": ["h"]},
        {"trigger_free": True, "inject_rate": 0.05},
        {"trigger_free": True, "inject_rate": 0.05, "n_clean": 20},
    ],
)
def test_a_preview_says_what_the_split_says(dataset, found, settings):
    fewest = preview(dataset.label_matrix(), asked_for(found)).table.n_clean.min()
    settings = {"n_clean": int(fewest) - 1} | settings
    chosen = asked_for(found, **settings)
    if settings.get("poison_classes") == ["target"]:
        chosen = chosen.but(poison_classes=[chosen.target["label"]])
    shown = preview(dataset.label_matrix(), chosen)
    try:
        split = poison_split(dataset, chosen)
    except UserError as e:
        assert shown.injection_rate is None and str(e) in shown.warnings
    else:
        assert shown.injection_rate == split.header["injection_rate"]


def test_a_remedy_is_one_that_can_be_taken():
    counts = pd.DataFrame({"name": ["cat", "dog"], "clean": [0, 90], "poison": [9, 9]})
    for least in (0, 1, 3):
        counts.loc[0, "clean"] = least
        supply, settings = Supply({}, [], 0, 0), SplitSettings(n_clean=50)
        text = str(too_few(TooFewImages(4, 16), "hat", counts, settings, supply))
        assert f"'cat' has {least}, too few for any split; leave it out" in text
    counts.loc[0, "clean"] = 40
    text = str(too_few(TooFewImages(4, 16), "hat", counts, settings, supply))
    assert "lower n_clean (--sample_size) to 40" in text


def test_what_cannot_be_read_takes_nothing_else_with_it(dataset, found, tmp_path):
    from PIL import Image

    split = poison_split(dataset, asked_for(found, n_clean=20, trigger_free=True))
    paths = [str(tmp_path / image) for image in split.table.image]
    for path in paths[1:]:
        Image.new("RGB", (8, 8)).save(path)
    split = replace(split, table=split.table.assign(path=paths), image_roots=[str(tmp_path)])
    rest, left_out = readable(split, skip_unreadable=True)
    assert len(left_out) == 1 and len(rest.table) == len(paths) - 1
    assert rest.image_roots == split.image_roots and rest.spare.equals(split.spare)


def test_a_label_like_a_flag_is_typed_as_an_id():
    odd = TableDataset(table(names=("--seed", "-x", "cat", "dog")))
    chosen = select(find_triggers(odd, min_overlaps=1, subset="none"), "--seed", ["-x", "cat"])
    assert "--trigger id:0 --target id:1 --classes id:1 cat" in chosen.command


@pytest.mark.parametrize("wrong", [{"groups": 0}, {"per_group": 0}, {"groups": "4"}])
def test_groups_are_counted(wrong):
    rows = pd.DataFrame({"image": ["1"], "true_label": ["a"], "role": ["poison"]})
    rows, seen = rows.assign(predicted="b"), pd.DataFrame({"image": ["1"], "share": [0.5]})
    assert "is a whole number from 1" in said(
        lambda: success_by_visibility(rows, seen, "b", **wrong)
    )


@pytest.mark.parametrize("wrong", [{"n": -1}, {"objects": -1}, {"objects": 2.5}])
def test_accidental_images_are_counted(dataset, found, wrong):
    split = poison_split(dataset, asked_for(found, n_clean=10))
    assert "is a whole number from 0" in said(lambda: accidental_images(dataset, split, **wrong))


# sets


@pytest.mark.parametrize(
    "line, trigger, classes, target",
    [
        ("'a+b': 'c: d' \"e -> f\"", (0,), (1, 2), None),
        ("'c: d' + id:0: \"e -> f\" g -> g", (0, 1), (2, 3), 3),
        ("g: 'a+b' 'e -> f' -> 'e -> f'", (3,), (0, 2), 2),
        ("id:3:0 1", (3,), (0, 1), None),
    ],
)
def test_signs_in_quotes_are_a_part_of_the_name(tmp_path, line, trigger, classes, target):
    odd = TableDataset(table(names=("a+b", "c: d", "e -> f", "g")))
    (tmp_path / "sets.txt").write_text(line)
    (one,) = read_sets(odd, tmp_path / "sets.txt")
    assert (one.trigger, one.classes, one.target) == (trigger, classes, target)


def test_a_line_without_classes_is_said(dataset, tmp_path):
    (tmp_path / "sets.txt").write_text("a:\n")
    assert "no class is given" in said(lambda: read_sets(dataset, tmp_path / "sets.txt"))


def test_marks_of_another_dataset_are_not_taken_without_a_word(found, tmp_path):
    other, chosen = TableDataset(table(), name="other"), asked_for(found)
    file = chosen.save(tmp_path / "selection.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_sets(other, file)
    replace(chosen, marks={"0001.jpg": "not_trigger"}).save(file)
    with pytest.warns(UserWarning, match="was saved for the dataset 'table'"):
        read_sets(other, file)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"n_triggers": -1}, "n_triggers is a whole number from 1"),
        ({"min_classes": "x"}, "min_classes is a whole number"),
        ({"min_overlaps": ()}, "min_overlaps names no threshold"),
        ({"max_overlaps": []}, "max_overlaps names no threshold"),
        ({"max_overlaps": (-1, 2.5)}, "max_overlaps is a whole number from -1"),
        ({"min_overlaps": "15"}, "not '15'"),
        ({"measures": []}, "measures names none"),
    ],
)
def test_a_comparison_compares_something(dataset, wrong, words):
    assert words in said(lambda: compare_measures(dataset, **{"measures": "degree"} | wrong))


def test_a_threshold_may_be_a_number_of_numpy(dataset):
    rows = compare_measures(dataset, "degree", min_overlaps=np.int64(5), max_overlaps=np.int64(9))
    assert rows.table[["min_overlaps", "max_overlaps"]].values.tolist() == [[5, 9]]


@pytest.mark.parametrize("n", [-1, 1.5, None, "2"])
def test_images_that_two_may_share_are_counted(found, n):
    assert "max_shared is a whole number" in said(lambda: disjoint_triggers(found, 2, n))


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_images_to_be_reviewed_are_counted(dataset, found, n):
    labels, rows = dataset.label_matrix(), exposure_table(found)
    assert "per_pair is a whole number" in said(lambda: review_list(labels, rows, per_pair=n))


def test_a_number_in_quotes_is_a_label(tmp_path):
    rows = [(f"{i}.jpg", label) for i in range(60) for label in ("7", str(2 + i % 3))]
    rows += [(f"alone{i}.jpg", str(2 + i % 3)) for i in range(60)]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]))
    (tmp_path / "sets.txt").write_text("'7': \"2\" '3'\n3: 0 '4' -> '4'\n")
    first, second = read_sets(data, tmp_path / "sets.txt")
    assert (first.trigger, first.classes) == ((3,), (0, 1))  # labels 2, 3, 4, 7 are ids 0 to 3
    assert (second.trigger, second.classes, second.target) == ((3,), (0, 2), 2)
    (tmp_path / "sets.txt").write_text("'7': '2' '1'\n")
    assert "asked for as 'id:1'" in said(lambda: read_sets(data, tmp_path / "sets.txt"))


def test_a_picker_refuses_images_that_are_not_there(dataset):
    settings = SplitSettings(without=("nix.png",))
    assert "no image 'nix.png'" in said(lambda: PickerState.of(dataset, settings=settings))


def test_a_smaller_attack_is_not_said_to_be_impossible():
    "There are enough images; the two classes meet"
    rows = [(f"{i}.jpg", label) for i in range(80) for label in ("hat", "cat", "dog")]
    rows += [(f"{c}{i}.jpg", c) for i in range(80) for c in ("cat", "dog")]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]))
    shown = expose(data, n_clean=20, min_overlaps=10).sentences()[0]
    assert shown.startswith("No object") and "no two of which share more than 9 images" in shown
    shown = expose(data, n_clean=20, min_overlaps=10, max_overlaps_with_others=99).sentences()[0]
    assert shown.startswith("1 object of 3") and "no two" not in shown
