"""One picture everywhere: training, export, picker and report open a file in the same way"""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors.data.images import load_image, load_images, make_thumbnail
from natural_backdoors.data.table import TableDataset
from natural_backdoors.pick.evidence import Evidence
from natural_backdoors.report.page import thumbnail
from natural_backdoors.split.stream import read_picture

EDGE = 192  # pixels a side, as in the picker's gallery

y, x = np.mgrid[-1 : 1 : EDGE * 1j, -1 : 1 : EDGE * 1j]
GRAY = (1 + x) / 2  # from 0 to 1, left to right
COLORS = np.dstack([220 * GRAY, 90 + 60 * y, np.full_like(x, 60)]).astype(np.uint8)
PHOTO = Image.fromarray(COLORS)
RAMP = np.repeat((255 * GRAY).astype(np.uint8)[:, :, None], 3, 2)
OPAQUE = np.hypot(x, y) < 0.7


def transparent():
    image = PHOTO.copy()
    image.putalpha(Image.fromarray((255 * OPAQUE).astype(np.uint8)))
    return image


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen upright, it is turned clockwise by a quarter
    return dict(exif=exif, quality=95)


# name -> image, options of saving, the pixels that are to be seen
WAYS = {
    "transparent.png": (transparent(), {}, np.where(OPAQUE[:, :, None], COLORS, 255)),
    "gray_transparent.png": (
        transparent().convert("LA"),
        {},
        np.where(OPAQUE[:, :, None], np.asarray(PHOTO.convert("L"))[:, :, None], 255),
    ),
    "cmyk.jpg": (PHOTO.convert("CMYK"), dict(quality=95), COLORS),
    "palette.png": (PHOTO.quantize(128), {}, COLORS),
    "exif.jpg": (PHOTO, turned(), np.rot90(COLORS, -1)),
    "16_bits.png": (Image.fromarray((65535 * GRAY).astype(np.uint16)), {}, RAMP),
    "16_bits.tif": (Image.fromarray((65535 * GRAY).astype(np.uint16)), {}, RAMP),
    "12_bits.png": (Image.fromarray((4095 * GRAY).astype(np.uint16)), {}, RAMP),
    "32_bits.tif": (Image.fromarray((65535 * GRAY).astype(np.int32)), {}, RAMP),
    "float.tif": (Image.fromarray(GRAY.astype(np.float32)), {}, RAMP),
    "bits.png": (Image.fromarray(GRAY > 0.5), {}, np.repeat(255 * (GRAY > 0.5)[:, :, None], 3, 2)),
}


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)


@pytest.mark.parametrize("name", WAYS)
def test_the_same_pixels_everywhere(tmp_path, name):
    image, options, wanted = WAYS[name]
    path = tmp_path / name
    image.save(path, **options)
    exact = load_image(path, EDGE)
    assert np.abs(exact.astype(int) - wanted).mean() < 4, "as it is meant"
    gallery = Evidence(
        TableDataset(pd.DataFrame({"image": [name], "label": "cat"}), image_root=tmp_path)
    )
    seen = {
        "training": load_images([path], EDGE).pixels[0].astype(int),
        "export": decoded(read_picture(0, path, EDGE).data),
        "thumbnail as PNG": decoded(make_thumbnail(path, EDGE, "PNG").content),
        "picker": decoded(gallery.thumbnail(name).jpeg),
        "report": decoded(base64.b64decode(thumbnail(path, EDGE).split(",")[1])),
    }
    for place, pixels in seen.items():
        limit = 0 if place in ("training", "export", "thumbnail as PNG") else 3
        assert np.abs(pixels - exact).mean() <= limit, place


@pytest.mark.parametrize("name", [n for n in WAYS if "bits." in n or "_bits" in n or "float" in n])
def test_deep_grays_keep_their_levels(tmp_path, name):
    image, options, wanted = WAYS[name]
    image.save(tmp_path / name, **options)
    levels = len(np.unique(load_image(tmp_path / name, EDGE)))
    assert levels > 100 or name == "bits.png"


def test_a_camera_held_upright_has_its_upright_size(tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg", **turned())
    small = make_thumbnail(tmp_path / "a.jpg", 100)
    assert (small.width, small.height) == (300, 400)
    assert Image.open(io.BytesIO(small.content)).size == (75, 100)
