"""A small study, its bundle, and what the stages before leave of new samples: those of the study under its names."""

from pathlib import Path

import pytest
from bundled_study import make_bundle, write_study

from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.predictions.files import NewFiles


@pytest.fixture(scope="session")
def results(drawn, tmp_path_factory) -> Path:
    return write_study(drawn, tmp_path_factory.mktemp("predictions") / "results", seeds=(0, 1))


@pytest.fixture(scope="session")
def bundled(results, tmp_path_factory) -> Path:
    return make_bundle(results, tmp_path_factory.mktemp("predictions") / "bundle")


@pytest.fixture(scope="session")
def files(results, bundled, tmp_path_factory) -> NewFiles:
    slides = tmp_path_factory.mktemp("ledger") / "slides.tsv"
    flags = {"tiles": 900, "pen": 0.0, "fold": 0.04, "blur": 0.0, "stain": "ok"}
    write_tsv(read_tsv(results / "slides.tsv").assign(**flags), slides)
    names = ("genes/profiles.parquet", "features/store")
    return NewFiles(bundled, results / "samples.tsv", slides, *(results / name for name in names))
