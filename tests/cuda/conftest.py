"""CUDA tests run on a GPU where there is one, and in numba's simulator elsewhere (see the conftest above this one).

In the simulator the threads of a block take turns, in another order after each barrier: that is many times faster than
threads that poll, kernels must not rely on an order, and a thread that misses a barrier does not go unnoticed.
"""

import importlib.util
import os
import random
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest


class Turns:
    """Runs the threads of a block one at a time, each up to its next barrier; takes the place of BlockManager."""

    def __init__(self, f: Callable[..., None], grid_dim: object, block_dim: tuple[int, ...], debug: bool) -> None:
        self._f, self._grid_dim, self._block_dim = f, grid_dim, block_dim
        self.block_state = np.zeros(block_dim, dtype=np.bool_)
        self.back = threading.Semaphore(0)
        self.barriers = 0

    def run(self, block: object, *arguments: object) -> None:
        from numba.cuda.simulator.kernel import BlockThread

        class Thread(BlockThread):
            def run(self) -> None:
                self.turn, self.ended = threading.Semaphore(0), False
                self._manager.back.release()
                self.turn.acquire()
                super().run()
                self.ended = True
                self._manager.back.release()

            def syncthreads(self) -> None:
                self._manager.back.release()
                self.turn.acquire()

        order = random.Random(0)  # noqa: S311
        threads = [Thread(lambda: self._f(*arguments), self, block, i, False) for i in np.ndindex(*self._block_dim)]
        for thread in threads:
            thread.start()
            self.back.acquire()
        while not any(thread.ended for thread in threads):
            order.shuffle(threads)
            for thread in threads:
                thread.turn.release()
                self.back.acquire()
                if thread.exception:
                    raise thread.exception[0].with_traceback(thread.exception[1])
            self.barriers += 1
        assert all(thread.ended for thread in threads), "threads wait at a barrier that others do not come to"


@pytest.fixture(scope="session", autouse=True)
def _turns() -> Iterator[None]:
    if importlib.util.find_spec("numba_cuda") is None or os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        yield
        return
    from numba.cuda.simulator import kernel

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "BlockManager", Turns)
        yield
