"""How time and memory grow with what people bring: `python benchmarks/load.py` (minutes)

    python benchmarks/load.py --cases images classes     only some of the cases
    python benchmarks/load.py --share 0.1                a tenth of the sizes, to try it out

Each row is a process of its own: the seconds that the step takes once its input is made, the
seconds of processor in it, and the highest memory of the whole process, with all packages and the
input. A case is measured at a quarter, a half and all of its size. `growth` is by how much the CPU
time grows where the size doubles: about 2 is in proportion; less if a fixed part is large.

- labels: one image among 20,000 carries thousands of labels;
- everywhere: one of 600 classes is in every image;
- images: a table of images and 600 labels, read from its file and analyzed;
- classes: many classes; overlaps, graph, degree, and class sets of 10 triggers;
- too many: the same with every pair that shares an image, and betweenness: refused, and how soon;
- sweep: runs over one bank of features of tiny pictures;
- picker: analyses in one session of the picker, with changing thresholds; `MB more` is what the
  memory of the process has grown by after the first fifth of them: nothing of an analysis stays.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import add_flag, record

HERE = Path(__file__).resolve().parent


def peak_mb():
    "The highest memory of this process"
    per_mb = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb


def now_mb():
    "The memory of this process now; its highest where the system does not say"
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_mb()
    return pages * resource.getpagesize() / 1e6


def label_matrix(matrix):
    "A label matrix of ones and zeros"
    from scipy import sparse

    from natural_backdoors.data.classes import class_table
    from natural_backdoors.data.labels import LabelMatrix

    matrix = sparse.csr_array(matrix)
    names = class_table(f"c{i:06d}" for i in range(matrix.shape[1]))
    return LabelMatrix(matrix, np.arange(matrix.shape[0]).astype(str).astype(object), names)


def generated(n_labels, n_images, per_image=6):
    "Generated labels, as large as wanted"
    from time_limit import label_matrix as draw

    return draw(n_labels, n_images, per_image * n_images)


# each case: a function of the size; it prepares, and returns the step and what it says


def labels_case(size):
    "One image with `size` labels"
    from scipy import sparse

    from natural_backdoors import find_triggers

    few = generated(size, 20_000)
    all_of_them = sparse.csr_array(np.ones((1, size), np.uint8))
    labels = label_matrix(sparse.vstack([few, all_of_them]))
    return lambda: f"{len(find_triggers(labels, exclude=()))} triggers"


def everywhere_case(size):
    "One class in every one of `size` images"
    from natural_backdoors import find_triggers

    matrix = generated(600, size).tolil()
    matrix[:, 0] = 1
    labels = label_matrix(matrix.tocsr().astype(np.uint8))
    return lambda: f"{len(find_triggers(labels, exclude=()))} triggers"


def images_case(size):
    "A table of `size` images"
    import pandas as pd

    from natural_backdoors import TableDataset, find_triggers

    matrix = generated(600, size, per_image=3).tocoo()
    folder = tempfile.mkdtemp()
    rows = pd.DataFrame({"image": matrix.row, "label": matrix.col})
    rows["image"] = "i" + rows.image.astype(str)
    rows["label"] = "c" + rows.label.astype(str)
    rows.to_csv(f"{folder}/labels.csv", index=False)
    data = f"{folder}/labels.csv"
    return lambda: f"{len(find_triggers(TableDataset(data), exclude=()))} triggers"


def classes_case(size, **settings):
    "`size` classes in ten times as many images"
    from natural_backdoors import find_triggers

    settings = {"min_overlaps": 15, "centrality": "degree", "n_triggers": 10} | settings
    labels = label_matrix(generated(size, 10 * size))
    how = {"time_limit": 2, "exclude": ()} | settings
    return lambda: f"{len(find_triggers(labels, **how))} triggers"


def too_many_case(size):
    "The same, with all pairs, and paths between all of them"
    from natural_backdoors import UserError

    step = classes_case(size, min_overlaps=1, centrality="betweenness")

    def refused():
        try:
            return step()
        except UserError:
            return "refused"

    return refused


def sweep_case(size):
    "`size` runs on pictures of 32 pixels"
    from sweep import N_CLASSES, dataset

    from natural_backdoors.train.grids import make_grid
    from natural_backdoors.train.sweeps import sweep

    folder, triggers = tempfile.mkdtemp(), {"trigger": [f"class{c}" for c in range(N_CLASSES)]}
    data = dataset(f"{folder}/images", n_clean=12, size=32)
    settings = {"archs": ["resnet18"], "pretrained": False, "n_clean": 12, "size": 32, "epochs": 2}
    seeds = list(range(size // 4))
    runs = make_grid(data, triggers, 2, [0.1, 0.2], seeds=seeds, **settings)

    def step():
        result = sweep(data, runs, f"{folder}/sweep", progress=False)
        return f"{result.table.run.nunique()} runs"

    return step


def picker_case(size):
    "`size` analyses in one session"
    from natural_backdoors.pick.state import PickerState

    state = PickerState.of(label_matrix(generated(100, 20_000, per_image=3)), exclude=())
    params = {"exclude_people": False, "exclude": []}

    def step():
        after_some = None
        for k in range(size):
            state.accept(state.analyze(params | {"min_overlaps": 10 + k % 20}))
            state.pick(int(state.found.table.id.iloc[k % 5]))
            if k == size // 5:
                after_some = now_mb()
        return f"{now_mb() - after_some:.0f} MB more"

    return step


CASES = {
    "labels": (labels_case, "labels of one image", 5_000),
    "everywhere": (everywhere_case, "images with one class", 200_000),
    "images": (images_case, "images in a table", 1_000_000),
    "classes": (classes_case, "classes", 100_000),
    "too many": (too_many_case, "classes, all pairs", 100_000),
    "sweep": (sweep_case, "runs in a sweep", 200),
    "picker": (picker_case, "analyses in a session", 100),
}


def measure(case, size):
    "In a process of its own: what the step says, its seconds, and the memory of the process"
    command = [sys.executable, __file__, "--one", case, str(size)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    return json.loads(said.splitlines()[-1])


def one(case, size):
    step = CASES[case][0](size)
    begin, cpu = time.perf_counter(), time.process_time()
    said = step()
    print(
        json.dumps(
            {
                "says": said,
                "seconds": round(time.perf_counter() - begin, 2),
                "CPU s": round(time.process_time() - cpu, 2),
                "peak MB": round(peak_mb()),
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--share", type=float, default=1, help="share of the full sizes")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SIZE"), help="only this, in here")
    add_flag(parser)
    args = parser.parse_args()
    if args.one:
        return one(args.one[0], int(args.one[1]))
    table = []
    for case in args.cases:
        before = None
        for part in (1,) if case == "too many" else (0.25, 0.5, 1):
            size = max(int(CASES[case][2] * args.share * part), 8)
            found = measure(case, size)
            growth = None if before is None else round(found["CPU s"] / max(before, 0.01), 1)
            table.append({"what": CASES[case][1], "size": size, **found, "growth": growth})
            before = found["CPU s"]
            print(table[-1], flush=True)
    record("load", table, args.save)


if __name__ == "__main__":
    main()
