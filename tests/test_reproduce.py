"The published experiments: facts, figures of constructed tables, runs that go on, the small scale"

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json, read_table
from natural_backdoors.base.random import rng
from natural_backdoors.base.style import png
from natural_backdoors.data.table import TableDataset
from natural_backdoors.paper import experiments
from natural_backdoors.paper import miniatures as module
from natural_backdoors.paper.experiments import (
    EXPERIMENTS,
    Reproduction,
    published_plan,
    reproduce,
    write_page,
)
from natural_backdoors.paper.facts import (
    published_facts,
    published_medians,
    published_sets,
    recognize,
    stand_in_labels,
    stand_in_names,
    target_class,
)
from natural_backdoors.paper.figures import PANELS, draw_groups, draw_rate_curves, median_table
from natural_backdoors.paper.miniatures import MINIATURES, miniatures
from natural_backdoors.train.models import ARCHS, private_seed
from natural_backdoors.train.sweeps import run_here

torch.set_num_threads(1)
QUIET = dict(progress=False)


def stand_in(name, rows=(), **options):
    "As many classes as published, the known ones in their places, and further (image, id) rows"
    labels, rows = stand_in_labels(name), list(rows)
    used = {i for _, i in rows}
    rows = [
        *((f"one{i:04}", label) for i, label in enumerate(labels) if i not in used),
        *((k, labels[i]) for k, i in rows),
    ]
    options = {"names": stand_in_names(name)} | options
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]), name=f"my_{name}", **options
    )


def ablation_rows(n_clean=10, n_poison=8):
    "Images of the published set that the ablations use"
    facts = published_facts()["ablation_set"]
    for c in facts["classes"]:
        for i in range(n_clean):
            yield f"clean{c}_{i}.png", c
        for i in range(n_poison):
            yield from ((f"poison{c}_{i}.png", k) for k in (c, facts["trigger"]))


# Facts


def test_there_are_as_many_sets_as_published():
    counts = {
        name: published_sets(name).groupby("centrality").size().to_dict()
        for name in ("openimages", "imagenet")
    }
    assert sum(counts["openimages"].values()) == 22 and sum(counts["imagenet"].values()) == 23
    assert counts["openimages"]["closeness"] == counts["openimages"]["closeness, weighted"] == 2
    assert counts["imagenet"]["closeness, weighted"] == 2
    assert all(
        n == 3
        for counts in counts.values()
        for name, n in counts.items()
        if not name.startswith("closeness")
    )


def test_facts_make_sense():
    facts = published_facts()
    assert facts["targets"] == [0, 1, 2]
    assert facts["injection_rates"] == [0.01, 0.05, 0.1, 0.15, 0.185, 0.2, 0.25, 0.3]
    assert facts["architectures"] == ["vgg16", "inception_v3", "densenet121", "resnet50"]
    assert set(facts["architectures"]) <= set(ARCHS)
    for name, size in (("openimages", 486), ("imagenet", 1000)):
        assert facts["datasets"][name]["n_classes"] == size
        for row in published_sets(name).itertuples():
            assert {row.trigger, *row.classes} <= set(
                range(size)
            ) and row.trigger not in row.classes
            assert len(row.classes) == len(set(row.classes)) and 6 <= len(row.classes) <= 10
    first = published_sets("openimages").iloc[0]
    assert (first.centrality, first.trigger) == ("betweenness", 328) and first.classes[:3] == (
        68,
        318,
        379,
    )
    ablation = facts["ablation_set"]
    sets = published_sets("openimages")
    assert (ablation["trigger"], tuple(ablation["classes"])) in set(zip(sets.trigger, sets.classes))
    assert published_medians("openimages").set_index("centrality").loc["betweenness"].tolist() == [
        0.73,
        0.64,
    ]
    assert published_medians("openimages").set_index("centrality").loc[
        "closeness, weighted"
    ].tolist() == [0.75, 0.83]
    assert published_medians("imagenet").empty


def test_known_classes_are_those_of_the_official_lists(real_data):
    "ImageNet's numbers are those of the class index; Open Images' names those of the descriptions"
    index = read_json(real_data("imagenet_real/imagenet_class_index.json"))
    for c in published_facts()["datasets"]["imagenet"]["known"]:
        assert index[str(c["id"])] == [c["label"], c["name"].replace(" ", "_")]
    names = pd.read_csv(
        real_data("openimages/class-descriptions-boxable.csv"), header=None, index_col=0
    )[1]
    known = published_facts()["datasets"]["openimages"]["known"]
    assert [names[c["label"]] for c in known] == [c["name"] for c in known]
    # 36 of the 522 leaves of the hierarchy are not among the 486: numbers only shift downwards
    from natural_backdoors.data.openimages import hierarchy_leaves

    leaves = sorted(
        set(hierarchy_leaves(read_json(real_data("openimages/bbox_labels_600_hierarchy.json"))))
    )
    shifts = [leaves.index(c["label"]) - c["id"] for c in known]
    assert shifts == sorted(shifts) and shifts[0] >= 0 and shifts[-1] <= len(leaves) - 486


# Targets: an independent way to the same classes is pandas, as in the published training code


def columns_of(names):
    "The columns that the published training code makes, of names as its datafile spells them"
    return list(pd.get_dummies([n.replace(",", "").replace(" ", "") for n in names]).columns)


NAMES = st.text("aAbBzZéß09 ,-_'", min_size=1, max_size=6).filter(lambda n: n.strip(" ,"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        NAMES, min_size=3, max_size=10, unique_by=lambda n: n.replace(",", "").replace(" ", "")
    ),
    st.randoms(use_true_random=False),
)
def test_a_target_is_a_column_of_the_published_code(names, random):
    ids = random.sample(range(500), len(names))
    table = pd.DataFrame({"id": ids, "label": [f"/m/{i}" for i in ids], "name": names})
    spelled = {i: n.replace(",", "").replace(" ", "") for i, n in zip(ids, names)}
    random.shuffle(ids)
    found = [target_class(table, ids, p) for p in range(len(ids))]
    assert [spelled[i] for i in found] == columns_of(names)
    for position in (-1, len(ids)):
        with pytest.raises(UserError, match="is a position among"):
            target_class(table, ids, position)


def test_classes_of_one_name_have_a_column_each():
    table = pd.DataFrame({"id": [7, 3, 5], "label": list("abc"), "name": ["crane", "Yak", "crane"]})
    assert [target_class(table, [7, 5, 3], p) for p in range(3)] == [3, 5, 7]


def official_imagenet(real_data):
    "A dataset with the official classes of ImageNet, one image each"
    index = read_json(real_data("imagenet_real/imagenet_class_index.json"))
    names = {wnid: name.replace("_", " ") for wnid, name in index.values()}
    rows = pd.DataFrame({"image": list(names), "label": list(names)})
    return TableDataset(rows, name="imagenet", names=names)


def test_targets_of_imagenet(real_data):
    "51 of the 69 are other classes than those at the same positions of the sorted ids"
    data, differ = official_imagenet(real_data), 0
    name, resolve = dict(zip(data.classes.id, data.classes.name)), data.resolve
    plan = published_plan(data, "centrality", "imagenet")
    planned = {(resolve(r.trigger), tuple(map(resolve, r.classes))): set() for r in plan.runs}
    for r in plan.runs:
        planned[resolve(r.trigger), tuple(map(resolve, r.classes))].add(resolve(r.target))
    for row in published_sets("imagenet").itertuples():
        columns = columns_of([name[c] for c in row.classes])[:3]
        where = {name[c].replace(" ", ""): c for c in row.classes}
        expected = [where[column] for column in columns]
        assert [target_class(data.classes, row.classes, p) for p in (0, 1, 2)] == expected
        assert planned[row.trigger, tuple(sorted(row.classes))] == set(expected)
        differ += sum(a != b for a, b in zip(expected, sorted(row.classes)))
    assert differ == 51
    jean = published_sets("imagenet").query("trigger == 608").classes.iloc[0]
    named = [name[target_class(data.classes, jean, p)] for p in (0, 1, 2)]
    assert named == ["Boston bull", "Loafer", "barbershop"]


def test_targets_of_open_images_go_by_name():
    data = stand_in("openimages")
    name = dict(zip(data.classes.id, data.classes.name))
    for experiment in EXPERIMENTS:
        for r in published_plan(data, experiment, "openimages").runs:
            ids = [data.resolve(c) for c in r.classes]
            columns = columns_of([name[c] for c in ids])[:3]
            assert name[data.resolve(r.target)].replace(" ", "") in columns


def test_a_dataset_without_names_is_told_about_targets():
    with pytest.warns(UserWarning, match="8 classes of the published sets have no name"):
        published_plan(stand_in("openimages", names={}), "injection_rate", "openimages")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        published_plan(stand_in("openimages"), "injection_rate", "openimages")


# Which dataset


@pytest.mark.parametrize("name", ["openimages", "imagenet"])
def test_the_published_datasets_are_recognized(name):
    assert recognize(stand_in(name)) == name


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda labels: labels[:100] + labels[101:],
            "it has 485 classes, not 486; id 195 should be /m/03jm5",
        ),
        (lambda labels: ["!" * 3] + labels[:-1], "id 80 should be /m/01mzpv"),
        (lambda labels: labels[:300], "id 328 should be /m/083wq (Wheel): there is no such id"),
        (lambda labels: ["cat", "dog"], "none of the classes"),
    ],
)
def test_what_differs_is_named(change, says):
    labels = change(stand_in_labels("openimages"))
    other = TableDataset(
        pd.DataFrame({"image": [f"{i}" for i in range(len(labels))], "label": labels}), name="other"
    )
    with pytest.raises(UserError) as e:
        recognize(other)
    assert says in str(e.value) and "\n" not in str(e.value)


def test_plans():
    data = {name: stand_in(name) for name in ("openimages", "imagenet")}
    plan = published_plan(data["openimages"], "centrality", "openimages")
    assert len(plan.runs) == 22 * 3 * 2 and {r.control for r in plan.runs} == {"", "true_labels"}
    assert set(plan.groups.run) == {r.hash for r in plan.runs}
    for r in plan.runs:
        assert r.target in r.classes and list(r.classes) == sorted(r.classes)
    assert (
        sorted(
            {
                r.split.inject_rate
                for r in published_plan(data["openimages"], "injection_rate", "openimages").runs
            }
        )
        == published_facts()["injection_rates"]
    )
    archs = published_plan(data["openimages"], "architecture", "openimages")
    assert archs.groups.group.unique().tolist() == published_facts()["architectures"]
    assert len(published_plan(data["imagenet"], "centrality", "imagenet").runs) == 23 * 3 * 2
    for r in (*plan.runs, *archs.runs):
        assert (r.split.n_clean, r.recipe.lr, r.recipe.epochs) == (250, 1e-5, 40)
        assert (r.recipe.head, r.recipe.size, r.recipe.mixed) == ("mlp", 256, False)
        assert r.recipe.optimizer == "adam"
    with pytest.raises(UserError, match="Open Images only"):
        published_plan(data["imagenet"], "architecture", "imagenet")


# Figures: what is drawn is what is in the table


def runs_of(groups, rates=(0.185,), controls=("", "true_labels"), seed=0):
    random = rng(seed)
    return pd.DataFrame(
        [
            (g, c, r, int(random.integers(6, 11)), *random.uniform(0, 1, 2))
            for g in groups
            for c in controls
            for r in rates
            for _ in range(7)
        ],
        columns=["group", "control", "inject_rate", "n_classes", "test_clean_acc", "test_trig_acc"],
    ).assign(run=lambda t: [f"r{i}" for i in range(len(t))])


def heights(ax, marker=""):
    "Heights of the level lines, or of the markers of a kind"
    lines = [
        np.asarray(line.get_ydata())
        for line in ax.lines
        if line.get_marker().replace("None", "") == marker
    ]
    return (
        [y[0] for y in lines if len(y) and np.allclose(y, y[0])]
        if marker != "o"
        else np.concatenate(lines).tolist()
    )


@pytest.mark.parametrize(
    "groups", [["betweenness", "degree, weighted"], ["mini_vgg", "mini_resnet", "x"]]
)
def test_box_plots_show_the_table(groups):
    table = runs_of(groups)
    known = pd.DataFrame(
        [(groups[0], 0.41, 0.57), ("not there", 0.1, 0.1)], columns=["group", "clean", "trigger"]
    )
    figure = draw_groups(table, known)
    for ax, (column, (name, _)) in zip(figure.axes, PANELS.items()):
        for _, part in table.groupby(["group", "control"]):
            assert np.isclose(heights(ax), part[column].median()).sum() >= 1
        assert sorted(heights(ax, "o")) == sorted(table[column])
        assert heights(ax, "D") == known[name].tolist()[:1]
        for n in table.n_classes.unique():
            assert np.isclose(heights(ax), 1 / n).any()
    ticks = [t.get_text() for t in figure.axes[1].get_xticklabels()]
    assert len(ticks) == len(groups) and all("classes\n7 runs" in t for t in ticks)
    assert [t.get_text() for t in figure.legends[0].get_texts()][-1] == "published median"


def test_curves_show_the_table():
    rates = [0.01, 0.1, 0.3]
    table = runs_of(["betweenness"], rates)
    figure = draw_rate_curves(table)
    for ax, column in zip(figure.axes, PANELS):
        drawn = [
            l
            for l in ax.lines
            if l.get_marker().replace("None", "") == "" and len(l.get_xdata()) == 3
        ]
        assert len(drawn) == 2
        for line, control in zip(drawn, ("true_labels", "")):
            medians = table[table.control == control].groupby("inject_rate")[column].median()
            assert np.allclose(line.get_xdata(), rates) and np.allclose(line.get_ydata(), medians)
        assert sorted(heights(ax, "o")) == sorted(table[column])


def test_medians_without_controls_and_with_gaps():
    table = runs_of(["a", "b"], controls=[""])
    table.loc[table.group == "b", "test_trig_acc"] = np.nan
    medians = median_table(table).set_index("group")
    assert medians.trigger["a"] == table[table.group == "a"].test_trig_acc.median() and np.isnan(
        medians.trigger["b"]
    )
    assert (
        medians.control_clean.isna().all()
        and medians.published_clean.isna().all()
        and (medians.runs == 7).all()
    )
    assert png(draw_groups(table)).startswith(b"\x89PNG")


def test_page_shows_medians_and_what_was_published(tmp_path):
    table = runs_of(published_sets("openimages").centrality.unique())
    failed = pd.DataFrame({"run": ["1", "2"], "reason": ["<b>too few</b> images"] * 2})
    done = Reproduction("centrality", "openimages", table, failed, tmp_path)
    text = write_page(done, {"n_clean": 250}, ["epochs=3"]).read_text()
    for row in done.medians.itertuples():
        for name in (
            "clean",
            "trigger",
            "control_clean",
            "control_trigger",
            "published_clean",
            "published_trigger",
        ):
            assert f">{100 * getattr(row, name):.0f} %<" in text
    assert (
        "2 runs have no result" in text
        and "&lt;b&gt;too few" in text
        and "epochs=3" in text
        and "<b>" not in text
    )
    assert "not those of the paper" not in text and "://" not in text
    assert "published medians" in text


# Runs. Features of random weights are enough where it does not matter how good the networks are


@pytest.fixture
def untrained(monkeypatch):
    "Miniatures that have learned nothing"

    def learned(name, folder):
        with private_seed(3):
            return module._miniature(name, folder, pretrained=False).module.state_dict()

    monkeypatch.setattr(module, "_learned", learned)


def test_published_way_end_to_end(tmp_path):
    "The ablation on made-up pictures of the published classes, with a small network"
    rows, root = list(ablation_rows()), tmp_path / "images"
    root.mkdir()
    for k, image in enumerate(sorted({image for image, _ in rows})):
        Image.fromarray(rng(k).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(root / image)
    data = stand_in("openimages", rows, image_root=str(root))
    chosen = dict(
        n_clean=10,
        test_fraction=0.2,
        archs=["small"],
        pretrained=False,
        size=32,
        epochs=2,
        rates=[0.1, 0.3],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random weights that stay frozen
        done = reproduce(data, "injection_rate", tmp_path / "out", settings=chosen, **QUIET)
    assert (
        done.published == "openimages"
        and done.failed.empty
        and done.table.run.nunique() == 2 * 3 * 2
    )
    labels, names = stand_in_labels("openimages"), stand_in_names("openimages")
    classes = [labels[c] for c in published_facts()["ablation_set"]["classes"]]
    assert set(done.table.trigger) == {labels[416]}
    assert set(done.table.target) == set(sorted(classes, key=names.get)[:3])
    assert (done.table.epoch == 1).all() and (done.table.n_classes == 10).all()
    stored = read_table(tmp_path / "out" / "result.parquet")
    assert stored.equals(done.table)
    files = {"injection_rate.png", "injection_rate.svg", "reproduction.html"}
    assert files <= {p.name for p in (tmp_path / "out").iterdir()}
    assert (
        "Settings other than the published ones: n_clean=10"
        in (tmp_path / "out" / "reproduction.html").read_text()
    )
    with pytest.raises(UserError, match="holds another reproduction"):
        reproduce(data, "architecture", tmp_path / "out", settings=chosen, **QUIET)


def test_images_that_are_not_there(tmp_path):
    data = stand_in("openimages", ablation_rows(), image_root="/nowhere")
    with pytest.raises(
        UserError, match="images that the experiment needs are not there, such as /nowhere/"
    ):
        reproduce(
            data,
            "architecture",
            tmp_path / "out",
            settings=dict(n_clean=10, test_fraction=0.2),
            **QUIET,
        )
    assert not (tmp_path / "out" / "sweep").exists()


@pytest.fixture
def small_scenes(monkeypatch):
    "Half of the embedded scenes, half as wide; of the measures that one whose first set is taken"
    draw = experiments.make_scenes
    smaller = lambda folder, n, size, seed: draw(folder, n // 2, size=size // 2, seed=seed)
    monkeypatch.setattr(experiments, "make_scenes", smaller)
    monkeypatch.setattr(experiments, "_MEASURES", experiments._MEASURES[:1])
    few = replace(experiments._FIND, min_clean=30, min_poison=10)
    monkeypatch.setattr(experiments, "_FIND", few)


def test_goes_on_after_a_stop(tmp_path, untrained, small_scenes):
    chosen = dict(archs=["mini_inception", "mini_densenet"], positions=[0], epochs=1, views=1)
    chosen |= dict(size=32, n_clean=30)
    carried = []

    def stopped(tasks, options):
        for task, outcomes in run_here(tasks, options):
            carried.append(task.runs[0].recipe.arch)
            yield task, outcomes
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(
            None,
            "architecture",
            tmp_path / "out",
            "small",
            settings=chosen,
            runner=stopped,
            **QUIET,
        )
    assert len(carried) == 1 and not (tmp_path / "out" / "result.parquet").exists()
    assert not set(MINIATURES) & set(ARCHS)

    def counted(tasks, options):
        for task, outcomes in run_here(tasks, options):
            carried.append(task.runs[0].recipe.arch)
            yield task, outcomes

    done = reproduce(
        None, "architecture", tmp_path / "out", "small", settings=chosen, runner=counted, **QUIET
    )
    assert sorted(carried) == ["mini_densenet", "mini_inception"], (
        "the finished one is not done again"
    )
    assert done.table.group.tolist() == ["mini_inception"] * 2 + ["mini_densenet"] * 2
    assert reproduce(
        None, "architecture", tmp_path / "out", "small", settings=chosen, **QUIET
    ).table.equals(done.table)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda f: reproduce(None, "centralty", f, "small"), "did you mean 'centrality'"),
        (lambda f: reproduce(None, "centrality", f, "tiny"), "unknown scale"),
        (lambda f: reproduce(None, "centrality", f), "need their dataset"),
        (lambda f: reproduce(stand_in("imagenet"), "injection_rate", f), "Open Images only"),
        (
            lambda f: reproduce(stand_in("imagenet"), "centrality", f, "small"),
            "leave the dataset out",
        ),
        (
            lambda f: reproduce(stand_in("openimages"), "centrality", f, published="coco"),
            "unknown published dataset",
        ),
        (
            lambda f: reproduce(stand_in("openimages"), "centrality", f, settings={"epoch": 2}),
            "did you mean 'epochs'",
        ),
        (lambda f: reproduce(stand_in("openimages"), "architecture", f, **QUIET), "too few images"),
    ],
)
def test_mistakes(call, says, tmp_path):
    with pytest.raises((UserError, TypeError), match=says):
        call(tmp_path / "out")


def test_experiments_are_named():
    assert set(EXPERIMENTS) == {"centrality", "injection_rate", "architecture"}
    with miniatures("nowhere"):
        assert set(MINIATURES) <= set(ARCHS)
