"""A small study, and the bundle of its method."""

import pytest
from bundled_study import make_bundle, write_study
from training_cohort import SURVIVAL, epochs


@pytest.fixture(scope="session")
def study(drawn, tmp_path_factory):
    """Return the results of a study with two seeds, and a method for survival."""
    results = tmp_path_factory.mktemp("study") / "results"
    write_study(drawn, results, seeds=(0, 1))
    return write_study(drawn, results, task=epochs(SURVIVAL, 3), method="snn")


@pytest.fixture(scope="session")
def bundled(study, tmp_path_factory):
    return make_bundle(study, tmp_path_factory.mktemp("bundles") / "diagnosis")
