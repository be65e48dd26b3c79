"""A copy of the project in a temporary folder, and Snakemake run on it as a user would."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = ["Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "src", "README.md"]


@dataclass
class Project:
    """A checkout and a configuration file in it."""

    folder: Path
    configfile: str

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake here; on a failure show the end of what it printed."""
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", self.configfile]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-6000:]}")
        return done

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return the jobs that a dry run would start: rule to number."""
        # Targets come first: options with several values would take them.
        printed = self.snakemake(*arguments, "--dry-run", "--quiet", "host")
        text = printed.stdout + printed.stderr
        if "Nothing to be done" in text:
            return {}
        table = text.split("Job stats:")[1]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}
        assert jobs, text
        return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}

    def configure(self, **blocks) -> None:
        """Change keys of the configuration, one level deep."""
        path = self.folder / self.configfile
        config = yaml.safe_load(path.read_text())
        for block, values in blocks.items():
            config[block] = {**config.get(block, {}), **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    def tsv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name, sep="\t", keep_default_na=False, na_values=[""])

    def json(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text())


def copy_project(folder: Path) -> Path:
    """Copy what a clone of the project would run."""
    folder.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder
