"""The encoder that a bundle needs, built and compared with the one that made the features of training."""

from __future__ import annotations

from pathlib import Path

from ksfusion.bundles.config import BundleContents, BundleEncoder, BundleSettings
from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.build import Encoder, build_encoder
from ksfusion.slides.encoders.digest import encoder_digest


def bundle_encoder(wanted: BundleEncoder, settings: BundleSettings, weights: Path | None = None) -> Encoder:
    """Build the encoder of a bundle, after making sure that its weights are those of training.

    Parameters
    ----------
    wanted
        Encoder that the bundle names.
    settings
        Settings of the bundle.
    weights
        File of weights, where the study's were read from a file.

    Returns
    -------
    Encoder
        On the CPU, in single precision.

    Raises
    ------
    UserError
        If features were made elsewhere, the encoder cannot be built here, or it has other weights.
    """
    if wanted.source != "extract" or settings.features is None:
        raise UserError("the bundle has no encoder: its features were made by another tool, and have to be given")
    file = settings.features.weights
    if file is not None and weights is None:
        raise UserError(
            f"encoder {wanted.name} needs the weight file {file}, which the bundle lacks; name it (--weights)"
        )
    try:
        encoder = build_encoder(wanted.name, weights if file is not None else None)
    except UserError as error:
        said = str(error).removeprefix("features.encoder: ").removeprefix("features.weights: ")
        raise UserError(f"encoder {wanted.name}, which the bundle needs, is not there: {said}") from None
    if encoder.n_features != wanted.n_features:
        raise UserError(
            f"encoder {wanted.name} gives {encoder.n_features} features here, and the bundle needs "
            f"{wanted.n_features}; install the version of timm that the bundle names"
        )
    if wanted.weights_sha256 and encoder_digest(encoder) != wanted.weights_sha256:
        raise UserError(
            f"encoder {wanted.name} has other weights here than in training (SHA-256 of the bundle: "
            f"{wanted.weights_sha256[:12]}...); give those of training"
        )
    return encoder


def check_encoder(contents: BundleContents, settings: BundleSettings, weights: Path | None = None) -> None:
    """Raise UserError unless the encoder that a bundle reads slides with can be built here, with the same weights."""
    if contents.encoder is not None and contents.encoder.source == "extract":
        bundle_encoder(contents.encoder, settings, weights)
