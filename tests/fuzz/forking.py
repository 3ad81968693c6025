"""Calls in processes of their own, forked from one in which everything is imported; and how they ended."""

import atexit
import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from neurosleep.sims.errors import NeurosleepError


@dataclass(frozen=True)
class End:
    """How a call ended.

    Attributes
    ----------
    kind
        "done", "refused" (one of the package's own errors), "disk" (an OSError that names a file), "stopped" (Ctrl-C),
        "raw error", "code" (of a command), or "signal".
    said
        The error, or what stood on stderr.
    code
        Exit code or number of the signal.
    """

    kind: str
    said: str
    code: int = 0

    @property
    def clean(self) -> bool:
        """Whether this is an end that a user can make something of: one line, no traceback, no crash."""
        lines = self.said.strip().splitlines()
        if "Traceback" in self.said or "Exception ignored" in self.said or len(lines) > 1:
            return False
        return self.kind in ("done", "refused", "disk") or (self.kind == "code" and self.code in (0, 1, 2))


@dataclass
class Started:
    """A process at work; it says what it has to say into a pipe, which has room whatever the limit of files is."""

    pid: int
    pipe: int
    said: bytes = b""

    def kill(self, by: int = signal.SIGKILL) -> None:
        """Send a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, by)

    def end(self, seconds: float = 120.0) -> End:
        """Wait for its end, and take what it left."""
        last = time.monotonic() + seconds
        while True:
            more = os.read(self.pipe, 1 << 16) if select.select([self.pipe], [], [], 1.0)[0] else None
            self.said += more or b""
            if more == b"":
                break
            if time.monotonic() > last:
                self.kill()
                os.waitpid(self.pid, 0)
                os.close(self.pipe)
                return End("hang", f"after {seconds:g} s")
        os.close(self.pipe)
        status = os.waitpid(self.pid, 0)[1]
        text = self.said.decode(errors="replace")
        said, told, end = text.rpartition("\n\x00")
        if os.WIFSIGNALED(status):
            return End("signal", signal.Signals(os.WTERMSIG(status)).name, os.WTERMSIG(status))
        if not told:
            return End("raw error", text, os.WEXITSTATUS(status))
        kind, error, code = json.loads(end)
        return End(kind, error or said, code)


def frozen() -> None:
    """Leave what is there out of every later collection of garbage, here and in forked processes: that is slow."""
    gc.collect()
    gc.freeze()


def start(call: Callable[[], object], *, most_bytes: int | None = None) -> Started:
    """Begin a call in a process of its own; files may grow up to `most_bytes`."""
    read, write = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the process is ready for it
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _child(call, write, most_bytes)
        finally:
            os._exit(99)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(write)
    return Started(pid, read)


def _child(call: Callable[[], object], errors: int, most_bytes: int | None) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(errors, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    if most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        kind, error, code = _called(call)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # just before or just after
        kind, error, code = "stopped", "", 130
    gc.collect()
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os.write(errors, f"\n\x00{json.dumps([kind, error, code])}".encode())
    ctypes.CDLL(None).exit(0)  # and not _exit: what HDF5 does at the end is part of what is looked at


def _called(call: Callable[[], object]) -> tuple[str, str, int]:
    try:
        call()
    except NeurosleepError as error:
        return "refused", str(error), 2
    except KeyboardInterrupt:
        return "stopped", "", 130
    except SystemExit as end:
        return "code", "", end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        known = error.errno is not None and error.filename is not None
        return ("disk", str(error), 1) if known else ("raw error", traceback.format_exc(), 1)
    except BaseException:
        return "raw error", traceback.format_exc(), 1
    return "done", "", 0
