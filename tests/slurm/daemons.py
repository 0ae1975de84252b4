"""A SLURM of one's own, on this machine and for one test: munged, slurmctld and a slurmd for each made-up node, started
without systemd in a temporary folder, and ended with all that they have started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
PATIENCE_S = 30.0
# Two partitions on the same nodes: what is queued in `urgent` preempts what runs in `normal`. A requeued job may start
# again when its old credentials have expired: after 6 s here, after two minutes by default.
CONFIGURATION = """\
ClusterName=made_up
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
KillWait=20
MinJobAge=300
ReturnToService=1
SlurmdParameters=config_overrides
{nodes}
PartitionName=normal Nodes=ALL Default=YES MaxTime=1-0 PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=9
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 Gres=gpu:made_up:2"


def missing() -> str:
    """Why there can be no SLURM here; "" where there can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]
    return f"SLURM is not installed ({', '.join(lacking)}): on Debian and Ubuntu, slurm-wlm has it" if lacking else ""


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where daemons are, which users' paths leave out


class Slurm:
    """The daemons, and the commands that ask them."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder, self.names = folder, [f"n{index}" for index in range(1, nodes + 1)]
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _search_path()}

    def start(self) -> None:
        host, ports = socket.gethostname(), _free_ports(1 + len(self.names))
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("state", *(f"spool-{node}" for node in self.names)):
            (self.folder / name).mkdir()
        nodes = [NODE.format(name=node, host=host, port=port) for node, port in zip(self.names, ports[1:], strict=True)]
        text = CONFIGURATION.format(host=host, ports=ports, user=user, folder=self.folder, nodes="\n".join(nodes))
        (self.folder / "slurm.conf").write_text(text)
        for gpu in range(2):
            (self.folder / f"gpu{gpu}").touch()  # in place of a device: SLURM counts it, and numbers it in jobs
        (self.folder / "gres.conf").write_text(f"Name=gpu Type=made_up File={self.folder}/gpu[0-1]\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._start(
            ["munged", "--foreground", "--force", f"--key-file={key}"]
            + [f"--{name if name == 'socket' else f'{name}-file'}={file}" for name, file in files.items()]
        )
        self.wait_for(files["socket"].exists, "munged has no socket")
        self._start(["slurmctld", "-D"])
        for node in self.names:
            self._start(["slurmd", "-D", "-N", node])
        self.wait_for(lambda: set(self.ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, "no nodes")

    def _start(self, command: list[str]) -> None:
        command = ["setpriv", "--pdeathsig=KILL", *command]  # where the tests are killed, none is left behind
        with (self.folder / f"{command[2]}.err").open("ab") as log:
            self.daemons.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment,
                    start_new_session=True,
                )
            )

    def ask(self, *command: str) -> str:
        """What a command of SLURM says; "" where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout if done.returncode == 0 else ""

    def wait_for(self, condition: Callable[[], bool], otherwise: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until it holds; TimeoutError, with the ends of the daemons' logs."""
        until = time.monotonic() + patience_s
        while not condition():
            ended = [str(daemon.args[2]) for daemon in self.daemons if daemon.poll() is not None]  # type: ignore[index]
            if ended or time.monotonic() > until:
                logs = "".join(
                    f"\n-- {file.name}\n{_tail(file)}" for file in sorted(self.folder.glob("*.[el][or][rg]"))
                )
                raise TimeoutError(f"{otherwise}{f'; {ended} ended' if ended else ''}{logs}")
            time.sleep(0.1)

    def cancel(self) -> None:
        """End all jobs, at once."""
        self.ask("scancel", "--user", str(os.getuid()))
        self.ask("scancel", "--signal=KILL", "--full", "--user", str(os.getuid()))
        with suppress(TimeoutError):
            self.wait_for(lambda: not self.ask("squeue", "-h").strip(), "jobs are left", 10.0)

    def stop(self) -> None:
        """End the jobs, then the daemons, then whatever of a job is left."""
        if len(self.daemons) > 1:
            self.cancel()
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(5.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """The processes that have this SLURM's configuration in their environment."""
        mark, own = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode(), os.getpid()
        pids = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(folder.name) != own and mark in (folder / "environ").read_bytes().split(b"\0"):
                    pids.append(int(folder.name))
        return pids


@contextmanager
def running(folder: Path, nodes: int) -> Iterator[Slurm]:
    """A SLURM of so many nodes, of two cores and two GPUs each."""
    slurm = Slurm(folder, nodes)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-5:])
