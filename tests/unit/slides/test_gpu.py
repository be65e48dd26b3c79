"""What a GPU changes in encoding: features near the processor's, stains normalised there too, the same twice, memory.

On a machine with one: ``python -m pytest -m gpu``.
"""

import numpy as np
import pytest
import torch

from ksfusion.core.machine_errors import explain
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.encoders.build import build_encoder
from ksfusion.slides.stain.target import load_target

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def features_on(device: str, patches: np.ndarray, *, pinned: bool = False, precision: str = "float32") -> np.ndarray:
    """Return the features of patches whose stain is normalised, encoded in two calls."""
    target = load_target("builtin")
    encoder = build_encoder("efficientnet-lite0", None, device=device, precision=precision)
    encode = PatchEncoder(encoder, target, device, 1)
    try:
        if pinned:
            encode.pin(patches)
        half = len(patches) // 2
        return encode.gathered([encode(part, target) for part in (patches[:half], patches[half:])]).astype(np.float32)
    finally:
        encode.close()


@pytest.fixture
def patches():
    return np.random.default_rng(0).integers(60, 240, (16, 224, 224, 3), dtype=np.uint8)


def test_features_are_those_of_the_processor(patches):
    expected = features_on("cpu", patches)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(features_on(DEVICE, patches), expected, rtol=0.02, atol=0.02)
    # bfloat16 has 8 bits: directions agree.
    shorter = features_on(DEVICE, patches, precision="bfloat16")
    cosines = (shorter * expected).sum(1) / np.linalg.norm(shorter, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99


def test_features_are_the_same_twice_and_from_pinned_memory(patches):
    first = features_on(DEVICE, patches)
    assert np.array_equal(first, features_on(DEVICE, patches))
    assert np.array_equal(first, features_on(DEVICE, patches, pinned=True))


def test_too_little_memory_is_one_line_with_the_remedy(patches):
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(torch.OutOfMemoryError) as raised:
            features_on(DEVICE, patches)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "memory ran out; lower features.batch_size" in explain(raised.value, "extract_features")
