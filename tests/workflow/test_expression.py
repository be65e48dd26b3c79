"""A file of expression that changes is read again, wherever it lies in its folder."""

import pytest
import yaml
from project import Project, copy_project

GDC = "a/a.rna_seq.augmented_star_gene_counts.tsv"
HEADER = "gene_id\tgene_name\tgene_type\tunstranded\ttpm_unstranded\tfpkm_unstranded\n"
FPKM = "gene_id\\rna_well_id,7\n1,2.0\n"


def counts(tpm):
    return HEADER + f"ENSG00000146648.18\tEGFR\tprotein_coding\t1\t{tpm}\t1\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project of two cohorts, one of each layout, whose expression has been read."""
    folder = copy_project(tmp_path_factory.mktemp("expression") / "project")
    (folder / "gdc/a").mkdir(parents=True)
    (folder / "gdc" / GDC).write_text(counts(1.5))
    (folder / "ivy").mkdir()
    (folder / "ivy/fpkm_table.csv").write_text(FPKM)
    (folder / "ivy/rows-genes.csv").write_text("gene_id,gene_symbol\n1,EGFR\n")
    (folder / "ivy/columns-samples.csv").write_text("rna_well_id,tumor_name\n7,W1-1-1\n")
    (folder / "samples.tsv").write_text("sample_id\tcase_id\tcohort\tslide\texpression_id\ns\tA\tT\ts.svs\ta\n")
    (folder / "cases.tsv").write_text("case_id\tidh\nA\tWT\n")
    sources = [
        {"cohort": "T", "format": "gdc-star", "unit": "tpm", "path": "gdc"},
        {"cohort": "I", "format": "ivygap", "unit": "fpkm", "path": "ivy"},
    ]
    config = {"cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": sources}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    project = Project(folder, "mine.yaml")
    project.snakemake("results/genes/profiles.parquet")
    return project


def planned(project):
    return project.planned("results/genes/profiles.parquet")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"gdc/{GDC}", counts(10.25)),
        ("ivy/fpkm_table.csv", FPKM.replace("2.0", "3.0")),
        ("ivy/rows-genes.csv", "gene_id,gene_symbol\n1,TP53\n"),
        ("ivy/columns-samples.csv", "rna_well_id,tumor_name\n7,W1-1-1\n8,W1-1-1\n"),
    ],
)
def test_a_file_that_is_overwritten_is_read_again(project, name, text):
    path = project.folder / name
    kept = path.read_text()
    assert planned(project) == {}
    path.write_text(text)
    assert planned(project) == {"read_expression": 1}
    path.write_text(kept)


def test_a_file_of_ivygap_that_is_not_there_is_told_at_once(project):
    path = project.folder / "ivy/rows-genes.csv"
    away = path.rename(path.with_name("away"))
    done = project.snakemake("--dry-run", check=False)
    away.rename(path)
    assert done.returncode and "cohort.expression.1.path: ivy/rows-genes.csv is not there" in done.stdout + done.stderr


def test_what_is_odd_in_a_file_stands_in_its_own_table(project):
    path = project.folder / "results/genes/findings.tsv"
    assert path.read_text() == "check\tsubject\tdetail\n"


def test_tasks_without_a_column_for_their_labels_are_told_before_any_job(project):
    printed = project.snakemake("--dry-run").stderr
    told = "warning: cases.tsv: task survival: no column survival_days and event, so that no case has a label; "
    remedy = "write cohort.columns: {survival_days: YOURS, event: YOURS} if that is meant, or leave the task out"
    assert printed.count(f"{told}there are case_id, idh: {remedy}") == 1
