"""Launched processes: torchrun on one host, and on two hosts that are network namespaces of this machine."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
"""What the command ``torchrun`` starts; no PATH has to lead to it."""


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**kept, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1", **more}


def torchrun_on_two_hosts(prefixes, port, program):
    """Start one rank of `program` on either host; return exit status, output and errors of both."""
    pipe, processes = subprocess.PIPE, []
    for host in range(2):
        command = [*prefixes[host], *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-id", "albench"]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"10.77.0.1:{port}"]
        command += ["--rdzv-conf", f"is_host={1 - host}", "--local-addr", f"10.77.0.{host + 1}", *program]
        processes.append(subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe, text=True))
    try:
        said = [process.communicate(timeout=150) for process in processes]
    finally:
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
                child.kill()
            process.kill()
    return [(process.returncode, *both) for process, both in zip(processes, said, strict=True)]


@pytest.fixture
def two_hosts():
    """Two network namespaces joined by a cable: what each of them holds sees the other as another host."""
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("needs ip, unshare and nsenter")
    with contextlib.ExitStack() as stack:
        hosts = []
        for _ in range(2):
            holder = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "600"]))
            stack.callback(holder.kill)
            hosts.append(holder.pid)
        deadline = time.monotonic() + 10
        own = Path("/proc/self/ns/net").readlink()
        while any(Path(f"/proc/{pid}/ns/net").readlink() == own for pid in hosts):
            if time.monotonic() > deadline or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
                pytest.skip("this user may not make network namespaces")
            time.sleep(0.05)
        names = [f"albench{os.getpid() % 10000}{end}" for end in "ab"]
        link = ["ip", "link", "add", names[0], "netns", str(hosts[0]), "type", "veth", "peer", "name", names[1]]
        commands = [[*link, "netns", str(hosts[1])]]
        for i, pid in enumerate(hosts):
            inside = ["nsenter", "-t", str(pid), "-n", "ip"]
            commands.append([*inside, "addr", "add", f"10.77.0.{i + 1}/24", "dev", names[i]])
            commands.append([*inside, "link", "set", names[i], "up"])
            commands.append([*inside, "link", "set", "lo", "up"])
        for command in commands:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"cannot lay a cable between namespaces: {done.stderr.strip()}")
        prefixes = tuple(("nsenter", "-t", str(pid), "-n") for pid in hosts)
        yield prefixes, names
