"""Imports run one way, and what the Snakefile parses is light."""

import re
import subprocess
import sys
from pathlib import Path

from project import ROOT


def test_imports_run_one_way():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 kept, 0 broken" in done.stdout


def test_no_module_of_the_domains_calls_a_stage():
    package = ROOT / "src/ksfusion"
    imports = re.compile(r"^\s*(from|import) ksfusion\.stages", re.MULTILINE)
    outside = [path for path in package.rglob("*.py") if path.parent.name != "stages"]
    callers = [path.name for path in outside if imports.search(path.read_text(encoding="utf-8"))]
    assert callers == []


def test_no_module_stands_loose():
    names = {path.name for path in (ROOT / "src/ksfusion").glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "cli.py", "config.py", "plan.py"}


def test_nothing_is_printed_and_every_logger_is_named_log():
    """What is logged is left out of the code's version, by the name of the logger."""
    import ast

    wrong = []
    for path in sorted((ROOT / "src/ksfusion").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{path.name}:{node.lineno}: print")
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("logging.getLogger"):
                names = [ast.unparse(target) for target in node.targets]
                wrong += [f"{path.name}:{node.lineno}: {name}" for name in names if name != "log"]
    # The command line's own errors go to standard error as they are.
    assert [entry for entry in wrong if not entry.startswith("cli.py")] == []
