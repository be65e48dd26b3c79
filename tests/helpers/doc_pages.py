"""The pages of the project, as tests read them: links, headings, commands, configurations."""

import functools
import importlib.util
import re
import shlex
from typing import NamedTuple

import yaml
from markdown_it import MarkdownIt
from project import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("docs/**/*.md", "*.md", "benchmarks/*.md", "resources/**/*.md")
    for path in ROOT.glob(pattern)
)
# Pages whose commands are for people who use or change the project; a changelog has those of its time.
WITH_COMMANDS = [page for page in PAGES if page.startswith("docs/") or page in ("README.md", "CONTRIBUTING.md")]
PROGRAMS = ("ksfusion", "snakemake", "make")
SHELL = ("sh", "bash")
# What the program says.
SAID = {"make sure that it is fpkm"}
# In the place of what a reader fills in, such as <micrometres per pixel>.
FILLED_IN = "1"

# Commands that test_slurm.py runs, where there is a SLURM.
ON_SLURM = [
    "ksfusion doctor my.yaml --profile slurm",
    "ksfusion run my.yaml slides --profile slurm",
    "ksfusion run my.yaml --profile slurm",
    "ksfusion run my.yaml --profile slurm -- --unlock",
    "ksfusion run my.yaml --profile mine",
    "snakemake --workflow-profile profiles/slurm --configfile my.yaml",
]


class Command(NamedTuple):
    """A command of a page.

    Attributes
    ----------
    page
        Where it stands.
    words
        Program and arguments.
    whole
        Whether it is one to be typed; else it stands within a sentence, and may be a part of one.
    """

    page: str
    words: list[str]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


@functools.cache
def _tokens(text):
    return MarkdownIt("commonmark").enable("table").parse(text)


def tokens(page):
    return _tokens((ROOT / page).read_text())


def inlines(page):
    return [child for token in tokens(page) for child in token.children or []]


def links(page):
    """Return the targets of links and pictures."""
    targets = [child.attrs.get("href") or child.attrs.get("src") for child in inlines(page)]
    raw = [token.content for token in [*tokens(page), *inlines(page)] if token.type in ("html_block", "html_inline")]
    return [target for target in targets if target] + re.findall(r'(?:src|href)="([^"]+)"', " ".join(raw))


def headings(page):
    """Return the text of each heading, as it is shown."""
    found = tokens(page)
    opened = [at for at, token in enumerate(found) if token.type == "heading_open"]
    return ["".join(child.content for child in found[at + 1].children) for at in opened]


def fences(page, *languages):
    return [token.content for token in tokens(page) if token.type == "fence" and token.info.split(" ")[0] in languages]


def _lines(text):
    """Yield the commands of a piece of shell, as words."""
    text = re.sub(r"<[\w ./-]+>", FILLED_IN, text.replace("\\\n", " "))
    for line in text.split("\n"):
        words = shlex.split(line, comments=True)
        part = []
        for word in [*words, ";"]:
            if word in (";", "&&", "||", "|", ">", "2>", ">>"):
                yield part
                part = []
            else:
                part.append(word)


def _command(words):
    """Return a command of ours without what stands before it: a folder, settings of the environment."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words:
        return None
    program = words[0].rpartition("/")[2]
    return [program, *words[1:]] if program in PROGRAMS else None


def commands(page):
    """Return the commands of a page: lines of its shell blocks, and code within its sentences."""
    found = [(words, True) for text in fences(page, *SHELL) for words in _lines(text)]
    for child in inlines(page):
        begins = re.match(r"(\S*/)?(ksfusion|snakemake|make) ", child.content)
        if child.type == "code_inline" and begins and child.content not in SAID:
            found += [(words, False) for words in _lines(child.content)]
    return [Command(page, words, whole) for given, whole in found if (words := _command(given))]


def configurations(page):
    """Return the mappings that the YAML blocks of a page hold."""
    loaded = [yaml.safe_load(text) for text in fences(page, "yaml")]
    return [mapping for mapping in loaded if isinstance(mapping, dict)]


def gathering():
    """Return the module that gathers the pages of the site."""
    spec = importlib.util.spec_from_file_location("gathering", ROOT / "tools/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
