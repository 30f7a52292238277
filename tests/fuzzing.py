"""Changes to the files that this package writes, for the tests that read them back

`make fuzz` sets NB_FUZZ, the number of examples of each property."""

import copy
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("NB_FUZZ", 0))
few = lambda n: settings(
    max_examples=EXAMPLES or n,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HOSTILE = [None, True, False, 0, -1, 3, 10**30, 0.5, -0.5, 1e300, "", "x", "False", "../../x"]
HOSTILE += ["\0", "a" * 20_000, "{t}", "<b>", [], {}, [1], ["a"], [None], [[]], {"label": "a"}]


def places(value, at=()):
    "The way to each value in a JSON document"
    yield at
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, deeper in inner:
        yield from places(deeper, (*at, key))


def changed(draw, value):
    "`value` with one or two places removed, doubled, renamed or replaced"
    value = copy.deepcopy(value)
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        at = draw(st.sampled_from(list(places(value))))
        if not at:
            continue
        parent = value
        for key in at[:-1]:
            parent = parent[key]
        how = draw(st.sampled_from(["remove", "double", "rename", "replace", "replace"]))
        if how == "remove":
            del parent[at[-1]]
        elif how == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[at[-1]]))
        elif how == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["x", "label", "id", "name"]))] = parent[at[-1]]
        else:
            parent[at[-1]] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    return value
