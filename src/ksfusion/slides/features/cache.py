"""The features of finished slides, kept beside a batch's file so that no slide is encoded twice, and their keys."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ksfusion.core.atomic import atomic
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.features_file import FeaturesWriter, SlideGroup, open_features, unsealed
from ksfusion.core.provenance import as_json
from ksfusion.slides.config import ExtractFeaturesSettings
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.stain.profiles import Profile, arrays_of

log = logging.getLogger(__name__)

KEY = "key"


def made_of(settings: ExtractFeaturesSettings, target: Profile, *, code: str, device: str) -> dict[str, Any]:
    """Return what the features of every slide are made with; the last bit of some networks' depends on the batch size.

    Parameters
    ----------
    settings
        The settings of reading, normalising and encoding.
    target
        The stain that they are brought to.
    code
        The version of the code of `ksfusion.stages.extract_features` (`ksfusion.core.provenance.code_version`).
    device
        The PyTorch device: ``cpu``, or ``cuda`` with any number.
    """
    weights = weights_digest(settings.features.weights) if settings.features.weights else None
    return {
        "code": code,
        "device": device.split(":")[0],
        "slides": {name: value for name, value in settings.slides.record().items() if name != "timeout"},
        "stain": {"method": settings.stain.method, "target": [values.tolist() for values in arrays_of(target)]},
        "features": {**settings.features.record(), "weights": weights},
    }


def slide_key(
    shared: Mapping[str, Any], source: SlideSource, digest: str, corners: np.ndarray, profile: Profile | None
) -> str:
    """Return the key of a slide's features: it changes with anything that they depend on.

    Parameters
    ----------
    shared
        Settings and code that the features of every slide are made with (`made_of`).
    source
        The slide's file; its size counts too.
    digest
        Digest of the file when it was tiled: another file of the same name may have the same size.
    corners : numpy.ndarray of shape (unique patches, 2), int32
        Level-0 x and y of its patches, each once.
    profile
        The stain of the slide; None where patches are not normalised.
    """
    identity = {**shared, "slide": [*source, source.size(), digest]}
    return key_of(identity, corners, *(arrays_of(profile) if profile else ()))


def key_of(identity: Mapping[str, Any], *arrays: np.ndarray) -> str:
    """Return a key of 32 hexadecimal digits: of settings, code and identities, and of arrays."""
    digest = hashlib.sha256(as_json(identity).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def weights_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file of weights, whole."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FeatureCache:
    """The features of the slides of a batch, beside its file.

    While the batch is made, each finished slide is a file of its own, so that a job that is killed redoes the slide in
    hand only. The packed batch is kept under a second name, at no cost: Snakemake removes the first before the job
    runs again, and a slide that is new in the batch would have all its neighbours encoded again. It is the same file,
    and what damaged one has damaged both: what is taken from it is looked at, and what is damaged made anew.

    Parameters
    ----------
    output
        The batch's HDF5 file.
    """

    def __init__(self, output: Path):
        self._folder = output.with_name(f".{output.stem}.aside")
        self._packed = output.with_name(f".{output.stem}.kept{output.suffix}")
        self._output = output
        self._open = contextlib.ExitStack()

    def _file(self, slide_id: str, key: str) -> Path:
        return self._folder / f"{slide_id}.{key}.h5"

    def __contains__(self, slide: tuple[str, str]) -> bool:
        """Return whether the features of a slide (id, key) are here, undamaged."""
        return self.find(*slide) is not None

    def find(self, slide_id: str, key: str) -> np.ndarray | None:
        """Return the features of a slide, if they were made of what ``key`` stands for."""
        with contextlib.suppress(FileNotFoundError, DamagedFileError), open_features(self._file(slide_id, key)) as own:
            return own[slide_id].read("features")
        try:
            slide = self._of_batch.get(slide_id)
            return slide.read("features") if slide and slide.attributes.get(KEY) == key else None
        except DamagedFileError:
            log.warning("%s\tits features in %s are damaged and made anew", slide_id, self._packed.name)
            return None

    @cached_property
    def _of_batch(self) -> Mapping[str, SlideGroup]:
        """The slides of the packed batch; opened once for all of them."""
        try:
            return self._open.enter_context(open_features(self._packed))
        except FileNotFoundError:
            return {}
        except DamagedFileError:
            log.warning("%s is damaged: all features of the batch are made anew", self._packed.name)
            return {}

    def keep(self, slide_id: str, key: str, features: np.ndarray) -> None:
        """Keep the features of a slide."""
        with atomic(self._file(slide_id, key)) as temporary, FeaturesWriter(temporary) as file:
            file.write(slide_id, {KEY: key}, {"features": features})

    def close(self) -> None:
        """Forget the single slides: the batch's file has them."""
        self._open.close()
        self._packed.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a file system without hard links keeps nothing for later
            self._packed.hardlink_to(self._output)
        shutil.rmtree(self._folder, ignore_errors=True)

    def rekey(self, keys: Mapping[str, Mapping[str, str]]) -> None:
        """Give the slides of the packed batch other keys: the same features would now be made under these.

        Parameters
        ----------
        keys
            For each slide_id, its old keys and the new one of each; a slide with another key keeps it.
        """
        with atomic(self._output) as temporary:
            shutil.copyfile(self._output, temporary)
            with unsealed(temporary) as file:
                for slide_id, group in file.items():
                    key = group.attrs.get(KEY)
                    if key in keys.get(slide_id, {}):
                        group.attrs[KEY] = keys[slide_id][key]
        self.close()
