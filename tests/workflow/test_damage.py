"""Every file between stages, damaged in three ways: what reads it says so in a line, or its result is the same.

The stages are called as Snakemake calls them, by their command lines, on the files of a finished run; each job needs
nothing but what its rule declares.
"""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from damaged_studies import (
    RULES,
    copy_inputs,
    make_demo,
    make_folds,
    make_patients,
    make_precomputed,
    remove,
    restore,
    written,
)
from environments import environments_of_rules, variables_of
from project import ROOT, Project

from ksfusion.cli import main
from ksfusion.core.storage import read_provenance, read_tsv

# These read what a user gives, or nothing.
FIRST = (
    "check_cohort",
    "check_patients",
    "read_expression",
    "draw_demo_expression",
    "draw_demo_slides",
    "import_tiles",
)
SAID = re.compile(r"^error: (\S+) is damaged; delete (\S+) and run again$", re.MULTILINE)
# Its user may edit it: it is told as changed.
EDITED = "results/cohort/splits.tsv"
NOTHING_DEPENDS_ON = ("results/logs/", "results/benchmarks/")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "flipped": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
}


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    return make_folds(tmp_path_factory.mktemp("damage") / "project")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("damage") / "demo")


@pytest.fixture(scope="module")
def precomputed(folds, tmp_path_factory):
    return make_precomputed(tmp_path_factory.mktemp("damage") / "precomputed", folds)


@pytest.fixture(scope="module")
def patients(folds, tmp_path_factory):
    return make_patients(tmp_path_factory.mktemp("damage") / "patients", folds)


def test_every_rule_is_damaged():
    files = sorted((ROOT / "workflow/rules").glob("*.smk"))
    known = {rule for file in files for rule in re.findall(r"^ *rule (\w+):", file.read_text(), re.MULTILINE)}
    assert known == {rule for rules in RULES.values() for rule in rules}


opened: list[str] | None = None


def note_opened(event, arguments):
    if event == "open" and opened is not None and isinstance(arguments[0], str | Path):
        opened.append(str(arguments[0]))


sys.addaudithook(note_opened)


def call(arguments, capsys, caplog):
    """Run a verb here; return whether it ended well, and what it said."""
    caplog.clear()
    try:
        main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code == 0, captured.out + captured.err + caplog.text


def made_at(folder):
    """Return when each file that a rule writes was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in written(folder)}


def files_read(arguments, folder, capsys, caplog):
    """Return the files of earlier stages that a command reads, one of each kind."""
    global opened
    before = made_at(folder)
    opened = []
    well, said = call(arguments, capsys, caplog)
    names, opened = [*opened, *arguments], None
    assert well, said
    # Not what it writes, unless it keeps what is there.
    inputs = {name for name, time in made_at(folder).items() if before.get(name) == time or name == EDITED}
    restore(folder)
    kinds = {}
    for name in sorted(inputs & set(names)):
        if not name.startswith(NOTHING_DEPENDS_ON) and (folder / name).stat().st_size:
            kinds.setdefault(re.sub(r"(fold|seed|case-|-alpha)\d+", r"\1", name).replace("-alpha", ""), name)
    return list(kinds.values())


def contents(folder):
    """Return the files that rules write, but for times."""
    found = {}
    for path in written(folder):
        name = str(path.relative_to(folder))
        if not name.startswith(NOTHING_DEPENDS_ON) and "timing" not in name:
            found[name] = path.read_bytes()
        if path.name == "history.tsv":
            found[name] = read_tsv(path).drop(columns="seconds", errors="ignore").to_csv()
            found[name.replace("history.tsv", ".history.tsv.provenance.json")] = read_provenance(path)
    return {name: content for name, content in found.items() if not name.endswith(".snakemake_timestamp")}


@pytest.mark.parametrize(("study", "rule"), [(study, rule) for study, rules in RULES.items() for rule in rules])
def test_damage_is_noticed_or_harmless(request, study, rule, monkeypatch, capsys, caplog):
    known = request.getfixturevalue(study)
    folder, command = known.folder, known.commands[rule]
    monkeypatch.chdir(folder)
    restore(folder)
    read = files_read(command, folder, capsys, caplog)
    if rule == "extract_features":
        read.append("results/features/.0.kept.h5")
    assert read or rule in FIRST
    wanted, wrong = contents(folder / "whole"), []
    for name in read:
        for way, damage in DAMAGES.items():
            path = folder / name
            path.write_bytes(damage(path.read_bytes()))
            well, said = call(command, capsys, caplog)
            if name == EDITED:
                noticed = EDITED in said and "was changed" in said
            elif well:
                found = contents(folder)
                # What is not made anew is still damaged.
                changed = {other for other in found | wanted if found.get(other) != wanted.get(other)}
                noticed = changed <= {name}
                said += f"changed: {sorted(changed)}"
            elif name.endswith(".splits.tsv.provenance.json"):
                noticed = f"error: {EDITED}: " in said and "delete it and run again" in said
            else:
                noticed = any(is_made_by_a_job(target, path, folder) for path, target in SAID.findall(said))
            if not noticed or "Traceback" in said:
                wrong.append((name, way, said[-1500:]))
            restore(folder)
    assert not wrong


@pytest.mark.parametrize(("study", "rule"), [(study, rule) for study, rules in RULES.items() for rule in rules])
def test_a_job_needs_what_its_rule_declares(request, study, rule, tmp_path):
    """With its inputs alone, what no rule names, and the packages of its environment, a job makes what it made."""
    known, folder = request.getfixturevalue(study), tmp_path / "study"
    restore(known.folder)
    copy_inputs(known, rule, folder)
    before = made_at(folder)
    variables = variables_of(environments_of_rules()[rule], tmp_path / "site")
    command = [sys.executable, "-m", "ksfusion", *known.commands[rule]]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found, wanted = contents(folder), contents(known.folder / "whole")
    made = found.keys() - before.keys()
    assert made or rule == "draw_demo_slides"
    assert {name for name in made if wanted.get(name) != found[name]} == set()


def is_made_by_a_job(target, path, folder):
    """Return whether what is to be deleted is what Snakemake makes again."""
    target = path if target == "it" else target
    return (folder / target).exists() and not Path(target).name.startswith(".")


def test_after_deleting_what_was_damaged_all_is_as_before(folds):
    folder, project = folds.folder, Project(folds.folder, "folds.yaml")
    restore(folder)
    (folder / "results/features/.0.kept.h5").unlink()
    (folder / "results/features/.0.kept.h5").hardlink_to(folder / "results/features/0.h5")
    wanted, told = contents(folder / "whole"), []
    damaged = defaultdict(bytes)
    for name in (
        "features/0.h5",
        "samples.tsv",
        "genes/fold0/selected.tsv",
        "features/store/features.npy",
        "search/mgmt/ksfusion/fold1/chosen.json",
        "models/mgmt/ksfusion/fold0/seed0/predictions.parquet",
        "slides/case-03.png",
        "tables/table1.tsv",
    ):
        path = folder / "results" / name
        damaged[name] = path.read_bytes()
        with path.open("r+b") as file:  # in place, as a disk does
            file.write(flipped(damaged[name]))
    for _ in range(len(damaged) + 1):
        done = project.snakemake("--keep-going", check=False)
        if done.returncode == 0:
            break
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed
        found = {path if target == "it" else target for path, target in SAID.findall(printed)}
        assert found, printed[-3000:]
        told += found
        for target in found:
            remove(folder / target)
    assert done.returncode == 0 and "results/features/0.h5" in told and len(told) > 1
    found = contents(folder)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
