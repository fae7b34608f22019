"""Stands between the owner of an embedded database and its PostgreSQL, so that neither outlives the other.

Laws:
- PostgreSQL ends when the owner ends, however the owner ends: its end of our standard input closes.
- PostgreSQL ends when we are killed: on Linux the kernel tells it so.
- Standard library only, and little of it: every start of an embedded database waits for this file.

Run as a program, apart from the package. Arguments: the owner's process id, the user and group PostgreSQL runs as
(-1 for our own), the folder to remove at the end (empty for none), then PostgreSQL's command line.
"""

import ctypes
import os
import select
import signal
import sys
import time

# PostgreSQL's own meanings: disconnect everyone and checkpoint; or stop at once, to recover at the next start.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
PATIENCE_WHEN_ASKED_S = 30.0
# Nobody waits for a checkpoint any more: what is committed is in the write-ahead log.
PATIENCE_WHEN_ORPHANED_S = 1.5
PR_SET_PDEATHSIG = 1


def main() -> None:
    owner, uid, gid = (int(argument) for argument in sys.argv[1:4])
    leftover, command = sys.argv[4], sys.argv[5:]
    woken = _wake_on_signals()
    # Loaded before the fork: the child, once another user, may be unable to read the standard library.
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    supervisor = os.getpid()
    postgres = os.fork()
    if postgres == 0:
        _become_postgres(command, uid=uid, gid=gid, libc=libc, supervisor=supervisor)
    _stop(postgres, woken, _wait_for_a_reason_to_stop(owner, postgres, woken))
    if leftover:
        _remove_folder(leftover)


def _wake_on_signals() -> int:
    """Return a descriptor that yields the number of every signal we get."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    return woken


def _become_postgres(command: list[str], *, uid: int, gid: int, libc: ctypes.CDLL | None, supervisor: int) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if uid != -1:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if libc is not None:
            # After the change of user, which clears it. See prctl(2).
            libc.prctl(PR_SET_PDEATHSIG, int(IMMEDIATE), 0, 0, 0)
        if os.getppid() == supervisor:
            os.execv(command[0], command)
    finally:
        os._exit(127)


def _wait_for_a_reason_to_stop(owner: int, postgres: int, woken: int) -> float:
    """Return how long PostgreSQL may take to stop, once it should: by the owner's word or death, or by signal."""
    while True:
        # The timeout is for an owner that died and left a forked child holding its end of our input.
        readable, _, _ = select.select([0, woken], [], [], 1.0)
        if 0 in readable:
            return PATIENCE_WHEN_ASKED_S if os.read(0, 1) else PATIENCE_WHEN_ORPHANED_S
        if os.getppid() != owner:
            return PATIENCE_WHEN_ORPHANED_S
        if woken in readable:
            signals = os.read(woken, 512)
            if _has_ended(postgres) or signals.strip(bytes([signal.SIGCHLD])):
                return PATIENCE_WHEN_ASKED_S


def _stop(postgres: int, woken: int, patience_s: float) -> None:
    for how in (FAST, IMMEDIATE, signal.SIGKILL):
        if not _has_ended(postgres):
            os.kill(postgres, how)
        give_up_at = time.monotonic() + patience_s
        while not _has_ended(postgres) and (left_s := give_up_at - time.monotonic()) > 0:
            if select.select([woken], [], [], left_s)[0]:
                os.read(woken, 512)


def _has_ended(postgres: int) -> bool:
    try:
        return os.waitpid(postgres, os.WNOHANG)[0] == postgres
    except ChildProcessError:
        return True


def _remove_folder(folder: str) -> None:
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


if __name__ == "__main__":
    main()
