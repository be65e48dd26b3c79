"""The store: the features of all slides in one memory map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.cohort.failures import check_failures
from ksfusion.core.atomic import atomic
from ksfusion.core.checksums import checksum
from ksfusion.core.feature_store import BLOCKS, DESCRIPTION, FILES, INDEX, SLIDES
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_json, write_tsv
from ksfusion.slides.config import BuildStoreSettings
from ksfusion.slides.features.store import any_completed, gather, lay_out, no_slides


def build_store(
    features: Sequence[Path], slides: Path, samples: Path, output: Path, *, settings: BuildStoreSettings
) -> None:
    """Gather the features of all batches into one memory map.

    Parameters
    ----------
    features
        Files of `ksfusion.stages.extract_features` or `ksfusion.stages.import_features`, in any order.
    slides, samples
        The ledger's two tables.
    output
        Gets ``features.npy``, ``index.npy``, ``slides.tsv`` and ``store.json``, with a checksum of each slide's
        features; slides that failed are not in it.
    settings
        The share of slides that may fail, and whether all may: the table of slides is then all that is written.

    Raises
    ------
    UserError
        If too many slides failed, no sample is complete, a slide is there twice, or the files were made with
        different settings.
    """
    if not settings.may_be_empty:
        check_failures(slides, samples, max_failed_fraction=settings.max_failed_fraction)
    elif not any_completed(features):
        write_tsv(no_slides(), output / SLIDES, provenance(__name__, settings.record()))
        return
    layout = lay_out(features)
    made_by = provenance(__name__, layout.settings)
    with atomic(output) as temporary:
        temporary.mkdir()
        checksums = gather(features, layout, temporary)
        write_tsv(layout.slides, temporary / SLIDES)
        description = {"provenance": made_by, "d": layout.n_features, "count": layout.count}
        of_files = {name: checksum((temporary / name).read_bytes()) for name in (INDEX, SLIDES)}
        write_json({**description, FILES: of_files, BLOCKS: checksums}, temporary / DESCRIPTION)
