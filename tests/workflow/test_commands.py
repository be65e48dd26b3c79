"""Every command of the pages is run: as it stands where that can be, else by the test that is named here."""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from doc_pages import ON_SLURM, WITH_COMMANDS, commands, fences
from drawn_cptac import draw_cptac
from drawn_paper_cohort import draw_paper_cohort
from fold_project import draw_slide, make_project
from hospital import PATIENTS, draw_hospital
from project import ROOT, copy_project
from stand_ins import apptainer, conda
from workbooks import write_workbook

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
BIN = Path(sys.executable).parent

# In a finished study, in this order.
STUDY = [
    "ksfusion doctor my.yaml",
    "ksfusion doctor config.yaml",
    "ksfusion encoders",
    "ksfusion estimate my.yaml",
    "ksfusion estimate my.yaml --profile slurm --output mine/config.yaml",
    "ksfusion run my.yaml --profile mine --dry-run",
    "ksfusion run my.yaml --profile slurm --dry-run",
    "ksfusion run my.yaml --dry-run",
    "ksfusion run my.yaml",
    "ksfusion run my.yaml --verbose",
    "ksfusion run my.yaml --cores 2",
    "ksfusion run my.yaml slides",
    "ksfusion run my.yaml results/features/0.h5",
    "ksfusion run my.yaml -- --unlock",
    "ksfusion status my.yaml",
    "ksfusion new method my_mil",
    "ksfusion stain-target --output target.json --images region1.png region2.png",
    "ksfusion export --format trident --output FOLDER",
    "rm -r FOLDER",
    "ksfusion export --format clam --output FOLDER",
    "ksfusion export-attention --heatmaps results/heatmaps/diagnosis/ksfusion/fold0/seed0 --format geojson "
    "--output qupath",
    "ksfusion export-attention --heatmaps results/heatmaps/diagnosis/ksfusion/fold0/seed0 --format parquet "
    "--output attention.parquet",
    "snakemake heatmaps --cores 1 --configfile my.yaml",
    "snakemake attributions --cores 1 --configfile my.yaml",
    "snakemake modalities --cores 1 --configfile my.yaml",
    "snakemake alpha --cores 1 --configfile my.yaml --dry-run",
    "ksfusion run my.yaml alpha --dry-run",
    "make demo",
]
PATIENTS_ELSEWHERE = [
    "ksfusion bundle --results results --task diagnosis --method ksfusion --output diagnosis.bundle",
    "ksfusion predict --bundle diagnosis.bundle --samples new.tsv --expression rna.tsv --format matrix --unit counts "
    "--output P1",
    "ksfusion bundle --results results --task diagnosis --method ksfusion --output wider.bundle --level 0.95",
    "ksfusion status P1",
    "ksfusion predict --bundle diagnosis.bundle --samples new.tsv --expression STAR --output new",
    "ksfusion evaluate --bundle diagnosis.bundle --samples new.tsv --cases cases.tsv --expression STAR --output new",
]
# From a folder of slides to the report. In the workbook the headings and words are others.
OWN = [
    "ksfusion init --slides slides --expression expression.csv --clinical patients.csv",
    "ksfusion doctor my.yaml",
    "ksfusion estimate my.yaml",
    "ksfusion run my.yaml --dry-run",
    "ksfusion run my.yaml slides",
    "ksfusion run my.yaml",
    "ksfusion status my.yaml",
]
WORKBOOK = [
    "ksfusion init --slides Schnitte --expression Expression.csv --clinical Patienten.xlsx --mpp 0.5 --unit tpm "
    "--cohort klinik"
]
PAPER = [
    "ksfusion cohort glioma --tcga data/tcga --ivygap data/ivygap --ivygap-mpp 1 --output data",
    "rm data/samples.tsv data/cases.tsv",
    "ksfusion cohort glioma --tcga data/tcga --ivygap data/ivygap --ivygap-mpp 1 --output data --known known.tsv",
    "ksfusion cohort cptac-gbm --cptac data/cptac --known molecular.tsv --output data/cptac",
    "snakemake --cores all --configfile resources/cohorts/glioma.yaml --dry-run",
    "snakemake --cores all --configfile outside.yaml --dry-run",
    "make reference",
]
# With the environments of conda, and in an image.
CONTAINED = {
    "ksfusion run my.yaml -- --use-conda": "ksfusion run my.yaml {target} -- --use-conda",
    "snakemake --cores all --use-conda --configfile my.yaml":
    "snakemake {target} --cores all --use-conda --configfile my.yaml",
    "ksfusion run my.yaml -- --sdm apptainer --apptainer-args '--nv --bind /slides,/path/to/ksfusion'":
    "ksfusion run my.yaml {target} -- --sdm apptainer --apptainer-args '--nv --bind /slides,/path/to/ksfusion'",
}  # fmt: skip
# Run by other tests with other paths, or in their own words.
ELSEWHERE = {
    "ksfusion check-leakage": "workflow/test_demo.py::test_every_stage_left_its_files",
    "ksfusion tile-slides": "workflow/test_demo.py::test_every_stage_left_its_files",
    "ksfusion gate": "unit/test_cli.py::test_a_shorter_name_is_the_same_verb",
    "ksfusion new method NAME": "unit/methods/test_own_files.py::test_what_new_writes_passes_its_own_test",
    "ksfusion reproduce my.yaml --cores 8": "workflow/test_reproduce.py::"
    "test_from_downloads_to_the_published_values_beside_its_own",
    "make reproduce": "workflow/test_reproduce.py::test_each_step_that_fails_stops_with_its_remedy",
    "make reproduce CONFIG=my.yaml CORES=8": "workflow/test_reproduce.py::"
    "test_from_downloads_to_the_published_values_beside_its_own",
    "make reproduce PROFILE=slurm": "workflow/test_reproduce.py::test_each_step_that_fails_stops_with_its_remedy",
    "ksfusion run my.yaml -- --default-storage-provider s3 --default-storage-prefix s3://hospital/glioma":
    "workflow/test_object_storage.py::test_from_slides_to_the_report_with_all_of_it_in_storage",
    "ksfusion status FOLDER": "workflow/test_predict.py::test_status_of_a_prediction",
    "make lint types fast": "workflow/test_project.py::test_what_a_pull_request_must_pass",
    "make docs": "workflow/test_docs.py::test_the_site_is_built_without_a_warning",
    "make docs-pictures": "workflow/test_docs.py::test_pictures_are_small_and_are_made_from_a_demo",
    "make fuzz": "fuzz/test_fuzz.py::test_damaged_files_are_read_or_refused_in_a_line",
}  # fmt: skip
# What these tests run in, what runs them, and what needs the package index.
NOT_HERE = ["make setup", "make test", "make lock"]


def environment(**changed: str) -> dict[str, str]:
    path = os.pathsep.join([*changed.pop("path", ()), str(BIN), os.environ["PATH"]])
    return {**os.environ, "PATH": path, **changed}


def run(text: str, folder: Path, **options) -> None:
    words = shlex.split(text)
    if words[0] == "make":
        # With the programs of this environment, which is not set up anew.
        words += ["--assume-old", ".venv/.installed", f"BIN={BIN}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{text}\n{(done.stdout + done.stderr)[-6000:]}"


@pytest.fixture(scope="module")
def study(demo, tmp_path_factory) -> Path:
    """Return a folder beside the finished demo in which commands may write."""
    folder = tmp_path_factory.mktemp("study")
    for path in demo.folder.iterdir():
        if path.name not in (".snakemake", "config.yaml"):
            (folder / path.name).symlink_to(path)
    for name in ("my.yaml", "config.yaml"):
        shutil.copy(demo.folder / demo.configfile, folder / name)
    shutil.copy(ROOT / "Makefile", folder)
    overviews = sorted((demo.folder / "results/slides").glob("*.png"))
    for number, path in enumerate(overviews[:2], 1):
        shutil.copy(path, folder / f"region{number}.png")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Return what the README begins with: a folder of slides, a table of patients, one of expression."""
    folder = tmp_path_factory.mktemp("own")
    draw_hospital(folder)
    (folder / "scans").rename(folder / "slides")
    (folder / "rna.csv").rename(folder / "expression.csv")
    (folder / "klinik.csv").rename(folder / "patients.csv")
    return folder


@pytest.mark.parametrize("text", STUDY)
def test_a_command_runs_in_a_finished_study(study, text):
    run(text, study, env=environment())


def test_a_bundle_goes_to_new_patients(study):
    """Two test patients of the demo, as another hospital would have them."""
    splits = pd.read_csv(study / "results/cohort/splits.tsv", sep="\t", dtype=str)
    tested = splits.loc[splits["split"].eq("test"), "case_id"]
    samples = pd.read_csv(study / "samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    samples = samples[samples["cohort"].eq("demo-gdc") & samples["slide"].ne("") & samples["expression_id"].ne("")]
    samples = samples[samples["case_id"].isin(tested)]
    new = samples.drop_duplicates("case_id").head(2)[["sample_id", "case_id", "cohort", "slide", "expression_id"]]
    new.to_csv(study / "new.tsv", sep="\t", index=False)
    cases = pd.read_csv(study / "resources/demo/cases.tsv", sep="\t", dtype=str, keep_default_na=False)
    cases.to_csv(study / "cases.tsv", sep="\t", index=False)
    (study / "STAR").symlink_to(study / "expression/gdc")
    counts = {name: star_counts(study / "STAR" / name) for name in new["expression_id"]}
    pd.DataFrame(counts).to_csv(study / "rna.tsv", sep="\t", index_label="symbol")
    for text in PATIENTS_ELSEWHERE:
        run(text, study, env=environment())
    answers = [pd.read_csv(study / name / "predictions.tsv", sep="\t") for name in ("P1", "new")]
    assert [list(table["case_id"]) for table in answers] == [list(new["case_id"])] * 2
    # The same patients by the same counts.
    assert answers[0].filter(like="prob_").equals(answers[1].filter(like="prob_"))


def star_counts(folder: Path) -> pd.Series:
    (path,) = folder.glob("*.tsv")
    table = pd.read_csv(path, sep="\t", comment="#")
    table = table[table["gene_id"].str.startswith("ENSG")]
    return table.groupby("gene_name")["unstranded"].sum()


def test_from_a_folder_of_slides_to_the_report(own):
    run(OWN[0], own, env=environment())
    # The scale of PNG and JPEG, which only the user knows; weights that are here; and small slides, little training.
    samples = pd.read_csv(own / "samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    samples["mpp"] = samples["mpp"].where(samples["slide"].str.endswith(".tif"), "0.5")
    samples.to_csv(own / "samples.tsv", sep="\t", index=False)
    config = yaml.safe_load((own / "my.yaml").read_text())
    config |= {"methods": ["snn", "mean-patch"], "tasks": ["grading"], "patches": {"count": 16}}
    config |= {"features": {"encoder": "efficientnet-lite0"}, "slides": {"min_tiles": 1}}
    config["training"] = {"seeds": [0], "epochs": {"grading": 2}}
    (own / "my.yaml").write_text(yaml.safe_dump(config))
    for text in OWN[1:]:
        run(text, own, env=environment())
    assert (own / "results/report.html").is_file()


def test_a_workbook_of_a_hospital_is_read_as_the_page_says(tmp_path):
    (tmp_path / "Schnitte").mkdir()
    for number, patient in enumerate(PATIENTS):
        draw_slide(tmp_path / f"Schnitte/{patient}_HE.png", number)
    header = ["Patientennummer", "Alter", "Status", "Überleben in Monaten"]
    rows = [[patient, 40 + n, ["verstorben", "lebt"][n % 2], n + 0.5] for n, patient in enumerate(PATIENTS)]
    write_workbook(tmp_path / "Patienten.xlsx", {"Patienten": [header, *rows]})
    lines = [
        ";".join(["Gen", *PATIENTS]),
        *(f"{gene};" + ";".join(["12,5"] * len(PATIENTS)) for gene in ("A2M", "TP53")),
    ]
    (tmp_path / "Expression.csv").write_text("\n".join(lines) + "\n")
    (text,) = WORKBOOK
    run(text, tmp_path, env=environment())
    config = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert config["cohort"]["columns"]["case_id"] == "Patientennummer"
    assert (
        config["cohort"]["expression"][0]["unit"] == "tpm" and config["cohort"]["expression"][0]["cohort"] == "klinik"
    )


def test_from_downloads_to_the_plan_of_a_run(tmp_path):
    folder = copy_project(tmp_path / "project")
    for name in ("Makefile", "docs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    draw_paper_cohort(folder / "data")
    shutil.move(folder / "data/known.tsv", folder / "known.tsv")
    draw_cptac(folder / "data/cptac")
    (folder / "molecular.tsv").write_text("case_id\tidh\nC3L-00016\tWT\n")
    # As docs/demo.md makes it of the demo's configuration.
    (told,) = [block for block in fences("docs/demo.md", "bash") if "outside.yaml" in block]
    subprocess.run(["bash", "-c", told.partition("\nsnakemake")[0]], cwd=folder, check=True)
    for text in PAPER:
        run(text, folder, env=environment(PYTHONPATH=str(folder / "src")))
    assert yaml.safe_load((folder / "outside.yaml").read_text())["splits"]["external"] == ["demo-ivygap"]


@pytest.mark.parametrize("text", CONTAINED.values(), ids=CONTAINED)
def test_a_command_runs_with_conda_or_in_an_image(tmp_path, text):
    """Stand-ins: neither is at hand where this is developed."""
    project = make_project(tmp_path / "project")
    shutil.copy(project.folder / project.configfile, project.folder / "my.yaml")
    (project.folder / "ksfusion.sif").touch()
    used = apptainer(tmp_path) if "apptainer" in text else conda(tmp_path)
    path, target = [str(tmp_path / "bin")], "results/cohort/splits.tsv"
    run(text.format(target=target), project.folder, env=environment(path=path, PYTHONPATH=str(project.folder / "src")))
    assert (project.folder / target).is_file() and used.read_text().strip()


def accounted() -> list[list[str]]:
    """Return the words of every command that is run here or where it is said."""
    texts = [*STUDY, *PATIENTS_ELSEWHERE, *OWN, *WORKBOOK, *PAPER, *CONTAINED, *ON_SLURM, *ELSEWHERE, *NOT_HERE]
    return [[word for word in shlex.split(text) if word != "--"] for text in texts]


@pytest.mark.parametrize("command", [word for page in WITH_COMMANDS for word in commands(page)], ids=str)
def test_a_command_of_the_pages_is_run_somewhere(command):
    words = [word for word in command.words if word not in ("...", "--")]
    if command.whole and "..." not in command.words:
        # Of the longest runs the plan alone.
        assert words in accounted() or [*words, "--dry-run"] in accounted()
    else:
        # A part of a command, within a sentence.
        assert any(not Counter(words) - Counter(run) for run in accounted())


@pytest.mark.parametrize("named", sorted(set(ELSEWHERE.values())))
def test_the_test_that_is_named_is_there(named):
    file, _, name = named.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
