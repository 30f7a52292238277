"Names of files that lead out of their folder, against a plain loop over the files that are there"

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import inside_by_tail, leads_out

FILES = ("a", "b/a", "c/b/a", "c/c", "up")
parts = st.lists(st.sampled_from(["a", "b", "c", "up", "..", "."]), min_size=1, max_size=5)
starts = st.sampled_from(["/", "../", "C:\\", "d:/", "//server/", "http://host/"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("outer") / "root"
    for file in FILES:
        (root / "x" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "x" / file).touch()
    # what is beside the folder is never looked at
    (root / "up").touch()
    (root / "a").touch()
    return root / "x"


@settings(max_examples=300, deadline=None)
@given(starts, parts, st.sampled_from("/\\"))
def test_the_longest_end_that_is_there(root, start, parts, slash):
    name = start + slash.join(parts)
    assert leads_out(name)
    # the path without detours, in an address as it is
    names = [p for p in parts if p not in ("", ".", "..")]
    if "://" not in start:
        names = []
        for part in parts:
            if part == ".." and names:
                names.pop()
            elif part not in (".", ".."):
                names.append(part)
    ends = ["/".join(names[i:]) for i in range(len(names))]
    expected = [end for end in ends if end in FILES]
    if expected:
        assert inside_by_tail(root, name) == root / expected[0]
    else:
        with pytest.raises(UserError, match="leads out of the folder"):
            inside_by_tail(root, name)


@settings(max_examples=100, deadline=None)
@given(parts)
def test_a_name_that_stays_inside_is_taken_as_it_is(root, parts):
    name = "/".join(parts)
    if leads_out(name):
        assert os.path.normpath(name).startswith("..")
    elif os.path.normpath(name) == ".":
        with pytest.raises(UserError, match="leads out|cannot be the name of a file"):
            inside_by_tail(root, name)
    else:
        assert os.path.normpath(inside_by_tail(root, name)) == os.path.normpath(root / name)


def test_absolute_paths_below_the_folder(root):
    assert inside_by_tail(root, root / "b" / "a") == root / "b" / "a"
    # one that is not there yet, and one that has moved to another folder of it
    assert inside_by_tail(root, root / "new") == root / "new"
    assert inside_by_tail(root, root / "old" / "b" / "a") == root / "b" / "a"
    assert inside_by_tail(os.path.relpath(root), str(root / "a")) in (root / "a", Path(root, "a"))
