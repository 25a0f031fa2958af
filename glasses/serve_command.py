"""What does `glasses serve` do?  Opens the port, loads the networks, and lets uvicorn run the server until a signal.

glasses serve                                          # http://127.0.0.1:8000/
glasses serve --host 0.0.0.0 --port 80 --cors https://example.org
"""

import argparse
import logging
import socket
import sys

import cv2

from .messages import tell
from .pipeline import GlassesPipeline


def serve_command(options: argparse.Namespace, prog: str) -> int:
    """Do what the options say until a signal comes; returns 2 where the server cannot begin.

    A signal ends it as it ends every command, but not before what is at work is answered.
    """
    cv2.setNumThreads(1)  # the threads are the server's, one a photo
    try:
        import uvicorn

        from .connections import uvicorn_config
        from .server import GlassesServer, find_page, make_app
    except ImportError as error:
        packages = "pip install starlette uvicorn python-multipart"
        return tell(prog, f"the server needs three packages: {packages} ({error})")
    try:
        listener = open_port(options.host, options.port)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # it repeats the address
        return tell(prog, f"cannot listen at {options.host}:{options.port}: {reason}: give another --host or --port")
    with listener:
        try:
            pipeline = GlassesPipeline(options.detector, options.model, options.threshold, workers=1, crops=True)
        except (ImportError, ValueError, OSError) as error:
            return tell(prog, error)
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=f"{prog}: %(message)s")
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each body that is no form
        log = logging.getLogger("glasses")
        log.setLevel(logging.INFO)
        log.info("http://%s/ (Ctrl-C ends it)", address(listener))
        if (page := find_page()) is None:
            log.info("the page is not there: `make page` in a clone builds it; /predict and /api/ answer")
        server = GlassesServer(pipeline, workers=options.workers)
        config = uvicorn_config(make_app(server, page, options.cors), server.limits)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            server.close()
    return 0


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms for its second part
    return listener


def address(listener: socket.socket) -> str:
    """ "127.0.0.1:8000", "[::1]:8000"."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"
