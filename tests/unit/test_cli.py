"""The command line: each stage has a name, options from its signature, and mistakes that are lines."""

import json
import re
import subprocess
import sys

import pytest
from project import ROOT

from ksfusion.cli import build_parser, main, verbs

# Called by hand: no rule of the workflow has them.
BY_HAND = {
    "adopt",
    "build_glioma_cohort",
    "export_features",
    "fit_stain_target",
    "run",
    "write_demo_tables",
    "write_reference",
}
# Rules that only gather, and those that repeat another for alpha.
WITHOUT_STAGE = {"all", "alpha", "heatmaps"}
SHARED = {"make_alpha_table": "make_tables", "draw_alpha": "draw_figures"}


def rules() -> dict[str, str]:
    found = {}
    for path in [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]:
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            found[block.split(":")[0]] = block
    return {name: block for name, block in found.items() if name not in WITHOUT_STAGE}


def test_a_rule_its_module_its_verb_and_its_log_have_one_name():
    found = rules()
    assert len(found) >= 20
    for rule, block in found.items():
        stage = SHARED.get(rule, rule)
        assert re.findall(r'"ksfusion ([a-z-]+) ', block) == [stage.replace("_", "-")], rule
        assert f'plan.code("{stage}"' in block, rule
        assert re.search(rf'"results/logs/{rule}[./]', block), rule
        settings = {"train_model": "training_settings", "search_settings": "search_settings"}.get(rule)
        assert (f"plan.{settings}(" if settings else f'plan.settings("{rule}")') in block, rule
    stages = set(verbs().values())
    assert stages - {SHARED.get(rule, rule) for rule in found} == BY_HAND
    assert {SHARED.get(rule, rule) for rule in found} <= stages


def test_verbs_that_are_called_by_hand_keep_their_names():
    assert {"cohort", "export", "stain-target"} <= set(verbs())
    options = [
        "--samples",
        "s",
        "--splits",
        "p",
        "--profiles",
        "e",
        "--tiles",
        "t",
        "--output",
        "o",
        "--settings",
        "{}",
    ]
    assert build_parser("gate").parse_args(["gate", *options]).tiles[0].name == "t"


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_explains_its_options(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert "options:" in capsys.readouterr().out
    (subparsers,) = (action for action in build_parser(verb)._actions if isinstance(action.choices, dict))
    bare = [action.dest for action in subparsers.choices[verb]._actions if not action.help]
    assert bare == []


def test_help_imports_nothing_heavy():
    code = "import sys; from ksfusion.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "VERB" in done.stdout
    assert {"torch", "numpy", "pandas", "pydantic"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{}", ["settings: patches: Field required"]),
        ("{", ["settings: JSON: Invalid JSON"]),
        ('{"patches": {"count": 10}}', ["settings: patches.count: ", "must be a square number, such as 9"]),
        ('{"patches": {}, "exlude": []}', ["settings: exlude: "]),
    ],
)
def test_wrong_settings_are_lines(settings, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sample-patches", "--tiles", "t", "--output", "o", "--settings", settings])
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert "Traceback" not in printed and printed.startswith("error: --settings: ")
    assert all(text in printed for text in said), printed


def test_settings_that_are_left_out_have_their_defaults():
    args = build_parser("sample-patches").parse_args(
        ["sample-patches", "--tiles", "t", "--output", "o", "--settings", json.dumps({"patches": {"count": 9}})]
    )
    assert (args.settings.patches.count, args.settings.min_tiles, args.settings.patches.order) == (9, 10, "raster")
