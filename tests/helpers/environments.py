"""The environments of conda: whose rules have them, their packages, and a Python that has these alone."""

import os
import re
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT

ENVIRONMENTS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))
# Not packages that jobs import: this project, and what installs packages.
OURS = ("ksfusion", "snakemake_logger_plugin_ksfusion", "setuptools", "pkg_resources", "_distutils_hack", "pip")
# Python runs it as it starts, in a job's own workers too.
WITHOUT = """\
import os
import sys
from importlib.machinery import PathFinder

NAMES = frozenset(os.environ["WITHOUT"].split())


class Without:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in NAMES else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def environments_of_rules():
    """Return the environment of each rule."""
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"^ *rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            rule, *named = block.partition(":")[0], *re.findall(r"envs/(\w+)\.yaml", block)
            (found[rule],) = named
    return found


def packages_of(environment):
    """Return the packages that an environment asks for."""
    listed = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"]
    (of_pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    return of_pip


def with_dependencies(packages):
    """Return the names of packages and of all that they depend on."""
    todo, found = [Requirement(package) for package in packages], set()
    while todo:
        requirement = todo.pop()
        this = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if this in found:
            continue
        found.add(this)
        try:
            needs = map(Requirement, distribution(requirement.name).requires or [])
        except PackageNotFoundError:  # for another system
            continue
        extras = ["", *requirement.extras]
        todo += [need for need in needs if not need.marker or any(need.marker.evaluate({"extra": e}) for e in extras)]
    return {name for name, _ in found}


def variables_of(environment, folder):
    """Return the variables of a process that finds an environment's packages alone; its start-up goes to a folder."""
    there = with_dependencies(packages_of(environment))
    others = {
        module
        for module, of in packages_distributions().items()
        if module not in OURS and there.isdisjoint(map(canonicalize_name, of))
    }
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT)
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "WITHOUT": " ".join(sorted(others))}
