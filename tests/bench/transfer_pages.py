"""The application that takes uploads: served as `application` (cpadapter), or by CherryPy's own server when run.

The page that both frameworks serve comes from one source, which is given one module or the other. The probe of the
event loop lives here too, since it has to run inside the server's process.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context
from typing import Any

__all__ = ['Probe', 'make_upload']

READ = 65536
# Seconds from one look at the loop to the next.
STEP = 0.005


def make_upload(module: Any) -> type:
    """Give the class of the page that reads an uploaded file through, written for CherryPy or for cpadapter."""

    class Root:
        @module.expose  # type: ignore[untyped-decorator, unused-ignore]
        def upload(self, file: Any) -> str:
            size = 0
            while data := file.file.read(READ):
                size += len(data)
            return str(size)

    return Root


class Probe:
    """Looks every 5 ms how much too late the event loop comes to it."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.stop()
        self.lags = []
        self._due = asyncio.get_running_loop().time()
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = max(self._due + STEP, loop.time())
        # Not in the context of the request that started it.
        self._timer = loop.call_at(self._due, self._look, context=Context())

    def _look(self) -> None:
        self.lags.append(asyncio.get_running_loop().time() - self._due)
        self._arm()


def _make_application() -> Any:
    import cpadapter

    probe = Probe()

    class Root(make_upload(cpadapter)):  # type: ignore[misc]
        @cpadapter.expose
        async def upload_later(self, file: Any) -> str:
            result: str = await asyncio.to_thread(self.upload, file)
            return result

        @cpadapter.expose
        def raw(self) -> str:
            size = 0
            while data := cpadapter.request.body.read(READ):
                size += len(data)
            return str(size)

        @cpadapter.expose
        async def raw_later(self) -> str:
            size = 0
            while data := await cpadapter.request.body.aread(READ):
                size += len(data)
            return str(size)

        @cpadapter.expose
        async def start(self) -> str:
            probe.start()
            return 'started'

        @cpadapter.expose
        @cpadapter.tools.json_out()
        async def stop(self) -> list[float]:
            probe.stop()
            return probe.lags

    cpadapter.config.update({'server.max_request_body_size': 0})
    return cpadapter.Application(Root(), '', {})


def _serve_cherrypy(port: int) -> None:
    import cherrypy

    cherrypy.config.update(
        {
            'environment': 'production',
            'log.screen': False,
            'server.socket_host': '127.0.0.1',
            'server.socket_port': port,
            'server.max_request_body_size': 0,
        }
    )
    cherrypy.quickstart(make_upload(cherrypy)(), '', {})


if __name__ == '__main__':
    _serve_cherrypy(int(sys.argv[1]))
else:
    application = _make_application()
