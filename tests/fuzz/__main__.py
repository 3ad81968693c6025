"""The command line, see the package."""

import sys

from .command import main

sys.exit(main())
