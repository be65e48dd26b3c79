"""The command line: ``ksfusion VERB``. A verb is a module of `ksfusion.stages`, and calls its function.

What a verb is given on the command line stands in the function's signature and docstring, read when it is called:
nothing heavy is imported for ``--help`` or for another verb.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import ksfusion
from ksfusion.core.errors import UserError
from ksfusion.core.machine_errors import explain
from ksfusion.doctor.gpus import gpu_of_job

log = logging.getLogger(__name__)

STAGES = "ksfusion.stages"
# As a shell has it of a command that Ctrl-C has ended.
INTERRUPTED = 130
# Verbs that are called by hand have names of their own; a verb that is not here is called as its module.
NAMES = {
    "build_glioma_cohort": "cohort",
    "fit_stain_target": "stain-target",
    "export_features": "export",
}
ALIASES = {"gate": "check-leakage", "attribute": "attribute-genes"}
# Given by position.
POSITIONAL = {"recipe", "config", "targets", "what", "name"}
# Given as often as wanted, one value each.
REPEATED = {"set", "column"}
# Gets what stands behind ``--``.
PASSED_ON = "passed_on"


def verbs() -> dict[str, str]:
    """Return the module of each verb, in order of the verbs."""
    modules = sorted(path.stem for path in _folder().glob("*.py") if path.stem != "__init__")
    return dict(sorted((NAMES.get(module, module.replace("_", "-")), module) for module in modules))


def _folder() -> Path:
    return Path(ksfusion.__file__).parent / "stages"


def _summary(module: str) -> str:
    """Return the first line of the docstring of a stage, without importing it."""
    tree = ast.parse((_folder() / f"{module}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return (ast.get_docstring(functions[module]) or "").partition("\n")[0]


def _function(module: str) -> Callable[..., None]:
    return getattr(import_module(f"{STAGES}.{module}"), module)


def _descriptions(function: Callable[..., None]) -> dict[str, str]:
    """Return what the docstring says of each parameter: the section Parameters of numpydoc."""
    section = (inspect.getdoc(function) or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n[A-Z]\w+\n-+\n", section)[0]
    found = {}
    for names, text in re.findall(r"^(\w[^\n]*)\n((?:[ ]{4}[^\n]*\n?|\n)+)", section, flags=re.MULTILINE):
        for name in names.partition(":")[0].split(","):
            found[name.strip()] = " ".join(text.split()).replace("%", "%%")
    return found


def _option(kind: Any, default: Any, *, of_rule: bool) -> dict[str, Any]:
    """Return the keywords of `argparse` for a parameter of a type; ``of_rule``: of a verb that a rule calls."""
    options: dict[str, Any] = {"required": True} if default is inspect.Parameter.empty else {"default": default}
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
        # A rule names the option of a file for jobs without it too: nothing follows it then.
        options |= {"nargs": "?"} if "required" in options or (of_rule and kind is Path) else {}
    if get_origin(kind) in (Sequence, list):
        options["nargs"] = "+" if "required" in options else "*"
        (kind,) = get_args(kind)
    if kind is bool:
        return {"action": "store_true"}
    if get_origin(kind) is Literal:
        return {**options, "choices": get_args(kind)}
    if hasattr(kind, "model_validate_json"):
        return {**options, "type": _settings_reader(kind), "metavar": "JSON"}
    return {**options, "type": kind, "metavar": {Path: "PATH", int: "N", float: "X", str: "TEXT"}[kind]}


def _settings_reader(kind: Any) -> Callable[[str], Any]:
    """Return what reads a settings class from JSON; a mistake is a line for each key."""

    def read(text: str) -> Any:
        from pydantic import ValidationError

        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            keys = ((".".join(map(str, problem["loc"])) or "JSON", problem["msg"]) for problem in error.errors())
            raise UserError("\n".join(f"--settings: {key}: {said}; correct it" for key, said in keys)) from None

    return read


def _add_options(parser: argparse.ArgumentParser, function: Callable[..., None]) -> dict[str, type]:
    """Add an option for each parameter; return the parameters that are several options together, with their class."""
    hints, said, grouped = get_type_hints(function), _descriptions(function), {}
    of_rule = "settings" in hints
    for name, parameter in inspect.signature(function).parameters.items():
        if name == PASSED_ON:
            parser.set_defaults(**{PASSED_ON: ()})
        elif is_dataclass(hints[name]):
            grouped[name] = hints[name]
            kinds = get_type_hints(hints[name])
            texts = _descriptions(hints[name])
            for field in fields(hints[name]):
                default = inspect.Parameter.empty if field.default is MISSING else field.default
                options = _option(kinds[field.name], default, of_rule=of_rule)
                parser.add_argument(_flag(field.name), **options, help=texts.get(field.name))
        else:
            options = _option(hints[name], parameter.default, of_rule=of_rule)
            if name in POSITIONAL and not options.pop("required", None):
                options.setdefault("nargs", "?")
            if name in REPEATED:
                options = {"action": "append", "default": [], "metavar": options["metavar"]}
            flag = name if name in POSITIONAL else _flag(name)
            parser.add_argument(flag, **options, help=said.get(name))
    return grouped


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; the options are those of one verb, whose module is imported for it."""
    parser = argparse.ArgumentParser(
        prog="ksfusion",
        description=ksfusion.__doc__,
        epilog="The Snakefile calls these verbs in order; each also runs by hand on the files of the stages before.",
    )
    parser.add_argument("--version", action="version", version=f"ksfusion {ksfusion.__version__}")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in verbs().items():
        aliases = [alias for alias, of in ALIASES.items() if of == name]
        command = commands.add_parser(name, aliases=aliases, help=_summary(module), description=_summary(module))
        if verb in (name, *aliases):
            function = _function(module)
            command.set_defaults(function=function, grouped=_add_options(command, function))
    return parser


def _handler() -> logging.Handler:
    """Return what writes to standard error what this package tells, and the warnings of others."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name.startswith("ksfusion") or record.levelno >= logging.WARNING)
    return handler


def main(argv: list[str] | None = None) -> None:
    """Run a verb; what is the user's or the machine's fault is a line without a traceback, and exit code 2."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, handlers=[_handler()])
    try:
        behind = argv.index("--") if "--" in argv else len(argv)
        parser = build_parser(argv[0] if argv else None)
        parsed, more = parser.parse_known_args(argv[:behind])
        args = vars(parsed)
        # Targets may stand behind options too.
        if more and not ("targets" in args and not any(text.startswith("-") for text in more)):
            hint = "; options of Snakemake stand behind --" if PASSED_ON in args else ""
            parser.error(f"unrecognized arguments: {' '.join(more)}{hint}")
        if more:
            args["targets"] = [*args["targets"], *more]
        if PASSED_ON in args:
            args[PASSED_ON] = argv[behind + 1 :]
        function, grouped = args.pop("function"), args.pop("grouped")
        del args["verb"]
        for name, kind in grouped.items():
            args[name] = kind(**{field.name: args.pop(field.name) for field in fields(kind)})
        if args.get("device") == "auto" and (told := gpu_of_job()):
            log.log(*told)
        function(**args)
    except UserError as error:
        _end(str(error))
    except KeyboardInterrupt:
        log.info("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not (line := explain(error, verbs().get(argv[0], argv[0]) if argv else "ksfusion")):
            raise
        _end(line)


def _end(lines: str) -> NoReturn:
    """Print lines and exit."""
    for line in lines.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
