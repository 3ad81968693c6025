import ctypes
import os
import sys


def gpu_here() -> bool:
    """Whether an NVIDIA driver sees a GPU; asked without numba, which decides about its simulator when imported."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


if not gpu_here():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")  # for the CUDA tests; before anything imports numba.cuda

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same examples every time, and no deadline: whether a test passes depends on the code alone. To look for new
# counterexamples: pytest --hypothesis-profile=explore
settings.register_profile("neurosleep", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("neurosleep")

torch.set_num_threads(1)  # for networks this small, threads cost more than they bring


@pytest.fixture
def computed(monkeypatch):
    """The splits whose features were computed, not read."""
    from neurosleep.features import cache as vision

    splits, compute = [], vision._compute

    def spy(path, backbone, images, progress):
        splits.append(images.split)
        compute(path, backbone, images, progress)

    monkeypatch.setattr(vision, "_compute", spy)
    return splits
