"Which images serve for which trigger, one or several, against plain loops"

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.data.table import TableDataset
from natural_backdoors.split.plan import sort_images

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
    draw, rows = np.random.default_rng(seed), []
    for i in range(n):
        for label in CLASSES + TRIGGERS:
            if draw.random() < 0.35:
                rows.append((f"{i:02}", label, draw.random() < 0.8, draw.random() < 0.8))
    rows += [("x", label, True, True) for label in CLASSES + TRIGGERS]  # so that each is there
    return pd.DataFrame(rows, columns=["image", "label", "as_class", "as_trigger"])


class Expected:
    "What a dataset says, image by image"

    def __init__(self, rows, triggers, verified):
        self.triggers, self.carried = triggers, {}
        for row in rows.itertuples():
            self.carried.setdefault(row.image, {})[row.label] = row
        self.images = sorted(self.carried)
        self.absent = None
        if verified:
            self.absent = {
                (image, trigger)
                for k, image in enumerate(self.images)
                for trigger in TRIGGERS
                if k % 3 and trigger not in self.carried[image]
            }

    def free(self, image, trigger):
        if self.absent is None:
            return trigger not in self.carried[image]
        return (image, trigger) in self.absent

    def shows(self, image, trigger):
        return trigger in self.carried[image] and self.carried[image][trigger].as_trigger

    def sort(self, without):
        "Clean images, poison images of each trigger, images left out for two classes or triggers"
        clean = {c: [] for c in CLASSES}
        poison = [{c: [] for c in CLASSES} for _ in self.triggers]
        two_classes = two_triggers = 0
        for image in self.images:
            mine = [c for c in CLASSES if c in self.carried[image]]
            two_classes += len(mine) > 1
            if len(mine) != 1 or image in without or not self.carried[image][mine[0]].as_class:
                continue
            two_triggers += sum(self.shows(image, t) for t in self.triggers) > 1
            if all(self.free(image, t) for t in self.triggers):
                clean[mine[0]].append(image)
            for k, trigger in enumerate(self.triggers):
                others = [t for t in self.triggers if t != trigger]
                if self.shows(image, trigger) and all(self.free(image, t) for t in others):
                    poison[k][mine[0]].append(image)
        return clean, poison, two_classes, two_triggers


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans(), st.integers(0, 10))
def test_images_of_each_role(seed, n_triggers, verified, n_without):
    rows = drawn(seed)
    data, triggers = Marked(rows), TRIGGERS[:n_triggers]
    without = [f"{i:02}" for i in range(n_without)]
    expected = Expected(rows, triggers, verified)
    if verified:
        data.verified = pd.DataFrame(sorted(expected.absent), columns=["image", "label"])

    ids = {c: data.resolve(c) for c in CLASSES}
    asked = [data.resolve(t) for t in triggers], list(ids.values()), without
    found = sort_images(data.label_matrix(), *asked)

    def by_label(images):
        return {c: list(images[i]) for c, i in ids.items()}

    said = by_label(found.clean), [by_label(images) for images in found.poison]
    # images with two classes are counted whether or not they are to be used
    assert (*said, found.two_classes, found.two_triggers) == expected.sort(without)
