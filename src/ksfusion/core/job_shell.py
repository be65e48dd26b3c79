"""The shell function ``ksfusion`` by which the jobs of a workflow call their verbs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from ksfusion.core.machine_errors import CRASHED, KILLED

# Names the files with methods of the user's, with the separator of PATH between them.
METHODS_VARIABLE = "KSFUSION_METHODS"


def job_prefix(
    source: str, *, in_checkout: bool, conda: bool, variables: str = "", methods_from: Iterable[str] = ()
) -> str:
    """Return what the workflow's shell commands begin with, its braces doubled: they are formatted.

    Parameters
    ----------
    source
        Folder that holds the package.
    in_checkout
        Whether that is a checkout, and not an installed package.
    conda
        Whether jobs have an environment of their own.
    variables
        Shell variables to set first, such as ``TENSORBOARD='';``.
    methods_from
        Files with methods of the user's, which the jobs know by their full paths.
    """
    if files := os.pathsep.join(str(Path(file).resolve()) for file in methods_from):
        variables += f" export {METHODS_VARIABLE}={shlex.quote(files)};"
    python, setup, call = "python" if conda else sys.executable, "", "-m ksfusion"
    if in_checkout:
        setup = f"export PYTHONPATH={shlex.quote(source)}; "
    elif conda:
        # Beside an installed ksfusion stand other packages, which must not take the place of the environment's own.
        code = f"import sys; sys.path.append({source!r}); from ksfusion.cli import main; main()"
        call = f"-c {shlex.quote(code)}"
    # Who is killed for its memory, or crashes, says nothing: the shell does.
    afterwards = (
        f'|| {{{{ code=$?; case $code in 137) echo "error: ksfusion $1" {shlex.quote(KILLED)} >&2 ;;'
        f' 134|135|139) echo "error: ksfusion $1" {shlex.quote(CRASHED)} >&2 ;; esac; return $code; }}}}'
    )
    return f'{setup}{variables} ksfusion() {{{{ {shlex.quote(python)} {call} "$@" {afterwards}; }}}}; '
