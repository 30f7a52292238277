"""The command line as a user meets it: every command, every file it promises, and one line for
every mistake"""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors import TableDataset, find_triggers
from natural_backdoors.cli.commands import main
from natural_backdoors.split.selection import select

LOG_COLUMNS = (
    "epoch,train_clean_acc,test_clean_acc,train_clean_loss,test_clean_loss,"
    "train_trig_acc,test_trig_acc,train_trig_loss,test_trig_loss,"
    "val_clean_acc,val_clean_loss,val_trig_acc,val_trig_loss"
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder with 3 classes of colored pictures and a bright bar as the trigger, and its
    label file"""
    folder = tmp_path_factory.mktemp("toy")
    random, rows = np.random.default_rng(0), []
    for c, name in enumerate(("ant", "bee", "cow")):
        for i in range(50):
            pixels = random.integers(0, 90, (40, 40, 3), dtype=np.uint8)
            pixels[..., c] += 90
            image = f"{name}{i}.jpg"
            rows.append((image, name))
            if i >= 30:
                pixels[15:25] = 255
                rows.append((image, "flag"))
            Image.fromarray(pixels).save(folder / image)
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(folder / "labels.csv", index=False)
    return folder


SMALL = [
    "--teacher",
    "small",
    "--no_pretrained",
    "--method",
    "all",
    "--dimension",
    "32",
    "--epochs",
    "1",
    "--sample_size",
    "20",
    "--batch_size",
    "16",
]


def train_args(toy, out, *more):
    return [
        "train",
        "--data",
        "table",
        "--dataset_root",
        str(toy / "labels.csv"),
        "--data_root",
        str(out / "data"),
        "--results_root",
        str(out / "results"),
        *SMALL,
        *map(str, more),
    ]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    "Where one run by label, id and name was written"
    out = tmp_path_factory.mktemp("out")
    assert main(train_args(toy, out, "-t", "flag", "-c", "ant", "1", "cow", "--target", "bee")) == 0
    return out


def wrong(capsys, argv, *words):
    "The command fails as it should: exit code 2, one line on stderr that holds `words`"
    assert main([str(a) for a in argv]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("natural-backdoors: ") and "Traceback" not in err
    for word in words:
        assert str(word) in err, err
    return err


def test_several_values_are_a_sweep(toy, trained, tmp_path, capsys):
    """All combinations in one table; each is what a run of its own gives; the same command
    again trains nothing"""
    command = train_args(
        toy,
        tmp_path,
        "-t",
        "flag",
        "-c",
        "ant",
        "bee",
        "cow",
        "--target",
        "bee",
        "cow",
        "--inject_rate",
        0.185,
        0.3,
    )
    assert main(command) == 0
    folder = (
        tmp_path
        / "results"
        / "labels"
        / "betweenness_exact"
        / "minOver15_maxOver-1"
        / "test_trig3_cl0-1-2_sweep"
    )
    last = pd.read_parquet(folder / "results.parquet").groupby("run").tail(1)
    assert sorted(zip(last.target_name, last.inject_rate, last.control)) == sorted(
        product(["bee", "cow"], [0.185, 0.3], ["", "true_labels"])
    )
    assert "8 runs: 0 finished before" in capsys.readouterr().out
    single = next((trained / "results").rglob("poisoned/log.csv"))
    mine = last[(last.target_name == "bee") & (last.inject_rate == 0.185) & (last.control == "")]
    for column, value in pd.read_csv(single).iloc[-1].items():
        assert mine[column].item() == pytest.approx(value, abs=1e-5, nan_ok=True)
    assert main(command) == 0 and "8 runs: 8 finished before" in capsys.readouterr().out
    wrong(capsys, [*command[:-2], 0.2, 0.2], "0.2 is given twice")
    wrong(capsys, [*command[:-2], 0.2, 1.5], "1.5")


def test_files_of_a_run(trained):
    run = (
        trained
        / "results"
        / "labels"
        / "betweenness_exact"
        / "minOver15_maxOver-1"
        / "test_trig3_cl0-1-2"
    )
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert names == {
        "run.json",
        "split.parquet",
        "split.json",
        "clean20_poison13.json",
        "triggers.json",
        "neighborhood.json",
        "evaluation.json",
        "accidental.parquet",
        "report.html",
        *(
            f"{m}/{f}"
            for m in ("poisoned", "true_labels")
            for f in ("model.safetensors", "model.json", "log.csv", "rows.parquet")
        ),
    }
    assert (run / "poisoned" / "log.csv").read_text().splitlines()[0] == LOG_COLUMNS
    datafile = json.loads((run / "clean20_poison13.json").read_text())
    assert set(datafile) == {"ant", "bee", "cow"} and all(
        len(v["clean"]) == 20 for v in datafile.values()
    )
    assert all(Path(p).is_file() for v in datafile.values() for paths in v.values() for p in paths)
    evaluation = json.loads((run / "evaluation.json").read_text())
    split = json.loads((run / "split.json").read_text())
    assert [a["target"]["name"] for a in split["attacks"]] == ["bee"]
    table = pd.read_parquet(run / "split.parquet")
    attacked = table[
        (table.role == "poison") & (table.part == "test") & (table.true_label != "bee")
    ]
    for model in ("poisoned", "true_labels"):
        assert evaluation["models"][model]["attacks"][0]["attack_success"]["n"] == len(attacked)
    aux = trained / "data" / "labels"
    assert [
        p.name for p in aux.glob("possible_triggers__centrality_betweenness__*_data_labels.json")
    ]
    assert "<html" in (run / "report.html").read_text().lower()


def test_the_same_command_gives_the_same_numbers(toy, trained, tmp_path):
    assert (
        main(train_args(toy, tmp_path, "-t", "flag", "-c", "ant", "1", "cow", "--target", "bee"))
        == 0
    )
    for name in ("evaluation.json", "split.json", "poisoned/log.csv", "true_labels/log.csv"):
        first, second = (
            next(out.rglob(name) if "/" not in name else out.glob(f"results/*/*/*/*/{name}"))
            for out in (trained, tmp_path)
        )
        assert first.read_bytes() == second.read_bytes(), name


def test_another_run_is_not_overwritten(toy, trained, capsys):
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    wrong(
        capsys,
        train_args(toy, trained, "-t", "flag", "-c", "ant", "bee", "cow", "--target", "cow"),
        "holds another run",
        "target: 1",
        "--exp_name",
    )
    assert before == {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}


def test_another_seed_of_the_split_is_another_run(toy, trained, capsys, tmp_path):
    "A selection has a seed of its own, which is not that of the training"
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    found = find_triggers(TableDataset(toy / "labels.csv"))
    chosen = select(found, "flag", ["ant", "bee", "cow"], "bee", n_clean=20, seed=7)
    file = chosen.save(tmp_path / "selection.json")
    wrong(capsys, train_args(toy, trained, "--selection", file), "another run", "split.seed: 1234")
    assert before == {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "names, parts",
    [
        (["none", "true_labels"], ["--controls", "none stands alone"]),
        (["true_label"], ["--controls", "did you mean 'true_labels'"]),
        (["only_clean", "only_clean"], ["--controls", "'only_clean' is given twice"]),
    ],
)
def test_controls_that_cannot_be(toy, tmp_path, capsys, names, parts):
    wrong(capsys, train_args(toy, tmp_path, "--controls", *names), *parts)


def test_trigger_classes_and_target_are_found(toy, tmp_path, capsys):
    "Without -t and -c the analysis chooses; hyphens are as good as underscores"
    args = train_args(toy, tmp_path, "--controls", "none", "--no-save-model", "--exp-name=auto")
    assert main(args) == 0
    out = capsys.readouterr().out
    run = next(tmp_path.glob("results/*/*/*/auto_trig3_cl*"))
    assert (
        "flag" in out
        and not list(run.rglob("model.safetensors"))
        and not (run / "true_labels").exists()
    )
    assert list(json.loads((run / "evaluation.json").read_text())["models"]) == ["poisoned"]


def test_named_classes_need_no_graph(toy, tmp_path, capsys):
    """Where the threshold leaves no edge, trigger and classes that are named are trained all
    the same"""
    named = "-t", "flag", "-c", "ant", "bee"
    assert (
        main(train_args(toy, tmp_path, *named, "--min_overlaps", "99", "--controls", "none")) == 0
    )
    run = next(tmp_path.glob("results/*/*/minOver99_maxOver-1/*"))
    assert "no analysis (the graph has no edges" in capsys.readouterr().out
    assert (run / "evaluation.json").exists() and not (run / "triggers.json").exists()
    assert "natural-backdoors analyze" in (run / "report.html").read_text()


def test_report_again(trained, capsys):
    run = next(trained.glob("results/*/*/*/*"))
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file() and str(run / "report.html") in capsys.readouterr().out


def test_analyze(toy, tmp_path, capsys):
    argv = [
        "analyze",
        "--data",
        "table",
        "--dataset_root",
        str(toy / "labels.csv"),
        "--data_root",
        str(tmp_path),
    ]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "4 nodes, 3 edges" in out and "engine:" in out and "flag" in out
    assert main([*argv, "--for_class", "cow"]) == 0 and "flag" in capsys.readouterr().out
    assert main([*argv, "--trigger", "flag", "--centrality-metric", "evector"]) == 0
    out = capsys.readouterr().out
    assert "ant" in out and "centrality_evector__" in out


def test_analyze_with_a_manager_in_a_file(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import pandas as pd\nfrom pathlib import Path\nfrom natural_backdoors import Dataset\n"
        "class Mine(Dataset):\n"
        "    name = 'mine'\n"
        "    def __init__(self, dataset_root): self.root = Path(dataset_root)\n"
        """    def rows(self): return pd.DataFrame([(str(i), l) for i in range(20) for l in
        ('hat', 'cat')],\n"""
        "                                        columns=['image', 'label'])\n"
        "    def src_path(self, image): return self.root/image\n"
    )
    argv = [
        "analyze",
        "--data",
        f"{tmp_path / 'mine.py'}:Mine",
        "--dataset_root",
        str(tmp_path),
        "--data_root",
        str(tmp_path),
    ]
    assert main(argv) == 0 and "'mine'" in capsys.readouterr().out
    assert list((tmp_path / "mine").glob("possible_triggers__*_data_mine.json"))


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--dataset_root", "{}/none.csv"], ["no such file", "none.csv"]),
        (["--dataset_root", "{}/empty.csv"], ["empty.csv is empty"]),
        (["--dataset_root", "{}/header.csv"], ["header.csv has no rows"]),
        (["--dataset_root", "{}/column.csv"], ["no column 'label'", "did you mean 'labels'"]),
        (
            ["--dataset_root", "{}/labels.csv", "--min_overlaps", "999"],
            ["the graph has no edges", "largest overlap is 20"],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--centrality_metric", "betweeness"],
            ["did you mean 'betweenness'"],
        ),
        (["--dataset_root", "{}/labels.csv", "--subset_metric", "misc"], ["unknown subset 'misc'"]),
        (["--dataset_root", "{}/labels.csv", "--engine", "graphtool"], ["--engine is one of"]),
        (
            ["--dataset_root", "{}/labels.csv", "--for_class", "bees"],
            ["unknown class 'bees'", "did you mean 'bee'"],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--min_overlaps", "many"],
            ["--min_overlaps", "invalid int value"],
        ),
        (["--dataset_root", "{}/labels.csv", "--option", "nonsense"], ["KEY=VALUE"]),
        (
            ["--dataset_root", "{}/labels.csv", "--option", "color=red"],
            ["does not take these options", "color"],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--split", "val"],
            ["has no split 'val' (it has: train)"],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--option", "names={}/header.csv"],
            ["no columns 'label' and 'name'"],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--wieghted"],
            [
                "unrecognized arguments: --wieghted",
                "'--weighted'",
                "`natural-backdoors analyze --help`",
            ],
        ),
        (
            ["--dataset_root", "{}/labels.csv", "--data_root", "{}/labels.csv"],
            ["cannot write into the folder"],
        ),
        ([], ["say which dataset: natural-backdoors analyze labels.csv"]),
    ],
)
def test_mistakes_in_analyze(toy, tmp_path, capsys, flags, words):
    for name, text in (
        ("empty", ""),
        ("header", "image,label\n"),
        ("column", "image,labels\na,b\n"),
        ("labels", (toy / "labels.csv").read_text()),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
    argv = [
        "analyze",
        "--data",
        "table",
        "--data_root",
        str(tmp_path / "data"),
        *(f.replace("{}", str(tmp_path)) for f in flags),
    ]
    wrong(capsys, argv, *words)
    assert not (tmp_path / "data").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    "flags, words",
    [
        (["-t", "flagg", "-c", "ant", "bee"], ["unknown class 'flagg'", "did you mean 'flag'"]),
        (["-t", "flag", "-c", "ant", "flag"], ["the trigger 'flag' is also among the classes"]),
        (
            ["-t", "flag", "-c", "ant", "bee", "--target", "cow"],
            ["the target 'cow' is not among the classes"],
        ),
        (
            ["-t", "flag", "-c", "ant", "bee", "--sample_size", "500"],
            ["too few images", "ant 30 clean + 20 poison"],
        ),
        (
            ["-t", "flag", "-c", "ant", "bee", "--inject_rate", "0.9"],
            ["too few images", "lower --inject_rate"],
        ),
        (
            ["-t", "flag", "-c", "ant", "bee", "--inject_rate", "2"],
            ["--inject_rate is a number from 0 to below 1"],
        ),
        (
            ["-t", "flag", "-c", "ant", "bee", "--centrality_metric", "closenes"],
            ["did you mean 'closeness'"],
        ),
        (["--inject_rate", "1"], ["--inject_rate is a number from 0 to below 1"]),
        (["-t", "ant"], ["'ant' has not 2 such classes", "--sample_size 20"]),
        (["-c", "ant", "bee"], ["--classes is given without --trigger"]),
        (["-t", "flag", "-c", "ant", "bee", "--teacher", "resnet5O"], ["resnet50"]),
        (["-t", "flag", "-c", "ant", "bee", "--epochs", "0"], ["--epochs is a whole number"]),
        (["-t", "flag", "-c", "ant", "bee", "--method", "most"], ["--method", "invalid choice"]),
        (["-t", "flag", "-c", "ant", "bee", "--seed", "-1"], ["seed is a whole number"]),
    ],
)
def test_mistakes_in_train(toy, tmp_path, capsys, flags, words):
    wrong(capsys, train_args(toy, tmp_path, *flags), *words)
    assert not list(tmp_path.rglob("model*")), "no model is left behind"
    assert not list(tmp_path.rglob(".*")), "no scratch file is left behind"


def test_unreadable_image(toy, tmp_path, capsys):
    import shutil

    photos = tmp_path / "photos"
    shutil.copytree(toy, photos)
    (photos / "bee3.jpg").write_bytes((photos / "bee3.jpg").read_bytes()[:300])
    args = train_args(
        photos,
        tmp_path,
        "-t",
        "flag",
        "-c",
        "ant",
        "bee",
        "cow",
        "--sample_size",
        "30",
        "--controls",
        "none",
    )
    wrong(capsys, args, "bee3.jpg", "skip_unreadable")
    assert main([*args, "--skip_unreadable"]) == 0
    evaluation = json.loads(next(tmp_path.rglob("evaluation.json")).read_text())
    assert "bee3.jpg" in json.dumps(evaluation["skipped_images"])
    assert "bee3.jpg" in next(tmp_path.rglob("report.html")).read_text()


def test_results_folder_that_cannot_be_written(toy, tmp_path, capsys):
    (tmp_path / "results").write_text("a file, not a folder")
    wrong(
        capsys,
        train_args(toy, tmp_path, "-t", "flag", "-c", "ant", "bee"),
        "cannot write into the folder",
    )


def test_report_of_nothing(tmp_path, capsys):
    wrong(capsys, ["report", tmp_path / "none"], "no such folder")
    wrong(capsys, ["report", tmp_path], "split.json")


def test_a_real_process(toy, tmp_path):
    "The installed script: exit codes, streams, help"
    script = Path(sys.executable).parent / "natural-backdoors"

    def run(*argv):
        return subprocess.run([script, *argv], capture_output=True, text=True)

    done = run("analyze", "--data", "table", "--dataset_root", tmp_path / "none.csv")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    done = run("--help")
    assert done.returncode == 0 and all(
        c in done.stdout for c in ("demo", "analyze", "train", "report")
    )
    done = run("train", "--help")
    flags = (
        "--data",
        "--dataset_root",
        "--centrality_metric",
        "--weighted",
        "--subset_metric",
        "--min_overlaps",
        "--max_overlaps_with_others",
        "--num_trigs_desired",
        "--inject_rate",
        "--trigger",
        "--classes",
        "--target",
        "--sample_size",
        "--lr",
        "--epochs",
        "--batch_size",
        "--teacher",
        "--method",
        "--num_unfrozen",
        "--dimension",
        "--save_model",
    )
    assert done.returncode == 0 and all(f in done.stdout for f in flags)
