"""What is asked for has an effect, or is refused in one line: flags and options together"""

import pandas as pd
import pytest

from natural_backdoors import (
    Coco,
    MultiHot,
    PascalVOC,
    TableDataset,
    UserError,
    compare_measures,
    export_split,
    expose,
    find_triggers,
    load_export,
    poison_split,
    shard_overlaps,
)
from natural_backdoors.cli.commands import make_parser, run
from natural_backdoors.sets.triggers import search_triggers
from natural_backdoors.split.photographs import find_copies
from natural_backdoors.split.selection import select


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    "A hat in 12 images of each of three classes, and each class alone in 30 more; two hats, never"
    rows = [(f"{c}{i}.jpg", c) for c in ("cat", "cow", "dog") for i in range(42)]
    rows += [(f"{c}{i}.jpg", "hat") for c in ("cat", "cow", "dog") for i in range(12)]
    file = tmp_path_factory.mktemp("asked") / "labels.csv"
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(file, index=False)
    return file


def test_thresholds_that_are_given_hold_where_they_are_the_defaults_too(labels):
    found = {"usual": expose(TableDataset(labels))}
    found["given"] = expose(TableDataset(labels), min_overlaps=12, n_triggers=50, min_classes=1)
    usual, given = (found[how].found.settings for how in ("usual", "given"))
    assert (usual.min_overlaps, usual.n_triggers, usual.min_classes) == (6, 200, 2)
    assert (given.min_overlaps, given.n_triggers, given.min_classes) == (12, 50, 1)
    assert found["usual"].n_clean == 25  # nothing shares the 15 images that larger attacks need
    # a threshold that every size reaches: the size is still one that has an attack
    low = expose(TableDataset(labels), min_clean=1, min_poison=1)
    assert low.n_clean == 25 and low.attacks and low.found.settings.min_clean == 1


def test_audit_takes_thresholds_from_flags(labels, tmp_path, capsys):
    where = ["--results_root", tmp_path, "--no_duplicates"]
    run(["audit", labels, *where, "--min_classes", "4", "--min_overlaps", "6"])
    assert "for 4 or more classes" in capsys.readouterr().out
    run(["audit", labels, *where, "--min_classes", "1", "--min_overlaps", "6"])
    assert "for 1 or more classes" in capsys.readouterr().out


TABLE = ["--data", "table", "--dataset_root", "{}"]
REFUSED = {
    "one of them": ["analyze", *TABLE, "--trigger", "hat", "--pairs", "2"],
    "--for_class and --disjoint": ["analyze", *TABLE, "--for_class", "cat", "--disjoint", "2"],
    "--top is a whole number": ["analyze", *TABLE, "--top", "-1"],
    "--pairs is a whole number": ["analyze", *TABLE, "--pairs", "0"],
    "--interactive": ["analyze", *TABLE, "--selection", "mine.json"],
    "--download_dataset out": ["analyze", *TABLE[:-1], "{}*", "--download_dataset"],
    "--num_classes is a whole number": ["train", *TABLE, "--num_classes", "-1"],
    "--workers is a whole number": ["duplicates", *TABLE, "--workers", "0"],
    "--most is a whole number": ["duplicates", *TABLE, "--most", "-1"],
    "--near is about looks": ["duplicates", *TABLE, "--no_looks", "--near", "3"],
    "every split": ["datasets", *TABLE, "--split", "train"],
    "--files looks": ["datasets", "--data", "table", "--files"],
    "--option is about": ["datasets", "--data", "table", "--option", "image=file"],
    "--name is about": ["pick", "--name", "mine"],
    "--scale small runs": [
        *("reproduce", "--experiment", "centrality", "--scale", "small", "--split", "train")
    ],
}


@pytest.mark.parametrize("says", REFUSED)
def test_flags_without_effect_are_refused(labels, tmp_path, monkeypatch, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        run([word.format(labels) for word in REFUSED[says]])
    assert not list(tmp_path.iterdir())  # and nothing was written


def test_no_pair_says_why(labels, tmp_path, capsys):
    rows = pd.read_csv(labels)
    both = [(f"both{i}.jpg", label) for i in range(6) for label in ("hat", "cat")]
    rows = pd.concat([rows, pd.DataFrame(both, columns=rows.columns)])
    rows.to_csv(tmp_path / "more.csv", index=False)
    words = ["analyze", "--data", "table", "--dataset_root", tmp_path / "more.csv"]
    run([*words, "--data_root", tmp_path, "--min_overlaps", "6", "--pairs", "2"])
    assert "no trigger: none of" in capsys.readouterr().out


def test_several_objects_without_an_edge(labels):
    found = search_triggers(TableDataset(labels), min_overlaps=12, triggers=[("hat", "cat")])
    with pytest.raises(UserError, match="no edge: shares at most 0 images") as caught:
        found["hat + cat"]
    assert "named were looked at" not in str(caught.value)


CELEBA = "2\nBald Hat\n1.jpg 1 -1\n2.jpg 1 1\n"
HEADLESS = "1.jpg,1,0\n2.jpg,1,1\n"
HEADER = "image,0,1\n1.jpg,1,0\n2.jpg,1,1\n"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (CELEBA, {}, {"Bald": 2, "Hat": 1}),
        (CELEBA, {"ignore": "Bald"}, {"Hat": 1}),
        (CELEBA, {"labels": "Hat"}, {"Hat": 1}),
        (CELEBA, {"labels": "Hut"}, "no column 'Hut'; did you mean 'Hat'"),
        (CELEBA, {"image": "Hat"}, "leave image='Hat' out"),
        (CELEBA.replace("Hat", "Bald"), {}, "two columns called 'Bald'"),
        (CELEBA + "3.jpg 1\n", {}, "line 5: 2 fields .*bad_rows='skip'"),
        (CELEBA + "3.jpg 1\n", {"bad_rows": "skip"}, {"Bald": 2, "Hat": 1}),
        (HEADLESS, {"labels": "cat,hat"}, {"cat": 2, "hat": 1}),
        (HEADLESS, {"labels": "cat,hat", "ignore": "cat"}, {"hat": 1}),
        (HEADLESS, {"labels": "cat,hat", "split": "set"}, "leave split='set' out"),
        (HEADER, {}, {"0": 2, "1": 1}),
        (HEADER.replace("image", "photo"), {"image": "photo"}, {"0": 2, "1": 1}),
        (HEADER.replace("image", ""), {}, {"0": 2, "1": 1}),
        (HEADER.replace(",", " "), {}, {"0": 2, "1": 1}),
        (HEADER, {"labels": "0", "ignore": "0"}, "both name '0'"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_options_of_tables_without_header_or_with_blanks(tmp_path, text, options, expected):
    (tmp_path / "x.txt").write_text(text)

    def counts() -> dict:
        data = MultiHot(tmp_path / "x.txt", **options)
        return {label: len(data.label_to_imgs(label)) for label in data.labels}

    if isinstance(expected, dict):
        assert counts() == expected
    else:
        with pytest.raises(UserError, match=expected):
            counts()


def test_a_year_that_cannot_choose_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="2017 is to choose"):
        Coco(tmp_path / "x.json", year=2017).labels


def test_exports_and_workers(labels, tmp_path):
    with pytest.raises(UserError, match="workers is a whole number"):
        find_copies([], workers=0)
    split = poison_split(TableDataset(labels), "hat", ["cat", "dog"], target="cat", n_clean=10)
    with pytest.raises(UserError, match="workers is a whole number"):
        export_split(split, tmp_path / "x", workers=0)
    (tmp_path / "x.h5").write_text("")
    with pytest.raises(UserError, match="is a file, and no complete export"):
        load_export(tmp_path / "x.h5")


def test_files_of_images_and_flags_given_twice(labels, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone.txt").write_text("cat1.jpg\n# a comment\ndog1.jpg\n")
    parsed = make_parser().parse_args(["train", "--without", "gone.txt", "cow1.jpg"])
    assert parsed.without == ["cat1.jpg", "dog1.jpg", "cow1.jpg"]
    parsed = make_parser().parse_args(["train", "--without", "other.txt"])
    assert parsed.without == ["other.txt"]  # no file: an image of that name, which may be unknown
    twice = [
        ("--exclude", "cat", "--exclude", "dog"),
        ("-t", "hat", "-c", "cat", "--classes", "dog"),
    ]
    for words in twice:
        with pytest.raises(UserError, match="is given twice; give all its values"):
            run(["train", "--dataset_root", labels, *words])


ONE_FILE = {  # what one file is read with, and shards of it are not: they say so
    "columns called 'label'": "image,label,label\na.jpg,cat,hat\n",
    "the label .*hat": "image,label\na.jpg,\"['cat', 'hat']\"\n",
    "the label .*cat": "image,label\na.jpg,'cat'\nb.jpg,hat\n",
    "no column 'Confidence'": "image,label\na.jpg,cat\n",
}


@pytest.mark.parametrize("says", ONE_FILE)
def test_shards_are_read_as_one_file_or_say_why_not(tmp_path, says):
    (tmp_path / "x.csv").write_text(ONE_FILE[says])
    with pytest.raises(UserError, match=says):
        shard_overlaps(tmp_path / "x.csv", verified_negatives="Confidence" in says)


def test_the_split_of_shards(tmp_path):
    rows = "a.jpg,cat,train\na.jpg,hat,train\nb.jpg,cat,test\n"
    (tmp_path / "x.csv").write_text(f"image,label,Split\n{rows}")
    assert shard_overlaps(tmp_path / "x.csv").n_images == 1  # as in one file
    (tmp_path / "x.csv").write_text(f"image,label,Split\n{rows}a.jpg,cow,test\n")
    for read in (shard_overlaps, lambda path: TableDataset(path).label_matrix()):
        with pytest.raises(UserError, match="image 'a.jpg' is in more than one split"):
            read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text(f"image,label,subset\n{rows}")
    with pytest.warns(UserWarning, match="'subset' is not read, and all rows are counted"):
        assert shard_overlaps(tmp_path / "x.csv").n_images == 2
    (tmp_path / "x.csv").write_text("image,label\na.jpg,0\nb.jpg,1\n")
    with pytest.warns(UserWarning, match="nothing but 0, 1"):
        shard_overlaps(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("image,label,Confidence\na.jpg,cat,1\nb.jpg,cat,0.2\n")
    with pytest.warns(UserWarning, match="'Confidence' is not read, and 1 rows with less"):
        assert TableDataset(tmp_path / "x.csv").label_matrix().shape[0] == 2


def test_other_wishes_of_a_search(labels):
    data = TableDataset(labels)
    how = {"min_overlaps": 6}
    with pytest.raises(UserError, match="of the split 'train', and 'test' is asked for"):
        find_triggers(data.label_matrix(), split="test", **how)
    with pytest.raises(UserError, match="triggers names no class"):
        find_triggers(data, triggers=[], **how)
    with pytest.raises(UserError, match="the target 'cow' is not among the classes"):
        select(find_triggers(data, **how), "hat", ["cat", "dog"], target="cow")
    with pytest.raises(UserError, match="unknown option of compare_measures 'triggers'"):
        compare_measures(data, min_overlaps=6, triggers=["hat"])


def test_folder_of_lists_without_a_list(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    names = "".join(f"<object><name>{name}</name></object>" for name in ("cat", "hat"))
    (tmp_path / "Annotations" / "a.xml").write_text(f"<annotation>{names}</annotation>")
    with pytest.warns(UserWarning, match=r"Main holds no list \(.txt\)$"):
        assert list(PascalVOC(tmp_path).labels) == ["cat", "hat"]
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.warns(UserWarning, match="train.txt is empty: it names no image"):
        assert list(PascalVOC(tmp_path).labels) == ["cat", "hat"]
