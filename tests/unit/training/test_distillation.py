"""The student: what its teacher says of the training samples, and the losses that bring it there."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from search_runs import search
from training_cohort import CLASSES, DIAGNOSIS, SETTINGS, SURVIVAL, Cohort, epochs, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods.output import MethodOutput
from ksfusion.methods.registry import METHODS
from ksfusion.training.data import read_fold
from ksfusion.training.distillation import Lesson, Teacher, distillation_losses, output_loss, standardised
from ksfusion.training.fit_method import fit_method
from ksfusion.training.objective import Classification
from ksfusion.training.regression_objective import Regression
from ksfusion.training.reproducible import reproducible
from ksfusion.training.survival_objective import CoxSurvival, Survival

pytestmark = pytest.mark.usefixtures("one_thread")

STUDENT = "ksfusion-student"
# Odds of 3 to 1 at a temperature of 2.
THREE_TO_ONE = 2 * math.log(3)
# Kullback-Leibler divergence of (3/4, 1/4) from (1/2, 1/2), times the temperature squared.
BY_HAND = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
CPU = torch.device("cpu")


def train(cohort: Cohort, teacher: Path, name: str = "student", task=DIAGNOSIS, **settings) -> Path:
    folder = cohort.folder / name
    cohort.train_seeds({0: folder}, task=task, method=STUDENT, teacher=[teacher], **settings)
    return folder


def test_it_reads_patches_alone_and_names_its_teacher():
    info = METHODS[STUDENT]
    assert (info.modalities, info.teacher, info.partial) == ("p", "ksfusion", False)
    assert [name for name, other in METHODS.items() if other.teacher] == [STUDENT]


@pytest.mark.parametrize(
    ("objective", "student", "teacher", "expected"),
    [
        (Classification(["a", "b"], [1, 1]), [[0.0, 0.0]], [[THREE_TO_ONE, 0.0]], BY_HAND),
        (Classification(["a", "b"], [1, 1]), [[1.0, 5.0], [0, 0]], [[1.0, 5.0], [THREE_TO_ONE, 0]], BY_HAND / 2),
        # Each hazard is a probability of its own: two intervals, twice the divergence.
        (Survival((100.0,)), [[0.0, 0.0]], [[THREE_TO_ONE, -THREE_TO_ONE]], 2 * BY_HAND),
        (CoxSurvival((100.0,)), [[1.0], [0.0]], [[3.0], [0.0]], 2.0),
        (Regression(5.0, 2.0), [[1.0], [0.0]], [[0.0], [3.0]], 5.0),
    ],
)
def test_the_loss_of_outputs_is_that_by_hand(objective, student, teacher, expected):
    found = output_loss(torch.tensor(student), torch.tensor(teacher), objective)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_losses_are_of_the_samples_that_were_taught():
    objective = Classification(["a", "b"], [1, 1])
    logits = torch.tensor([[9.0, -9.0], [0.0, 0.0]])
    embeddings = {"tumour": torch.tensor([[9.0, 9.0], [1.0, 2.0]]), "tme": torch.tensor([[9.0, 9.0], [0.0, 0.0]])}
    taught = Lesson(
        torch.tensor([1]),
        torch.tensor([[THREE_TO_ONE, 0.0]]),
        {"tumour": torch.tensor([[0.0, 0.0]]), "tme": torch.tensor([[0.0, 2.0]])},
    )
    losses = distillation_losses(MethodOutput(logits, embeddings=embeddings), taught, objective)
    # Means of (1, 4) and of (0, 4), and of these two.
    assert {name: (part.weight, pytest.approx(float(part.value))) for name, part in losses.items()} == {
        "distilled_outputs": (1.0, BY_HAND),
        "distilled_embeddings": (1.0, 2.25),
    }
    nothing = Lesson(torch.empty(0, dtype=torch.int64), torch.empty(0, 2), {})
    assert distillation_losses(MethodOutput(logits, embeddings=embeddings), nothing, objective) == {}


def test_embeddings_are_standardised_and_constant_ones_are_zero():
    found = standardised(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    assert found.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_a_teacher_is_asked_of_labelled_training_samples_with_genes_alone(drawn, runs):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="p")
    asked = []
    teacher = Teacher.read(runs["diagnosis", "ksfusion"])
    teacher.model.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[1]["tumour"]))
    lessons = teacher.lessons(data, CPU)
    train = data.labelled("train")
    assert np.flatnonzero(lessons.rows >= 0).tolist() == train.tolist()
    assert torch.equal(torch.cat(asked), data.genes["tumour"][train])
    # Its outputs are those that its run has written.
    said = read_parquet(runs["diagnosis", "ksfusion"] / "predictions.parquet").filter(like="prob_").to_numpy()[train]
    np.testing.assert_allclose(lessons.logits.double().softmax(dim=1).numpy(), said, atol=1e-6)
    assert lessons.embeddings.keys() == {"tumour", "tme"}
    # A batch of a test sample and a training sample.
    position = np.array([data.labelled("test")[0], train[3]])
    lesson = lessons.batch(position)
    assert lesson.taught.tolist() == [1] and torch.equal(lesson.logits[0], lessons.logits[3])


@pytest.mark.parametrize("task", [DIAGNOSIS, SURVIVAL], ids=lambda task: task.name)
def test_a_student_comes_nearer_to_its_teacher(drawn, runs, cohort, task):
    short = epochs(task, 4)
    folder = train(cohort, runs[task.name, "ksfusion"], task=short)
    history = read_tsv(folder / "history.tsv")
    for name in ("distilled_outputs", "distilled_embeddings"):
        assert history[name].iloc[-1] < history[name].iloc[0]
    parts = history["task_loss"] + history["distilled_outputs"] + history["distilled_embeddings"]
    np.testing.assert_allclose(history["train_loss"], parts, rtol=1e-5)
    if task.kind == "survival":
        bins = [json.loads((run / "config.json").read_text())["bins"] for run in (folder, runs["survival", "ksfusion"])]
        assert bins[0] == bins[1]


def test_without_lessons_it_is_the_task_loss_alone(drawn):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="p")
    with reproducible(0, device=CPU, threads=1):
        *_, fitted = fit_method(
            data, task=epochs(DIAGNOSIS, 1), method=STUDENT, seed=0, settings=SETTINGS, device=CPU, name="student"
        )
    assert "distilled_outputs" not in fitted.history
    np.testing.assert_allclose(fitted.history["train_loss"], fitted.history["task_loss"])


def test_genes_of_test_and_validation_samples_change_nothing(runs, cohort):
    first = train(cohort, runs["diagnosis", "ksfusion"], "first", epochs(DIAGNOSIS, 2))
    table = read_parquet(cohort.folder / "expression.parquet")
    ledger = read_tsv(cohort.folder / "samples.tsv", dtype=str).set_index("sample_id")["case_id"]
    others = table.index.map(ledger).isin([*cohort.cases_of("val"), *cohort.cases_of("test")])
    table[others] += 5
    table.to_parquet(cohort.folder / "expression.parquet")
    second = train(cohort, runs["diagnosis", "ksfusion"], "second", epochs(DIAGNOSIS, 2))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    probabilities = [f"prob_{name}" for name in CLASSES]
    one, other = (read_parquet(folder / "predictions.parquet")[probabilities] for folder in (first, second))
    assert one.equals(other)


def test_another_teacher_another_student(runs, cohort):
    first = train(cohort, runs["diagnosis", "ksfusion"], "first", epochs(DIAGNOSIS, 1))
    teacher = cohort.train("teacher", task=epochs(DIAGNOSIS, 1), seed=3)
    second = train(cohort, teacher, "second", epochs(DIAGNOSIS, 1))
    assert (first / "model.safetensors").read_bytes() != (second / "model.safetensors").read_bytes()


def test_a_teacher_without_a_model_is_a_failed_run_with_the_reason(cohort):
    cohort.relabel(cohort.cases_of("train"), label_diagnosis=0)
    teacher = cohort.train("teacher", task=epochs(DIAGNOSIS, 1))
    reason = read_metrics(teacher)["reason"]
    cohort.relabel(cohort.cases_of("train")[::2], label_diagnosis=1)
    metrics = read_metrics(train(cohort, teacher, task=epochs(DIAGNOSIS, 1)))
    assert metrics["status"] == "failed"
    assert metrics["reason"] == f"its teacher ksfusion has no model: {reason}"


def test_a_student_that_diverges_is_a_run_that_failed(runs, cohort):
    metrics = read_metrics(train(cohort, runs["diagnosis", "ksfusion"], task=epochs(DIAGNOSIS, 1), lr=1e30))
    assert metrics["status"] == "failed" and "is not finite; lower training.lr" in metrics["reason"]


def test_a_student_without_its_teachers_folder_is_a_line(cohort):
    with pytest.raises(UserError, match="--teacher: 0 runs of ksfusion for 1 seeds"):
        cohort.train_seeds({0: cohort.folder / "run"}, method=STUDENT, teacher=[])
    with pytest.raises(UserError, match="--teacher: no run of ksfusion, of which ksfusion-student learns; give one"):
        search(cohort, "search", method=STUDENT)


def test_a_teacher_of_other_genes_is_refused(runs, cohort):
    selected = read_tsv(cohort.folder / "selected.tsv")
    selected[selected["symbol"] != "T4"].to_csv(cohort.folder / "selected.tsv", sep="\t", index=False)
    with pytest.raises(
        UserError, match=r"--teacher: its niches differ from those of these files; train ksfusion again"
    ):
        train(cohort, runs["diagnosis", "ksfusion"], task=epochs(DIAGNOSIS, 1))
