"""The small pages: a context to play with, and the API's description. Plain files; nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "page"
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
}
_PATHS = {"/": "index.html", "/docs": "docs.html"}

# path -> content and media type; read once, since they are small
FILES = {
    **{path: ((_FOLDER / name).read_bytes(), _KINDS[Path(name).suffix]) for path, name in _PATHS.items()},
    **{
        f"/page/{file.name}": (file.read_bytes(), _KINDS[file.suffix])
        for file in sorted(_FOLDER.iterdir())
        if file.suffix in (".js", ".css")
    },
}
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
