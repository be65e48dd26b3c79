"""A method of the user's own, to begin with, and a test beside it."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Literal

from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_text
from ksfusion.methods.own_checks import NAME
from ksfusion.methods.registry import METHODS
from ksfusion.methods.template import method_text, text_of_test

log = logging.getLogger(__name__)


def new(what: Literal["method"], name: Path) -> None:
    """Write a method of your own to begin with, and a test beside it.

    The file is named in a configuration (methods_from), or to ksfusion predict (--methods-from).

    Parameters
    ----------
    what
        What is begun.
    name
        Name of the method, such as my_mil; with a folder before it the files go there.

    Raises
    ------
    UserError
        If it can be no name, there is a method or a package of that name, or a file of it is there already.
    """
    method = name.name.removesuffix(".py")
    if not NAME.fullmatch(method):
        raise UserError(f"{method!r} can be no name of a method; use letters, digits and . _ - alone, such as my_mil")
    if method[0].isdigit() or iskeyword(method):
        wrong = "begins with a digit" if method[0].isdigit() else "is a word of Python's own"
        raise UserError(f"{method!r} can be no name of a method: it {wrong}; choose another, such as my_{method}")
    if taken := {known.lower(): known for known in METHODS}.get(method.lower()):
        raise UserError(f"there is a method {taken} already; choose another name")
    # Python looks for packages in the folder in which it is started, where such a file would stand for them.
    if method in sys.stdlib_module_names or (method.isidentifier() and find_spec(method)):
        raise UserError(f"{method} is the name of a package of Python; choose another name")
    files = {name.with_name(f"{method}.py"): method_text, name.with_name(f"test_{method}.py"): text_of_test}
    for file in files:
        if file.exists():
            raise UserError(f"{file}: is there already; choose another name, or move it away")
    for file, text in files.items():
        write_text(text(method), file)
    file, test = files
    log.info("%s: the method; name it in the configuration: methods_from: [%s], methods: [..., %s]", file, file, method)
    log.info("%s: its test: python -m pytest %s", test, test)
