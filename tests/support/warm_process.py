"""Commands in processes that are forked from one which has imported everything, since importing is most of what a
command costs. Each is a process of its own, as if it had been started: its folder, environment, streams, signals."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import traceback
from functools import cache
from typing import IO, NoReturn

import msgspec
from msgspec import Struct

HERE = "from support.warm_process import stand_by; stand_by()"


class _Asked(Struct):
    """A command, and where it runs."""

    arguments: list[str]
    folder: str
    environ: dict[str, str]


class Warm:
    """The process that stands by."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-c", HERE], stdin=theirs.fileno(), env=_environ())
        atexit.register(self._end)

    def run(
        self,
        arguments: list[str],
        *,
        folder: str,
        environ: dict[str, str],
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> "Running":
        """Begin `paygrade` with these arguments."""
        ours, theirs = socket.socketpair()
        streams = [each if isinstance(each, int) else each.fileno() for each in (stdin, stdout, stderr)]
        asked = msgspec.json.encode(_Asked(arguments, folder, environ))
        with theirs:
            socket.send_fds(self._ours, [len(asked).to_bytes(4, "big")], [*streams, theirs.fileno()])
            self._ours.sendall(asked)
        return Running(ours)

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()


class Running:
    """A command that was begun."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.pid = int(self._read())

    def wait(self, timeout_s: float) -> int:
        """The exit code. One that takes longer is killed, and TimeoutError says so."""
        self._told.settimeout(timeout_s)
        try:
            return int(self._read())
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise
        finally:
            self._told.close()

    def _read(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = self._told.recv(1)
            assert part, "the process that stands by has ended"
            line += part
        return line


@cache
def warm() -> Warm:
    """The one of this process of tests."""
    return Warm()


def stand_by() -> NoReturn:
    """Import everything, and run what is asked for until nobody can ask any more."""
    asking = socket.socket(fileno=os.dup(0))
    _import_everything()
    while True:
        size, streams, _, _ = socket.recv_fds(asking, 4, 4)
        if not size:
            os._exit(0)
        asked = msgspec.json.decode(_exactly(asking, int.from_bytes(size, "big")), type=_Asked)
        # Between us and the command stands one that waits for it, so that nobody waits for two.
        if os.fork() == 0:
            asking.close()
            _wait_for(asked, streams)
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
    _, status = os.waitpid(child, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


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

    import paygrade.cli
    import paygrade.server.http.app

    for each in pkgutil.iter_modules(paygrade.cli.__path__):
        import_module(f"paygrade.cli.{each.name}")


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


def _exactly(asking: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += asking.recv(size - len(found))
    return found


def _environ() -> dict[str, str]:
    """What a command may not see of ours, it must not have been imported with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
    return kept | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
