"""Public names are imported when they are first used, and are what they seem."""

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["neurosleep", "neurosleep.converters", "neurosleep.experiments"])
def test_every_public_name_is_there(package) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_functions_are_not_hidden_by_the_modules_they_live_in() -> None:
    code = "import neurosleep.converters.to_spiking as a, neurosleep.converters as b; print(callable(b.to_spiking))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"True"


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    heavy = {"torch", "numpy", "pandas", "xarray", "h5netcdf", "plotly", "statsmodels", "scipy"}
    code = f"import sys, neurosleep, neurosleep.experiments, neurosleep.converters; print({heavy!r} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"set()"


def test_what_pages_and_tables_need_is_imported_when_they_are_made() -> None:
    heavy = {"pandas", "xarray", "h5netcdf", "plotly", "statsmodels"}
    modules = (
        "cli",
        "statistics",
        "experiments.page.report",
        "experiments.results",
        "interchange",
        "analysis",
        "experiments.running",
    )
    imports = ", ".join(f"neurosleep.{name}" for name in modules)
    code = f"import sys, {imports}; print({heavy!r} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"set()"
