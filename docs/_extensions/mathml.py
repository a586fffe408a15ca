"""Formulae as MathML, made when the site is built.

Browsers draw MathML by themselves, so that pages load no script from elsewhere and can be read without a network.
"""

from __future__ import annotations

import html
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

_logger = logging.getLogger(__name__)

# What docutils makes of \hat u_{ij}: a letter with its indices below and the hat above.
_HAT_BELOW_INDICES = re.compile(
    r"<munderover>\s*<mi>(?P<letter>\w)</mi>\s*(?P<indices><m(\w+)>.*?</m\3>)\s*<mo[^>]*>ˆ</mo>\s*</munderover>",
    re.DOTALL,
)


def _index_of_hat(found: re.Match[str]) -> str:
    """A letter with a hat, and its indices beside both."""
    letter = f'<mover accent="true"><mi>{found["letter"]}</mi><mo stretchy="false">ˆ</mo></mover>'
    return f"<msub>{letter}{found['indices']}</msub>"


def _mathml(node: nodes.Element, as_block: bool) -> str:
    """A formula as MathML, or as it is written, with a warning, where it cannot be read."""
    try:
        return _HAT_BELOW_INDICES.sub(_index_of_hat, tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _logger.warning("formula: %s in %s", error, node.astext(), location=node, type="math")
        return html.escape(node.astext())


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Registers the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
