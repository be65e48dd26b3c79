"""The audit of trained models: pairs as the whole model scores them, and the stages that write and read."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from training_cohort import DIAGNOSIS, draw_cohort, epochs
from training_cohort import SURVIVAL as TRAINED_SURVIVAL

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_provenance, write_json
from ksfusion.methods import METHODS, build
from ksfusion.preflight.parsing import parse_config
from ksfusion.results.config import ShownTask
from ksfusion.results.modalities.changes import ADDITIVE, GENES, OWN, PATCHES, audit_columns
from ksfusion.results.modalities.pairs import pair_logits
from ksfusion.results.runs import outcome_columns
from ksfusion.results.stage_settings import AuditModalitiesSettings, MakeModalitiesSettings
from ksfusion.results.tables.modalities import (
    read_modalities,
)
from ksfusion.stages.audit_modalities import audit_modalities
from ksfusion.stages.make_modalities import make_modalities
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = [name for name, info in METHODS.items() if name == info.base and info.modalities == "pg"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return draw_cohort(tmp_path_factory.mktemp("cohort") / "cohort", 30)


@pytest.mark.parametrize("name", BOTH)
def test_a_pair_is_scored_as_the_whole_model_would(name, cohort):
    data = read_fold(cohort.files, task=DIAGNOSIS, fold=0, modalities="pg")
    torch.manual_seed(0)
    sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "n_outputs": 3}
    model = build(name, niches=data.niches, groups=data.groups, **sizes).eval()
    pairs = np.random.default_rng(0).integers(0, 9, size=(25, 2))
    logits = pair_logits(model, data, pairs, batch_size=4)
    patches, _ = data.gather(pairs[:, 0], torch.device("cpu"))
    genes = {niche: values[pairs[:, 1]] for niche, values in data.genes.items()}
    with torch.no_grad():
        torch.testing.assert_close(logits, model(patches, genes).logits, rtol=1e-4, atol=1e-5)
    assert logits.std(dim=0).min() > 0


@pytest.mark.parametrize("name", BOTH)
def test_a_slide_is_embedded_once(name, cohort):
    data = read_fold(cohort.files, task=DIAGNOSIS, fold=0, modalities="pg")
    sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "n_outputs": 3}
    model = build(name, niches=data.niches, groups=data.groups, **sizes).eval()
    seen = []
    original = model.of_patches
    model.of_patches = lambda patches: (seen.append(len(patches)), original(patches))[1]
    grid = np.stack(np.meshgrid(range(6), range(6), indexing="ij"), axis=-1).reshape(-1, 2)
    pair_logits(model, data, grid, batch_size=4)
    assert sum(seen) == 6
    # Two samples of one slide, twice.
    data.slides[1] = data.slides[0]
    logits = pair_logits(model, data, np.array([[0, 3], [1, 3], [0, 3]]), batch_size=4)
    assert sum(seen) == 7 and (logits == logits[0]).all()


@pytest.fixture(scope="module")
def audits(cohort, tmp_path_factory):
    """Audit two seeds of two tasks, of which one run has no model, and make the table and the figure of them."""
    folder = tmp_path_factory.mktemp("audits")
    tasks, runs = [DIAGNOSIS, TRAINED_SURVIVAL], []
    for task in tasks:
        for seed in (0, 1):
            runs.append(cohort.train(f"{task.name}{seed}", task=epochs(task, 2), method="bilinear", seed=seed))
    spoil(runs[2])
    output = [folder / f"{task.name}.parquet" for task in tasks]
    audit_modalities(
        cohort.files, runs=runs, output=output, settings=AuditModalitiesSettings(audit_samples=4), device="cpu"
    )
    settings = MakeModalitiesSettings(tasks=[ShownTask.of(task) for task in tasks], methods=["bilinear"])
    make_modalities(
        runs, audits=output, output=folder / "modalities.tsv", figure=folder / "modalities", settings=settings
    )
    return folder, runs


def spoil(run):
    """Make a run one that has failed."""
    config, metrics = (json.loads((run / name).read_text()) for name in ("config.json", "metrics.json"))
    write_json({key: value for key, value in config.items() if key != "n_outputs"}, run / "config.json")
    write_json({**metrics, "status": "failed", "reason": "diverged"}, run / "metrics.json")


def test_the_stage_audits_each_run_and_projects_the_first_that_has_a_model(audits):
    folder, runs = audits
    for task, seeds, first in ((DIAGNOSIS, [0, 1], 0), (TRAINED_SURVIVAL, [1], 1)):
        table = read_parquet(folder / f"{task.name}.parquet")
        assert list(table.columns) == audit_columns(task)
        assert set(table["task"]) == {task.name} and set(table["method"]) == {"bilinear"}
        assert sorted(set(table["seed"])) == seeds
        additive = table[table["changed"] == ADDITIVE]
        assert set(additive["seed"]) == {first} and len(additive) == 4
        columns = ["sample_id", *outcome_columns(task)[1]]
        for run in runs:
            config = json.loads((run / "config.json").read_text())
            own = table[(table["changed"] == OWN) & (table["seed"] == config["seed"])]
            if config["task"]["name"] == task.name and len(own):
                predicted = read_parquet(run / "predictions.parquet")
                known = predicted[predicted["sample_id"].isin(own["sample_id"])][columns]
                pd.testing.assert_frame_equal(
                    own[columns].reset_index(drop=True), known.reset_index(drop=True), rtol=1e-4, atol=1e-5
                )
        provenance = read_provenance(folder / f"{task.name}.parquet")
        assert provenance["settings"]["audit_samples"] == 4


def test_the_stage_that_follows_makes_table_and_figure(audits):
    folder, _ = audits
    table = read_modalities(folder / "modalities.tsv")
    whole = table[table["cohort"] == "all"]
    assert set(whole["task"]) == {"diagnosis", "survival"} and set(whole["permuted"]) == {GENES, PATCHES, ADDITIVE}
    assert whole.loc[whole["task"] == "survival", "reason"].str.contains("1 of 2 runs skipped: diverged").all()
    assert whole["drop"].notna().all()
    assert (folder / "modalities.svg").is_file() and (folder / "modalities.png").is_file()
    assert read_provenance(folder / "modalities.tsv")["settings"]["methods"] == ["bilinear"]


def test_the_same_audit_again_is_the_same(audits, cohort, tmp_path):
    folder, runs = audits
    settings = AuditModalitiesSettings(audit_samples=4)
    audit_modalities(cohort.files, runs=runs[:2], output=[tmp_path / "again.parquet"], settings=settings, device="cpu")
    assert (tmp_path / "again.parquet").read_bytes() == (folder / "diagnosis.parquet").read_bytes()


def config_of(**results):
    expression = [{"cohort": "A", "format": "matrix", "unit": "log", "path": "expression.tsv"}]
    cohort = {"samples": "samples.tsv", "cases": "cases.tsv", "expression": expression}
    return parse_config({"cohort": cohort, "methods": ["attmil", "snn", "concat", "ksfusion"], "results": results})


def test_methods_that_read_both_are_audited_unless_it_is_switched_off():
    assert config_of().audited() == ["concat", "ksfusion"]
    assert config_of(audit_samples=0).audited() == []
    for few in (1, -2):
        with pytest.raises(UserError, match=r"results\.audit_samples"):
            config_of(audit_samples=few)
