"""A Slurm of one node on this machine's loopback, for tests: no accounting, no cgroups, nothing outside one folder."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
CPUS = 8
# Devices that every machine has stand for GPUs.
GPUS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
SECONDS = 60  # for the daemons to come up, and for jobs that are left to end

# The node claims what the rules ask for, whatever this machine has. A job that has ended stays in the queue's list for
# MinJobAge: without accounting, that is where the executor learns how it ended.
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmUser=root
SlurmdPidFile={folder}/slurmd.pid
SlurmdLogFile={folder}/slurmd.log
SlurmdSpoolDir={folder}/spool
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MaxArraySize=1001
MinJobAge=50000
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
GresTypes=gpu
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=1000000 Gres=gpu:{gpus}
PartitionName=main Nodes=node Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no Slurm can be started here; None where it can."""
    missing = [name for name in PROGRAMS if not _program(name)]
    if missing:
        return f"{', '.join(missing)} not found (Debian packages slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "a Slurm node that runs jobs wants to be root"
    return None


@contextmanager
def slurm_node() -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd; the environment in which sbatch and the rest talk to them. All ends with it.

    Raises:
        RuntimeError: the node does not come up; the message ends with the daemons' logs.
    """
    # Not pytest's folder, whose path is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    environment["PATH"] = os.pathsep.join([str(folder), environment["PATH"]])
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        # Snakemake's executor calls srun within a job without SLURM_CONF, as on a cluster whose file is in /etc.
        srun = folder / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program("srun")} "$@"\n')
        srun.chmod(0o755)
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                host=socket.gethostname(),
                ports=_free_ports(2),
                cpus=CPUS,
                gpus=len(GPUS),
            )
        )
        (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in GPUS))

        def start(name: str, *arguments: str | Path) -> subprocess.Popen:
            log = stack.enter_context((folder / f"{name}.out").open("w"))
            command = [_program(name), *map(str, arguments)]
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            stack.callback(_stop, daemon)
            return daemon

        # --force: a folder below /tmp is open to more people than munge likes.
        munge = ["--foreground", "--force", "--key-file", key, "--socket", folder / "munge.socket"]
        munge += ["--pid-file", folder / "munged.pid", "--log-file", folder / "munged.log"]
        munge += ["--seed-file", folder / "munged.seed"]
        daemons = [start("munged", *munge)]
        _wait_until((folder / "munge.socket").exists, daemons, folder)
        daemons += [start("slurmctld", "-D", "-f", folder / "slurm.conf")]
        daemons += [start("slurmd", "-D", "-N", "node", "-f", folder / "slurm.conf")]
        _wait_until(lambda: _state(environment) == "idle", daemons, folder)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
            _wait_until(lambda: not queue(environment), daemons, folder)


def queue(environment: dict[str, str], *, states: str | None = None) -> list[dict[str, str]]:
    """Jobs as squeue tells of them: id (of an array's task `<job>_<task>`), state, comment, memory, gpus.

    Args:
        states: `all` for those that have ended, too; a list like `running,pending`. Default: those that have not ended.
    """
    columns = {
        "id": "JobArrayID",
        "state": "State",
        "comment": "Comment",
        "memory": "MinMemory",
        "gpus": "tres-per-job",
    }
    command = ["squeue", "--noheader", "--array", f"--Format={','.join(f'{name}:|' for name in columns.values())}"]
    command += ["--states", states] if states else []
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(columns, line.split("|"), strict=False)) for line in lines]


def _program(name: str) -> str | None:
    """Debian keeps daemons in a folder that need not be on the search path."""
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in sockets]


def _state(environment: dict[str, str]) -> str:
    done = subprocess.run(["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True)
    return done.stdout.strip()


def _wait_until(ready: Callable[[], bool], daemons: list[subprocess.Popen], folder: Path) -> None:
    end = time.monotonic() + SECONDS
    while not ready():
        if time.monotonic() > end or any(daemon.poll() is not None for daemon in daemons):
            logs = [path.read_text()[-2000:] for path in sorted(folder.glob("*.out"))]
            raise RuntimeError("Slurm does not run here:\n" + "\n".join(logs))
        time.sleep(0.2)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
