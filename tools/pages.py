"""Gather the pages of the site: docs/, and what it links to elsewhere in the project, as pages.

``python tools/pages.py --output .site/pages``, then ``zensical build`` (``make docs``). On a page a link leaves docs/
as in a checkout: ``../src/ksfusion/methods/ksfusion.py#Stream.forward`` is a function, whose source is on a page of
the site.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
# A link or a picture; not within a code span, in which nothing is a link. Its text may go on in the next line.
LINK = re.compile(r"`[^`\n]*`(?!\])|(?P<before>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
OUTSIDE = ("http://", "https://", "mailto:")


def links(text: str) -> Iterator[re.Match[str]]:
    """Yield the links of a page; what stands in fences is code."""
    without_code = FENCED.sub(lambda found: " " * len(found[0]), text)
    yield from (link for link in LINK.finditer(without_code) if link["target"])


def place_of(path: str) -> str:
    """Return where a file of the project is on the site."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if path.endswith((".md", ".png")):
        return f"project/{path}"
    return f"source/{path}.md"


def rewritten(text: str, path: str, wanted: set[str]) -> str:
    """Return a page whose links lead to pages of the site; the files that they lead to are added to ``wanted``."""
    here = dirname(place_of(path))
    for link in reversed(list(links(text))):
        target, _, anchor = link["target"].partition("#")
        if not target or target.startswith(OUTSIDE):
            continue
        file = normpath(join(dirname(path), target))
        wanted.add(file)
        new = relpath(place_of(file), here or ".") + (f"#{anchor}" if anchor else "")
        text = text[: link.start("target")] + new + text[link.end("target") :]
    return text


def source_page(path: str) -> str:
    """Return a page with the source of a file: of Python each class, method and function under its name."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".py"):
        return f"# {path}\n\n{_fenced(text, 1, 'text')}"
    tree = ast.parse(text)
    lines = text.split("\n")
    parts = [f"# {path}", ast.get_docstring(tree) or ""]
    for name, first, last in definitions(tree):
        parts += [f"## {name} {{#{name}}}", _fenced("\n".join(lines[first - 1 : last]), first)]
    return "\n\n".join(parts) + "\n"


def definitions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Yield name, first and last line of each function, class and method; a class ends where its methods begin."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, _first(node), node.end_lineno or node.lineno
        if isinstance(node, ast.ClassDef):
            methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]
            last = _first(methods[0]) - 1 if methods else node.end_lineno or node.lineno
            yield node.name, _first(node), last
            yield from ((f"{node.name}.{one.name}", _first(one), one.end_lineno or one.lineno) for one in methods)


def _first(node: ast.FunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _fenced(text: str, first: int, language: str = "python") -> str:
    return f'````{language} linenums="{first}"\n{text.rstrip()}\n````\n'


def gather(output: Path) -> None:
    """Write all pages into a folder, which is emptied first."""
    shutil.rmtree(output, ignore_errors=True)
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / DOCS).rglob("*") if path.is_file()}
    done: set[str] = set()
    while left := sorted(wanted - done):
        for path in left:
            done.add(path)
            place = output / place_of(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".md"):
                place.write_text(rewritten((ROOT / path).read_text(encoding="utf-8"), path, wanted), encoding="utf-8")
            elif place.suffix == ".md":
                place.write_text(source_page(path), encoding="utf-8")
            else:
                shutil.copyfile(ROOT / path, place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    gather(parser.parse_args().output)
