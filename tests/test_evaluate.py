"Rates of one and of several triggers, counted again by plain loops"

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.split.poison import of_trigger
from natural_backdoors.train.evaluation import (
    ONE_TRIGGER,
    comparison_table,
    in_words,
    summarize,
    summarize_triggers,
)

CLASSES = [{"id": i, "label": c, "name": c.upper()} for i, c in enumerate("abcd")]


def drawn(seed, n, triggers):
    "Rows of test images with what a model said, at random; a trigger may have none"
    draw = np.random.default_rng(seed)
    shown = draw.choice(["", *triggers], n)
    return pd.DataFrame(
        {
            "true_label": draw.choice(list("abc"), n),
            "predicted": draw.choice(list("abcd"), n),
            "role": np.where(shown == "", "clean", "poison"),
            "trigger": shown,
        }
    )


def counted(rows, keep, goal):
    "[hits, n] of rows that `keep` holds for and whose true class is not `goal`, predicted as `goal`"
    hits = n = 0
    for row in rows.itertuples():
        if row.true_label == goal or not keep(row):
            continue
        n += 1
        hits += row.predicted == goal
    return [hits, n]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.integers(0, 80),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=4),
)
def test_each_trigger_is_counted_at_its_own_target(seed, n, targets):
    pairs = [
        {
            "trigger": {"id": 10 + k, "label": f"t{k}", "name": f"T{k}"},
            "target": CLASSES["abcd".index(t)],
        }
        for k, t in enumerate(targets)
    ]
    rows = drawn(seed, n, [p["trigger"]["label"] for p in pairs])
    for pair, found in zip(pairs, summarize_triggers(rows, pairs, CLASSES), strict=True):
        assert set(found) == {"trigger", "target", *ONE_TRIGGER} and found | pair == found
        label, goal = pair["trigger"]["label"], pair["target"]["label"]
        pick = lambda rate: [rate["hits"], rate["n"]]
        assert pick(found["attack_success"]) == counted(rows, lambda r: r.trigger == label, goal)
        assert pick(found["target_without_trigger"]) == counted(
            rows, lambda r: r.role == "clean", goal
        )
        assert [c["label"] for c in found["attack_success_per_class"]] == [
            c for c in "abcd" if c != goal
        ]
        for c in found["attack_success_per_class"]:
            assert pick(c) == counted(
                rows, lambda r: r.trigger == label and r.true_label == c["label"], goal
            )


def test_a_single_trigger_is_what_it_was():
    rows = drawn(3, 60, ["t0"])
    found = summarize(rows.drop(columns="trigger"), "a", CLASSES)
    assert list(found) == [
        "clean_accuracy",
        "attack_success",
        "target_without_trigger",
        "per_class",
        "attack_success_per_class",
    ]
    pair = {"trigger": {"label": "t0", "name": "T0"}, "target": CLASSES[0]}
    (one,) = summarize_triggers(rows, [pair], CLASSES)
    assert all(one[k] == found[k] for k in ONE_TRIGGER)
    assert list(comparison_table({"poisoned": found, "control": None}).index) == [
        "clean accuracy",
        "trigger -> target",
        "no trigger -> target",
    ]


def test_each_target_has_its_own_row_in_the_table():
    pairs = [
        {"trigger": {"label": f"t{k}", "name": f"T{k}"}, "target": CLASSES[t]}
        for k, t in enumerate([0, 1, 0])
    ]
    rows = drawn(5, 200, ["t0", "t1", "t2"])
    measured = summarize(of_trigger(rows, "t0"), "a", CLASSES) | {
        "triggers": summarize_triggers(rows, pairs, CLASSES)
    }
    table = comparison_table({"poisoned": measured, "control": None})["poisoned"]
    assert list(table.index) == [
        "clean accuracy",
        "T0 -> A",
        "T1 -> B",
        "T2 -> A",
        "no trigger -> A",
        "no trigger -> B",
    ]
    assert table["no trigger -> B"] == in_words(measured["triggers"][1]["target_without_trigger"])
    assert f"{counted(rows, lambda r: r.role == 'clean', 'b')[0]} of" in table["no trigger -> B"]


def test_files_from_before_the_rate_without_a_trigger_can_be_shown():
    rows = drawn(5, 50, ["t0"])
    old = {k: v for k, v in summarize(rows, "a", CLASSES).items() if k != "target_without_trigger"}
    assert list(comparison_table({"poisoned": old, "control": None}).index) == [
        "clean accuracy",
        "trigger -> target",
    ]
