"Rates of one and of several triggers, counted again by plain loops"

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.train.evaluation import comparison_table, rate_text, summarize

CLASSES = [{"id": i, "label": c, "name": c.upper()} for i, c in enumerate("abcd")]
PER_CLASS = "attack_success_per_class"
RATES = {"attack_success", "target_without_trigger", PER_CLASS, "attack_success_macro"}
RATES |= {"attack_success_relabeled", "attack_success_not_relabeled"}


def attacks_on(targets):
    "Attacks with the triggers t0, t1, ... on these classes"
    return [
        {
            "trigger": {"id": 10 + k, "label": f"t{k}", "name": f"T{k}"},
            "target": CLASSES["abcd".index(target)],
        }
        for k, target in enumerate(targets)
    ]


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


def counted(rows, goal, **where):
    "[hits, n]: rows of classes other than `goal`, with these values, that are called `goal`"
    hits = n = 0
    for row in rows.itertuples():
        if row.true_label == goal or any(getattr(row, k) != v for k, v in where.items()):
            continue
        n += 1
        hits += row.predicted == goal
    return [hits, n]


def pick(rate):
    return [rate["hits"], rate["n"]]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.integers(0, 80),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=4),
)
def test_each_attack_is_counted_at_its_own_target(seed, n, targets):
    attacks = attacks_on(targets)
    rows = drawn(seed, n, [a["trigger"]["label"] for a in attacks])
    measured = summarize(rows, attacks, CLASSES)
    assert set(measured) == {"clean_accuracy", "per_class", "attacks"}
    for attack, found in zip(attacks, measured["attacks"], strict=True):
        assert set(found) == {"trigger", "target", *RATES} and found | attack == found
        label, goal = attack["trigger"]["label"], attack["target"]["label"]
        assert pick(found["attack_success"]) == counted(rows, goal, trigger=label)
        clean = counted(rows, goal, role="clean")
        assert pick(found["target_without_trigger"]) == clean
        per_class = found["attack_success_per_class"]
        assert [c["label"] for c in per_class] == [c for c in "abcd" if c != goal]
        for c in per_class:
            mine = counted(rows, goal, trigger=label, true_label=c["label"])
            assert pick(c) == mine
        assert pick(found["attack_success_relabeled"]) == pick(found["attack_success"])
        shares = [c["value"] for c in per_class if c["n"]]
        macro = found["attack_success_macro"]
        assert (macro["groups"], macro["empty"]) == (len(shares), 3 - len(shares))
        assert macro["value"] == (pytest.approx(sum(shares) / len(shares)) if shares else None)
    right = [r.predicted == r.true_label for r in rows.itertuples() if r.role == "clean"]
    assert pick(measured["clean_accuracy"]) == [sum(right), len(right)]
    assert sum(c["n"] for c in measured["per_class"]) == len(right)


@pytest.mark.parametrize("targets", ["a", "aba"])
def test_one_attack_among_others_is_what_it_is_alone(targets):
    attacks = attacks_on(targets)
    rows = drawn(3, 90, [a["trigger"]["label"] for a in attacks])
    together = summarize(rows, attacks, CLASSES)
    for attack, found in zip(attacks, together["attacks"], strict=True):
        mine = rows[rows.trigger.isin(["", attack["trigger"]["label"]])]
        alone = summarize(mine, [attack], CLASSES)
        assert alone == together | {"attacks": [found]}


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("a", ["trigger -> target", "no trigger -> target"]),
        ("aba", ["T0 -> A", "T1 -> B", "T2 -> A", "no trigger -> A", "no trigger -> B"]),
    ],
)
def test_each_rate_has_a_row_in_the_table(targets, names):
    attacks = attacks_on(targets)
    rows = drawn(5, 200, [a["trigger"]["label"] for a in attacks])
    measured = summarize(rows, attacks, CLASSES)
    table = comparison_table({"models": {"poisoned": measured}})["poisoned"]
    averages = [name for name in table.index if name.endswith(", macro average")]
    assert list(table.index) == ["clean accuracy", *names, *averages]
    assert len(averages) == len(attacks)
    for k, found in enumerate(measured["attacks"]):
        assert table[names[k]] == rate_text(found["attack_success"])
    last = measured["attacks"][-1 if len(attacks) == 1 else 1]
    assert table[names[-1]] == rate_text(last["target_without_trigger"])
    goal = last["target"]["label"]
    assert f"{counted(rows, goal, role='clean')[0]} of" in table[names[-1]]


def test_classes_that_were_not_relabeled_stand_apart():
    attack = attacks_on("d")[0]
    attack["counts"] = [c | {"poison_train": 5 * (c["label"] == "a")} for c in CLASSES]
    rows = drawn(4, 120, ["t0"])
    measured = summarize(rows, [attack], CLASSES)
    found, hits = measured["attacks"][0], {True: [0, 0], False: [0, 0]}
    for row in rows.itertuples():
        if row.trigger == "t0" and row.true_label != "d":
            hits[row.true_label == "a"][0] += row.predicted == "d"
            hits[row.true_label == "a"][1] += 1
    assert pick(found["attack_success_relabeled"]) == hits[True] != [0, 0]
    assert pick(found["attack_success_not_relabeled"]) == hits[False] != [0, 0]
    table = comparison_table({"models": {"poisoned": measured}})["poisoned"]
    said = f"{hits[False][0]} of {hits[False][1]}"
    assert said in table["trigger -> target, other classes"]


def test_triggers_of_one_name_have_a_row_each():
    attacks = attacks_on("ab")
    for attack in attacks:
        attack["trigger"]["name"] = "Hat"
    measured = summarize(drawn(5, 50, ["t0", "t1"]), attacks, CLASSES)
    table = comparison_table({"models": {"poisoned": measured, "true_labels": measured}})
    assert list(table.index)[1:3] == ["Hat (t0) -> A", "Hat (t1) -> B"]
