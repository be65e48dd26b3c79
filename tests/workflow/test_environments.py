"""The pip part of each environment of conda, installed into a clean one: the verbs of its rules start there.

That their jobs run with its packages alone is tested in test_damage.py. Takes gigabytes and minutes, so only of those
that KSFUSION_TEST_ENVIRONMENTS names, such as "cohort slides" or "all".
"""

import os
import re
import subprocess
import sys

import pytest
from environments import ENVIRONMENTS, packages_of
from project import ROOT

ASKED = os.environ.get("KSFUSION_TEST_ENVIRONMENTS", "").split()


def verbs_of(environment):
    """Return the verbs of the rules that have an environment."""
    found = set()
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"^ *rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if f"envs/{environment}.yaml" in block:
                found |= set(re.findall(r'"ksfusion ([a-z-]+) ', block))
    return sorted(found)


def test_every_environment_has_rules():
    assert {environment for environment in ENVIRONMENTS if not verbs_of(environment)} == set()


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rules_import_what_they_need(tmp_path, environment):
    if environment not in ASKED and ASKED != ["all"]:
        pytest.skip(f"asked for by KSFUSION_TEST_ENVIRONMENTS={environment}, or all")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path)], check=True)
    python = str(tmp_path / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages_of(environment)], check=True)
    paths = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for verb in verbs_of(environment):
        done = subprocess.run([python, "-m", "ksfusion", verb, "--help"], env=paths,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, (verb, done.stderr[-2000:])
