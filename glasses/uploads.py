"""How do photos come out of a request?  Part by part as they arrive, in memory only, within limits.

with Gate(limits).enter() as visit:                       # multipart/form-data -> [Upload(name, content), ...]
    photos = await read_photos(request, Body(request, limits), visit)
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from .output import one_line

FIELD = "photo"  # of the form
LONGEST_NAME = 255  # letters of a file name that are echoed
DRAIN_SECONDS = 5  # for the rest of a request that is refused


@dataclass(frozen=True)
class Limits:
    """What a server takes on: bytes of a photo, pixels above which one photo is decoded at a time (each takes 10 to
    22 bytes a pixel), photos and bytes of a request, bytes of all requests together, requests that are received or
    wait at one time, connections; and seconds for a request's headers, for the next bytes of its
    body, for all of it, for a client to read on, and for what is at work when the server stops."""

    file: int = 25_000_000
    pixels: int = 25_000_000
    files: int = 20
    body: int = 100_000_000
    memory: int = 1_000_000_000
    requests: int = 100
    connections: int = 500
    header_seconds: float = 10
    silent_seconds: float = 10
    body_seconds: float = 60
    reading_seconds: float = 30
    stopping_seconds: float = 10


class Upload(NamedTuple):
    """A photo that a client sent. name: the last part of its file name, to be echoed, never to be opened."""

    name: str
    content: bytearray


class RefusedError(Exception):
    """A request is not answered: the HTTP status, one line that says why, and headers."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None):
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Gate:
    """Counts the requests in the house and the bytes they brought; what is too much is refused until others leave."""

    def __init__(self, limits: Limits):
        self.limits, self.requests, self.bytes = limits, 0, 0

    @contextmanager
    def enter(self) -> Iterator["Visit"]:
        """A request's stay. Raises RefusedError where there are too many."""
        if self.requests >= self.limits.requests:
            raise _busy()
        visit = Visit(self)
        self.requests += 1
        try:
            yield visit
        finally:
            self.requests -= 1
            self.bytes -= visit.bytes


class Visit:
    """One request in the house, and the bytes it brought."""

    def __init__(self, gate: Gate):
        self.gate, self.bytes = gate, 0

    def bring(self, count: int) -> None:
        """So many bytes more. Raises RefusedError where they are too many for the request or for the house."""
        limits = self.gate.limits
        if self.bytes + count > limits.body:
            raise too_large(limits)
        if self.gate.bytes + count > limits.memory:
            raise _busy()
        self.bytes += count
        self.gate.bytes += count


def _busy() -> RefusedError:
    return RefusedError(503, "too much work at the moment: try again in a second", {"Retry-After": "1"})


def too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the request is larger than {limits.body / 1e6:g} MB: send fewer photos at once")


class Body:
    """The bytes of a request as they arrive. ended: whether all of them have."""

    def __init__(self, request: Request, limits: Limits):
        self.request, self.limits, self.ended, self.begun = request, limits, False, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises TimeoutError where nothing comes for too long, ClientDisconnect where the client has gone."""
        while not self.ended:
            self.begun = True
            async with asyncio.timeout(self.limits.silent_seconds):
                message = await self.request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def drain(self) -> None:
        """Take what is still under way and forget it: many clients read no answer before they have sent everything."""
        if not self.begun and "expect" in self.request.headers:  # it waits for leave to send
            return
        dropped = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for chunk in self:
                    dropped += len(chunk)
                    if dropped > 2 * self.limits.body:
                        return
        except (TimeoutError, ClientDisconnect):
            return


class PhotoParser:
    """The photos of a multipart/form-data body, which is written to it piece by piece.

    Raises RefusedError for another form, and for too many or too large photos.
    """

    def __init__(self, boundary: bytes, limits: Limits):
        self.limits, self.photos, self.ended = limits, [], False
        self._name, self._content = "", bytearray()
        self._header, self._value, self._disposition = b"", b"", b""
        known = "part_begin part_data part_end header_field header_value header_end headers_finished end".split()
        try:
            self._parser = MultipartParser(boundary, {f"on_{name}": getattr(self, f"_{name}") for name in known})
        except FormParserError as error:
            raise RefusedError(400, "the form's boundary is too long") from error

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise RefusedError(400, "the body is not multipart/form-data") from error

    def finish(self) -> list[Upload]:
        """The photos, when all is written."""
        if not self.ended:
            raise RefusedError(400, "the form ends too early")
        if not self.photos:
            raise RefusedError(400, f"the form has no field '{FIELD}'")
        return self.photos

    def close(self) -> None:
        """Let go of the photos: the parser and this object hold on to each other."""
        self._parser = None

    def _part_begin(self) -> None:
        self._content, self._disposition = bytearray(), b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            raise RefusedError(400, f"the form has a field {one_line(field)[:40]!r}: send photos as '{FIELD}'")
        if len(self.photos) >= self.limits.files:
            raise RefusedError(413, f"more than {self.limits.files} photos: send fewer at once")
        self._name = last_part(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self.limits.file:
            number = len(self.photos) + 1
            raise RefusedError(413, f"photo {number} is larger than {self.limits.file / 1e6:g} MB")
        self._content += memoryview(data)[start:end]

    def _part_end(self) -> None:
        self.photos.append(Upload(self._name, self._content))

    def _end(self) -> None:
        self.ended = True


def last_part(name: str) -> str:
    """A client's file name without its folders, whichever way its system writes them, on one line and not too long."""
    return one_line(re.split(r"[/\\]", name)[-1])[:LONGEST_NAME]


async def read_photos(request: Request, body: Body, visit: Visit) -> list[Upload]:
    """The photos of a request. Raises RefusedError for what is no such form, for too much and for too slow a client,
    ClientDisconnect where it has gone."""
    limits = body.limits
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusedError(415, f"send multipart/form-data with one or several fields '{FIELD}'")
    if int(request.headers.get("content-length", 0)) > limits.body:
        raise too_large(limits)
    parser = PhotoParser(options[b"boundary"], limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in body:
                visit.bring(len(chunk))
                parser.write(chunk)
        return parser.finish()
    except TimeoutError as error:
        raise RefusedError(408, "the request arrived too slowly") from error
    finally:
        parser.close()
