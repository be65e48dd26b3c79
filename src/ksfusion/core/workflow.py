"""The Snakemake command that runs the workflow on a user's configuration, and what a dry run of it says is due."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from ksfusion.core.errors import UserError
from ksfusion.core.paths import nearest_above
from ksfusion.core.resources import PROJECT
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.core.study import study_folder, usable_folder

LOGGER = "ksfusion"
# Beside the Snakefile: the workflow of new patients.
PREDICTION = "workflow/predict.smk"
# Its configuration, in the folder of the output.
REQUEST = "predict.yaml"
# What is read from a user's cache: the variable that names its folder, and that folder.
READ_FROM_CACHE = {"HF_HOME": "huggingface", "TORCH_HOME": "torch"}


class _AsWritten(yaml.emitter.Emitter, yaml.serializer.Serializer, yaml.representer.SafeRepresenter,
                 yaml.resolver.BaseResolver):  # fmt: skip
    """Write text as it is, quotes only where they are needed: Snakemake reads what is in braces as text."""

    def __init__(self, stream: Any, **options: Any) -> None:
        style = {name: options.pop(name) for name in ("default_style", "default_flow_style", "sort_keys")}
        ends = {name: options.pop(name) for name in ("encoding", "explicit_start", "explicit_end", "version", "tags")}
        yaml.emitter.Emitter.__init__(self, stream, **options)
        yaml.serializer.Serializer.__init__(self, **ends)
        yaml.representer.SafeRepresenter.__init__(self, **style)
        yaml.resolver.BaseResolver.__init__(self)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return settings of a command line, such as ``training.alpha=0.7``, as nested mappings of text.

    Parameters
    ----------
    settings
        A key with its blocks, and a value in YAML, each.

    Raises
    ------
    UserError
        If one is not of that form, or two contradict each other.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        keys = name.split(".")
        if not equals or not all(keys):
            raise UserError(f"--set {setting}: is no setting; write it as training.alpha=0.7")
        try:
            value = yaml.load(text, yaml.BaseLoader) if text.strip() else "null"
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: {' '.join(str(error).split())}; put it in quotes") from None
        block = values
        for key in keys[:-1]:
            block = block.setdefault(key, {})
            if not isinstance(block, dict):
                raise UserError(f"--set {setting}: {key} has been given a value before; remove one")
        block[keys[-1]] = value
    return values


def config_options(values: Mapping[str, Any]) -> list[str]:
    """Return settings as Snakemake's ``--config`` takes them: ``training={alpha: 0.7}``."""
    return [f"{key}={_text(value)}" for key, value in values.items()]


def _text(value: Any) -> str:
    written = yaml.dump(value, Dumper=_AsWritten, default_flow_style=True, sort_keys=False, width=10**9)
    return str(written).removesuffix("\n").removesuffix("\n...").strip()


def folder_of(config: Path, settings: Sequence[str] = ()) -> Path:
    """Return the study's folder: that of its configuration, or what this says of ``folder`` from there.

    Raises
    ------
    UserError
        If there is no such configuration, or it cannot be read.
    """
    if not config.is_file():
        raise UserError(f"{config}: is not a file; name the configuration, such as my.yaml")
    read = read_yaml(config)
    if not isinstance(read, Mapping):
        raise UserError(f"{config}: must be a mapping of keys; see config.yaml")
    return (config.resolve().parent / study_folder({**read, **parse_settings(settings)})).resolve()


def workflow_command(
    config: Path,
    targets: Sequence[str] = (),
    *,
    settings: Sequence[str] = (),
    cores: str | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    logger: bool = True,
    passed_on: Sequence[str] = (),
    snakefile: str = "Snakefile",
) -> list[str]:
    """Return the Snakemake command that runs the workflow on a configuration.

    Parameters
    ----------
    config
        The configuration. The working directory is its folder, or what it says of ``folder`` from there.
    targets
        Files or rules.
    settings
        See `parse_settings`.
    cores
        Number of processor cores that may be used; else that of the profile.
    profile
        Name of a profile that the project has, or the folder of one.
    dry_run
        Only plan.
    logger
        Print in few lines, by the project's own plugin.
    passed_on
        Further options of Snakemake.
    snakefile
        The workflow; that of new patients is `PREDICTION`.

    Raises
    ------
    UserError
        If there is no such configuration or profile, its folder can be none, or a setting is not of the right form.
    """
    _refuse_dots(passed_on)
    _refuse_unknown_storage(passed_on)
    given = parse_settings(settings)
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(PROJECT / snakefile)]
    folder = usable_folder(folder_of(config, settings), str(config))
    command += ["--directory", folder, "--configfile", str(config.resolve())]
    command += ["--config", *config_options(given)] if given else []
    command += ["--workflow-profile", str(_profile(profile))] if profile else []
    command += ["--cores", cores] if cores else []
    command += ["--dry-run"] if dry_run else []
    # Two loggers that write to the terminal would be one too many.
    own = logger and not any(option.split("=")[0] == "--logger" for option in passed_on)
    command += ["--logger", LOGGER] if own else []
    return [*command, *passed_on]


def environment(command: Sequence[str]) -> dict[str, str]:
    """Return the environment that a command of Snakemake needs.

    Snakemake keeps a cache of its sources in the user's home. Where nothing can be written there, as for the users of
    services and containers, it is in the command's own folder; weights that are read from the cache stay where they
    are. Snakemake asks for the user's name too, which a number that is given to a container may not have.

    Parameters
    ----------
    command
        Of `workflow_command`.
    """
    # A torch.py in the folder of a study is not taken for the package.
    known = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        getpass.getuser()
    except (KeyError, OSError):
        known["LOGNAME"] = str(os.getuid())
    cache = Path(known.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not os.access(nearest_above(cache), os.W_OK | os.X_OK):
        for name, folder in READ_FROM_CACHE.items():
            if (cache / folder).is_dir():
                known.setdefault(name, str(cache / folder))
        folder_of_command = command[command.index("--directory") + 1]
        known["XDG_CACHE_HOME"] = str(Path(folder_of_command, ".snakemake", "cache").absolute())
    return known


def become(command: Sequence[str]) -> NoReturn:
    """Print a command of Snakemake, and become it.

    Parameters
    ----------
    command
        Of `workflow_command`.
    """
    sys.stderr.write(f"{shlex.join(command)}\n")
    sys.stderr.flush()
    if LOGGER in command:
        # Held back until Snakemake has its handler of Ctrl-C (snakemake_logger_plugin_ksfusion), so that none is lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(environment(command))
    # Not a child of this process: what ends this one, such as Ctrl-C, must reach Snakemake, which ends its jobs.
    os.execv(command[0], list(command))


def _refuse_dots(passed_on: Sequence[str]) -> None:
    """Raise UserError where a key passed on to Snakemake's ``--config`` has dots: there it would be a traceback."""
    option = ""
    for text in passed_on:
        option = text if text.startswith("-") else option
        key = text.partition("=")[0]
        if option in ("--config", "-C") and "." in key and "=" in text:
            (form,) = config_options(parse_settings([text]))
            raise UserError(
                f"--config {text}: Snakemake takes no dots in keys; write --set {text} before the --, or "
                f"--config '{form}'"
            )


def _refuse_unknown_storage(passed_on: Sequence[str]) -> None:
    """Raise UserError where a storage provider is passed on to Snakemake of which no plugin is installed."""
    for option, following in zip(passed_on, [*passed_on, ""][1:], strict=True):
        name, equals, value = option.partition("=")
        provider = value if equals else following
        plugin = f"snakemake_storage_plugin_{provider.replace('-', '_')}"
        if name == "--default-storage-provider" and not (plugin.isidentifier() and find_spec(plugin)):
            raise UserError(
                f"{name} {provider}: no such plugin of Snakemake's is installed; install it ({sys.executable} -m pip "
                f"install snakemake-storage-plugin-{provider}), or name another (docs/storage.md)"
            )


def _profile(name: str) -> Path:
    """Return the folder of a profile."""
    shipped = {path.parent.name: path.parent for path in sorted((PROJECT / "profiles").glob("*/config.yaml"))}
    if name in shipped:
        return shipped[name]
    if not any(Path(name).glob("config.*yaml")):
        raise UserError(
            f"--profile {name}: is neither a profile of the project ({', '.join(shipped)}) nor a folder with a "
            "config.yaml; correct it"
        )
    return Path(name).resolve()


class PlannedJob(NamedTuple):
    """A job of a dry run.

    Attributes
    ----------
    rule, wildcards
        What it is.
    reason
        Why it is due, in Snakemake's words.
    outputs, logs
        Its files, from the study's folder.
    gathers
        Whether it computes nothing, such as ``all``.
    """

    rule: str
    wildcards: dict[str, str]
    reason: str
    outputs: list[str]
    logs: list[str]
    gathers: bool


def due_jobs(command: Sequence[str], *more: str) -> list[PlannedJob]:
    """Return the jobs that a run would do, in an order in which they could be done.

    Parameters
    ----------
    command
        Of `workflow_command`.
    *more
        Further options of Snakemake.

    Raises
    ------
    UserError
        If it cannot be planned, with what Snakemake says of that.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.json")
        asked = [*command, "--dry-run", *more, "--logger-ksfusion-plan", str(plan)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment(command))
        if done.returncode or not plan.is_file():
            printed = done.stdout + done.stderr
            said = [line.removeprefix("error: ") for line in printed.splitlines() if line.startswith("error: ")]
            raise UserError("\n".join(said) or f"the run cannot be planned: {printed[-2000:]}")
        return [PlannedJob(**job) for job in json.loads(plan.read_text(encoding="utf-8"))]
