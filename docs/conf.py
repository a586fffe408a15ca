"""The documentation site; ``make docs`` builds it.

The checkout itself is Sphinx's source folder, and only this configuration stands in ``docs``. So README.md,
CONTRIBUTING.md and CHANGELOG.md are pages like all others, and a link that is right on GitHub is right on the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

from capsroute import __version__  # the package is installed; nothing is mocked

sys.path.insert(0, str(Path(__file__).resolve().parent / "_extensions"))

project = "capsroute"
author = "capsroute contributors"
version = release = __version__

root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**"]
exclude_patterns = [".*", "**/.*", "build", "dist", "runs", "*.egg-info", "**/__pycache__"]
extensions = [
    "docstrings",
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

# Whatever a page or a docstring refers to must exist. Packages that are documented elsewhere cannot be looked up
# without a network, and are the only exception, also where a signature keeps a short name of theirs; type variables are
# no objects.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|numpy|collections|contextlib|dataclasses|os|pathlib|typing|typing_extensions)\..*"),
    (r"py:class", r"Tensor|tuple\[str|dist\.ProcessGroup|capsroute\..*\.[A-Z]"),
]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # GitHub's fence for formulae
myst_heading_anchors = 4
nb_execution_mode = "off"  # outputs are committed; the tests run the notebook
nb_merge_streams = True

autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
add_module_names = False

smartquotes_action = "D"  # dashes; quotes stay as on GitHub
highlight_language = "none"  # of fences that name no language
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"capsroute {__version__}"
html_static_path = ["_static"]
html_css_files = ["capsroute.css"]
html_extra_path = ["_root"]  # an index.html that leads to the first page
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
