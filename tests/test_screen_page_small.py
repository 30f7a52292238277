"Effects that are shown and small: they are called so on every page, and are none that work"

import re
import types

import pandas as pd
import pytest

from natural_backdoors.base.statistics import Pairs, wilson
from natural_backdoors.base.verdicts import SMALL, Evidence, kind_over_runs
from natural_backdoors.report.findings import finding
from natural_backdoors.report.screen_page import draw_effects, write_screening
from natural_backdoors.split.effects import effect_record

BLUE, RED = "#2166ac", "#b2182b"
CLASSES = [{"id": i, "label": f"/m/{i}", "name": name} for i, name in enumerate(("Cat", "Mug"))]
TRIGGERS = [
    {"id": 7 + i, "label": f"/t/{i}", "name": name} for i, name in enumerate(("Hat", "Car"))
]


def screening(*effects):
    "A screening of triggers with these effects in four seeds"
    rows = []
    for k, values in enumerate(effects):
        over = kind_over_runs(values, range(len(values)))
        row = dict(trigger=f"/t/{k}", name=f"Thing {k}", effect=over.effect.value)
        row |= dict(low=over.effect.low, high=over.effect.high, kind=over.kind)
        row |= dict(runs=len(values), seeds=over.seeds, seeds_needed=over.needed or 0)
        row |= dict(attack_success_hits=1, attack_success_n=9, n_poison=9, n_clean=9, box_area=0.1)
        row |= dict(centrality=0.1, overlaps=9, lift=1.0, share=0.1, classes=["a"], targets=["a"])
        rows.append(row)
    said = dict(predictor=[], p=[], correlation=[], meaning=[], says=[])
    nothing = pd.DataFrame({"name": [], "reason": []})
    return types.SimpleNamespace(
        table=pd.DataFrame(rows),
        predictors=pd.DataFrame(said),
        left_out=nothing,
        runs=pd.DataFrame({"run": range(8 * len(rows))}),
        failed=pd.DataFrame({"run": ["r"], "reason": ["it stopped"]}),
        notes=[],
        control="true_labels",
    )


LITTLE, LARGE, NONE = [0.02, 0.021, 0.019, 0.02], [0.6, 0.61, 0.62, 0.6], [0.0, 0.01, -0.01, 0.0]
OPEN = [0.9, -0.5, 0.6, 0.1]


@pytest.mark.parametrize(
    "effects, headline",
    [
        ([LITTLE], "0 of 1 trigger works, 1 has a small effect, 0 are inconclusive"),
        ([LARGE], "1 of 1 trigger works, 0 are inconclusive"),
        ([OPEN], "0 of 1 trigger works, 1 is inconclusive"),
        ([LARGE, LITTLE], "1 of 2 triggers works, 1 has a small effect, 0 are inconclusive"),
        ([LARGE, LARGE, NONE], "2 of 3 triggers work, 0 are inconclusive"),
        (
            [LARGE, LARGE, LITTLE, LITTLE, OPEN],
            "2 of 5 triggers work, 2 have a small effect, 1 is inconclusive",
        ),
        ([LITTLE, OPEN, OPEN], "0 of 3 triggers work, 1 has a small effect, 2 are inconclusive"),
    ],
)
def test_a_screening_counts_what_works(effects, headline, tmp_path):
    found = screening(*effects)
    page = write_screening(found, tmp_path / "page.html").read_text()
    text = re.sub(r"<(style|svg).*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert headline in text and "1 run failed" in text
    n = len(effects)
    assert f"{n} trigger{'' if n == 1 else 's'}, {8 * n} runs." in text
    for row in found.table.itertuples():
        small = row.kind == "works" and row.high <= SMALL
        cells = re.search(rf"<td>{row.name}</td>(.*?)</tr>", page, re.S)[1]
        assert ("<td>small effect</td>" in cells) == small
        assert ("<td>works</td>" in cells) == (row.kind == "works" and not small)


def test_a_small_effect_is_not_drawn_as_one_that_works():
    for effects, color in ((LITTLE, BLUE), (LARGE, RED)):
        lines = draw_effects(screening(effects).table).axes[0].lines
        assert [line.get_color() for line in lines[:2]] == [color] * 2


def measured(hits):
    rates = {"attack_success": wilson(hits, 100), "target_without_trigger": wilson(5, 100)}
    pairs = [{"trigger": trigger, "target": CLASSES[1]} | rates for trigger in TRIGGERS]
    return {"clean_accuracy": wilson(90, 100), "attacks": pairs}


def report(*evidences):
    pairs = [{"trigger": trigger, "target": CLASSES[1]} for trigger in TRIGGERS[: len(evidences)]]
    effects = [effect_record(e, pair, "true_labels") for e, pair in zip(evidences, pairs)]
    models = {"poisoned": measured(60), "true_labels": measured(5)}
    header = {"attacks": pairs, "classes": CLASSES}
    return finding(header, {"format": 3, "models": models, "effects": effects})


WORKS = Evidence(Pairs(0, 300, 0, 100), Pairs(0, 0, 0, 400))
SHOWN = Evidence(Pairs(0, 300, 0, 9700), Pairs(0, 0, 0, 10000))  # 3 points
AT_MOST = Evidence(Pairs(0, 0, 0, 9700), Pairs(0, 0, 0, 10000))


def test_a_report_calls_a_small_effect_small_for_one_trigger_and_for_several():
    one = report(SHOWN)
    assert one.kind == "small" and "a small effect, 3.0 points" in one.headline
    for evidences, kind, headline in (
        (
            (WORKS, SHOWN),
            "works",
            "1 of 2 triggers is shown to work as a backdoor, 1 of the others "
            "to have a small effect",
        ),
        (
            (SHOWN, SHOWN),
            "small",
            "0 of 2 triggers are shown to work as backdoors, 2 of the others "
            "to have a small effect",
        ),
        (
            (SHOWN, AT_MOST),
            "small",
            "0 of 2 triggers are shown to work as backdoors, 1 of the "
            "others to have a small effect, 1 to have at most a small effect",
        ),
        ((WORKS, WORKS), "works", "2 of 2 triggers are shown to work as backdoors"),
    ):
        found = report(*evidences)
        assert (found.kind, found.headline) == (kind, headline)
