"""What lies in a study's folder is not taken for a package."""

import os
import subprocess
import sys

from ksfusion.core.workflow import environment


def test_a_file_with_the_name_of_a_package(tmp_path):
    (tmp_path / "yaml.py").write_text("raise SystemExit('taken for PyYAML')\n")
    command = [sys.executable, "-m", "snakemake", "--version"]
    ours = environment([*command, "--directory", str(tmp_path)])
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = [subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env) for env in (ours, plain)]
    assert done[0].returncode == 0 and done[0].stdout.startswith("9."), done[0].stderr
    assert done[1].returncode and "taken for PyYAML" in done[1].stderr
