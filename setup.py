"""One thing that pyproject.toml cannot say: a wheel holds what is there now, not what an earlier build left behind."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class Build(build_py):
    """Copies the package into an empty folder: setuptools would add to what is in `build/`."""

    def run(self) -> None:
        """Remove what an earlier build left, then build."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "neurosleep", ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": Build})
