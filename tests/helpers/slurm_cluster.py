"""A real SLURM of two nodes on the loopback interface, in one temporary folder: no root, no service of the system."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BINARIES = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo"]
# Debian keeps the daemons where a user's PATH may not look.
SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"
# The tests may themselves run in a job.
OF_ANOTHER_JOB = ("SLURM_", "SBATCH_", "SRUN_", "CUDA_VISIBLE_DEVICES")
# No cgroups, systemd or database. More cores and memory than the machine has: the profile's requests must fit, and
# nothing takes as much. OverMemoryKill stands for the kernel's killer, which needs cgroups.
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
EnforcePartLimits=ALL
DefMemPerCPU=100
GresTypes=gpu
NodeName=plain Port={plain_port} {node}
NodeName=gpus Port={gpus_port} {node} Gres=gpu:2
PartitionName=main Nodes=plain Default=YES State=UP
PartitionName=gpu Nodes=gpus State=UP
"""
NODE = (
    "NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 "
    "RealMemory=64000"
)
NODES = ("plain", "gpus")
# A GPU of SLURM's is a device file; it cares for no more than that there is one.
GPUS = """
AutoDetect=off
NodeName=gpus Name=gpu File=/dev/null
NodeName=gpus Name=gpu File=/dev/zero
"""
# Snakemake's job step drops every SLURM_* variable, and with SLURM_CONF srun loses a configuration outside /etc.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


@dataclass(frozen=True)
class Job:
    """What SLURM recorded of a job."""

    number: int
    rule: str
    state: str
    account: str
    partition: str
    minutes: int
    mem_mb: int
    cores: int
    gpus: int
    node: str
    array: int | None = None


@dataclass(frozen=True)
class Cluster:
    """A running SLURM, and the environment in which its commands find it."""

    environment: dict[str, str]

    def run(self, *command: str) -> str:
        settings = {"env": self.environment, "capture_output": True, "text": True, "timeout": 30}
        done = subprocess.run(command, **settings, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> list[Job]:
        """Return all jobs in the order of their submission."""
        lines = self.run("scontrol", "show", "job", "--details", "--oneliner").splitlines()
        return sorted((parse_job(line) for line in lines if line.startswith("JobId=")), key=lambda job: job.number)

    def wait_for_jobs(self) -> None:
        """Wait until no job is waiting, running or being ended."""
        wait_for(lambda: not self.run("squeue", "--noheader").strip(), 60, "the end of all jobs")


def parse_job(line: str) -> Job:
    """Read a line of ``scontrol show job --details --oneliner``."""
    field = dict(re.findall(r"(\w+)=(\S*)", line))
    days, hours, minutes, _ = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", field["TimeLimit"]).groups()
    # Called so since 23.02.
    asked = dict(entry.split("=") for entry in field.get("ReqTRES", field.get("TRES")).split(","))
    size, unit = re.fullmatch(r"(\d+)([MG])", asked["mem"]).groups()
    gpus = re.search(r" JOB_GRES=gpu:(\d+)", line)
    # The plugin's comment: rule_NAME or rule_NAME_wildcards_VALUES.
    rule = re.fullmatch(r"rule_(\w+?)(?:_wildcards_.*)?", field["Comment"])[1]
    return Job(
        number=int(field["JobId"]),
        rule=rule,
        state=field["JobState"],
        account=field["Account"],
        partition=field["Partition"],
        minutes=int(days or 0) * 1440 + int(hours) * 60 + int(minutes),
        mem_mb=int(size) * {"M": 1, "G": 1024}[unit],
        cores=int(asked["cpu"]),
        gpus=int(gpus[1]) if gpus else 0,
        node=field["NodeList"],
        array=int(field["ArrayJobId"]) if "ArrayJobId" in field else None,
    )


def wait_for(condition: Callable[[], object], seconds: float, what: str, log: Path | None = None) -> None:
    """Wait until a condition holds, or fail with what did not happen and the end of a daemon's log."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            told = log.read_text()[-2000:] if log and log.is_file() else ""
            pytest.fail(f"{what}: not within {seconds:g} s\n{told}")
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Run a daemon in the foreground, and end it and no other process afterwards."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, start_new_session=True, **quiet) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(cluster: Cluster, command: list[str], expected: str) -> bool:
    with contextlib.suppress(RuntimeError):
        return expected in cluster.run(*command)
    return False


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder with a short name: the path of a socket has at most 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        # munged insists that everyone can reach its socket; the key in it is its owner's alone.
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def slurm_cluster() -> Iterator[Cluster]:
    """Start a SLURM of one node without and one with two GPUs, and stop it with all of its jobs.

    The test is skipped where SLURM or munge is not installed.
    """
    path = f"{os.environ['PATH']}:{SYSTEM_PATHS}"
    missing = [name for name in BINARIES if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"no SLURM on this machine ({', '.join(missing)} not found): apt-get install slurm-wlm munge")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        for name in ("state", "bin", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()
        controller, plain, gpus = free_ports(3)
        user = pwd.getpwuid(os.getuid()).pw_name
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=folder, user=user, controller_port=controller, plain_port=plain, gpus_port=gpus, node=NODE
            )
        )
        (folder / "gres.conf").write_text(GPUS)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        (folder / "bin/srun").write_text(SRUN.format(folder=folder, srun=shutil.which("srun", path=path)))
        (folder / "bin/srun").chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_ANOTHER_JOB)}
        environment |= {"PATH": f"{folder}/bin:{path}", "SLURM_CONF": str(folder / "slurm.conf")}
        cluster = Cluster(environment)

        options = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munge = [f"--{option}={folder}/munge.{ending}" for option, ending in options.items()]
        conf = str(folder / "slurm.conf")
        controller_log = folder / "slurmctld.log"
        stack.enter_context(running(["munged", "--foreground", *munge], environment))
        wait_for((folder / "munge.sock").exists, 10, "munged's socket", folder / "munge.log")
        stack.enter_context(running(["slurmctld", "-D", "-i", "-f", conf], environment))
        wait_for(lambda: answers(cluster, ["scontrol", "ping"], "is UP"), 20, "slurmctld", controller_log)
        for node in NODES:
            stack.enter_context(running(["slurmd", "-D", "-N", node, "-f", conf], environment))
        for node in NODES:
            log = folder / f"slurmd.{node}.log"
            wait_for(lambda n=node: answers(cluster, ["sinfo", "-hn", n, "-o", "%T"], "idle"), 20, f"idle {node}", log)
        stack.callback(cancel_all, cluster, user)
        yield cluster


def cancel_all(cluster: Cluster, user: str) -> None:
    """Cancel what is left: the processes of a job outlive the daemon that started them."""
    cluster.run("scancel", f"--user={user}")
    cluster.wait_for_jobs()
