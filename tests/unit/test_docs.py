"""What the pages say: links lead somewhere, commands and keys are those of the program, notebooks are clean."""

import ast
import json
import re

import pytest
from doc_pages import PAGES, WITH_COMMANDS, commands, configurations, fences, gathering, headings, inlines, links
from project import ROOT

from ksfusion.cli import build_parser, verbs
from ksfusion.config import Config
from ksfusion.core.reference import block_of
from ksfusion.slides.encoders.presets import PRESETS

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def slugs(page):
    """Return the anchors of a page that GitHub and the site both have."""
    from markdown.extensions.toc import slugify

    texts = headings(page)
    on_github = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}
    return on_github & {slugify(text, "-") for text in texts}


def names(path):
    """Return the functions, classes and methods of a module."""
    return {name for name, *_ in gathering().definitions(ast.parse(path.read_text()))}


def dead_links(page):
    for target in links(page):
        if re.match(r"(https?|mailto):", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        if not path.exists():
            yield f"{target}: there is no such file"
        elif anchor and path.suffix == ".md" and anchor not in slugs(path.resolve().relative_to(ROOT).as_posix()):
            yield f"{target}: there is no such heading"
        elif anchor and path.suffix == ".py" and anchor not in names(path):
            yield f"{target}: there is no such function"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert list(dead_links(page)) == []


def test_dead_links_are_found(tmp_path, monkeypatch):
    text = "# A b\n[1](#a-b) [2](#b) [3](no.md) [4](m.py#f) [5](m.py#g) [6](m.py#C.h) <img src='x'>\n`[7](no.md)`\n"
    (tmp_path / "page.md").write_text(text.replace("'", '"'))
    (tmp_path / "m.py").write_text("def f():\n    pass\n\n\nclass C:\n    def h(self):\n        pass\n")
    module = gathering()
    monkeypatch.setattr("doc_pages.ROOT", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "gathering", lambda: module)
    assert [line.partition(":")[0] for line in dead_links("page.md")] == ["#b", "no.md", "m.py#g", "x"]


def test_the_site_finds_the_links_that_a_parser_finds():
    """A link that it overlooked would not be rewritten."""
    module = gathering()
    for page in PAGES:
        text = (ROOT / page).read_text()
        if "<img" not in text:
            own = [target for target in links(page) if not target.startswith(("http", "mailto"))]
            found = [link["target"] for link in module.links(text)]
            assert [target for target in found if not target.startswith("http")] == own, page


def test_every_page_stands_in_the_contents_of_the_site():
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.removeprefix("docs/") for page in PAGES if page.startswith("docs/"))


ALL_COMMANDS = [command for page in WITH_COMMANDS for command in commands(page)]
RULES = set(
    re.findall(
        r"^ *rule (\w+):",
        "\n".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]),
        re.MULTILINE,
    )
)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def of(program, *, whole):
    return [command for command in ALL_COMMANDS if command.words[0] == program and command.whole == whole]


def verb_parser(verb):
    (subparsers,) = (action for action in build_parser(verb)._actions if isinstance(action.choices, dict))
    return subparsers.choices[verb]


def is_key(path):
    """Return whether a dotted path is a key of the configuration."""
    block, *rest = path.split(".")
    field = Config.model_fields.get(block)
    while rest and field is not None:
        inner = block_of(field)
        field = None if inner is None else inner.model_fields.get(rest.pop(0))
    return field is not None


def test_commands_are_found():
    assert len(of("ksfusion", whole=True)) > 30 and len(of("ksfusion", whole=False)) > 15
    assert len(of("make", whole=True)) >= 8 and len(of("snakemake", whole=False)) >= 4


@pytest.mark.parametrize("command", of("ksfusion", whole=True), ids=str)
def test_a_command_is_one_that_the_program_takes(command, capsys):
    words = command.words[1:]
    words = words[: words.index("--")] if "--" in words else words
    if "..." in words:
        check_part(words)
        return
    try:
        args, more = build_parser(words[0]).parse_known_args(words)
    except SystemExit as ended:
        # Asking for help or the version is right too.
        assert ended.code == 0, capsys.readouterr().err
        return
    assert [word for word in more if word.startswith("-")] == []
    targets = [*getattr(args, "targets", ()), *more]
    assert set(targets) <= RULES, targets
    assert [given for given in getattr(args, "set", ()) if not is_key(given.partition("=")[0])] == []


def check_part(words):
    """Hold verb and options of a part of a command against the parser."""
    known = {*verbs(), "gate", "attribute", "--help", "--version"}
    assert words[0] in known
    options = {option.partition("=")[0] for option in words[1:] if option.startswith("--") and option != "--"}
    if options:
        assert options <= {text for action in verb_parser(words[0])._actions for text in action.option_strings}


@pytest.mark.parametrize("command", of("ksfusion", whole=False), ids=str)
def test_a_part_of_a_command_has_a_verb_and_options_that_are_there(command):
    words = command.words[1:]
    check_part(words[: words.index("--")] if "--" in words else words)


@pytest.mark.parametrize("command", [word for word in ALL_COMMANDS if word.words[0] == "make"], ids=str)
def test_a_target_of_make_is_there(command):
    targets = [word for word in command.words[1:] if "=" not in word]
    assert targets and set(targets) <= TARGETS


@pytest.mark.parametrize("command", [word for word in ALL_COMMANDS if word.words[0] == "snakemake"], ids=str)
def test_a_command_of_snakemake_has_rules_and_options_that_are_there(command):
    words = command.words[1:]
    options = [at for at, word in enumerate(words) if word.startswith("-")]
    assert set(words[: options[0] if options else None]) <= RULES
    assert {words[at].partition("=")[0] for at in options} <= snakemake_options()


def snakemake_options():
    from snakemake.cli import get_argument_parser

    return {text for action in get_argument_parser()._actions for text in action.option_strings}


def unknown_keys(mapping, model, where=""):
    """Yield keys of a configuration that the classes of the settings do not have."""
    for name, value in mapping.items():
        field = model.model_fields.get(name)
        if field is None:
            yield f"{where}{name}"
            continue
        block = block_of(field)
        if block is None:
            continue
        blocks = {f"{where}{name}.": value} if isinstance(value, dict) else {}
        if str(field.annotation).startswith(("dict", "typing.Dict")) or name in ("tasks", "columns"):
            entries = value.items() if isinstance(value, dict) else ()
            blocks = {f"{where}{name}.{key}.": entry for key, entry in entries if name == "tasks"}
        elif isinstance(value, list):
            blocks = {f"{where}{name}[{at}].": entry for at, entry in enumerate(value)}
        for at, entry in blocks.items():
            if isinstance(entry, dict):
                yield from unknown_keys(entry, block, at)


@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if fences(page, "yaml")])
def test_keys_of_a_configuration_are_those_of_the_classes(page):
    whole = [mapping for mapping in configurations(page) if set(mapping) & set(Config.model_fields)]
    assert [key for mapping in whole for key in unknown_keys(mapping, Config)] == []


def test_a_key_that_is_not_there_is_found():
    wrong = {"training": {"seed": 1}, "tasks": {"a": {"knd": 1}}, "cohort": {"expression": [{"unt": 1}]}, "x": 1}
    assert list(unknown_keys(wrong, Config)) == ["training.seed", "tasks.a.knd", "cohort.expression[0].unt", "x"]


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_a_key_within_a_sentence_is_there(page):
    blocks = {name for name, field in Config.model_fields.items() if block_of(field)}
    code = [child.content for child in inlines(page) if child.type == "code_inline"]
    keys = [text for text in code if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text) and text.split(".")[0] in blocks]
    # Files are called after what is in them: samples.tsv, predictions.parquet.
    endings = ("tsv", "yaml", "md", "parquet", "html", "json", "csv", "h5", "svg", "png", "gmt", "smk", "py")
    assert [key for key in keys if key.split(".")[-1] not in endings and not is_key(key)] == []


def test_encoders_of_the_page_and_of_the_comment_are_those_that_there_are():
    """Length of the features, repository, and whether it is given on request alone, where that is known."""
    words = {"": False, ", on request": True, ", whether on request not known here": None}
    row = rf"^\| `([\w.-]+)` \| .* \| (\d+) \| `(.*)`({'|'.join(words)}) \|$"
    rows = re.findall(row, (ROOT / "docs/features.md").read_text(), re.M)
    found = {name: (int(n), repository, words[asked]) for name, n, repository, asked in rows if name != "resnet50"}
    there = {name: (preset.n_features, preset.repository, preset.gated) for name, preset in PRESETS.items()}
    assert found == there
    comment = (ROOT / "config.yaml").read_text().partition("  encoder:")[2].partition("  weights:")[0]
    assert set(there) <= set(re.split(r"[^\w.-]+", comment))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs_and_no_paths_of_a_machine(path):
    book = json.loads(path.read_text())
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not re.search(r"/(home|work|tmp|Users|root)/|[A-Z]:\\\\", path.read_text())
