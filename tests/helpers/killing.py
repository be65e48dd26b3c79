"""A process that is killed at a chosen point."""

import signal
import subprocess
import sys

# Run the command line, and kill the process at the n-th call of a function.
PROGRAM = """
import importlib, os, signal, sys
from ksfusion.cli import main

module, path, count, *arguments = sys.argv[1:]
# A state is kept after every epoch, however long that takes.
from ksfusion.training import resume
resume.SHARE_OF_SAVING = 1e9
owner = importlib.import_module(module)
*outer, name = path.split(".")
for part in outer:
    owner = getattr(owner, part)
original, calls = getattr(owner, name), 0

def mortal(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, mortal)
main(arguments)
"""


def run_until_killed(module: str, path: str, count: int, arguments: list[str]) -> str:
    """Run a verb in a process that dies at a call of a function; return what it had said."""
    command = [sys.executable, "-c", PROGRAM, module, path, str(count), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stderr
