"The file that a line of a list means, against a plain search"

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.finding import (
    IMAGE_SUFFIXES,
    Finder,
    Line,
    files_below,
    find_lines,
    say_missing,
)
from natural_backdoors.base.text import tidy_path

parts = st.sampled_from(["a", "b", "A", "cam1", "cam2", "JPEGImages", "x.v2"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


def ends(path, tail):
    return path == tail or path.endswith("/" + tail)


def bare(path):
    "The path without suffix"
    return path[:-4] if path.lower().endswith((".jpg", ".xml")) else path


def plain(names, name):
    "What `name` means among `names`, by comparing it with each; 'several' if there are two"
    for spelling in (name, bare(name)):
        if whole := [n for n in names if ends(spelling, n)]:
            return max(whole, key=len)
    for spelling in (name, bare(name)):
        low = spelling.lower()
        whole = [n for n in names if ends(low, n.lower()) or ends(low, bare(n).lower())]
        if whole:
            longest = max(len(bare(n)) for n in whole)
            found = [n for n in whole if len(bare(n)) == longest]
        else:
            inner = low.rpartition("jpegimages/")[2] if "jpegimages/" in f"/{low}" else low
            found = [n for n in names if ends(n.lower(), low) or ends(bare(n).lower(), low)]
            found = found or [
                n for n in names if ends(n.lower(), inner) or ends(bare(n).lower(), inner)
            ]
        if found:
            return found[0] if len(found) == 1 else "several"
    return None


@settings(max_examples=150, deadline=None)
@given(st.sets(paths, min_size=1, max_size=5), paths, st.sampled_from(["", ".jpg", ".JPG"]))
def test_a_name_means_the_file_that_a_plain_search_finds(names, name, suffix):
    want = plain(names, name + suffix)
    if want == "several":
        with pytest.raises(UserError, match="list, line 1: .* may be .* write its folder too"):
            Finder(names).find(name + suffix, "list, line 1")
    else:
        assert Finder(names).find(name + suffix, "list, line 1") == want


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1),
    st.sampled_from(["", "./", "/data/VOC/JPEGImages/", "C:\\VOC\\JPEGImages\\", "..\\"]),
    st.sampled_from(["", ".jpg", ".PNG"]),
)
def test_every_spelling_of_a_path_leads_to_its_file(files, before, suffix):
    names = {f"{folder}/{name}" for folder, name in files}
    finder = Finder(names)
    for name in names:
        text = before + name + suffix
        spelled = text.replace("/", "\\") if "\\" in before else text
        assert finder.find(tidy_path(spelled), "") == name


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "z1", "z2"]), min_size=1, max_size=6))
def test_no_line_is_lost_in_silence(texts):
    lines = [Line(n, text, (text,)) for n, text in enumerate(texts, 1)]
    found, missing = find_lines("list", lines, Finder({"a", "b"}).find)
    assert sorted([line.number for line, _ in found] + [line.number for line in missing]) == [
        line.number for line in lines
    ]
    assert all(line.text == hit for line, hit in found)
    unknown = [text for text in texts if text.startswith("z")]
    assert [line.text for line in missing] == unknown
    first = f"list, line {texts.index(unknown[0]) + 1}: '{unknown[0]}'" if unknown else ""
    if 2 * len(unknown) >= len(texts):
        with pytest.raises(UserError, match=f"{first} matches no file; {len(unknown)} of"):
            say_missing("list", missing, len(lines), what="file")
    elif unknown:
        with pytest.warns(UserWarning, match=f"{first} matches no file; {len(unknown)} of"):
            say_missing("list", missing, len(lines), what="file")
    else:
        say_missing("list", missing, len(lines), what="file")


def test_files_below_a_folder(tmp_path):
    kept = ["a.JPG", "s/b.tiff", "s/t/c.jfif", "linked/d.webp"]
    other = ["._a.jpg", ".x/e.jpg", "__MACOSX/f.jpg", "s/.ipynb_checkpoints/b.png", "s/b.txt"]
    for path in [*kept[:3], *other, "../elsewhere/d.webp"]:
        target = tmp_path / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "linked", target_is_directory=True)
    os.symlink(tmp_path / "root", tmp_path / "root" / "s" / "up", target_is_directory=True)
    assert files_below(tmp_path / "root", IMAGE_SUFFIXES) == sorted(kept)
