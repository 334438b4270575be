"""Who may talk to the server: who has the session's token, from the server's own pages."""

from __future__ import annotations

import hmac
import re
import secrets
from urllib.parse import urlsplit

from aiohttp import web

FORBIDDEN = (
    "This workbench was started by somebody else, or anew, or its address is incomplete: use the address it printed."
)


def new_token() -> str:
    """256 random bits, fit for an address."""
    return secrets.token_urlsafe(32)


def guard(token: str):
    """The aiohttp middleware in front of every page, file, upload and WebSocket.

    On loopback, too: other accounts of this computer reach it there, and so does a page of the internet whose name was
    made to mean this computer (DNS rebinding). A page of another origin is refused always, as browsers let it open
    WebSockets and send forms to anybody. One thing isn't kept out: browsers send a cookie to every port of a computer,
    so a server of another account gets it from whoever opens its address there.

    Args:
        token: needed once in the address (`?token=`), then kept in a cookie.
    """

    @web.middleware
    async def check(request: web.Request, handler):
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text=FORBIDDEN)
        if hmac.compare_digest(request.query.get("token", "").encode(), token.encode()):
            answer = web.HTTPFound("/index.html")
            # Not "Strict", with which a link to the printed address on another site, as in a terminal in the browser,
            # would lead to a refusal.
            answer.set_cookie(_cookie_of(request.host), token, httponly=True, samesite="Lax")
            raise answer
        if not hmac.compare_digest(request.cookies.get(_cookie_of(request.host), "").encode(), token.encode()):
            raise web.HTTPForbidden(text=FORBIDDEN)
        return await handler(request)

    return check


def _cookie_of(host: str) -> str:
    """With the port in it, as browsers don't tell the workbenches of one computer apart."""
    return f"workbench-{re.sub('[^0-9A-Za-z]', '-', host)}"
