"""A model that is read back from its files predicts what was written beside it."""

import numpy as np
import pytest
from training_cohort import DIAGNOSIS, draw_cohort, epochs

from ksfusion.core.parquet import read_parquet
from ksfusion.methods.registry import NETWORKS
from ksfusion.training.checkpoint import load_model
from ksfusion.training.data import read_fold
from ksfusion.training.predict import predict

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return draw_cohort(tmp_path_factory.mktemp("read_back") / "cohort", 30)


@pytest.mark.parametrize("method", [name for name, info in NETWORKS.items() if name == info.base])
def test_a_model_read_back_predicts_what_was_written(method, cohort):
    folder = cohort.train(method, task=epochs(DIAGNOSIS, 1), method=method)
    data = read_fold(cohort.files, task=DIAGNOSIS, fold=0, modalities=NETWORKS[method].modalities)
    logits = predict(load_model(folder), data, np.arange(len(data.samples)), batch_size=8)
    written = read_parquet(folder / "predictions.parquet")[[f"prob_{name}" for name in DIAGNOSIS.classes]]
    assert logits.double().softmax(dim=1).numpy() == pytest.approx(written.to_numpy(), abs=1e-6)
