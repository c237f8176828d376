"""Sphinx extension: formulas as MathML, which browsers show without a script.

The converter is that of docutils; MathJax would be loaded from the network.
"""
from docutils import nodes
from docutils.utils.math import latex2mathml


def _formula(text, as_block):
    """The MathML of a formula in LaTeX; several lines are aligned at their &."""
    if as_block and ('\\\\' in text or '&' in text):
        text = f'\\begin{{aligned}}{text}\\end{{aligned}}'
    return latex2mathml.tex2mathml(text, as_block=as_block)


def inline(translator, node):
    translator.body.append(_formula(node.astext(), as_block=False))
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(
        f'<div class="math">{_formula(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer('mathml', (inline, None), (block, None))
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
