"""Who may talk to the server: this computer's own pages, and from elsewhere only who has the session's token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = "workbench"
FORBIDDEN = "This workbench was started by somebody else, or its address is incomplete: use the address it printed."


def is_loopback(host: str) -> bool:
    """Whether nobody outside of this computer can reach a server that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """256 random bits, fit for an address."""
    return secrets.token_urlsafe(32)


def guard(token: str | None):
    """The aiohttp middleware in front of every page, file, upload and WebSocket.

    On loopback the name in the address must be loopback's too: else a page of the internet whose name was made to mean
    this computer could read the scans (DNS rebinding). A page of another origin is refused always, as browsers let it
    open WebSockets and send forms to anybody.

    Args:
        token: needed once in the address (`?token=`), then kept in a cookie; None where the server is on loopback.
    """

    @web.middleware
    async def check(request: web.Request, handler):
        if token is None and not is_loopback(_name_of(request.host)):
            raise web.HTTPForbidden(text=FORBIDDEN)
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text=FORBIDDEN)
        if token is None:
            return await handler(request)
        if hmac.compare_digest(request.query.get("token", "").encode(), token.encode()):
            answer = web.HTTPFound("/index.html")
            answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
            raise answer
        if not hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
            raise web.HTTPForbidden(text=FORBIDDEN)
        return await handler(request)

    return check


def _name_of(host: str) -> str:
    """The name or number in front of the port: "[::1]:8080" -> "::1"."""
    return urlsplit(f"//{host}").hostname or ""
