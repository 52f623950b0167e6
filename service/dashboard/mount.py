"""Serves the built dashboard's static files beside the API."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"

HEADERS = {
    # The page refers to its assets by content hash, so only the page itself must be revalidated.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

# Swagger UI sets styles from its script and loads its icons from data: addresses.
_DOCS_POLICY = f"{HEADERS['Content-Security-Policy']}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
_DOCS_HEADERS = HEADERS | {"Content-Security-Policy": _DOCS_POLICY}

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Assayer</title>
<h1>The dashboard is not built</h1>
<p>The service works; only its pages are missing, because this is a checkout in which they were never built.</p>
<p>Build them with <code>make dashboard</code>, then start the service again.</p>
<p>Meanwhile: <a href="/openapi.json">the API's description</a>, and <code>study list</code> in a terminal.</p>
</html>
"""


class _Assets(StaticFiles):
    """Files with a content hash in their names. Browsers may cache them forever."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def mount(app: FastAPI, static: Path = STATIC) -> None:
    """Serve the dashboard at `/` and `/studies/…`, and the API's pages at `/docs`.

    If the dashboard is not built, the pages explain how to build it.
    """
    built = (static / "index.html").is_file()

    def page(name: str, headers: dict[str, str]) -> Response:
        if not built:
            return HTMLResponse(_NOT_BUILT, status_code=503, headers=headers)
        return FileResponse(static / name, headers=headers)

    @app.get("/", include_in_schema=False)
    @app.get("/studies", include_in_schema=False)
    @app.get("/studies/{path:path}", include_in_schema=False)
    async def show_dashboard() -> Response:
        """Serve the single page at every address of the dashboard. The page itself evaluates the address."""
        return page("index.html", HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> Response:
        """Serve Swagger UI from the package's own files. Without a CDN it works offline."""
        return page("docs.html", _DOCS_HEADERS)

    if built:
        app.mount("/assets", GZipMiddleware(_Assets(directory=static / "assets")), name="assets")
