"""What the server does around the page: who may talk to it, scans come in, exports go out, closed tabs are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import web

from SpineContextSegLib.faults import in_words
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume

from .clicks import Clicks
from .exports import Exports
from .guard import guard
from .store.worklist import Worklist
from .uploads import Uploads


class Routes:
    """What is bound to the server beside the page itself."""

    def __init__(
        self, uploads: Uploads, exports: Exports, worklist: Worklist, clicks: Clicks, token: str,
        on_upload: Callable[[int, tuple[Volume, list[str]] | None], Awaitable[None]],
        on_tab_closed: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        """
        Args:
            token: see `guard`.
            on_upload: called with the number of the first new entry and what `read_volume` returned for it; None where
                it wasn't read alone.
            on_tab_closed: called whenever a page was closed or has crashed.
        """
        self._uploads, self._exports, self._worklist, self._clicks = uploads, exports, worklist, clicks
        self._token, self._on_upload, self._on_tab_closed = token, on_upload, on_tab_closed

    def bind(self, wslink_server) -> None:
        """Before the server starts."""
        app = wslink_server.app
        app.middlewares.append(guard(self._token))
        app.middlewares.append(self._watch_connections)
        app.router.add_post("/upload", self._receive_upload)
        app.router.add_get("/export/{key}", self._send_export)

    @property
    def _watch_connections(self):
        @web.middleware
        async def watch(request, handler):
            try:
                return await handler(request)
            finally:
                if request.path == "/ws":
                    self._clicks.start(self._on_tab_closed())

        return watch

    async def _receive_upload(self, request: web.Request) -> web.Response:
        path = None
        try:
            path = await self._uploads.receive(request)
            read = await asyncio.to_thread(read_volume, path)
            entries = await asyncio.to_thread(self._worklist.add, [path])
        except Exception as error:  # noqa: BLE001, whatever was sent
            if path is not None:
                self._uploads.discard(path)
            return web.Response(status=400, text=in_words(error))
        # What is listed of a folder may be one file of it, as where all slices are in one.
        if not any(entry.scan.is_relative_to(path) for entry in entries):
            # It is listed already, from another place.
            self._uploads.discard(path)
        # Of several scans in one folder, what was read need not be the first one.
        self._clicks.start(self._on_upload(entries[0].number, read if len(entries) == 1 else None))
        return web.Response(text="")

    async def _send_export(self, request: web.Request) -> web.StreamResponse:
        path = self._exports.file(request.match_info["key"])
        if path is None:
            raise web.HTTPNotFound(text="This export is gone: export again.")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}"}
        return web.FileResponse(path, headers=headers)
