"""Figures inside a page: SVG of matplotlib in the page's own colours, light or dark."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from sandwiching.training.figures import COLOURS

NEUTRAL = {
    "#000000": "currentColor",
    "#333333": "currentColor",
    "#ffffff": "none",
    "#555555": "var(--soft)",
    "#777777": "var(--soft)",
    "#999999": "var(--soft)",
    "#bbbbbb": "var(--line)",
    "#cccccc": "var(--line)",
    "#e6e6e6": "var(--line)",
}
"""matplotlib's neutrals -> the page's colours."""
SERIES = {colour: f"var(--c{place})" for place, colour in enumerate(COLOURS, start=1)}


def inline_svg(svg: str, prefix: str, label: str) -> Markup:
    """The <svg> element alone, its ids under `prefix` so that several share a page, named `label` for those who listen.

    Raises ValueError for text without an <svg> element.
    """
    found = re.search(r"<svg\b.*</svg>", svg, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"report: the figure {label!r} holds no <svg> element")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", found[0], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"<style[^>]*>\*\{", f"<style>.{prefix} *{{", text)
    for colour, own in {**NEUTRAL, **SERIES}.items():
        text = re.sub(re.escape(colour), own, text, flags=re.IGNORECASE)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    # A glyph has no colour of its own: it takes the page's.
    named = f'<svg class="{prefix}" role="img" aria-label="{escape(label)}" fill="currentColor" '
    return Markup(text.replace("<svg ", named, 1))
