"Odd ids, pairs, images, locks, caches, scores and clusters: told, or counted right"

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from natural_backdoors.base.cache import cache_folder, cached, stamp
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import ensure_folder
from natural_backdoors.base.locks import LOCK, hold, hold_place, holder_of
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.classes import class_record, class_table
from natural_backdoors.data.found_labels import found_labels
from natural_backdoors.data.images import load_images, make_thumbnail, open_image
from natural_backdoors.data.labels import LabelMatrix, combine
from natural_backdoors.data.scores import SCORE_COLUMNS, read_scores
from natural_backdoors.data.single_label import labeled_images
from natural_backdoors.data.table import TableDataset
from natural_backdoors.data.verified import draw_sample, finds_of
from natural_backdoors.graph.association import adjust, chance, pair_scores, trigger_scores
from natural_backdoors.graph.centrality import centrality
from natural_backdoors.graph.cograph import graph_of, toy_graph
from natural_backdoors.graph.confusions import box_agreement, confusions, iou
from natural_backdoors.graph.heatmap import draw_heat_map
from natural_backdoors.graph.overlaps import count_overlaps
from natural_backdoors.graph.shards import shard_overlaps


@pytest.fixture(scope="module")
def pets():
    "Three classes; a and b are together in three images"
    rows = [(image, label) for image in "123" for label in "ab"] + [("3", "c")]
    return TableDataset(pd.DataFrame(rows, columns=["image", "label"]))


# --- graphs


def test_a_graph_written_down_takes_numbers_of_images_only():
    for pair in (("a", "b", 2.5), ("a", "b"), ("a", "b", float("nan")), ("a", "b", "3")):
        with pytest.raises(UserError, match="a pair is"):
            graph_of([pair])
    mixed = graph_of([(1, "b", np.int64(3)), (np.int64(1), "c", 2)])
    assert mixed.classes.label.tolist() == ["1", "b", "c"]


# --- ids


@pytest.mark.parametrize("id", [-1, 3, "a", 1.0, None, True])
def test_what_is_no_id_is_told(pets, id):
    labels = pets.label_matrix()
    overlaps = count_overlaps(labels)
    asked = [
        lambda: overlaps.count(0, id),
        lambda: overlaps.count(id, 0),
        lambda: overlaps.n_poison(id),
        lambda: overlaps.n_clean(id),
        lambda: labels.column(id),
        lambda: labels.places(id),
        lambda: pets.get_name(id),
        lambda: trigger_scores(overlaps, pair_scores(overlaps), id, np.array([0])),
        lambda: draw_heat_map(overlaps, ids=[0, id], min_overlaps=1),
    ]
    for ask in asked:
        with pytest.raises(UserError, match="a class id is a whole number from 0 to 2"):
            ask()
    if id != 3:
        with pytest.raises(UserError, match="a class id is a whole number from 0 to 6"):
            toy_graph().neighbors(id)
    if id is not True:  # a list with numbers makes 1 of it
        with pytest.raises(UserError, match="pairs are two class ids each"):
            box_agreement(pets, [(0, id)])


def test_ids_of_roles_are_checked_too():
    x = sparse.csr_array(np.array([[1, 1], [1, 0]], np.uint8))
    labels = LabelMatrix(x, np.array(["1", "2"], object), class_table("ab"), as_class=x)
    overlaps = count_overlaps(labels)
    assert overlaps.n_poison(1).tolist() == [1, 1]
    for ask in (overlaps.n_poison, overlaps.n_clean):
        with pytest.raises(UserError, match="from 0 to 1"):
            ask(-1)


def test_a_use_that_is_none(pets):
    with pytest.raises(UserError, match="use is one of"):
        pets.label_matrix().column(0, "poison")


@pytest.mark.parametrize("group", [(0, 9), (0, -1), ("a", "z")])
def test_what_is_combined_is_there(pets, group):
    with pytest.raises(UserError, match="unknown class"):
        combine(pets.label_matrix(), [group])


def test_a_class_with_itself_is_one_class(pets):
    labels = pets.label_matrix()
    assert combine(labels, [(0, 0), (1,)]) is labels
    by_name = combine(labels, [("a", "b")])
    assert by_name.members == {3: (0, 1)} and by_name.column(3).tolist() == [True] * 3


def test_a_record_of_no_class(pets):
    with pytest.raises(UserError, match="unknown class id 9"):
        class_record(pets.classes, 9)


# --- pairs


def test_pairs_are_pairs_of_ids(pets):
    overlaps = count_overlaps(pets.label_matrix())
    for pairs in ([(0, 1, 2)], [(0.5, 1)], [(0,), (1, 2)], pd.DataFrame({"x": [1]}), "ab"):
        with pytest.raises(UserError, match="pairs are two class ids each"):
            confusions(pets, overlaps, pairs)
    assert not len(confusions(pets, overlaps, []))


def test_images_that_would_never_be_enough(pets):
    with pytest.raises(UserError, match="n_images is a whole number from 5"):
        confusions(pets, count_overlaps(pets.label_matrix()), n_images=3, min_images=5)


def test_boxes_without_an_area():
    none, some = [0.2, 0.2, 0.2, 0.9], [0, 0, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = iou([none, none, some], [none, some, some])
    assert found.tolist() == [0, 0, 1]


def test_numbers_of_images_that_cannot_be():
    for counts in ((2.7, 5, 3, 10), (np.nan, 5, 3, 10)):
        with pytest.raises(UserError, match="no number of images"):
            chance(*counts)
    for counts in ((1, 5, 3, 4), (1, -2, 3, 4)):
        with pytest.raises(UserError, match="cannot be among 4 images"):
            chance(*counts)
    with pytest.raises(UserError, match="n_tests is a whole number from 3"):
        adjust([0.01, 0.02, 0.03], n_tests=1)
    with pytest.raises(UserError, match="p-values"):
        adjust([0.1, np.nan])


def test_a_dataset_is_no_overlaps(pets):
    for ask in (pair_scores, draw_heat_map, lambda d: confusions(d, d)):
        with pytest.raises(UserError, match="takes overlaps, not TableDataset; say count_overlaps"):
            ask(pets)


# --- images


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_image_is_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (90, 60)).save(tmp_path / f"a{suffix}", exif=exif)
    thumb = make_thumbnail(tmp_path / f"a{suffix}", edge=32)
    assert thumb[1:] == open_image(tmp_path / f"a{suffix}").size
    assert thumb[1:] == ((90, 60) if orientation < 5 else (60, 90))


def test_a_gray_of_16_bits_that_is_not_there(tmp_path):
    values = np.full((4, 4), 60_000, np.uint16)
    values[0, 0], values[3] = 0, 1000
    Image.fromarray(values).save(tmp_path / "a.png", transparency=1000)
    image = open_image(tmp_path / "a.png")
    assert image.getpixel((0, 3)) == (255, 255, 255) and image.getpixel((0, 0)) == (0, 0, 0)


def test_switches_and_paths_of_images(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    both = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(UserError, match="cannot read the image"):
        load_images(both, 4, skip_unreadable="no")
    with pytest.raises(UserError, match="not one path"):
        load_images(str(both[0]), 4)
    with pytest.raises(UserError, match="edge is a whole number"):
        make_thumbnail(both[0], edge=0)


# --- locks


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine.txt")
    (tmp_path / f".a.h5{LOCK}").symlink_to(tmp_path / "mine.txt")
    for held in (hold(tmp_path), hold_place(tmp_path / "a.h5")):
        with pytest.raises(UserError, match="it is a link"), held:
            pass
    assert (tmp_path / "mine.txt").read_text() == "mine" and holder_of(tmp_path) is None


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_lock_that_is_no_file(tmp_path, make):
    make(tmp_path / LOCK)
    with pytest.raises(UserError, match="cannot be locked: .*remove that file"), hold(tmp_path):
        pass
    assert holder_of(tmp_path) is None


def test_a_folder_whose_name_cannot_be():
    with pytest.raises(UserError, match="cannot write into the folder .* choose another"):
        ensure_folder("a\0b")


# --- caches


@pytest.mark.parametrize("word", ["off", "OFF", " Off "])
def test_no_cache_folder_is_called_off(word, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", word)
    assert cache_folder() is None


def test_a_cache_below_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept"


def test_a_cache_that_cannot_be_looked_into(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # as `Path.exists` asks
    with pytest.warns(UserWarning, match="nothing is cached"):
        found = cached(["a"], ["b"], lambda: {"n": np.arange(2)}, folder=tmp_path)
    assert found["n"].tolist() == [0, 1]


def test_stamps_of_what_is_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / "nothing"):
        with pytest.raises(UserError, match="no such file"):
            stamp(path)
    for path in ("a\0b", tmp_path / ("a" * 300)):
        with pytest.raises(UserError, match="cannot read .* is the path right"):
            stamp(path)


# --- scores


def images_and_scores(n=20):
    names = [f"{i}.jpg" for i in range(n)]
    scores = pd.DataFrame({"image": names, "label": "cat", "score": np.linspace(0, 1, n)})
    return labeled_images(names), read_scores(scores)


def test_scores_of_another_image_are_not_those_of_the_last():
    images, scores = images_and_scores()
    other = pd.DataFrame({"image": ["x.jpg"], "label": ["dog"], "score": [0.9]})
    with pytest.raises(UserError, match="none of the 20, such as 'x.jpg'"):
        finds_of(images, pd.concat([scores, read_scores(other)], ignore_index=True))


@pytest.mark.parametrize("least", [0, 0.01, 0.05, 0.5, 1])
def test_labels_count_from_the_score_that_is_given(least):
    images, scores = images_and_scores()
    found = found_labels(images, scores, min_score=least)
    assert len(found.table.dropna(subset="label")) == (scores.score >= least).sum()
    assert found.thresholds.found.tolist() == [(scores.score >= least).sum()]


def test_a_precision_as_text():
    images, scores = images_and_scores()
    answers = pd.DataFrame({"image": images.images, "label": "cat", "present": "no"})
    one, other = (found_labels(images, scores, answers, p) for p in ("0.9", 0.9))
    assert repr(one) == repr(other) and "stays below 0.9" in repr(one)


@pytest.mark.parametrize("labels", ["cat", ["cat", "cat"], pd.Series(["cat"]), np.array(["cat"])])
def test_no_pair_is_drawn_twice(labels):
    drawn = found_labels(*images_and_scores()).draw_sample(1000, labels)
    assert len(drawn) == 20 and not drawn.duplicated().any()


def test_a_path_of_no_image():
    with pytest.raises(UserError, match="'x.jpg' is none of the 20 images"):
        found_labels(*images_and_scores()).dataset().src_path("x.jpg")


def test_known_images_and_labels_in_any_spelling():
    table = pd.DataFrame({"image": ["./a"], "label": ["cat "], "score": [0.5]})
    assert len(read_scores(table, ["./a"], "dog, cat")) == 1


def test_a_list_of_images_has_paths():
    for wrong in ([1, 2], ["a", None], [""], [b"a"]):
        with pytest.raises(UserError, match="of the list is no path of a file"):
            labeled_images(wrong)


def test_switches_as_text(pets, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"")
    assert len(labeled_images(tmp_path, folder_labels="no").given) == 0
    assert not len(check_manager(pets, files="no"))


# --- clusters


def test_what_is_no_client_is_told(tmp_path):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "a.csv").write_text("image,label\n1,a\n1,b\n")
    quiet = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**quiet) as cluster:
        client = distributed.Client(cluster, set_as_default=False)
        assert shard_overlaps(tmp_path / "a.csv", client).n_images == 1
        client.close()
        for wrong, said in (
            (cluster, "not LocalCluster: say cluster.get_client"),
            (5, "not int"),
            (client, "the Dask client is closed"),
        ):
            with pytest.raises(UserError, match=said):
                shard_overlaps(tmp_path / "a.csv", wrong)
    with pytest.raises(UserError, match="timeout is a number above 0"):
        shard_overlaps(tmp_path / "a.csv", "tcp://127.0.0.1:1", timeout=-1)
    with pytest.raises(UserError, match="no Dask scheduler answers at tls://"):
        shard_overlaps(tmp_path / "a.csv", "tls://127.0.0.1:1", timeout=1)


def test_one_error_for_all_that_follows(tmp_path, caplog):
    "Workers do not report a mistake in a file once more for each step that needs it"
    distributed = pytest.importorskip("distributed")
    for name, text in (("a", "1,b\n"), ("b", "1\n"), ("c", "1,2,3\n")):
        (tmp_path / f"{name}.csv").write_text(f"image,label\n{text}")
    quiet = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**quiet) as cluster, distributed.Client(cluster) as client:
        for where in (None, client):
            with pytest.raises(UserError, match=r"b.csv, line 2: 1 fields, not 2"):
                shard_overlaps(f"{tmp_path}/*.csv", where)
        assert "Compute Failed" not in caplog.text


def test_names_and_columns_of_shards(tmp_path):
    (tmp_path / "a.csv").write_text("image,label\n1,cat\n")
    with pytest.raises(UserError, match="names are a dict"):
        shard_overlaps(tmp_path / "a.csv", names=["Cat"])
    with pytest.raises(UserError, match="no shards were given"):
        shard_overlaps(None)
    (tmp_path / "b.csv").write_text(",".join(f"column{i}" for i in range(999)) + "\n")
    with pytest.raises(UserError) as said:
        shard_overlaps(tmp_path / "b.csv")
    assert "and 979 more" in str(said.value) and len(str(said.value)) < 600


def test_a_sample_does_not_depend_on_the_order_of_scores():
    images = labeled_images([f"{i}.jpg" for i in range(40)])
    rows = [
        (f"{i}.jpg", c, 0.05 + (7 * i + len(c)) % 90 / 100) for i in range(40) for c in ("a", "bb")
    ]
    scores = pd.DataFrame(rows, columns=["image", "label", "score"]).reindex(columns=SCORE_COLUMNS)
    samples = [
        draw_sample(finds_of(images, scores.sample(frac=1, random_state=seed)), 20)
        for seed in range(3)
    ]
    for other in samples[1:]:
        pd.testing.assert_frame_equal(other, samples[0])


def test_a_switch_of_a_centrality():
    graph = toy_graph()
    assert centrality(graph, "degree", weighted="no").equals(centrality(graph, "degree"))
    with pytest.raises(UserError, match="weighted is True or False"):
        centrality(graph, "degree", weighted="perhaps")
