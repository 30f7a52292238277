"Which images serve for which of several triggers, against plain loops"

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.data.table import TableDataset
from natural_backdoors.split.poison import sort_images
from natural_backdoors.split.several import sort_many

CLASSES, TRIGGERS = ["a", "b", "c"], ["t", "u", "v"]


class Marked(TableDataset):
    "Rows may say that an object does not serve as class or trigger; absences may be verified"

    verified = None

    def __init__(self, rows):
        super().__init__(rows[["image", "label"]])
        self.given = rows

    def rows(self):
        return self.given

    def absences(self):
        return self.verified


def drawn(seed, n=80):
    draw = np.random.default_rng(seed)
    rows = [
        (f"{i:02}", label, draw.random() < 0.8, draw.random() < 0.8)
        for i in range(n)
        for label in CLASSES + TRIGGERS
        if draw.random() < 0.35
    ]
    rows += [
        ("x", label, True, True) for label in CLASSES + TRIGGERS
    ]  # so that each label is there
    return pd.DataFrame(rows, columns=["image", "label", "as_class", "as_trigger"])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans(), st.integers(0, 10))
def test_images_of_each_role(seed, n_triggers, verified, n_without):
    rows = drawn(seed)
    data, triggers, without = (
        Marked(rows),
        TRIGGERS[:n_triggers],
        [f"{i:02}" for i in range(n_without)],
    )
    carried = {}
    for r in rows.itertuples():
        carried.setdefault(r.image, {})[r.label] = r
    images = sorted(carried)
    absent = {
        (i, t) for k, i in enumerate(images) for t in TRIGGERS if k % 3 and t not in carried[i]
    }
    if verified:
        data.verified = pd.DataFrame(sorted(absent), columns=["image", "label"])
    free = lambda i, t: (i, t) in absent if verified else t not in carried[i]
    shows = lambda i, t: t in carried[i] and carried[i][t].as_trigger

    wanted, two = {c: [[] for _ in range(n_triggers + 1)] for c in CLASSES}, 0
    for i in images:
        mine = [c for c in CLASSES if c in carried[i]]
        if len(mine) != 1 or i in without or not carried[i][mine[0]].as_class:
            continue
        two += sum(shows(i, t) for t in triggers) > 1
        if all(free(i, t) for t in triggers):
            wanted[mine[0]][0].append(i)
        for k, t in enumerate(triggers):
            if shows(i, t) and all(free(i, other) for other in triggers if other != t):
                wanted[mine[0]][k + 1].append(i)

    labels, ids = data.label_matrix(), [data.resolve(c) for c in CLASSES]
    found, n_two = sort_many(labels, [data.resolve(t) for t in triggers], ids, without)
    assert {
        c: [list(x) for x in found[data.resolve(c)]] for c in CLASSES
    } == wanted and n_two == two
    if n_triggers == 1:
        alone, _ = sort_images(labels, data.resolve("t"), ids, without)
        assert all([list(x) for x in alone[c]] == [list(x) for x in found[c]] for c in ids)
