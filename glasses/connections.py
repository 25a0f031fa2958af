"""How long does the server wait for a client?  uvicorn's protocol, with an end to its patience."""

import asyncio
import math
from functools import partial

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .uploads import Limits


class PatientProtocol(H11Protocol):
    """Closes connections whose request does not begin or whose headers do not end in time, those whose client does not
    read its answer, and those that are too many. (What arrives too slowly of a body, the application refuses.)"""

    def __init__(self, *arguments, limits: Limits, **options):
        super().__init__(*arguments, **options)
        self.limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.for_request = self.for_reader = None
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # a request is at work
            self._cancel("for_request")
        elif self.for_request is None:
            self._expect_request()

    def _expect_request(self) -> None:
        self.for_request = self.loop.call_later(self.limits.header_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.for_reader = self.loop.call_later(self.limits.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel("for_reader")

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel("for_request")
        self._cancel("for_reader")
        super().connection_lost(exc)

    def _cancel(self, name: str) -> None:
        if timer := getattr(self, name):
            timer.cancel()
            setattr(self, name, None)


def uvicorn_config(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    """How uvicorn runs the app: with these limits, and without logs of its own but for errors."""
    return uvicorn.Config(
        app,
        http=partial(PatientProtocol, limits=limits),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(limits.stopping_seconds),
    )
