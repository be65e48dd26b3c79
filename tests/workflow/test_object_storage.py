"""A study whose tables, slides, expression and results are in object storage: a folder, and S3 of a local server.

S3 needs snakemake-storage-plugin-s3 and moto[server], which are not among the packages of development.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fold_project import CASES, CLASSES, make_project

from ksfusion.core.parquet import read_parquet

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
GIVEN = ["samples.tsv", "cases.tsv", "expression.tsv", "slides"]
TASK = {"kind": "classification", "column": "mgmt", "classes": CLASSES, "epochs": 2}


class FolderStorage:
    """Storage that is a folder; `prefix` and `options` are what Snakemake is told."""

    def __init__(self, folder):
        self.prefix, self.options, self.environment = str(folder / "bucket/study"), [], {}

    def path(self, name):
        return Path(self.prefix, name)

    def put(self, name, content):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(content)

    def get(self, name):
        return self.path(name).read_bytes()

    def delete(self, name):
        self.path(name).unlink()

    def names(self):
        return {str(path.relative_to(self.prefix)) for path in Path(self.prefix).rglob("*") if path.is_file()}


class S3Storage:
    """A bucket of a server on this machine."""

    def __init__(self, url):
        import boto3

        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "NO_PROXY": "127.0.0.1"}
        self.prefix, self.environment = "s3://bucket/study", keys
        self.options = ["--storage-s3-endpoint-url", url]
        named = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=url, **named)
        self.client.create_bucket(Bucket="bucket")

    def put(self, name, content):
        self.client.put_object(Bucket="bucket", Key=f"study/{name}", Body=content)

    def get(self, name):
        return self.client.get_object(Bucket="bucket", Key=f"study/{name}")["Body"].read()

    def delete(self, name):
        self.client.delete_object(Bucket="bucket", Key=f"study/{name}")

    def names(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="study/")
        return {found["Key"].removeprefix("study/") for page in pages for found in page.get("Contents", [])}


@pytest.fixture(scope="module", params=["fs", "s3"])
def storage(request, tmp_path_factory):
    if request.param == "fs":
        pytest.importorskip("snakemake_storage_plugin_fs")
        if not shutil.which("rsync"):
            pytest.skip("the plugin of file systems copies with rsync, which is not here")
        yield request.param, FolderStorage(tmp_path_factory.mktemp("storage"))
        return
    pytest.importorskip("snakemake_storage_plugin_s3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield request.param, S3Storage(f"http://{host}:{port}")
    server.stop()


class Machine:
    """A folder with a configuration, on which Snakemake is run as a user would."""

    def __init__(self, folder, project, plugin, storage):
        self.folder, self.storage = folder, storage
        folder.mkdir()
        shutil.copy2(project / "folds.yaml", folder / "my.yaml")
        self.command = [sys.executable, "-m", "snakemake", "--snakefile", str(project / "Snakefile"), "--cores", "2"]
        self.command += ["--configfile", "my.yaml", "--default-storage-provider", plugin]
        self.command += ["--default-storage-prefix", storage.prefix, *storage.options]

    def run(self, *arguments, check=True):
        command = [*self.command[:3], *arguments, *self.command[3:]]
        environment = {**os.environ, **self.storage.environment}
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, env=environment)
        if check and done.returncode:
            pytest.fail((done.stdout + done.stderr)[-6000:])
        return done.stdout + done.stderr

    def planned(self, *arguments):
        """Return the jobs of a dry run: rule to number."""
        text = self.run(*arguments, "--dry-run", "--quiet", "host")
        if "Nothing to be done" in text:
            return {}
        found = re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1], flags=re.MULTILINE)
        return {rule: int(count) for rule, count in found if rule not in ("all", "total", "slides")}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project with a study of 24 slides in two batches, none of whose files has gone to storage."""
    project = make_project(tmp_path_factory.mktemp("object_storage") / "project")
    config = yaml.safe_load((project.folder / "folds.yaml").read_text())
    config |= {"splits": {"fractions": [0.5, 0.2, 0.3]}, "tasks": {"mgmt": TASK}, "methods": ["ksfusion", "snn"]}
    config |= {"training": {"seeds": [0]}, "heatmaps": {"samples": 2}, "slides": {"batches": 2, "min_tiles": 1}}
    config |= {"results": {"audit_samples": 0, "attributions": {"methods": []}}, "genes": {"top_fraction": 1.0}}
    (project.folder / "folds.yaml").write_text(yaml.safe_dump(config))
    return project.folder


@pytest.fixture(scope="module")
def machine(storage, project, tmp_path_factory):
    """Return a machine that has run a study of which it has nothing but the configuration."""
    plugin, place = storage
    for name in GIVEN:
        for path in sorted((project / name).rglob("*")) if (project / name).is_dir() else [project / name]:
            place.put(str(path.relative_to(project)), path.read_bytes())
    machine = Machine(tmp_path_factory.mktemp(plugin) / "machine", project, plugin, place)
    machine.run()
    return machine


@pytest.fixture
def another(machine, storage, project, tmp_path):
    """Return another machine with the same storage, which has run nothing."""
    return Machine(tmp_path / "another", project, *storage)


def test_from_slides_to_the_report_with_all_of_it_in_storage(machine):
    names = machine.storage.names()
    assert {"results/report.html", "results/tables/table1.docx", "results/study.json"} <= names
    assert "results/features/0.h5" in names and any(name.startswith("results/features/store/") for name in names)
    samples = [line.split("\t") for line in machine.storage.get("results/samples.tsv").decode().splitlines()]
    assert {row[samples[0].index("status")] for row in samples[1:]} == {"ok"} and len(samples) == 1 + len(CASES)
    # Figures and pictures stand in no rule's output.
    figures = {Path(name).suffix for name in names if name.startswith("results/figures/")}
    assert {".svg", ".png"} <= figures and any(
        name.startswith("results/heatmaps/") and name.endswith(".png") for name in names
    )
    assert machine.planned() == {}


def test_results_are_those_without_storage(machine, project):
    kept = ["results/tiles/0.parquet", "results/genes/profiles.parquet", "results/genes/fold0/expression.parquet"]
    command = [sys.executable, "-m", "snakemake", *kept, "--cores", "2", "--configfile", "folds.yaml"]
    subprocess.run(command, cwd=project, capture_output=True, check=True)
    for name in kept:
        stored = machine.folder / "stored.parquet"
        stored.write_bytes(machine.storage.get(name))
        assert read_parquet(stored).equals(read_parquet(project / name)), name


def test_slides_lie_here_only_while_they_are_read(machine):
    copies = [path for path in (machine.folder / ".snakemake/storage").rglob("*.png") if "results" not in path.parts]
    assert copies == []
    done = {line.split("\t")[0] for line in machine.storage.get("results/slides.tsv").decode().splitlines()[1:]}
    assert done == set(CASES)
    # Where a model looks is drawn without the slide, which is not fetched again for it.
    (listed,) = (name for name in machine.storage.names() if name.endswith("heatmaps.tsv"))
    assert len(machine.storage.get(listed).decode().splitlines()) == 3


def test_another_machine_goes_on_where_the_first_has_ended(another):
    assert another.planned() == {}
    report = another.storage.get("results/report.html")
    another.storage.delete("results/report.html")
    assert another.planned() == {"write_report": 1}
    another.run()
    assert another.storage.get("results/report.html") == report


def test_another_slide_redoes_its_batch_alone_on_another_machine_too(another, machine):
    table = another.storage.get("samples.tsv")
    another.storage.put("slides/new.png", another.storage.get("slides/case-01.png"))
    another.storage.put("samples.tsv", table + b"new\tcase-01\tX\tslides/new.png\tcase-01\t0.5\n")
    for place in (another, machine):
        planned = place.planned("slides")
        stages = ("tile_slides", "fit_stain", "sample_patches", "extract_features", "draw_overviews")
        assert [planned[stage] for stage in stages] == [1] * 5
    another.storage.put("samples.tsv", table)
    # A slide that is in no storage is a row of the ledger, and told before.
    another.storage.put("samples.tsv", table.replace(b"slides/case-03.png", b"slides/none.png"))
    told = "1 of 24 slide files are missing or empty, such as slides/none.png (nor in storage below "
    assert f"{told}{another.storage.prefix})" in another.run("slides", "--dry-run")
    another.storage.put("samples.tsv", table)


def test_what_is_in_no_storage_is_told_with_where_that_was_looked_for(another):
    prefix, config = another.storage.prefix, another.folder / "my.yaml"
    at = another.command.index(prefix)
    another.command[at] = f"{prefix}-elsewhere"
    where = "is not there, nor in storage below {}; correct the path"
    said = another.run("--dry-run", check=False)
    assert f"cohort.samples: samples.tsv {where.format(another.command[at])}" in said
    another.command[at] = prefix
    config.write_text(config.read_text().replace("expression.tsv", "none.tsv"))
    assert f"cohort.expression.0.path: none.tsv {where.format(prefix)}" in another.run("--dry-run", check=False)


def test_what_is_not_said_to_snakemake_is_a_line(machine):
    where = machine.command.index("--default-storage-provider")
    command = [*machine.command[:where], "--dry-run"]
    done = subprocess.run(command, cwd=machine.folder, capture_output=True, text=True, check=False)
    said = "results: is in object storage; give --default-storage-provider"
    assert done.returncode and said in done.stdout + done.stderr
