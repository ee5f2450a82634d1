"""A real ssh server on loopback: its own keys, port and home folder, and an ssh that finds it under the name desk."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if os.path.exists(path)), "")
LACKS = "there is no sshd here; install it: sudo apt install openssh-server"


@dataclass
class Desk:
    """The other machine.  home: its home folder."""

    root: Path
    port: int
    home: Path
    process: subprocess.Popen | None = None
    options: dict = field(default_factory=dict)

    def on(self) -> None:
        """It answers, as far as its port tells."""
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.root / "sshd_config")], stdin=subprocess.DEVNULL, stderr=open(self.root / "sshd.log", "ab"))  # noqa: SIM115
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.root / "sshd.log").read_text())

    def off(self) -> None:
        """The network is away: no connection lives, none can be made.  What was started there goes on."""
        for one in [*psutil.Process(self.process.pid).children(), psutil.Process(self.process.pid)]:  # not what a session left behind on purpose
            one.kill()
        self.process.wait()

    def workers(self) -> list[psutil.Process]:
        """What trains there."""
        return [p for p in psutil.process_iter(["cmdline"]) if "training.runs.worker" in (p.info["cmdline"] or []) and any(str(self.home) in word for word in p.info["cmdline"])]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    if not SSHD:
        pytest.skip(LACKS)
    root = tmp_path_factory.mktemp("desk")
    home = root / "hööme of 'desk'"
    home.mkdir()
    for name in ("host", "mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
    (root / "authorized").write_text((root / "mine.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, lets a connection that is not let in yet live
    (root / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nAuthorizedKeysFile {root}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
        f'SetEnv "HOME={home}" OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "HF_HOME={root}/hf"\n'
    )
    (root / "known").write_text(f"[127.0.0.1]:{port} {(root / 'host.pub').read_text()}")
    common = f"HostName 127.0.0.1\nPort {port}\nUser {getpass.getuser()}\nIdentitiesOnly yes\nIdentityAgent none\nGlobalKnownHostsFile /dev/null\n"
    hosts = {"desk": ("mine", "known"), "locked": ("other", "known"), "stranger": ("mine", "nobody")}
    (root / "config").write_text("".join(f"Host {name}\n{common}IdentityFile {root}/{key}\nUserKnownHostsFile {root}/{known}\n" for name, (key, known) in hosts.items()))
    bin = root / "bin"
    bin.mkdir()
    (bin / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{root}/config" "$@"\n')
    (bin / "ssh").chmod(0o755)
    made = Desk(root, port, home, options={"host": "desk", "python": sys.executable})
    made.on()
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{bin}{os.pathsep}{before}"
    yield made
    os.environ["PATH"] = before
    for worker in made.workers():
        worker.kill()
    made.off()
