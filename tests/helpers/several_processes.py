"""How tests are shared out over several processes: each module has one to itself, and the demo is run once."""

import ast
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[2]
DEMO = "demo"


@cache
def on_the_demo(module: str) -> set[str]:
    """Return the functions of a module of tests/workflow that look at the finished demo, by a fixture or more."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    arguments = {function.name: {argument.arg for argument in function.args.args} for function in functions}
    found: set[str] = set()
    while more := {name for name, given in arguments.items() if given & {DEMO, *found}} - found:
        found |= more
    return found


def together(nodeid: str) -> str:
    """Return the name of what a test is run with, in one process: its module, or the tests on the finished demo."""
    module, _, name = nodeid.partition("::")
    return DEMO if "workflow/" in module and name.partition("[")[0] in on_the_demo(module) else module


def turn(nodeid: str) -> int:
    """Return 0 for the tests on the finished demo, 1 for others that run Snakemake, 2 for the rest."""
    group = together(nodeid)
    return 0 if group == DEMO else 1 if "workflow/" in group else 2


class InGroups(LoadScopeScheduling):
    """Hand out the tests of a module, and those on the finished demo, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)
