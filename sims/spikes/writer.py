"""A second thread that writes while the simulation goes on."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .store import SpikeStore


class Task(NamedTuple):
    """Something to do, and how much memory waits for it, in events."""

    do: Callable[[], None]
    cost: int


class SpikeWriter:
    """Does what it is given in a thread of its own, one task after the other, and commits in between.

    Parameters
    ----------
    store
        The file. It belongs to the thread from here on.
    flush_seconds
        Least time between two commits.
    capacity
        Cost of the tasks that may wait. A task beyond that is not taken before others are done, unless it is
        alone.
    """

    def __init__(self, store: SpikeStore, flush_seconds: float, capacity: int) -> None:
        self._store = store
        self._flush_seconds = min(flush_seconds, threading.TIMEOUT_MAX)
        self._capacity = capacity
        self._lock = threading.RLock()  # `with` this, as Ctrl-C cannot come between taking it and its block
        self._changed = threading.Condition(self._lock)
        self._tasks: deque[Task] = deque()
        self._held = 0  # cost of the tasks that wait, and of the one being done
        self._given = 0  # number of tasks
        self._done = 0
        self._ending = False
        self._complete = False
        self._failure: BaseException | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, name=f"writer of {store.path}", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it takes no more tasks, and whoever gave them was told if one failed."""
        return self._ending or self._told

    def put(self, do: Callable[[], None], cost: int = 0) -> int:
        """Give a task, waiting while too many are held, and return its number.

        Raises
        ------
        OSError
            If a task before it failed. The file is closed then.
        """
        with self._lock:
            self._changed.wait_for(lambda: self._failure or not self._held or self._held + cost <= self._capacity)
            self._tell_failure()
            self._tasks.append(Task(do, cost))
            self._held += cost
            self._given += 1
            self._changed.notify_all()
            return self._given

    def flush(self) -> None:
        """Wait until all tasks so far are done, and committed.

        Raises
        ------
        OSError
            If one of them failed. The file is closed then.
        """
        number = self.put(self._store.commit)
        with self._lock:
            self._changed.wait_for(lambda: self._failure or self._done >= number)
            self._tell_failure()

    def close(self, *, complete: bool) -> None:
        """Wait until all tasks are done and the file is closed. Closing twice does nothing.

        Raises
        ------
        OSError
            If one of them failed, or the file cannot be closed properly.
        """
        if self._thread.is_alive():
            with self._lock:
                if not self._ending:
                    self._ending, self._complete = True, complete
                self._changed.notify_all()
            if threading.current_thread() is self._thread:  # garbage collection may come to that
                return
            self._thread.join()
        self._ending = True
        if not self._told:
            self._tell_failure()

    def _tell_failure(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    def _run(self) -> None:
        try:
            while self._work():
                pass
            self._store.close(complete=self._complete)
        except Exception as error:
            failure = self._store.give_up(error)
            with self._lock:
                self._failure = failure
                self._tasks.clear()
                self._changed.notify_all()

    def _work(self) -> bool:
        """Do the next task, or commit if that is due before one comes, and tell whether to go on."""
        with self._lock:
            self._changed.wait_for(lambda: self._tasks or self._ending, self._seconds_to_commit())
            if self._ending and not self._tasks:
                return False
            task = self._tasks.popleft() if self._tasks else None
        if task is not None:
            task.do()
            with self._lock:
                self._held -= task.cost
                self._done += 1
                self._changed.notify_all()
        if self._seconds_to_commit() == 0:
            self._store.commit()
        return True

    def _seconds_to_commit(self) -> float | None:
        """Return how long the last tasks may wait for a commit, or None if there is nothing to commit."""
        if not self._store.dirty:
            return None
        return max(0.0, self._store.committed_at + self._flush_seconds - time.monotonic())
