"""How Sphinx builds these pages, without a network: ``sphinx-build -n -W --keep-going docs build/docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import neurosleep.converters
import neurosleep.experiments

for package in (neurosleep.converters, neurosleep.experiments):
    del package.__dir__  # that of lazy_loader does not tell of __all__, and autosummary then sees no members

project = "neurosleep"
author = "The neurosleep developers"
copyright = "2026, The neurosleep developers"  # noqa: A001
version = release = neurosleep.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "mathml",
    "names",
    "docstrings",
]
default_role = "py:obj"
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # parameters in backticks are code, and link to nothing
    ("py:class", r"(numpy|torch|collections|os|pathlib|datetime|snntorch|distributed)\..*"),
    (
        "py:class",
        r"Client|T|Stage|Simulate|Layer|.*\.(T|Stage|Simulate|LayerReport|SnnTorchNetwork|SleepingChain|Resumable|Expected)|"
        r".*\.spikes\.header\.Segment",
    ),
    ("py:mod", ".*"),
]
exclude_patterns = ["_build", "**/_*"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 4

suppress_warnings = ["toc.empty_glob"]

html_theme = "furo"
html_title = "neurosleep"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "tango"
pygments_dark_style = "monokai"

autosummary_generate = True
autosummary_ignore_module_all = False  # what a module names in __all__ is documented there
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 90
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False  # else it takes the first of two names in one entry, as in `inc, dec`, for a type
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
add_module_names = False
