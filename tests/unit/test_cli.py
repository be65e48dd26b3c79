"""The command line: each stage has a name, options from its signature, and mistakes that are lines."""

import getpass
import json
import re
import shlex
import subprocess
import sys

import pytest
from project import ROOT

from ksfusion.cli import build_parser, main, verbs
from ksfusion.core.workflow import environment

# Called by hand: no rule of the workflow has them.
BY_HAND = {
    "adopt",
    "build_glioma_cohort",
    "bundle",
    "doctor",
    "encoders",
    "estimate",
    "evaluate",
    "export_attention",
    "export_features",
    "fit_stain_target",
    "init",
    "new",
    "predict",
    "reproduce",
    "run",
    "status",
    "write_demo_tables",
    "write_reference",
}
# Rules that only gather, and those that repeat another for alpha.
WITHOUT_STAGE = {"all", "slides", "tables", "alpha", "modalities", "attributions", "heatmaps", "report"}
# Rules whose settings depend on the method: what the plan gives them.
OF_A_METHOD = {
    "train_model": "training_settings",
    "train_together": "training_settings",
    "search_settings": "search_settings",
    "fit_baseline": "baseline_settings",
}
SHARED = {"make_alpha_table": "make_tables", "draw_alpha": "draw_figures"}


def rules() -> dict[str, str]:
    found = {}
    for path in [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]:
        for block in re.split(r"^ *rule ", path.read_text(), flags=re.MULTILINE)[1:]:
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
        settings = OF_A_METHOD.get(rule)
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


def test_a_shorter_name_is_the_same_verb(capsys):
    for verb in ("attribute", "attribute-genes"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert "--stability" in capsys.readouterr().out


def test_a_file_that_a_job_does_not_read_is_an_option_without_a_value():
    """As the rules have it: the input of a method that reads no patches is empty, and so is what stands behind it."""
    given = ["fit-baseline", "--store", "--expression", "e", "--selected", "s", "--samples", "t", "--cases", "c"]
    given += ["--splits", "p", "--method", "cohort", "--fold", "0", "--seed", "0", "--output", "o"]
    parsed = build_parser("fit-baseline").parse_args(
        [*given, "--settings", '{"task": {"name": "a", "kind": "survival"}}']
    )
    assert parsed.store is None and parsed.expression.name == "e"
    # Also one that may be left out by hand.
    given = [
        "make-localisation",
        "--located",
        "l",
        "--store",
        "s",
        "--features",
        "f",
        "--samples",
        "t",
        "--splits",
        "p",
    ]
    given += ["--output", "o", "--settings", "{}"]
    parser = build_parser("make-localisation")
    parsed = parser.parse_args([*given, "--truth", "--regions", "r"])
    assert parsed.truth is None and parsed.regions.name == "r" and parser.parse_args(given).regions is None
    with pytest.raises(SystemExit):
        parser.parse_args([*given, "--regions", "r", "q"])
    # An option of a verb that is called by hand alone has a value where it is given.
    with pytest.raises(SystemExit):
        build_parser("init").parse_args(["init", "--slides"])


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


def test_a_home_where_nothing_can_be_written_is_none_of_snakemakes(tmp_path, monkeypatch):
    command = ["python", "-m", "snakemake", "--directory", str(tmp_path / "out")]
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/cache"))
    assert environment(command)["XDG_CACHE_HOME"] == str(tmp_path / "home/cache")
    # Root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (tmp_path / "home/cache/huggingface").mkdir(parents=True)
    found = environment(command)
    assert found["XDG_CACHE_HOME"] == str(tmp_path / "out/.snakemake/cache")
    # Weights that were fetched before are read from where they are.
    assert found["HF_HOME"] == str(tmp_path / "home/cache/huggingface") and "TORCH_HOME" not in found


def test_a_user_without_a_name_gets_one_for_snakemake(tmp_path, monkeypatch):
    command = ["python", "-m", "snakemake", "--directory", str(tmp_path)]
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert "LOGNAME" not in environment(command)
    # As in a container that is started with --user and a number.
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    assert environment(command)["LOGNAME"] == "2147483641"
    monkeypatch.setenv("LOGNAME", environment(command)["LOGNAME"])
    assert getpass.getuser() == "2147483641"


def ran(monkeypatch, *argv):
    """Return the command that a run would become."""
    became = []
    monkeypatch.setattr("os.execv", lambda program, command: became.extend(command))
    monkeypatch.setattr("signal.pthread_sigmask", lambda *_: None)
    main(["run", *argv])
    return became[3:]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "my study" / "my.yaml"
    path.parent.mkdir()
    path.write_text("folder: here\n")
    return path


def test_targets_stand_before_and_behind_options(config, monkeypatch):
    for argv in (
        [str(config), "alpha", "tables", "--dry-run"],
        [str(config), "--dry-run", "alpha", "tables"],
        ["--dry-run", str(config), "alpha", "tables"],
        [str(config), "alpha", "--dry-run", "tables"],
    ):
        command = ran(monkeypatch, *argv)
        assert command[:2] == ["alpha", "tables"] and "--dry-run" in command


def test_settings_and_options_of_snakemake(config, monkeypatch, capsys):
    command = ran(
        monkeypatch, str(config), "--set", "training.alpha=0.7", "--set", "training.search=null", "slides",
        "--set", "title=Glioma, first", "--set", "splits.fractions=[0.6, 0.2, 0.2]", "--set", "splits.file=a, b",
        "--cores", "3", "--", "--keep-going",
    )  # fmt: skip
    assert command[0] == "slides" and command[-1] == "--keep-going"
    at = command.index("--config")
    assert command[at + 1 : at + 4] == [
        "training={alpha: 0.7, search: null}",
        "title=Glioma, first",
        "splits={fractions: [0.6, 0.2, 0.2], file: 'a, b'}",
    ]
    assert command[command.index("--directory") + 1] == str(config.parent / "here")
    assert command[command.index("--cores") + 1] == "3"
    assert command[command.index("--logger") + 1] == "ksfusion"
    # What is printed is what is run.
    assert shlex.split(capsys.readouterr().err)[3:] == command


def test_the_folder_may_be_set(config, monkeypatch):
    command = ran(monkeypatch, str(config), "--set", "folder=elsewhere")
    assert command[command.index("--directory") + 1] == str(config.parent / "elsewhere")
    assert "--cores" not in command


def test_the_old_way_and_another_logger(config, monkeypatch):
    assert "--logger" not in ran(monkeypatch, str(config), "--verbose")
    command = ran(monkeypatch, str(config), "--", "--logger", "other")
    assert command[command.index("--logger") + 1] == "other" and command.count("--logger") == 1


def test_a_profile_by_name_or_folder(config, monkeypatch, tmp_path):
    command = ran(monkeypatch, str(config), "--profile", "slurm")
    assert command[command.index("--workflow-profile") + 1] == str(ROOT / "profiles/slurm")
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.yaml").write_text("cores: 1\n")
    command = ran(monkeypatch, str(config), "--profile", str(own))
    assert command[command.index("--workflow-profile") + 1] == str(own)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--set", "training.alpha"], "--set training.alpha: is no setting; write it as training.alpha=0.7"),
        (["--set", "a=1", "--set", "a.b=2"], "--set a.b=2: a has been given a value before"),
        (["--set", "a=[1"], "--set a=[1: "),
        (["--profile", "slum"], "--profile slum: is neither a profile of the project (default, slurm) nor a folder"),
    ],
)
def test_options_that_are_wrong_are_lines(config, argv, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", str(config), *argv])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_an_option_of_snakemake_has_its_place(config, capsys):
    with pytest.raises(SystemExit):
        main(["run", str(config), "--keep-going"])
    assert "unrecognized arguments: --keep-going; options of Snakemake stand behind --" in capsys.readouterr().err


def test_an_interrupted_verb_ends_without_a_traceback(config, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.execv", interrupt)
    monkeypatch.setattr("signal.pthread_sigmask", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(config)])
    assert ended.value.code == 130
