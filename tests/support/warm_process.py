"""Commands in processes that are forked from one which has imported everything, since importing is most of what a
command costs. Each is a process of its own, as if it had been started: its folder, environment, streams, signals."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

import msgspec
from msgspec import Struct

HERE = "from support.warm_process import stand_by; stand_by()"
ASKING = """\
import json, os, socket, sys
ours, theirs = socket.socketpair()
asked = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environ": dict(os.environ)}
streams = [0, 1, 2, theirs.fileno()]
socket.send_fds(socket.socket(fileno=int(os.environ["WARM"])), [json.dumps(asked).encode()], streams)
theirs.close()
*_, code = ours.makefile().read().split()
sys.exit(int(code) % 256)
"""
"""A program that has a command run by the process of which it inherits `fileno`, with the number in WARM."""
STARTS_S = 150.0
Stream = IO[bytes] | IO[str] | int


class _Asked(Struct):
    """A command, and where it runs."""

    arguments: Sequence[str]
    folder: str
    environ: Mapping[str, str]


class Running:
    """A command that was begun. It ends with whoever began it, at the latest."""

    returncode: int | None = None

    def __init__(self, told: socket.socket) -> None:
        self._told, self._said = told, b""
        told.settimeout(STARTS_S)
        self.pid = int(self._line())

    def poll(self) -> int | None:
        """The exit code; None: it runs."""
        with suppress(TimeoutError):
            self.wait(0.001)
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code. TimeoutError: it runs still."""
        if self.returncode is None:
            self._told.settimeout(timeout_s)
            self.returncode = int(self._line())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _line(self) -> bytes:
        while b"\n" not in self._said:
            part = self._told.recv(64)
            assert part, "the process that stands by has ended"
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line


class Warm:
    """The process that stands by. `fileno`: where it is asked, also by processes that inherit it (`ask`)."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-c", HERE], stdin=theirs.fileno(), env=_environ())
        atexit.register(self._end)

    def fileno(self) -> int:
        return self._ours.fileno()

    def start(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
    ) -> Running:
        """Begin `paygrade` with these arguments."""
        with open(os.devnull, "r+b") as nothing:
            numbers = [
                nothing.fileno() if each == subprocess.DEVNULL else each if isinstance(each, int) else each.fileno()
                for each in (stdin, stdout, stderr)
            ]
            return Running(ask(self._ours, arguments, str(folder or Path.cwd()), environ, numbers))

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()


@cache
def warm() -> Warm:
    """The one of this process of tests."""
    return Warm()


def ask(
    asking: socket.socket, arguments: Sequence[str], folder: str, environ: Mapping[str, str], streams: list[int]
) -> socket.socket:
    """Have a command run; what is told of it is its process id, and its exit code."""
    ours, theirs = socket.socketpair()
    asked = msgspec.json.encode(_Asked(arguments, folder, environ))
    with theirs:
        socket.send_fds(asking, [asked], [*streams, theirs.fileno()])
    return ours


def stand_by() -> NoReturn:
    """Import everything, and run what is asked for until nobody can ask any more."""
    asking = socket.socket(fileno=os.dup(0))
    _import_everything()
    while True:
        said, streams, _, _ = socket.recv_fds(asking, 1_000_000, 4)
        if not said:
            os._exit(0)
        # Between us and the command stands one that waits for it, so that nobody waits for two.
        if os.fork() == 0:
            asking.close()
            _wait_for(msgspec.json.decode(said, type=_Asked), streams)
        for each in streams:
            os.close(each)
        _reap()


def _wait_for(asked: _Asked, streams: list[int]) -> NoReturn:
    *own, told = streams
    child = os.fork()
    if child == 0:
        os.close(told)
        _become(asked, own)
    for each in own:
        os.close(each)
    os.write(told, b"%d\n" % child)
    threading.Thread(target=_end_with, args=(told, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _end_with(told: int, child: int) -> None:
    """Nobody begins a command and leaves it alone."""
    with suppress(OSError):
        os.read(told, 1)
    with suppress(ProcessLookupError):
        for number, after_s in ((signal.SIGTERM, 0.0), (signal.SIGKILL, 5.0)):
            time.sleep(after_s)
            os.kill(child, number)


def _become(asked: _Asked, streams: list[int]) -> NoReturn:
    code = 1
    try:
        for number, each in enumerate(streams):
            os.dup2(each, number)
            os.close(each)
        os.chdir(asked.folder)
        os.environ.clear()
        os.environ.update(asked.environ)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        sys.argv = ["paygrade", *asked.arguments]
        code = _main()
    except BaseException:  # noqa: BLE001 - as an interpreter does that ends
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


def _main() -> int:
    from paygrade.cli.main import main

    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _import_everything() -> None:
    import pkgutil
    from importlib import import_module

    import httpx2

    import paygrade.cli
    import paygrade.server.http.app

    for each in pkgutil.iter_modules(paygrade.cli.__path__):
        import_module(f"paygrade.cli.{each.name}")
    # The first client imports what a client needs.
    httpx2.Client(verify=False).close()


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


def _environ() -> dict[str, str]:
    """What a command may not see of ours, it must not have been imported with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
    return kept | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
