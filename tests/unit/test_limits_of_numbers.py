"""Every number of the configuration has limits: one that no study can mean is refused in a line, before any job."""

import copy
import itertools
from collections.abc import Iterator

import pytest

from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.preflight.parsing import parse_config

SOURCE = {"cohort": "A", "format": "matrix", "unit": "log", "path": "expression.tsv"}
BASE = {
    "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [SOURCE]},
    "tasks": {"own": {"kind": "survival", "time": "t", "event": "e", "survival": {}}},
    "training": {"search": {}},
    "results": {"subgroups": ["age"]},
}
# What a mapping of any names is given here.
NAMES = {"tasks": "own", "epochs": "own", "ranges": "age"}
# What may have any size, and why that does no harm.
ANY_SIZE = {"results.ranges.age.0": "it is compared with a column of the user's, whose unit is not known"}
# What may be next to nothing though not 0, and why.
ANY_SMALL = {
    "genes.top_fraction": "no gene is left, which is told when they are chosen",
    "splits.fractions.0": "a split that gets no case is told when cases are divided",
    "results.times.0": "Table S1 says that nobody dies so early",
    "tasks.own.survival.cuts.0": "an interval without a death, as any other",
    "training.lr": "nothing is learned, which figures and tables show",
    "training.search.lr.0": "the same",
    "training.search.lr.1": "the same",
    "training.search.weight_decay.0": "as good as none",
    "training.search.weight_decay.1": "the same",
    **ANY_SIZE,
}


def numbers(node: dict, definitions: dict, path: tuple = ()) -> Iterator[tuple[tuple, str]]:
    """Yield path and type of each number in a JSON schema."""
    if reference := node.get("$ref"):
        node = definitions[reference.rpartition("/")[2]]
    if (kind := node.get("type")) in ("number", "integer"):
        yield path, kind
    for name, inner in node.get("properties", {}).items():
        yield from numbers(inner, definitions, (*path, name))
    for inner in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
        if isinstance(inner, dict):
            yield from numbers(inner, definitions, (*path, NAMES.get(path[-1], "any")))
    if (inner := node.get("items")) and path != ("tasks",):  # tasks by name are in a mapping too
        yield from numbers(inner, definitions, (*path, 0))
    for number, inner in enumerate(node.get("prefixItems", ())):
        yield from numbers(inner, definitions, (*path, number))
    for inner in node.get("anyOf", ()):
        yield from numbers(inner, definitions, path)


SCHEMA = Config.model_json_schema()
FOUND = dict.fromkeys(numbers(SCHEMA, SCHEMA["$defs"]))
KEYS = {".".join(map(str, path)): (path, kind) for path, kind in FOUND}


def with_value(path, value):
    """Return a configuration with a value at a path, in a list alone, of a range at both ends."""
    values = block = copy.deepcopy(BASE)
    for part, following in itertools.pairwise(path):
        if isinstance(following, int):
            block[part] = {"search": [value, value], "splits": [value, 0.5, 0.5]}.get(path[-3], [value])
            return values
        block = block.setdefault(part, {})
    block[path[-1]] = value
    return values


def told(key, value):
    """Return the lines that are told of a key; of a list, of its first entry."""
    try:
        parse_config(with_value(KEYS[key][0], value), source="my.yaml")
    except UserError as error:
        name, _, number = key.rpartition(".")
        others = tuple(f"my.yaml: {name}.{other}:" for other in range(3) if number.isdigit() and str(other) != number)
        return [line for line in str(error).splitlines() if not line.startswith(others)]
    return []


def test_all_numbers_are_found():
    assert {
        "patches.count", "slides.mpp", "features.batch_size", "features.input_px", "training.epochs.own",
        "tasks.own.epochs", "results.audit_samples", "splits.k", "heatmaps.seeds.0", "training.search.lr.1",
    } <= KEYS.keys()  # fmt: skip
    assert len(KEYS) > 35 and ANY_SMALL.keys() <= KEYS.keys()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [1e30, -1e30, 10**30, -(10**30), float("nan"), float("inf"), -float("inf")])
def test_what_no_study_can_mean_is_one_line(key, value):
    lines = told(key, value)
    if key in ANY_SIZE and abs(value) < float("inf"):
        assert not lines
    else:
        (line,) = lines
        name, _, number = key.rpartition(".")
        assert line.startswith("my.yaml: ") and (name if number.isdigit() else key) in line
        assert len(line) < 200 and "constrained" not in line and "literal[" not in line


@pytest.mark.parametrize("key", [key for key, (_, kind) in KEYS.items() if kind == "number"])
def test_so_is_what_is_next_to_nothing_or_does_no_harm(key):
    may_be = not told(key, 1e-300)
    assert may_be == (not told(key, 0) or key in ANY_SMALL)
