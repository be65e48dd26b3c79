"""Programs in the place of apptainer and conda: what Snakemake asks of them, but for the image and for the solving."""

import sys
from pathlib import Path

# The last three words are the shell, -c and the command.
APPTAINER = """#!{python}
import os, sys
if sys.argv[1] == "--version":
    print("apptainer version 1.3.6")
    sys.exit()
assert sys.argv[1] == "exec", sys.argv
image = sys.argv[-4]
with open({log!r}, "a") as file:
    print(image, file=file)
assert os.path.exists(image), image
os.environ["PATH"] = {bin!r} + os.pathsep + os.environ["PATH"]
os.execvp(sys.argv[-3], sys.argv[-3:])
"""
# An environment is an empty folder; to activate it is to put the Python of these tests first.
CONDA = """#!{python}
import json, os, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("conda 24.11.3")
elif words == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": {prefix!r}, "platform": "linux-64"}}))
elif words[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[0] != "clean":
    assert words[:2] == ["env", "create"], words
    file, prefix = (words[words.index(option) + 1] for option in ("--file", "--prefix"))
    with open({log!r}, "a") as log:
        print(os.path.basename(file), file=log)
    os.makedirs(prefix)
"""
ACTIVATE = """test -d "$1" || exit 1
PATH={bin}:"$PATH"
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def apptainer(folder: Path) -> Path:
    """Write the stand-in for apptainer into a folder and return the file to which it writes each image that is used."""
    filled = {"python": sys.executable, "bin": str(Path(sys.executable).parent), "log": str(folder / "images.txt")}
    _write(folder / "bin/apptainer", APPTAINER.format(**filled))
    return folder / "images.txt"


def conda(folder: Path) -> Path:
    """Write the stand-in for conda into a folder and return the file to which it writes each environment it makes."""
    filled = {"python": sys.executable, "prefix": str(folder), "log": str(folder / "environments.txt")}
    _write(folder / "bin/conda", CONDA.format(**filled))
    _write(folder / "bin/activate", ACTIVATE.format(bin=Path(sys.executable).parent))
    return folder / "environments.txt"
