"A field that is added to a set of settings arrives everywhere: flags, keys, headers, grids"

from dataclasses import fields, make_dataclass, replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.settings import (
    a_whole_number,
    add_flags,
    as_flags,
    setting,
    settings_from,
    settings_of,
    settings_table,
    takes,
)
from natural_backdoors.cli.flags import Parser, settings_said
from natural_backdoors.data.table import TableDataset
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.selection import Selection, select
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.train.recipe import Recipe, recipe_of

SETS = [SearchSettings, SplitSettings, Recipe]
every = pytest.mark.parametrize("cls", SETS, ids=lambda cls: cls.__name__)


def with_a_field(cls):
    "A copy of the class with one field more"
    fuzz = setting(3, "a field that was added", a_whole_number(0, 9), "fuzz_factor", "N")
    return make_dataclass(
        f"More{cls.__name__}", [("fuzz", int, fuzz)], bases=(cls,), frozen=True, repr=False
    )


@pytest.fixture(scope="module")
def data():
    rows = []
    for c in ("ant", "bee", "cow"):
        for i in range(60):
            rows += [(f"{c}{i}", c)] + [(f"{c}{i}", "hat")] * (i < 20)
    return TableDataset(pd.DataFrame(rows, columns=["image", "label"]), name="toy")


@every
def test_it_is_a_flag_with_its_help(cls):
    more = with_a_field(cls)
    parser = Parser(prog="try")
    add_flags(parser, more)
    said = " ".join(parser.format_help().split())
    assert "--fuzz_factor N" in said and "a field that was added (default: 3)" in said
    assert settings_said(parser.parse_args(["--fuzz_factor", "4"]), more) == more(fuzz=4)
    assert settings_said(parser.parse_args([]), more) == more()
    with pytest.raises(UserError, match="--fuzz_factor is a whole number from 0 to 9, not 10"):
        settings_said(parser.parse_args(["--fuzz_factor", "10"]), more)
    assert as_flags(more(fuzz=4)) == ["--fuzz_factor", "4"]


@every
def test_it_is_in_keys_files_signatures_and_tables(cls):
    more = with_a_field(cls)
    assert more(fuzz=4).key != more().key and hash(more(fuzz=4)) != hash(more())
    assert settings_from(more, more(fuzz=4).to_dict(), "a.json") == more(fuzz=4)
    with pytest.raises(UserError, match="a.json has no 'fuzz'"):
        settings_from(more, cls().to_dict(), "a.json")
    assert "fuzz" in settings_table(more)["name"].tolist()

    @takes(more)
    def f(x, settings=None, **given):
        return settings_of(more, given, settings)

    import inspect

    assert inspect.signature(f).parameters["fuzz"].default == 3
    assert "fuzz: a field that was added" in f.__doc__ and f(1, fuzz=5).fuzz == 5


@every
def test_every_field_changes_the_key(cls):
    "Each alone, there and back"
    other = {
        bool: lambda v: not v,
        int: lambda v: v + 1,
        float: lambda v: v / 2 + 0.001 if v < 1 else v + 1,
        str: lambda v: {"resnet50": "small", "adamw": "adam", "one_cycle": "constant"}.get(v, v),
    }
    words = dict(
        centrality="degree",
        subset="mis",
        engine="scipy",
        compat="original",
        weights="poison",
        max_classes=3,
        split="test",
        exclude=("a",),
        triggers=("a",),
        without=("a",),
        poison_classes=("a",),
        duplicates="refuse",
        near_duplicates=4,
        unfreeze="all",
        borders="nearest",
        head="mlp",
        class_weights="balanced",
        patience=3,
        monitor="val_trig_acc",
        views=2,
        augment=0.5,
        max_overlaps_with_others=3,
    )
    usual, seen = cls(), set()
    for f in fields(cls):
        value = words[f.name] if f.name in words else other[type(f.default)](f.default)
        changed = replace(usual, **{f.name: value})
        assert changed.key != usual.key, f.name
        assert replace(changed, **{f.name: f.default}).key == usual.key, f.name
        seen.add(changed.key)
    assert len(seen) == len(fields(cls))


def test_it_is_in_the_header_of_a_split_and_in_a_selection(data, tmp_path):
    more = with_a_field(SplitSettings)
    roles = dict(trigger="hat", classes=["ant", "bee"], target="ant")
    asked = more(n_clean=20, fuzz=4)
    split = poison_split(data, **roles, settings=asked)
    assert split.header["settings"]["fuzz"] == 4
    other = poison_split(data, **roles, settings=replace(asked, fuzz=5))
    assert split.header["digest"] != other.header["digest"]
    assert PoisonSplit.load(split.save(tmp_path)).header == split.header
    found = find_triggers(data, with_a_field(SearchSettings)(fuzz=4, min_overlaps=5))
    assert found.params["fuzz"] == 4
    chosen = select(found, "hat", settings=asked)
    assert "fuzz=4" in chosen.python and "--fuzz_factor 4" in chosen.command


def test_it_is_in_runs_and_grids(data, monkeypatch):
    pytest.importorskip("torch")
    from natural_backdoors.train import grids, sweeps

    more, split = with_a_field(Recipe), with_a_field(SplitSettings)
    how = dict(check=False, archs=["small"])
    sets = {"hat": ["ant", "bee"]}
    grid = grids.make_grid(data, sets, ["ant"], recipe=more(fuzz=4), settings=split(fuzz=7), **how)
    (run,) = grid
    assert (run.recipe.fuzz, run.split.fuzz) == (4, 7)
    assert run.flat()["fuzz"] == 4
    again = grids.make_grid(data, sets, ["ant"], recipe=more(), settings=split(fuzz=7), **how)
    assert again[0].hash != run.hash and sweeps.share_key(again[0]) != sweeps.share_key(run)
    third = grids.make_grid(data, sets, ["ant"], recipe=more(fuzz=4), settings=split(), **how)
    assert third[0].hash != run.hash
    # as an axis of a grid, and as a column of the table of results
    monkeypatch.setattr(grids, "Recipe", more)
    monkeypatch.setattr(grids, "recipe_of", lambda r, given: settings_of(more, given, r or more()))
    monkeypatch.setattr(sweeps, "Recipe", more)
    both = grids.make_grid(data, sets, ["ant"], fuzz=[1, 2], **how)
    assert [r.recipe.fuzz for r in both] == [1, 2] and "fuzz" in sweeps._columns()


def test_a_split_is_drawn_for_every_setting(data, tmp_path):
    "Two runs that differ only in what dilutes a split have splits of their own"
    pytest.importorskip("torch")
    from natural_backdoors.train.grids import make_grid
    from natural_backdoors.train.sweeps import draw_splits

    fixed = dict(archs=["small"], n_clean=20, rates=[0.1])
    sets = {"hat": ["ant", "bee"]}
    grid = make_grid(data, sets, ["ant"], **fixed)
    grid += make_grid(data, sets, ["ant"], add_classes=1, **fixed)
    grid += make_grid(data, sets, ["ant"], poison_classes=["bee"], **fixed)
    grid += make_grid(data, sets, ["ant"], without=["ant59"], **fixed)
    splits, failed = draw_splits(data, grid)
    assert not failed and len({s.header["digest"] for s in splits.values()}) == 4
    assert [len(splits[r.hash].header["classes"]) for r in grid] == [2, 3, 2, 2]
    poisoned = splits[grid[2].hash].table.query("role == 'poison' and part == 'train'")
    assert set(poisoned.true_label) == {"bee"}


def test_what_is_given_beside_a_selection_counts(data, tmp_path):
    chosen = select(
        find_triggers(data, min_overlaps=5), "hat", n_clean=30, marks={"ant3": "not_trigger"}
    )
    chosen = Selection.load(chosen.save(tmp_path / "s.json"))
    split = poison_split(data, chosen, n_clean=20, inject_rate=0.05, seed=9, without=["bee4"])
    asked = split.settings
    assert (asked.n_clean, asked.inject_rate, asked.seed) == (20, 0.05, 9)
    assert asked.without == ("ant3", "bee4")
    assert not {"ant3", "bee4"} & set(split.table.image)


@pytest.mark.parametrize("preset", ["paper", "modern"])
def test_presets_are_whole_recipes(preset):
    assert recipe_of(preset, {}) == recipe_of(preset, {"epochs": recipe_of(preset, {}).epochs})
    assert recipe_of(preset, {"epochs": 3}).epochs == 3


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values |= st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3)


@hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(SETS), st.data())
def test_any_value_is_taken_or_refused_in_a_line(cls, data):
    name = data.draw(st.sampled_from([f.name for f in fields(cls)]))
    value = data.draw(values)
    try:
        made = cls(**{name: value})
    except UserError as e:
        assert "\n" not in str(e)
        return
    assert settings_from(cls, made.to_dict(), "x") == made
    assert isinstance(hash(made), int)
