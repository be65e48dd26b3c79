"""Fingerprints of slides: copies of an image stay close, other images are far."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from sections import draw_section, tile
from slide_files import GLASS, plain, real_file, write_slide

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import open_slide
from ksfusion.slides.reading.fingerprint import PIECE_BYTES, file_digest, thumbnail_hash


def bits(text):
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8)).reshape(16, 16)


def distance(first, second):
    """Return the share of bits in which the hashes of two images differ."""
    return (bits(thumbnail_hash(first)) != bits(thumbnail_hash(second))).mean()


def section(seed):
    """Draw blurred blobs: an image with a shape of its own."""
    noise = np.random.default_rng(seed).normal(size=(300, 400, 1)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 25)[..., None]
    return np.where(blurred > 0, (150, 60, 140), GLASS).astype(np.uint8)


def test_a_small_file_is_hashed_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"slide")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"5" + b"slide").hexdigest()


def test_of_a_large_file_size_start_middle_and_end_count(tmp_path):
    content = bytearray(10 * PIECE_BYTES)
    path = tmp_path / "a"
    digests = []
    for place in (None, 0, 5 * PIECE_BYTES, 10 * PIECE_BYTES - 1):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        digests.append(file_digest(path))
    path.write_bytes(content + b"\0")
    assert len({*digests, file_digest(path)}) == 5


@pytest.mark.parametrize("change", ["jpeg", "smaller", "darker", "noise"])
@pytest.mark.parametrize("seed", range(5))
def test_a_copy_of_an_image_stays_close(change, seed):
    image = section(seed)
    if change == "jpeg":
        copy = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    elif change == "smaller":
        copy = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    elif change == "darker":
        copy = (0.8 * image).astype(np.uint8)
    else:
        copy = (image + np.random.default_rng(0).normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)
    assert distance(image, copy) <= 0.1


def test_other_images_are_far():
    images = [section(seed) for seed in range(12)]
    distances = [distance(images[a], images[b]) for a in range(12) for b in range(a)]
    assert min(distances) > 0.25


def test_two_regions_of_real_tissue_are_far():
    thumbnails = []
    for name in ("TCGA-06-0174_gbm_roi_0.5mpp.png", "TCGA-HT-7470_lgg_roi_0.5mpp.png"):
        with open_slide(real_file(name), 0.5) as slide:
            thumbnails.append(slide.thumbnail(8.0))
    assert distance(*thumbnails) > 0.25


def test_a_mirrored_or_transposed_image_has_its_signs_reversed_or_transposed():
    image = section(0)
    odd = np.arange(16) % 2
    known = bits(thumbnail_hash(image))
    for copy, expected in (
        (image[:, ::-1], known ^ odd[None]),
        (image[::-1], known ^ odd[:, None]),
        (image.transpose(1, 0, 2), known.T),
    ):
        assert (bits(thumbnail_hash(np.ascontiguousarray(copy))) != expected).mean() <= 0.02


def test_an_empty_glass_has_no_hash():
    assert thumbnail_hash(plain(200, 200, GLASS)) == ""


def test_a_batch_knows_each_slide_by_file_and_image(tmp_path):
    rgb, _ = draw_section(800, 0.5)
    first = write_slide(tmp_path / "first.tiff", rgb, 0.5)
    (tmp_path / "copy.tiff").write_bytes(first.read_bytes())
    write_slide(tmp_path / "encoded.tiff", (0.95 * rgb).astype(np.uint8), 0.5)
    names = ["copy", "encoded", "first", "missing"]
    table = pd.DataFrame({"slide_id": names, "slide": [str(tmp_path / f"{name}.tiff") for name in names], "mpp": ""})
    table.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet")
    slides = read_parquet(tmp_path / "tiles.parquet").drop_duplicates("slide_id").set_index("slide_id")
    assert slides.loc["first", "digest"] == slides.loc["copy", "digest"] == file_digest(first)
    assert slides.loc["encoded", "digest"] != slides.loc["first", "digest"]
    assert (bits(slides.loc["encoded", "thumbnail_hash"]) != bits(slides.loc["first", "thumbnail_hash"])).mean() <= 0.1
    assert slides.loc["missing", ["digest", "thumbnail_hash"]].tolist() == ["", ""]
