"""Label files as large as those of Open Images, from a seed.

    python benchmarks/generate.py boxes FOLDER     box CSVs, 1.74 million images, 14.6 million
                                                   rows, about 2.2 GB
    python benchmarks/generate.py labels FOLDER    image-level CSVs, 20,000 labels, 9 million
                                                   images, 60 million rows
    ... --codes                                    no CSV: `boxes.npz` or `labels.npz` with the
                                                   integer codes alone

`boxes` writes all that `OpenImages(FOLDER)` reads (class descriptions, trainable classes, a
hierarchy), `labels` all that `OpenImagesLabels(FOLDER)` reads. A codes file holds `indptr`
(n_images + 1), `ids` (the distinct class ids of each image, ascending) and `n_classes`:
`scipy.sparse.csr_array((ones, ids, indptr), shape=(n_images, n_classes))`.

Labels are Zipf-like, and each image has a topic from which most of its labels come, so that some
pairs of labels meet often and most never. Everything is made and written in pieces: the memory
needed does not grow with the files.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

BOX_COLUMNS = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside,XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"
).split(",")
PIECE = 100_000  # images made at a time
DIGITS = np.array(list("0123456789bcdfghjklmnpqrstvwxyz_"))


def zipf(n, exponent):
    "Cumulative probabilities of `n` ranks"
    weight = np.arange(1, n + 1) ** -float(exponent)
    return np.cumsum(weight) / weight.sum()


def draw_ranks(draw, cumulative, n):
    return np.minimum(np.searchsorted(cumulative, draw.random(n)), len(cumulative) - 1)


def name_of(code):
    "A label such as /m/01yrx: five digits of 32, without leading zeros"
    digits = [DIGITS[code >> shift & 31] for shift in (20, 15, 10, 5, 0)]
    return f"/m/0{''.join(digits).lstrip('0') or '0'}"


class Labels:
    "Which labels images carry: global Zipf frequencies, and topics whose labels like to meet"

    def __init__(self, n_labels, seed, share=0.75):
        draw = np.random.default_rng([seed, 0])
        self.n, self.share = n_labels, share
        # so that ids (sorted order of the names) say nothing of frequency
        self.by_rank = draw.permutation(n_labels)
        self.all = zipf(n_labels, 1)
        n_topics, size = max(n_labels // 10, 1), min(max(n_labels // 50, 12), n_labels)
        weight = np.log(np.diff(self.all, prepend=0))
        self.members = np.stack(
            [
                self.by_rank[
                    np.argpartition(-(weight + draw.gumbel(size=n_labels)), size - 1)[:size]
                ]
                for _ in range(n_topics)
            ]
        )
        self.topics, self.within = zipf(n_topics, 0.7), zipf(size, 0.9)
        codes = draw.choice(32**5, n_labels, replace=False)
        self.names = np.sort([name_of(code) for code in codes.tolist()])
        if len(set(self.names)) < n_labels:
            raise SystemExit("two labels came out the same: choose another seed")

    def pieces(self, n_images, per_image, seed, piece=PIECE):
        "Sorted pieces: (first image, image of each pair counted from it, label id of each pair)"
        for first in range(0, n_images, piece):
            draw = np.random.default_rng([seed, first])
            n = min(piece, n_images - first)
            count = 1 + draw.poisson(draw.gamma(2, (per_image - 1) / 2, n))
            topic = np.repeat(draw_ranks(draw, self.topics, n), count)
            image = np.repeat(np.arange(n), count)
            label = np.where(
                draw.random(len(image)) < self.share,
                self.members[topic, draw_ranks(draw, self.within, len(image))],
                self.by_rank[draw_ranks(draw, self.all, len(image))],
            )
            pairs = np.unique(image * self.n + label)
            yield first, pairs // self.n, pairs % self.n


def hex_ids(first, n, n_images, seed):
    "Sorted ids of 16 hexadecimal digits, for the images `first` to `first + n` of `n_images`"
    step = (2**64 - 1) // n_images
    number = np.arange(first, first + n, dtype=np.uint64) * np.uint64(step)
    number += np.random.default_rng([seed, first, 2]).integers(step, size=n, dtype=np.uint64)
    four = np.array([f"{i:04x}".encode() for i in range(65536)])
    parts = np.stack(
        [four[(number >> np.uint64(s)).astype(np.uint16)] for s in (48, 32, 16, 0)], axis=1
    )
    offsets = pa.py_buffer(np.arange(0, 16 * n + 1, 16, dtype=np.int32))
    return pl.Series(
        pa.StringArray.from_buffers(n, offsets, pa.py_buffer(np.ascontiguousarray(parts)))
    )


def geometry(columns, seed, n=65536):
    "Ends of box rows from `Confidence` on, ready to be written; a row picks one"
    draw = np.random.default_rng([seed, 7])
    width, height = draw.beta(0.8, 1.6, (2, n)) * 0.97 + 0.03
    x, y = draw.random(n) * (1 - width), draw.random(n) * (1 - height)
    flags = (draw.random((5, n)) < np.array([0.66, 0.25, 0.05, 0.05, 0.001])[:, None]).astype(int)
    clicks = np.stack(
        [
            x,
            x + width * 0.4,
            x + width,
            x + width * 0.6,
            y + height * 0.5,
            y,
            y + height * 0.6,
            y + height,
        ]
    )
    clicks[:, draw.random(n) < 0.1] = -1
    lines = []
    for i in range(n):
        fields = [
            "1",
            *(f"{v:.6f}" for v in (x[i], x[i] + width[i], y[i], y[i] + height[i])),
            *map(str, flags[:, i]),
            *("-1" if v < 0 else f"{v:.6f}" for v in clicks[:, i]),
        ]
        lines.append(",".join(fields[: columns - 3]))
    return pl.Series(lines)


def write(path, header, frames):
    "Write the `frames` one after the other, fields as they are"
    with open(path, "wb") as file:
        file.write((",".join(header) + "\n").encode())
        for frame in frames:
            frame.write_csv(file, include_header=False, quote_style="never")


def box_frames(labels, n_images, per_image, repeats, seed, columns):
    tails, names = geometry(columns, seed), pl.Series(labels.names.tolist())
    for first, image, label in labels.pieces(n_images, per_image, seed):
        draw = np.random.default_rng([seed, first, 1])
        boxes = draw.geometric(1 / repeats, len(image))
        image, label = np.repeat(image, boxes), np.repeat(label, boxes)
        yield pl.DataFrame(
            {
                "image": hex_ids(first, image.max() + 1, n_images, seed).gather(image),
                "source": pl.repeat("xclick", len(image), eager=True),
                "label": names.gather(label),
                "rest": tails.gather(draw.integers(len(tails), size=len(image))),
            }
        )


def label_frames(labels, n_images, per_image, seed, absent):
    names, values = pl.Series(labels.names.tolist()), pl.Series(["0", "1"])
    for first, image, label in labels.pieces(n_images, per_image, seed):
        draw = np.random.default_rng([seed, first, 1])
        yield pl.DataFrame(
            {
                "image": hex_ids(first, image.max() + 1, n_images, seed).gather(image),
                "source": pl.repeat("verification", len(image), eager=True),
                "label": names.gather(label),
                "value": values.gather((draw.random(len(image)) >= absent).astype(np.int64)),
            }
        )


def hierarchy(names, inner):
    "A tree in which the first `inner` labels stand above the others"
    parents = [{"LabelName": n, "Subcategory": []} for n in names[:inner]]
    for i, name in enumerate(names[inner:]):
        parents[i % inner]["Subcategory"].append({"LabelName": name})
    return {"LabelName": "/m/0bl9f", "Subcategory": parents}


def descriptions(path, labels):
    rows = "".join(f"{name},Thing {i}\n" for i, name in enumerate(labels.names))
    path.write_text("LabelName,DisplayName\n" + rows, encoding="utf-8")


def save_codes(path, labels, n_images, per_image, seed):
    counts, ids = [np.zeros(1, np.int64)], []
    for _, image, label in labels.pieces(n_images, per_image, seed):
        counts.append(np.bincount(image))
        ids.append(label.astype(np.int32))
    indptr = np.cumsum(np.concatenate(counts))
    np.savez(path, indptr=indptr, ids=np.concatenate(ids), n_classes=labels.n)


def fitted(labels, n_images, n_rows, seed):
    "The number of draws an image for which about `n_rows` distinct pairs come out"
    wanted = draws = n_rows / n_images
    for _ in range(4):
        _, image, _ = next(labels.pieces(min(n_images, PIECE), draws, seed))
        draws = max(1.01, draws * wanted / (len(image) / (image.max() + 1)))
    return draws


def boxes(folder, images, rows, n_labels=600, codes=False, seed=0):
    labels = Labels(n_labels, seed)
    per_image = fitted(labels, images, min(3.05 * images, rows), seed)
    repeats = max(1, rows / images / 3.05)
    if codes:
        return save_codes(folder / "boxes.npz", labels, images, per_image, seed)
    parts = [
        ("oidv6-train", images, 21),
        ("validation", max(images // 42, 50), 13),
        ("test", max(images // 14, 50), 13),
    ]  # parts, images, columns
    for k, (part, n, columns) in enumerate(parts):
        write(
            folder / f"{part}-annotations-bbox.csv",
            BOX_COLUMNS[:columns],
            box_frames(labels, n, per_image, repeats, seed + k, columns),
        )
    descriptions(folder / "oidv6-class-descriptions.csv", labels)
    inner = max(n_labels // 6, 1)
    (folder / "bbox_labels_600_hierarchy.json").write_text(
        json.dumps(hierarchy(labels.names, inner))
    )
    (folder / "oidv6-classes-trainable.txt").write_text(
        "\n".join(labels.names[: -max(n_labels // 50, 1)]) + "\n"
    )


def image_labels(folder, images, rows, n_labels=20_000, absent=0.0, codes=False, seed=0):
    labels = Labels(n_labels, seed)
    per_image = fitted(labels, images, rows, seed)
    if codes:
        return save_codes(folder / "labels.npz", labels, images, per_image, seed)
    parts = [("train", images), ("val", max(images // 200, 50)), ("test", max(images // 70, 50))]
    for k, (part, n) in enumerate(parts):
        write(
            folder / f"oidv7-{part}-annotations-human-imagelabels.csv",
            BOX_COLUMNS[:4],
            label_frames(labels, n, per_image, seed + k, absent),
        )
    descriptions(folder / "oidv7-class-descriptions.csv", labels)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["boxes", "labels"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, help="images of the train part")
    parser.add_argument("--rows", type=int, help="rows of the train part, about")
    parser.add_argument("--labels", type=int, help="number of classes")
    parser.add_argument(
        "--absent",
        type=float,
        default=0.0,
        help="share of image-level labels that are verified absent",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codes", action="store_true", help="save integer codes alone, no CSV")
    a = parser.parse_args(argv)
    a.folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    images, rows, n = (
        (1_743_042, 14_600_000, 600) if a.what == "boxes" else (9_000_000, 60_000_000, 20_000)
    )
    images, rows, n = a.images or images, a.rows or rows, a.labels or n
    if a.what == "boxes":
        boxes(a.folder, images, rows, n, a.codes, a.seed)
    else:
        image_labels(a.folder, images, rows, n, a.absent, a.codes, a.seed)
    size = sum(f.stat().st_size for f in a.folder.iterdir())
    print(f"{a.folder}: {size / 1e9:.2f} GB in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
