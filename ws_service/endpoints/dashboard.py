"""The dashboard's static export at `/`, with headers that allow nothing but itself."""

import asyncio
import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_BEING_BUILT: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>notifiws</title>
<meta http-equiv="refresh" content="2"></head><body><p>The dashboard is being built. This page reloads itself.</p>
</body></html>"""
_INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Dashboard(StaticFiles):
    """Serves `folder`. While it has no index.html: a page that says so and looks again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        # The folder may come later.
        self.config_checked = True
        self._folder = folder

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, with security headers. Raises HTTPException: 404 for who does not ask for a page, 405."""
        if scope["method"] not in ("GET", "HEAD"):
            await self.get_response(path, {**scope, "method": "GET"})
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if path == "." and not (self._folder / "index.html").is_file():
            response: Response = Response(_BEING_BUILT, 200, media_type="text/html")
        else:
            response = await super().get_response(path, scope)
        if response.status_code == 404 and "text/html" not in Headers(scope=scope).get("accept", "").lower():
            raise HTTPException(404)
        html = response.headers.get("content-type", "").startswith("text/html")
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["referrer-policy"] = "no-referrer"
        if html:
            response.headers["cache-control"] = "no-store"
            response.headers["content-security-policy"] = await asyncio.to_thread(
                policy, getattr(response, "path", None)
            )
        elif "/_next/static/" in f"/{path}":
            # Their names carry a hash of their content.
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def policy(page: Path | None) -> str:
    """A content security policy for this page: itself, this origin's sockets, and its own inline scripts."""
    inline = _INLINE_SCRIPT.findall(Path(page).read_bytes()) if page else []
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in inline}
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *sorted(hashes))),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
