"""The frame of the HTML pages that the commands write: one file with its style inside, no script, nothing loaded."""

from __future__ import annotations

from html import escape

from service.cli.render.look_style import STYLE


def html_document(title: str, body: str) -> str:
    """Return a whole HTML document.

    Args:
        title: the page's title, as text.
        body: the page's content, as HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is loaded, whatever a file's texts contain.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
