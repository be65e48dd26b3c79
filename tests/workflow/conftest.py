"""The demo at a reduced size, run once for all tests."""

import pandas as pd
import pytest
import yaml
from project import Project, copy_project


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Project:
    """Return the demo at a reduced size, run to its end: fewer cases, patches, seeds and epochs."""
    folder = copy_project(tmp_path_factory.mktemp("demo") / "project")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    samples = pd.read_csv(folder / "resources/demo/samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    # Both cohorts, the sample without a slide and the sample without a profile.
    kept = samples[
        samples["case_id"].str[3:].astype(int).mod(3).eq(2) | samples["slide"].eq("") | samples["expression_id"].eq("")
    ]
    kept.to_csv(folder / "samples.tsv", sep="\t", index=False)
    config["cohort"]["samples"] = "samples.tsv"
    # The results lie beside the configuration.
    config["folder"] = "."
    config["patches"]["count"] = 36
    config["training"] |= {"seeds": [0], "epochs": {"diagnosis": 3, "grading": 3, "survival": 3}}
    (folder / "small.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project = Project(folder, "small.yaml")
    project.snakemake()
    return project
