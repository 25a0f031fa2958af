"""What does the server answer?  The page, POST /predict, GET /health, /openapi.json, and a page to try it at /api/.

server = GlassesServer(GlassesPipeline(workers=1, crops=True))
app = make_app(server)                               # for any ASGI server; `glasses serve` runs it by uvicorn

Photos wait their turn in memory and are answered by as many threads as there are cores; nothing is written to disk.
"""

import asyncio
import base64
import io
import logging
import mimetypes
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import __version__
from .drawing import heat_map
from .openapi import description
from .output import as_record
from .pipeline import GlassesPipeline
from .uploads import Body, Gate, Limits, RefusedError, Upload, read_photos

API = Path(__file__).with_name("api")  # the page to try it
PAGES = (Path(__file__).with_name("page"), Path(__file__).parents[1] / "build" / "web")  # of the wheel, of a clone
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
OWN_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)"')
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOG = logging.getLogger("glasses.server")  # what it says holds neither pictures nor their names
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}
for suffix, kind in TYPES.items():
    mimetypes.add_type(kind, suffix)  # which not every system knows


def find_page() -> Path | None:
    """The folder of the page, None where it has not been built."""
    return next((folder for folder in PAGES if (folder / "index.html").is_file()), None)


class GlassesServer:
    """The answers to requests.

    pipeline: with `workers=1` and `crops=True`, the threads are the server's. workers: photos at work at one time, as
    many as there are cores where None. After use, `close`.
    """

    def __init__(self, pipeline: GlassesPipeline, limits: Limits | None = None, workers: int | None = None):
        self.pipeline, self.limits = pipeline, limits or Limits()
        self.gate, self.large = Gate(self.limits), Lock()
        self.pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="photo")

    def close(self) -> None:
        """Wait for what is at work, and leave what is not."""
        self.pool.shutdown(cancel_futures=True)

    async def predict(self, request: Request) -> Response:
        """POST /predict: an answer for each photo, in their order."""
        start, body, photos = perf_counter(), Body(request, self.limits), []
        try:
            with_heat_map = wants_heat_map(request)
            with self.gate.enter() as visit:
                photos = await read_photos(request, body, visit)
                records = await self.answer_all(request, photos, with_heat_map)
            response = JSONResponse(records, headers={"Cache-Control": "no-store"})
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody reads it
        except asyncio.CancelledError:  # by uvicorn, when it has waited long enough
            response = JSONResponse({"error": "the server stops"}, 503, headers={"Connection": "close"})
        except RefusedError as error:
            response = JSONResponse({"error": error.reason}, error.status, headers=error.headers)
        if not body.ended and "Connection" not in response.headers:  # here, where no error holds on to what was read
            await body.drain()
            if not body.ended:
                response.headers["Connection"] = "close"
        milliseconds = 1000 * (perf_counter() - start)
        LOG.info("predict: %d, %d photos, %.0f ms", response.status_code, len(photos), milliseconds)
        return response

    async def answer_all(self, request: Request, photos: Sequence[Upload], with_heat_map: bool) -> list[dict]:
        """Their answers. Raises ClientDisconnect where the client does not wait for them: what is not begun is left."""
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self.pool, self.answer, photo, with_heat_map) for photo in photos]
        answers, gone = asyncio.gather(*jobs), asyncio.ensure_future(_until_gone(request))
        answers.add_done_callback(lambda done: done.cancelled() or done.exception())  # else a cancelled one is logged
        try:
            await asyncio.wait([answers, gone], return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                raise ClientDisconnect
            return answers.result()
        finally:
            gone.cancel()
            answers.cancel()

    def answer(self, photo: Upload, with_heat_map: bool) -> dict:
        """The answer for one photo as JSON says it."""
        with self.large if is_large(photo.content, self.limits.pixels) else nullcontext():
            answer = self.pipeline.answer(photo.content)
        answer.path = photo.name
        record = as_record(answer)
        if with_heat_map and answer.faces:
            maps = self.pipeline.classifier.heat_maps(np.stack([face.crop for face in answer.faces]))
            pictures = [None] * len(answer.faces)
            if maps is not None:
                pictures = [data_url(face.crop, places) for face, places in zip(answer.faces, maps, strict=True)]
            for of_face, picture in zip(record["faces"], pictures, strict=True):
                of_face["heatmap"] = picture
        return record

    async def health(self, request: Request) -> Response:
        """GET /health"""
        report = {"status": "ok", "version": __version__, "requests": self.gate.requests}
        return JSONResponse(report, headers={"Cache-Control": "no-store"})


async def _until_gone(request: Request) -> None:
    """Returns when the client of a request that was read has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def is_large(content: bytearray, pixels: int) -> bool:
    """Whether the picture in a file has more pixels than these; a few bytes can hold very many."""
    try:
        with Image.open(io.BytesIO(content)) as picture:  # which reads the head alone
            return picture.width * picture.height > pixels
    except Image.DecompressionBombError:  # more than Pillow decodes
        return True
    except Exception:  # whatever Pillow raises: the answer will say what is wrong
        return False


def wants_heat_map(request: Request) -> bool:
    """Whether ?heatmap=1 is asked. Raises RefusedError for another value than 0 or 1."""
    value = request.query_params.get("heatmap", "0")
    if value not in ("0", "1"):
        raise RefusedError(400, "heatmap must be 0 or 1")
    return value == "1"


def data_url(crop: np.ndarray, places: np.ndarray) -> str:
    """The picture of a heat map as "data:image/png;base64,..."."""
    file = io.BytesIO()
    heat_map(crop, places).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def with_security(app: ASGIApp, page: Path | None) -> ASGIApp:
    """The app with headers that forbid browsers what its pages do not need; a page may bring a policy of its own."""
    policies = {}
    for file in page.glob("*.html") if page else ():
        if own := OWN_POLICY.search(file.read_text(encoding="utf-8")):
            policies[f"/{file.name}"] = own[1].replace("&#39;", "'")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        policy = policies.get(scope.get("path", ""), POLICY)
        headers = {**SECURITY, "Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                if b"cache-control" not in present:
                    added.append((b"cache-control", b"no-cache"))  # kept, and asked for each time
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


async def _refuse(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such path or method; and what fails, without telling how."""
    status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
    reasons = {404: "there is nothing at this address", 405: "this address does not take such a request"}
    return JSONResponse({"error": reasons.get(status, "the request cannot be answered")}, status, headers=headers)


def make_app(server: GlassesServer, page: Path | None = None, cors: str | None = None) -> ASGIApp:
    """The server as an ASGI application.

    page: the folder of the page, as `find_page` finds it; None: another says how to build it. cors: the origin whose
    pages may read the answers too, as "https://example.org", or "*".
    """
    document = description(server.limits)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document)

    async def no_page(request: Request) -> Response:
        return FileResponse(API / "no_page.html")

    async def only_post(request: Request) -> Response:
        raise HTTPException(405, headers={"Allow": "POST"})

    async def to_api(request: Request) -> Response:
        return RedirectResponse("/api/")

    routes = [
        Route("/predict", server.predict, methods=["POST"]),
        Route("/predict", only_post),  # not a file of the page
        Route("/health", server.health),
        Route("/openapi.json", openapi),
        Route("/api", to_api),
        Mount("/api", StaticFiles(directory=API, html=True)),
        Mount("/", StaticFiles(directory=page, html=True)) if page else Route("/", no_page),
    ]
    others = [Middleware(CORSMiddleware, allow_origins=[cors], allow_methods=["GET", "POST"])] if cors else []
    refusals = {HTTPException: _refuse, Exception: _refuse}
    return with_security(Starlette(routes=routes, middleware=others, exception_handlers=refusals), page)
