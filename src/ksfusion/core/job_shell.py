"""The shell function ``ksfusion`` by which the jobs of a workflow call their verbs."""

from __future__ import annotations

import shlex
import sys

from ksfusion.core.failures import CRASHED, KILLED


def job_prefix(source: str, *, in_checkout: bool, conda: bool, variables: str = "") -> str:
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
    """
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
