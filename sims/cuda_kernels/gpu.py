"""Whether the `cuda` backend can run here: asked before numba.cuda is made to compile anything."""

import importlib.util

from ..errors import BackendError

_CPU = "or use backend='cpu'"
_INSTALL = f"pip install 'neurosleep[cuda]', {_CPU}"


def require_gpu() -> None:
    """Check that there is a GPU and everything that it takes to use it, or numba's CUDA simulator.

    Raises
    ------
    BackendError
        If something is missing; in one line, what it is and what to do.
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise BackendError(f"backend 'cuda' needs the package numba-cuda, which is not installed: {_INSTALL}")
    from numba import cuda
    from numba.cuda.core import config

    if config.ENABLE_CUDASIM:
        return
    error = cuda.cuda_error()
    if not cuda.is_available():
        error = error or cuda.cuda_error()  # known once the driver was asked for
    if error is not None:
        reason = " ".join(str(error).split())
        raise BackendError(f"backend 'cuda' needs an NVIDIA GPU with its driver, and found none ({reason}), {_CPU}")
    _require_compiler()


def require_long_arguments() -> None:
    """Check that a kernel may have more than 4096 bytes of arguments, or raise `BackendError`."""
    from numba import cuda
    from numba.cuda.core import config

    if config.ENABLE_CUDASIM:
        return
    from cuda.bindings import driver

    _, version = driver.cuDriverGetVersion()
    if version < 12_010 or tuple(cuda.get_current_device().compute_capability) < (7, 0):
        raise BackendError(
            "backend 'cuda' needs a driver of CUDA 12.1 or later, and a GPU of compute capability 7.0 or higher, for "
            f"features of neurons, projections and kicks: update the driver, {_CPU}"
        )


def _require_compiler() -> None:
    """Check that NVIDIA's libraries for compiling kernels are there, and none newer than the driver can take."""
    from cuda.bindings import driver, nvrtc
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            raise BackendError(
                f"backend 'cuda' found a GPU, but not NVIDIA's compiler library {library}: {_INSTALL}"
            ) from None
    _, version = driver.cuDriverGetVersion()
    _, major, minor = nvrtc.nvrtcVersion()
    if version // 1000 < major:
        raise BackendError(
            f"backend 'cuda' found libraries of CUDA {major}.{minor}, but a driver that takes at most "
            f"CUDA {version // 1000}.{version % 1000 // 10}: update the driver, {_CPU}"
        )
