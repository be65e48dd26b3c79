"""Every file between stages, damaged in three ways: what reads it says so in a line, or its result is the same.

The stages are called as Snakemake calls them, by their command lines, on the files of a finished run.
"""

import re
import shlex
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from fold_project import make_project

from ksfusion.cli import main
from ksfusion.core.storage import read_provenance, read_tsv

RULES = [
    "audit_modalities",
    "build_store",
    "check_cohort",
    "check_expression",
    "check_leakage",
    "check_tiles",
    "draw_figures",
    "draw_genes",
    "draw_heatmaps",
    "draw_overviews",
    "extract_features",
    "fit_baseline",
    "fit_stain",
    "make_comparisons",
    "make_modalities",
    "make_subgroups",
    "make_tables",
    "read_expression",
    "sample_patches",
    "search_settings",
    "select_genes",
    "split_cases",
    "tile_slides",
    "train_model",
    "write_ledger",
    "write_report",
]
SAID = re.compile(r"^error: (\S+) is damaged; delete (\S+) and run again$", re.MULTILINE)
# Its user may edit it: it is told as changed.
EDITED = "results/cohort/splits.tsv"
NOTHING_DEPENDS_ON = ("logs", "benchmarks")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "flipped": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a finished run that has a file of every kind."""
    project = make_project(tmp_path_factory.mktemp("damage") / "project")
    project.configure(
        splits={"k": 2},
        methods=["attmil", "concat", "logistic-genes"],
        heatmaps={"methods": ["attmil"], "samples": 1},
        training={"seeds": [0], "epochs": {"mgmt": 3}, "search": {"trials": 1}},
    )
    tasks = {"mgmt": {"kind": "classification", "column": "mgmt", "classes": ["unmethylated", "methylated"]}}
    project.configure(tasks={**tasks, "mgmt": tasks["mgmt"] | {"epochs": 3}})
    project.snakemake()
    shutil.copytree(project.folder / "results", project.folder / "whole")
    return project


@pytest.fixture(scope="module")
def commands(project):
    """Return the arguments of the first job of each rule, as Snakemake would call it."""
    printed = project.snakemake("--forceall", "--dry-run", "--printshellcmds")
    text, found = printed.stdout + printed.stderr, {}
    shown = r"^rule (\w+):\n.*?^Shell command: ksfusion (.*?)$"
    for rule, command in re.findall(shown, text, re.MULTILINE | re.DOTALL):
        found.setdefault(rule, shlex.split(command.partition(" 2> ")[0].replace("$TENSORBOARD", "")))
    assert sorted(found) == RULES
    return found


opened: list[str] | None = None


def note_opened(event, arguments):
    if event == "open" and opened is not None and isinstance(arguments[0], str | Path):
        opened.append(str(arguments[0]))


sys.addaudithook(note_opened)


def restore(folder):
    shutil.rmtree(folder / "results")
    shutil.copytree(folder / "whole", folder / "results")


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
    """Return when each file of the results was written."""
    paths = [path for path in (folder / "results").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


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
        is_read = not name.startswith(tuple(f"results/{part}/" for part in NOTHING_DEPENDS_ON))
        if is_read and (folder / name).stat().st_size:
            kinds.setdefault(re.sub(r"(fold|seed|case-)\d+", r"\1", name), name)
    return list(kinds.values())


def contents(results):
    """Return the files of a results folder, but for times."""
    found = {}
    for path in results.rglob("*"):
        name = str(path.relative_to(results))
        if path.is_file() and not name.startswith(NOTHING_DEPENDS_ON) and "timing" not in name:
            found[name] = path.read_bytes()
        if path.name == "history.tsv":
            found[name] = read_tsv(path).drop(columns="seconds", errors="ignore").to_csv()
            found[name.replace("history.tsv", ".history.tsv.provenance.json")] = read_provenance(path)
    return {name: content for name, content in found.items() if not name.endswith(".snakemake_timestamp")}


@pytest.mark.parametrize("rule", RULES)
def test_damage_is_noticed_or_harmless(project, commands, rule, monkeypatch, capsys, caplog):
    monkeypatch.chdir(project.folder)
    restore(project.folder)
    read = files_read(commands[rule], project.folder, capsys, caplog)
    if rule == "extract_features":
        read.append("results/features/.0.kept.h5")
    assert read or rule in ("check_cohort", "read_expression")
    wanted, wrong = contents(project.folder / "whole"), []
    for name in read:
        for way, damage in DAMAGES.items():
            path = project.folder / name
            path.write_bytes(damage(path.read_bytes()))
            well, said = call(commands[rule], capsys, caplog)
            if name == EDITED:
                noticed = EDITED in said and "was changed" in said
            elif well:
                found = contents(project.folder / "results")
                # What is not made anew is still damaged.
                changed = {other for other in found | wanted if found.get(other) != wanted.get(other)}
                noticed = changed <= {name.removeprefix("results/")}
                said += f"changed: {sorted(changed)}"
            elif name.endswith(".splits.tsv.provenance.json"):
                noticed = f"error: {EDITED}: " in said and "delete it and run again" in said
            else:
                noticed = any(is_made_by_a_job(target, path, project) for path, target in SAID.findall(said))
            if not noticed or "Traceback" in said:
                wrong.append((name, way, said[-1500:]))
            restore(project.folder)
    assert not wrong


def is_made_by_a_job(target, path, project):
    """Return whether what is to be deleted is what Snakemake makes again."""
    target = path if target == "it" else target
    return (project.folder / target).exists() and not Path(target).name.startswith(".")


def test_after_deleting_what_was_damaged_all_is_as_before(project):
    folder = project.folder
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
        "search/mgmt/attmil/fold1/chosen.json",
        "models/mgmt/attmil/fold0/seed0/predictions.parquet",
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
            shutil.rmtree(folder / target) if (folder / target).is_dir() else (folder / target).unlink()
    assert done.returncode == 0 and "results/features/0.h5" in told and len(told) > 1
    found = contents(folder / "results")
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
