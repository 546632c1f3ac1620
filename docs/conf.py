"""Settings of the documentation; ``make docs`` builds it, and every warning is an error."""

import functools
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parent))

import exchange_api

from blocklist_sdk import __version__

project = "blocklist-sdk"
author = "the blocklist-sdk authors"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # docstrings name this library's own in single backticks

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_mock_imports = ["pyspark"]  # half a gigabyte, for two functions
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = r">>> |\.\.\. |(?:outside|inside)?\$ +|> "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

smartquotes = False  # two dashes begin an option

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_js_files = [("tables.js", {"defer": "defer"})]
html_theme_options = {"navigation_with_keys": True}

_MAKERS = {"open", "init", "load", "of", "read"}
"""Class methods that make an object; the parameters of such a class itself are not public."""

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?")


def setup(app: Sphinx) -> None:
    """Add what this documentation does beside Sphinx's own."""
    app.connect("source-read", _write_exchange_api)
    app.connect("autodoc-process-signature", _hide_private_constructors)
    app.connect("missing-reference", _find_by_last_name)
    app.connect("doctree-resolved", _link_names)


def _write_exchange_api(app: Sphinx, page: str, source: list[str]) -> None:
    """The exchange's routes and bodies, from the OpenAPI document, where a page asks for them."""
    if exchange_api.MARK in source[0]:
        source[0] = source[0].replace(exchange_api.MARK, exchange_api.render())


def _hide_private_constructors(
    app: Sphinx, what: str, name: str, kind: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    if what == "class" and any(isinstance(vars(kind).get(maker), classmethod) for maker in _MAKERS):
        return "", None
    return None


@functools.lru_cache(maxsize=1)
def _known(env: BuildEnvironment) -> dict[str, list[str]]:
    """Documented names by what they end with: `open_sink`, `Blocklist.open`, and the whole."""
    found = defaultdict(list)
    for name, thing in env.domains.python_domain.objects.items():
        if not thing.aliased and thing.objtype != "module":
            parts = name.split(".")
            for start in range(len(parts)):
                found[".".join(parts[start:])].append(name)
    return found


def _link(app: Sphinx, env: BuildEnvironment, page: str, name: str, shown: nodes.Element) -> nodes.reference | None:
    names = set(_known(env).get(name, ()))
    if len(names) != 1:
        return None
    whole = names.pop()
    thing = env.domains.python_domain.objects[whole]
    return make_refnode(app.builder, page, thing.docname, thing.node_id, shown, whole)


def _find_by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.reference | None:
    """Names are found without their module, and under the package that they are imported from."""
    if node.get("refdomain") != "py" or node.get("reftype") not in ("obj", "class", "exc", "meth", "func"):
        return None
    name = node["reftarget"].lstrip(".")
    if name.startswith("blocklist_sdk.") and name not in _known(env):
        name = name.rpartition(".")[2]
    return _link(app, env, node["refdoc"], name, shown)


def _link_names(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """In text, a class of this library in backticks leads to the reference."""
    for literal in list(doctree.findall(nodes.literal)):
        name = _NAME.fullmatch(literal.astext())
        if name is None or not (name[1][0].isupper() or name[1].startswith("blocklist_sdk.")):
            continue
        if isinstance(literal.parent, nodes.reference | nodes.title) or "py" in literal.get("classes", ()):
            continue
        link = _link(app, app.env, page, name[1], literal.deepcopy())
        if link is not None:
            literal.replace_self(link)
    # Sphinx leaves this dash to quotation marks that are turned into curly ones.
    for text in [each for each in doctree.findall(nodes.Text) if each == " -- "]:
        text.parent.replace(text, nodes.Text(" – "))
