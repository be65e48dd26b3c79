"""Gene attributions: by hand for linear models, complete for trained ones, and the planted genes found."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from training_cohort import CLASSES, DIAGNOSIS, NICHES, SURVIVAL, epochs

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_json, write_json
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.preflight.parsing import parse_config
from ksfusion.results.attribution.config import AttributeGenesSettings
from ksfusion.results.attribution.genes import Attributed, attribute_samples, attribution_table, check_rows, recall_at_k
from ksfusion.results.attribution.integrated import (
    explained_outputs,
    integrated_gradients,
    training_mean,
)
from ksfusion.results.attribution.permuted import permuted_labels
from ksfusion.results.attribution.tables import read_attributions, read_checks
from ksfusion.results.config import ShownTask
from ksfusion.results.report.attributions import attribution_section
from ksfusion.results.stage_settings import DrawTasksSettings
from ksfusion.stages.attribute_genes import attribute_genes
from ksfusion.stages.draw_attributions import draw_attributions
from ksfusion.training.checkpoint import load_model
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS = [ShownTask.of(DIAGNOSIS), ShownTask.of(SURVIVAL)]


class Linear(Method):
    """Two logits, each a weighted sum of the genes; the patches of a sample shift both."""

    weight = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, -0.5]])

    def __init__(self):
        super().__init__()
        self.somewhere = torch.nn.Parameter(torch.zeros(1))

    def forward(self, patches, genes):
        values = torch.cat([genes["tumour"], genes["tme"]], dim=1)
        return MethodOutput(values @ self.weight.T + patches.sum(dim=(1, 2))[:, None] + self.somewhere)


PATCHES = torch.arange(12.0).reshape(2, 3, 2)
GENES = {"tumour": torch.tensor([[1.0, 2.0], [0.0, -1.0]]), "tme": torch.tensor([[4.0], [2.0]])}


def test_a_gene_of_a_linear_model_has_its_weight_times_its_distance():
    two = DIAGNOSIS.model_copy(update={"classes": ["a", "b"]})
    first, second = explained_outputs(two).values()
    found = integrated_gradients(Linear(), PATCHES, GENES, target=first)
    # Of the first logit less the mean of both: weights (1 - 3) / 2, (-2 - 0) / 2 and (0.5 + 0.5) / 2.
    torch.testing.assert_close(found["tumour"], torch.tensor([[-1.0, -2.0], [0.0, 1.0]]))
    torch.testing.assert_close(found["tme"], torch.tensor([[2.0], [1.0]]))
    other = integrated_gradients(Linear(), PATCHES, GENES, target=second)
    torch.testing.assert_close(other["tumour"], -found["tumour"])
    baseline = {"tumour": torch.tensor([1.0, 0.0]), "tme": torch.tensor([4.0])}
    moved = integrated_gradients(Linear(), PATCHES, GENES, target=first, baseline=baseline)
    torch.testing.assert_close(moved["tumour"], torch.tensor([[0.0, -2.0], [1.0, 1.0]]))
    torch.testing.assert_close(moved["tme"], torch.tensor([[0.0], [-1.0]]))


def test_it_is_what_captum_has_of_the_whole_model(runs, drawn):
    from captum.attr import IntegratedGradients

    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="pg").only("test")
    model = load_model(runs["diagnosis", "ksfusion"])
    patches, genes = data.gather(np.arange(3), torch.device("cpu"))
    target = explained_outputs(DIAGNOSIS)["high"]
    whole = IntegratedGradients(lambda a, b, patches: target(model(patches, {"tumour": a, "tme": b}).logits))
    expected = whole.attribute(
        (genes["tumour"], genes["tme"]), additional_forward_args=(patches,), n_steps=16, method="gausslegendre"
    )
    found = integrated_gradients(model, patches, genes, target=target, steps=16)
    torch.testing.assert_close(found["tumour"], expected[0].float(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found["tme"], expected[1].float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "method"), [("diagnosis", "ksfusion"), ("survival", "ksfusion"), ("diagnosis", "snn")]
)
def test_the_parts_sum_to_the_difference_of_the_outputs(task, method, runs, drawn):
    whole = {"diagnosis": DIAGNOSIS, "survival": SURVIVAL}[task]
    data = read_fold(drawn.files, task=whole, fold=0, modalities="pg" if method == "ksfusion" else "g")
    model, baseline = load_model(runs[task, method]), training_mean(data)
    test = data.only("test")
    patches, genes = test.gather(np.arange(8), torch.device("cpu"))
    start = {niche: values.expand_as(genes[niche]) for niche, values in baseline.items()}
    for target in explained_outputs(whole).values():
        with torch.no_grad():
            difference = target(model(patches, genes).logits) - target(model(patches, start).logits)
        off = {}
        for steps in (8, 128):
            found = integrated_gradients(model, patches, genes, target=target, baseline=baseline, steps=steps)
            total = sum(values.sum(dim=1) for values in found.values())
            off[steps] = float((total - difference).abs().max() / difference.abs().max())
        # The gradient has steps (ReLU, the borders of sampling), so that a few points come near and many close.
        assert off[8] < 0.35 and off[128] < 0.02, off
        assert difference.abs().max() > 0.1


def test_what_is_explained_of_survival_and_of_a_number():
    logits = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    (risk,) = explained_outputs(SURVIVAL).values()
    # Hazards of one half each: alive 0.5 and 0.25.
    assert float(risk(logits)[0]) == pytest.approx(-0.75)
    assert risk(logits[:, :1]).tolist() == [0, 1]  # Cox's log risk
    number = DIAGNOSIS.model_copy(update={"kind": "regression", "classes": []})
    (predicted,) = explained_outputs(number, sd=4.0).values()
    assert predicted(logits[:, :1]).tolist() == [0, 4]


def attributed(parts, distance=None):
    parts = np.array(parts, float)
    distance = (
        np.arange(parts.size, dtype=float).reshape(parts.shape) if distance is None else np.array(distance, float)
    )
    return Attributed([("A", "tumour"), ("B", "tumour"), ("C", "tme")], distance, {"x": parts})


def test_the_table_by_hand():
    seeds = [attributed([[1, -4, 0], [-1, -2, 0]]), attributed([[3, 1, 0], [3, -1, 0]])]
    table = attribution_table(seeds, {"A": "growth", "B": "growth", "C": "vessels"})
    rows = table.set_index("gene")
    # Sizes: A 1 and 3, B 3 and 1, C 0; equal ones by name.
    assert rows["mean"].tolist() == [2, 2, 0] and rows.index.tolist() == ["A", "B", "C"]
    assert rows["sd"].tolist() == pytest.approx([np.sqrt(2), np.sqrt(2), 0])
    assert rows["rank"].tolist() == [1, 2, 3] and rows.loc["C", ["niche", "category"]].tolist() == ["tme", "vessels"]
    # Values rise from the first sample to the second: A falls in one seed and stands in the other, B rises and falls.
    assert rows.loc["A", "direction"] == -1 and rows.loc["B", "direction"] == 0 and np.isnan(rows.loc["C", "direction"])
    alone = attribution_table(seeds[:1], {})
    assert alone["sd"].isna().all() and alone["gene"].tolist() == ["B", "A", "C"]
    assert attribution_table([], {}).empty


def test_stability_and_recall_by_hand():
    seeds = [attributed([[3, 2, 1]]), attributed([[3, 1, 2]]), attributed([[1, 2, 3]])]
    table = attribution_table(seeds, {})
    planted = pd.DataFrame({"class": "x", "symbol": ["A", "B", "C"], "correlation": [-0.5, 0.4, 0.1]})
    rows = check_rows(seeds, attributed([[3, 2, 1]]), table, planted).set_index(["niche", "measure"])
    # Spearman of the pairs: 0.5, -1, -0.5; of each with the permuted one: 1, 0.5, -1.
    assert rows.loc[("all", "seeds"), ["value", "n"]].tolist() == pytest.approx([-1 / 3, 3])
    assert rows.loc[("all", "permuted"), "value"] == pytest.approx(1 / 6)
    # Means A 7/3, C 2, B 5/3: A comes first and is strongest; of so few genes one is a tenth.
    assert rows.loc[("all", "planted"), ["value", "by_chance", "n"]].tolist() == pytest.approx([100, 100 / 3, 1])
    assert rows.loc[("tumour", "planted"), ["value", "by_chance", "n"]].tolist() == [100, 50, 1]
    assert list(check_rows(seeds[:1], None, table, None)["measure"]) == []


def test_recall_by_hand():
    """Of 20 genes two are a tenth: of the two strongest one is among the first two."""
    genes = pd.Series([f"G{number:02d}" for number in range(20)])
    strength = pd.Series({"G01": 0.9, "G07": 0.8, "G00": 0.7, "elsewhere": 1.0})
    assert recall_at_k(genes, strength) == (50, 10, 2)


def test_permuted_labels_are_those_of_other_cases_of_the_same_split(drawn):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="g")
    moved = permuted_labels(data, 0)
    for split in ("train", "val", "test"):
        rows = data.labelled(split)
        before, after = (table.iloc[rows].drop_duplicates("case_id").set_index("case_id")["y"] for table in
                         (data.samples, moved.samples))  # fmt: skip
        assert sorted(before) == sorted(after) and list(before.index) == list(after.index)
        assert (before != after).any() == (split != "test")
    assert moved.samples.groupby("case_id")["y"].nunique().max() == 1
    assert data.samples["y"].isna().sum() == moved.samples["y"].isna().sum() > 0


@pytest.fixture(scope="module")
def explained(runs, drawn, tmp_path_factory):
    """Explain two seeds of a diagnosis, and a survival of which one seed has no model."""
    folder = tmp_path_factory.mktemp("attributions")
    second = drawn.train("attributed/seed1", task=DIAGNOSIS, method="snn", seed=1)
    failed = drawn.train("attributed/failed", task=epochs(SURVIVAL, 1), method="snn", seed=1)
    config = read_json(failed / "config.json")
    write_json({key: value for key, value in config.items() if key != "n_outputs"}, failed / "config.json")
    output = [folder / task.name / "snn" / "fold0.tsv" for task in TASKS]
    truth = folder / "genes.tsv"
    symbols = [symbol for niche in NICHES.values() for symbol in niche]
    tables = [
        pd.DataFrame({"task": task.name, "class": name, "symbol": symbols, "correlation": 0.0})
        for task in TASKS
        for name in task.classes or ["risk"]
    ]
    planted = pd.concat(tables)
    planted.loc[planted["symbol"].isin(["T0", "E0"]), "correlation"] = 0.5
    planted.to_csv(truth, sep="\t", index=False)
    attribute_genes(
        drawn.files,
        runs=[runs["diagnosis", "snn"], second, runs["survival", "snn"], failed],
        output=output,
        stability=[path.with_name("fold0.stability.tsv") for path in output],
        settings=AttributeGenesSettings(permuted=True),
        truth=truth,
        device="cpu",
    )
    settings = DrawTasksSettings(tasks=TASKS)
    draw_attributions(output, folder / "attributions_snn_fold0", settings=settings)
    return folder, output


def test_the_planted_genes_are_found(explained):
    """The class shifts one gene of each niche."""
    _, (diagnosis, survival) = explained
    for path, classes in ((diagnosis, CLASSES), (survival, ["risk"])):
        table = read_attributions(path)
        assert list(table["class"].unique()) == classes
        assert (table.groupby("class").size() == 12).all()
        checks = read_checks(path.with_name("fold0.stability.tsv")).set_index(["class", "niche", "measure"])
        found = checks.xs("planted", level="measure")
        assert (found["by_chance"] < 25).all() and found["n"].sum() == 3 * len(classes)
        if path is diagnosis:
            assert found.loc[(slice(None), ["tumour", "tme"]), "value"].mean() > 80
    high = read_attributions(diagnosis).query("`class` == 'high'").set_index("gene")
    low = read_attributions(diagnosis).query("`class` == 'low'").set_index("gene")
    assert (high.loc[["T0", "E0"], "direction"] > 0.8).all() and (low.loc[["T0", "E0"], "direction"] < -0.8).all()
    assert high["sd"].notna().all() and read_attributions(survival)["sd"].isna().all()


def test_seeds_agree_more_than_with_permuted_labels(explained):
    _, (diagnosis, survival) = explained
    checks = read_checks(diagnosis.with_name("fold0.stability.tsv")).groupby("measure")["value"].mean()
    assert checks["seeds"] > checks["permuted"]
    # One seed has a model.
    assert set(read_checks(survival.with_name("fold0.stability.tsv"))["measure"]) == {"permuted", "planted"}


def test_the_report_has_figure_stability_and_first_genes(explained):
    folder, output = explained
    (method,) = attribution_section(output, folder, TASKS)["methods"]
    assert method["title"] == "SNN, fold 0" and method["image"]["width"] > 300
    diagnosis, survival = method["tasks"]
    assert diagnosis["columns"] == ["Seeds agree", "As of permuted labels", "Planted genes found first"]
    assert [row["label"] for row in diagnosis["stability"]] == ["low", "middle", "high"]
    assert survival["columns"] == diagnosis["columns"][1:]
    assert {row["gene"] for row in diagnosis["classes"][2]["rows"][:4]} >= {"T0", "E0"}
    assert attribution_section([], folder, TASKS) is None


def test_no_more_samples_than_asked_and_none_without_a_test_side(runs, drawn):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="pg")
    model, outputs = load_model(runs["diagnosis", "ksfusion"]), explained_outputs(DIAGNOSIS)
    asked = {"baseline": training_mean(data)}
    found = attribute_samples(model, data, outputs, samples=3, **asked)
    assert found.distance.shape == found.attributions["low"].shape == (3, 12)
    nothing = dataclasses.replace(data.only("train"))
    table = attribution_table([attribute_samples(model, nothing, outputs, samples=3, **asked)], {})
    assert table["mean"].isna().all() and len(table) == 36


def test_methods_that_read_no_genes_are_refused():
    values = {
        "cohort": {
            "samples": "s",
            "cases": "c",
            "expression": [{"cohort": "A", "format": "matrix", "unit": "log", "path": "p"}],
        }
    }
    with pytest.raises(UserError, match=r"results\.attributions\.methods: 'attmil' is no network that reads genes"):
        parse_config({**values, "results": {"attributions": {"methods": ["attmil"]}}})
    config = parse_config({**values, "methods": ["snn"], "results": {"attributions": {"methods": ["snn", "ksfusion"]}}})
    assert config.attributed() == ["snn"]
