"""All formats, by name."""

from . import arrays, descriptions, logs, networks

FORMATS = {one.name: one for module in (logs, arrays, networks, descriptions) for one in module.FORMATS}
