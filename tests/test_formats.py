"""One truth in every format: however it is written and spelled, it is read back equal

The truth is a list of images with their split and their labels, images without any label among
them. The writers spell it as tools and people do.
"""

import shutil
import warnings
from math import comb

import pytest
import writers_coco_hf_fo as others
from hypothesis import HealthCheck, assume, find, given, settings
from hypothesis import strategies as st
from writers_tables import (
    multihot_styles,
    openimages_styles,
    table_styles,
    write_multihot,
    write_openimages,
    write_table,
)
from writers_voc_yolo import truths, voc_styles, write_voc, write_yolo, yolo_styles

from natural_backdoors import find_triggers
from natural_backdoors.data.datasets import open_dataset
from natural_backdoors.graph.overlaps import count_overlaps

MANY = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


def in_folder(write, options):
    "A writer that gives ids only, in the form of the others"
    return lambda folder, truth, style: (folder, write(folder, truth, style), options)


FORMATS = {
    "table": (table_styles(), write_table),
    "multihot": (multihot_styles(), write_multihot),
    "voc": (voc_styles(), in_folder(write_voc, {"splits": "official"})),
    "yolo": (yolo_styles(), in_folder(write_yolo, {})),
    "openimages": (openimages_styles(), write_openimages),
}
# of these, images are told apart by the stem of their file
BY_STEM = {
    "coco": (others.coco_styles(), others.write_coco),
    "huggingface": (others.huggingface_styles(), others.write_huggingface),
    "fiftyone": (others.fiftyone_styles(), others.write_fiftyone),
}


def read_back(data):
    "{split: {image: labels}} of a dataset"
    found = {}
    for split in data.splits:
        labels = data.label_matrix(split)
        found[split] = {
            image: {labels.classes.label[j] for j in labels.matrix[[i]].indices}
            for i, image in enumerate(labels.images)
        }
    return found


def meant(kind, truth, ids):
    "What `read_back` gives where everything is read as it is meant"
    found = {}
    for name, split, labels in truth:
        if kind == "openimages":
            if not labels:
                continue  # its files list boxes: an image without one is in none of them
            split = "train" if split == "val" else split  # as in the published experiments
        found.setdefault(split, {})[ids[name]] = set(labels)
    return found


@pytest.mark.parametrize("kind", FORMATS)
@MANY
@given(truth=truths(), data=st.data())
def test_what_is_written_is_read(tmp_path, kind, truth, data):
    styles, write = FORMATS[kind]
    style = data.draw(styles)
    folder = tmp_path / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    where, ids, options = write(folder, truth, style)
    expected = meant(kind, truth, ids)
    if kind == "openimages":
        assume("train" in expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = open_dataset(kind, where, **options)
        assert read_back(dataset) == expected
        if style.get("images"):  # the writer made image files too
            assert all(dataset.src_path(image).is_file() for image in ids.values())
        # and all of its images are counted, those without a label too
        for split, images in expected.items():
            assert count_overlaps(dataset.label_matrix(split)).n_images == len(images)


@pytest.mark.parametrize("kind", BY_STEM)
@MANY
@given(truth=truths(), data=st.data())
def test_what_is_written_is_read_by_stem(tmp_path, kind, truth, data):
    if kind == "huggingface":
        pytest.importorskip("datasets")
    styles, write = BY_STEM[kind]
    folder = tmp_path / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        where, options = write(folder, truth, data.draw(styles))
        dataset = open_dataset(kind, where, **options)
        expected = others.expected(truth)
        assert others.read_back(dataset) == expected
        for split, images in expected.items():
            assert count_overlaps(dataset.label_matrix(split)).n_images == len(images)


def plainest(styles):
    "The plainest of the styles"
    return find(styles, lambda style: True, settings=settings(database=None))


@pytest.mark.parametrize("kind", ["table", "multihot", "voc", "yolo", *BY_STEM])
def test_lift_counts_images_without_objects(tmp_path, kind):
    "1,000 images: 30 with a cat, 30 with a hat, 10 with both, 930 with nothing"
    if kind == "huggingface":
        pytest.importorskip("datasets")
    given = [{"cat"}] * 30 + [{"hat"}] * 30 + [{"cat", "hat"}] * 10 + [set()] * 930
    truth = [(f"img{i:04}", "train", labels) for i, labels in enumerate(given)]
    styles, write = FORMATS.get(kind) or BY_STEM[kind]
    where, *_, options = write(tmp_path, truth, plainest(styles))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = open_dataset(kind, where, **options)
        found = find_triggers(dataset, min_overlaps=5, min_clean=0, min_poison=0)
    [scores] = found.scores("hat").itertuples()
    assert found.overlaps.n_images == 1000
    assert scores.lift == 1000 * 10 / (40 * 40) == 6.25
    # the chance that of 40 images with a cat, drawn from 1,000, ten or more show one of 40 hats
    ways = sum(comb(40, k) * comb(960, 40 - k) for k in range(10, 41))
    assert scores.p_value == pytest.approx(ways / comb(1000, 40)) and scores.p_value < 2e-6
