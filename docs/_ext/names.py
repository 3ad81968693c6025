"""Names in backticks become links wherever they name exactly one class, function or method of these pages."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> nodes.Node | None:
    if node.get("refdomain") != "py" or node.get("reftype") not in ("obj", "class"):
        return None
    wanted = node["reftarget"]
    short = "." not in wanted  # then only what stands for itself: `steps` is a parameter, not some class's attribute
    found = {
        (entry.docname, entry.node_id)
        for name, entry in env.domains.python_domain.objects.items()
        if not entry.aliased
        and (name == wanted or name.endswith(f".{wanted}"))
        and (not short or entry.objtype in ("class", "function", "exception"))
    }
    if len(found) != 1:
        return None
    docname, anchor = found.pop()
    return make_refnode(app.builder, node["refdoc"], docname, anchor, shown, wanted)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen for names that Sphinx itself does not find."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
