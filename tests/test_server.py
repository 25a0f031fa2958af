"""The server, by a real uvicorn on a free port: answers, every limit, slow and rude clients, and how it ends."""

import base64
import concurrent.futures
import gc
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import openapi_spec_validator
import pytest
import uvicorn
from PIL import Image

from benchmarks import serve
from benchmarks.clients import receive
from conftest import ROOT, obey_signals
from glasses import GlassesPipeline, cli
from glasses.connections import uvicorn_config
from glasses.openapi import description
from glasses.pipeline import Answer
from glasses.serve_command import address, open_port
from glasses.server import POLICY, GlassesServer, make_app
from glasses.uploads import Limits, PhotoParser, last_part
from test_photos import bad_files

BOUNDARY = "a-boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*photos: tuple[str | bytes, bytes], field: str = "photo") -> bytes:
    """A multipart/form-data body of (file name, content)."""
    body = b""
    for name, content in photos:
        name = name.encode() if isinstance(name, str) else name
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="'.encode() + name
        body += b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict | None = None):
    """Status, headers and content of the response to one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)), timeout=60)


def predict(port: int, body: bytes, query: str = "", headers: dict | None = None):
    """Status, headers and JSON of POST /predict."""
    status, found, content = ask(port, "POST", f"/predict{query}", body, FORM | (headers or {}))
    return status, found, json.loads(content)


@contextmanager
def serving(pipeline, limits: Limits | None = None, page=None, cors=None, workers: int | None = 2) -> Iterator[int]:
    """A server as `glasses serve` makes it, in a thread of this process: its port, and `server` to look at."""
    server = GlassesServer(pipeline, limits, workers)
    running = uvicorn.Server(uvicorn_config(make_app(server, page, cors), server.limits))
    with open_port("127.0.0.1", 0) as listener:
        port = Port(listener.getsockname()[1])
        port.server = server
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield port
        finally:
            running.should_exit = True
            thread.join(30)
            server.close()
    assert not thread.is_alive()


class Port(int):
    """The number of a port, with the GlassesServer behind it."""

    server: GlassesServer


class Waiting:
    """A pipeline that answers when it is told to, and counts."""

    classifier = SimpleNamespace(heat_maps=lambda crops: None)

    def __init__(self):
        self.go, self.begun = threading.Event(), []

    def answer(self, photo) -> Answer:
        self.begun.append(len(photo))
        assert self.go.wait(30)
        return Answer(path="")


def until(what, seconds: float = 20) -> None:
    """Wait until `what()` is true, at most so long."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def port():
    with serving(GlassesPipeline(workers=1, crops=True)) as port:
        yield port


@pytest.fixture(scope="module")
def small():
    """A server with small limits."""
    limits = Limits(
        file=1000,
        files=3,
        body=2500,
        memory=4000,
        requests=4,
        connections=12,
        header_seconds=0.5,
        silent_seconds=0.5,
        body_seconds=1.5,
        reading_seconds=0.5,
    )
    pipeline = SimpleNamespace(answer=lambda photo: Answer(path=""))
    with serving(pipeline, limits) as port:
        yield port


# ------------------------------------------------------------------------------------------------------- answers


def test_answers_are_those_of_the_command_line(port, tmp_path, capsys, hopper, astronaut):
    bad_files(tmp_path)
    shutil.copy(hopper, tmp_path / "grün ü.jpg")
    shutil.copy(astronaut, tmp_path / "b.png")
    files = [file for file in sorted(tmp_path.iterdir()) if file.is_file()]
    cli.main([*map(str, files), "--format", "jsonl"])
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(expected) >= 8
    status, headers, found = predict(port, form(*((file.name, file.read_bytes()) for file in files)))
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert len(found) == len(expected)
    for answer, other in zip(found, expected, strict=True):
        assert answer.pop("path") == Path(other.pop("path")).name
        assert answer.pop("probability") == pytest.approx(other.pop("probability"), abs=2e-4)
        for face, other_face in zip(answer["faces"], other["faces"], strict=True):
            assert face.pop("probability") == pytest.approx(other_face.pop("probability"), abs=2e-4)
        assert answer == other
    assert {answer["glasses"] for answer in found} == {True, False, None}


def test_one_photo_is_a_list_of_one_and_other_clients_forms_are_read(port, hopper):
    """Without a file name, as some programs send it; in pieces without a length; by curl where it is there."""
    body = form(("x.jpg", hopper.read_bytes()))
    plain = body.replace(b'; filename="x.jpg"', b"").replace(b"Content-Type: application/octet-stream\r\n", b"")
    for content, name in ((body, "x.jpg"), (plain, ""), (iter([body[:70], body[70:9000], body[9000:]]), "x.jpg")):
        status, _, (answer,) = predict(port, content)
        assert (status, answer["path"], answer["kind"]) == (200, name, "eyeglasses")
    if curl := shutil.which("curl"):
        command = [curl, "--silent", "--form", f"photo=@{hopper}", f"http://127.0.0.1:{port:d}/predict"]
        (answer,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert (answer["path"], answer["glasses"]) == (hopper.name, True)


def test_heat_maps_are_pictures_of_each_face(port, hopper, astronaut):
    body = form(("a", hopper.read_bytes()), ("b", astronaut.read_bytes()), ("c", b"no photo"))
    _, _, plain = predict(port, body, "?heatmap=0")
    assert not any("heatmap" in face for answer in plain for face in answer["faces"])
    _, _, answers = predict(port, body, "?heatmap=1")
    tints = []
    for answer in answers[:2]:
        (face,) = answer["faces"]
        kind, content = face.pop("heatmap").split(",")
        assert kind == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        assert (picture.format, picture.size) == ("PNG", (288, 192))
        red, _, blue = np.asarray(picture, float).reshape(-1, 3).mean(0)
        tints.append(red - blue)
    assert tints[0] > 5, "orange: glasses"
    assert tints[1] < -5, "blue: none"
    assert answers == plain


def test_a_network_without_heat_maps_says_so(hopper):
    pipeline = GlassesPipeline(workers=1, crops=True)
    real = pipeline.classifier
    pipeline.classifier = type("Plain", (), {"__call__": lambda _, crops: real(crops), "crop": real.crop})()
    pipeline.classifier.heat_maps = lambda crops: None
    with serving(pipeline) as port:
        _, _, (answer,) = predict(port, form(("a", hopper.read_bytes())), "?heatmap=1")
    assert answer["faces"][0]["heatmap"] is None
    jsonschema.validate([answer], schema_of("/predict", "post", "200"))


def schema_of(path: str, method: str, status: str) -> dict:
    document = description(Limits())
    content = document["paths"][path][method]["responses"][status]["content"]["application/json"]
    return content["schema"] | {"components": document["components"]}


def test_the_description_is_openapi_and_true(port, small, hopper, nobody):
    status, _, content = ask(port, "GET", "/openapi.json")
    document = json.loads(content)
    openapi_spec_validator.validate(document)
    assert status == 200
    assert sorted(document["paths"]) == ["/health", "/predict"]
    for query in ("", "?heatmap=1"):
        photos = [
            ("a", hopper.read_bytes()),
            ("b", nobody[0].read_bytes()),
            ("c", b""),
            ("d", hopper.read_bytes()[:-9]),
        ]
        _, _, answers = predict(port, form(*photos), query)
        jsonschema.validate(answers, schema_of("/predict", "post", "200"))
        assert answers[3]["warning"]
        assert answers[2]["error"] == "the file is empty"
    _, _, health = ask(port, "GET", "/health")
    jsonschema.validate(json.loads(health), schema_of("/health", "get", "200"))
    assert json.loads(health)["requests"] == 0
    status, _, error = predict(small, form(("a", bytes(1001))))
    jsonschema.validate(error, schema_of("/predict", "post", str(status)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"path": "x"}], schema_of("/predict", "post", "200"))


def test_fifty_clients_at_once(port, hopper, astronaut):
    bodies = {True: form(("a", hopper.read_bytes())), False: form(("b", astronaut.read_bytes()))}
    together = threading.Barrier(50)

    def client(number: int) -> list[tuple[int, bool]]:
        together.wait(30)
        answers = []
        for turn in range(3):
            expected = bool((number + turn) % 2)
            status, _, (answer,) = predict(port, bodies[expected])
            answers.append((status, answer["glasses"] is expected))
        return answers

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = [each for of_client in pool.map(client, range(50)) for each in of_client]
    assert answers == [(200, True)] * 150
    assert (port.server.gate.requests, port.server.gate.bytes) == (0, 0)


# -------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (form(("a", bytes(900)), ("b", bytes(1001))), 413, "photo 2 is larger than 0.001 MB"),
        (form(*[("a", b"")] * 4), 413, "more than 3 photos"),
        (form(*[("a", bytes(900))] * 3), 413, "larger than 0.0025 MB"),
        (iter([form(*[("a", bytes(900))] * 3)]), 413, "larger than 0.0025 MB"),  # without a length
        (form(("a", b"x"), field="picture"), 400, "a field 'picture': send photos as 'photo'"),
        (f"--{BOUNDARY}--\r\n".encode(), 400, "no field 'photo'"),
        (form(("a", b"x"))[:-6], 400, "ends too early"),
        (b"", 400, "ends too early"),
        (b"no form", 400, "not multipart"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_limit_is_one_clear_line(small, body, status, words):
    found, _, answer = predict(small, body)
    assert (found, list(answer)) == (status, ["error"])
    assert words in answer["error"]
    assert "\n" not in answer["error"]
    assert predict(small, form(("a", bytes(1000))))[0] == 200, "the next is answered"
    assert (small.server.gate.requests, small.server.gate.bytes) == (0, 0)


def test_headers_of_a_part_are_bounded(port):
    """They are put together piece by piece, which of millions of bytes takes seconds; meanwhile nobody is answered."""
    for lines in (b"X: " + bytes([120]) * 4_000_000 + b"\r\n", b"X: y\r\n" * 500_000):
        body = f"--{BOUNDARY}\r\n".encode() + lines + form(("a", b"x")).split(b"\r\n", 1)[1]
        status, _, answer = predict(port, body)
        assert (status, answer["error"]) == (400, "the body is not multipart/form-data")


def test_other_wrong_requests(small):
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=", ""):
        status, _, answer = predict(small, b"{}", headers={"Content-Type": kind})
        assert (status, answer["error"][:24]) == (415, "send multipart/form-data")
    status, _, answer = predict(small, form(("a", b"")), headers={"Content-Type": FORM["Content-Type"] + "x" * 300})
    assert (status, answer["error"]) == (400, "the form's boundary is too long")
    status, _, answer = predict(small, form(("a", b"")), "?heatmap=yes")
    assert (status, answer["error"]) == (400, "heatmap must be 0 or 1")
    status, headers, _ = ask(small, "GET", "/predict")
    assert (status, headers["Allow"]) == (405, "POST")
    status, _, content = ask(small, "GET", "/nothing")
    assert (status, json.loads(content)["error"]) == (404, "there is nothing at this address")


def test_a_photo_beyond_the_decoder_s_limit_is_an_error_in_its_answer(port):
    file = io.BytesIO()
    Image.new("1", (20000, 20000)).save(file, format="PNG")
    _, _, (answer,) = predict(port, form(("huge.png", file.getvalue())))
    assert answer["error"] == "refused, more than 178 megapixels"


def test_large_photos_are_decoded_one_at_a_time():
    """Each takes gigabytes, of which a machine may not have as many as it has cores."""
    lock, at_work, together = threading.Lock(), [], []

    def answer(content) -> Answer:
        with lock:
            at_work.append(1)
            together.append(len(at_work))
        time.sleep(0.3)
        at_work.pop()
        return Answer(path="")

    def picture(side: int) -> bytes:
        file = io.BytesIO()
        Image.new("1", (side, side)).save(file, format="PNG")
        return file.getvalue()

    small, large, huge = (("a.png", picture(side)) for side in (100, 101, 20_000))
    with serving(SimpleNamespace(answer=answer), Limits(pixels=10_000), workers=4) as port:
        assert predict(port, form(*[small] * 4))[0] == 200
        assert max(together) > 1
        together.clear()
        assert predict(port, form(large, huge, large))[0] == 200
        assert together == [1, 1, 1]


def test_the_shipped_limits_are_those_that_are_told():
    limits = Limits()
    assert limits.file == 25_000_000
    assert limits.requests >= 50
    words = description(limits)["paths"]["/predict"]["post"]["responses"]["413"]["description"]
    assert "25 MB" in words
    told = (ROOT / "SECURITY.md").read_text().replace(",", "")
    for value, what in (
        (limits.file // 10**6, "million bytes a photo"),
        (limits.files, f"photos and {limits.body // 10**6} million bytes a request"),
        (limits.memory // 10**6, "million bytes of all requests"),
        (limits.requests, f"requests and {limits.connections} connections"),
    ):
        assert f" {value} {what}" in " ".join(told.split())


def test_a_client_that_announces_too_much_is_told_before_it_sends(small):
    with connect(small) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
        client.sendall(f"{head}Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n".encode())
        answer = receive(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_too_much_work_is_shed_and_comes_through_later():
    pipeline = Waiting()
    with serving(pipeline, Limits(requests=3, memory=100_000), workers=1) as port:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            first = [pool.submit(predict, port, form(("a", bytes(10)))) for _ in range(3)]
            until(lambda: port.server.gate.requests == 3)
            status, headers, answer = predict(port, form(("a", bytes(10))))
            assert (status, headers["Retry-After"]) == (503, "1")
            assert "try again" in answer["error"]
            assert ask(port, "GET", "/health")[0] == 200, "which is not work"
            pipeline.go.set()
            assert [waited.result()[0] for waited in first] == [200] * 3
        assert len(pipeline.begun) == 3
        assert predict(port, form(("a", bytes(10))))[0] == 200


def test_memory_is_counted_over_all_requests():
    pipeline = Waiting()
    with serving(pipeline, Limits(memory=2000), workers=1) as port:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(predict, port, form(("a", bytes(1200))))
            until(lambda: pipeline.begun)
            status, headers, _ = predict(port, form(("a", bytes(1200))))
            assert (status, headers["Retry-After"]) == (503, "1")
            pipeline.go.set()
            assert first.result()[0] == 200
        assert predict(port, form(("a", bytes(1200))))[0] == 200


def test_photos_are_let_go_without_the_garbage_collector(small):
    """Which does not see how large they are."""
    gc.collect()
    gc.disable()
    try:
        assert predict(small, form(("a", b"x")))[0] == 200
        assert predict(small, form(("a", bytes(1001))))[0] == 413
        until(lambda: not any(type(each) is PhotoParser for each in gc.get_objects()))
    finally:
        gc.enable()


def test_what_a_client_no_longer_waits_for_is_not_begun(caplog):
    pipeline = Waiting()
    with serving(pipeline, workers=1) as port:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(predict, port, form(("a", bytes(1))))
            until(lambda: pipeline.begun)
            with connect(port) as client:
                send_request(client, form(("b", bytes(2)), ("c", bytes(3))))
                until(lambda: port.server.pool._work_queue.qsize() == 2)
            until(lambda: port.server.gate.requests == 1)
            pipeline.go.set()
            assert first.result()[0] == 200
        assert predict(port, form(("d", bytes(4))))[0] == 200
    assert pipeline.begun == [1, 4]
    gc.collect()
    assert "never retrieved" not in caplog.text


# ------------------------------------------------------------------------------------------------- slow clients


def send_request(client: socket.socket, body: bytes, upto: int | None = None, path: str = "/predict") -> None:
    """A POST whose headers announce all of the body, and the body up to there."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\nContent-Length: {len(body)}\r\n"
    client.sendall(f"{head}\r\n".encode() + body[:upto])


def drip(client: socket.socket, content: bytes) -> bool:
    """Send byte by byte; whether the server closed the connection meanwhile."""
    try:
        for each in content:
            client.sendall(bytes([each]))
            time.sleep(0.05)
    except OSError:
        return True
    return False


def test_a_client_that_sends_nothing_is_left(small):
    with connect(small) as client:
        assert receive(client) == b""


def test_headers_that_drip_in_do_not_hold_a_connection(small):
    with connect(small) as client:
        assert drip(client, b"GET /health HTTP/1.1\r\nX: " + b"x" * 400)
    with connect(small) as client:  # nor those of a second request
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert drip(client, b"GET /health HTTP/1.1\r\nX: " + b"x" * 400)


@pytest.mark.parametrize(
    ("limits", "more"),
    [(Limits(silent_seconds=0.5, body_seconds=600), 0), (Limits(silent_seconds=100, body_seconds=0.5), 40)],
    ids=["stops", "drips"],
)
def test_a_body_that_stops_or_drips_is_refused(limits, more):
    body = form(("a", bytes(900)))
    with serving(SimpleNamespace(), limits) as port, connect(port) as client:
        send_request(client, body, 100)
        drip(client, body[100 : 100 + more])
        answer = receive(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"arrived too slowly" in answer
        assert (port.server.gate.requests, port.server.gate.bytes) == (0, 0)


def test_a_body_that_nobody_asked_for_does_not_hold_a_connection(small):
    with connect(small) as client:
        client.sendall(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 405 ")
        assert drip(client, b"x" * 1000)


def test_a_client_that_does_not_read_is_left(tmp_path):
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "large.bin").write_bytes(bytes(30_000_000))
    limits = Limits(reading_seconds=0.5)
    with serving(SimpleNamespace(), limits, tmp_path) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", int(port)))
        client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2.5)
        assert len(receive(client)) < 30_000_000
        status, _, content = ask(port, "GET", "/large.bin")
        assert (status, len(content)) == (200, 30_000_000)


def test_connections_are_counted(small):
    clients = [connect(small) for _ in range(16)]
    try:
        assert [receive(client) for client in clients[12:]] == [b""] * 4
    finally:
        for client in clients:
            client.close()
    until(lambda: ask_status(small) == 200)


def ask_status(port: int) -> int | None:
    try:
        return ask(port, "GET", "/health")[0]
    except (OSError, http.client.HTTPException):
        return None


def test_a_client_that_leaves_in_mid_body_leaves_nothing(small):
    for _ in range(20):
        with connect(small) as client:
            send_request(client, form(("a", bytes(900))), 300)
    until(lambda: ask_status(small) == 200)
    until(lambda: (small.server.gate.requests, small.server.gate.bytes) == (0, 0))


# ------------------------------------------------------------------------------------- names, paths, disk, headers


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        (r"C:\photos\me.jpg", "me.jpg"),
        (r"..\..\x", "x"),
        ("..", ".."),
        ("tab\tbell\a.jpg", r"tab\tbell\x07.jpg"),
        ("é 中 .jpg", "é 中 .jpg"),
        ("x" * 400, "x" * 255),
        ("", ""),
    ],
)
def test_a_file_name_is_echoed_without_folders(small, sent, echoed):
    assert last_part(sent) == echoed
    _, _, (answer,) = predict(small, form((sent, b"x")))
    assert answer["path"] == echoed


def test_a_file_name_is_never_opened(port, tmp_path, hopper, astronaut):
    """It names a photo with glasses, whose content is one without."""
    secret = tmp_path / "secret.jpg"
    shutil.copy(hopper, secret)
    for name in (str(secret), os.path.relpath(secret), secret.name, secret.as_uri()):
        _, _, (answer,) = predict(port, form((name, astronaut.read_bytes())))
        assert (answer["glasses"], answer["path"]) == (False, "secret.jpg")
    _, _, (answer,) = predict(port, form((b"\xff\xfe.jpg", b"")))
    assert answer["path"] == "\ufffd\ufffd.jpg"


WATCHED = {"on": False, "written": []}


def _watch(event: str, arguments: tuple) -> None:
    if WATCHED["on"] and event in ("open", "os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp"):
        writes = event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes:
            WATCHED["written"].append((event, arguments[0]))


def test_nothing_is_written_to_disk(port, hopper, tmp_path):
    """Python tells its audit hooks of every file that is opened."""
    sys.addaudithook(_watch)
    large = hopper.read_bytes() + bytes(12_000_000)
    WATCHED["on"] = True
    try:
        (tmp_path / "seen").write_text("the watch works")
        status, _, (answer, _) = predict(port, form(("a", large), ("b", large)), "?heatmap=1")
    finally:
        WATCHED["on"] = False
    assert (status, answer["glasses"]) == (200, True)
    assert WATCHED["written"] == [("open", str(tmp_path / "seen"))]


@pytest.fixture
def page(tmp_path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "index.html").write_text("<title>the page</title>")
    policy = "default-src 'none'; script-src 'sha256-abc='"
    (folder / "single.html").write_text(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
    (folder / "runtime.wasm.gz").write_bytes(b"packed")
    (folder / "way_out").symlink_to(tmp_path)
    return folder


@pytest.mark.parametrize(
    "path",
    "/../secret.txt /%2e%2e/secret.txt /..%2fsecret.txt /a/../../secret.txt //etc/passwd /way_out/secret.txt "
    "/api/../../cli.py /api/..%2fcli.py /%00 /..%5csecret.txt".split(),
)
def test_no_path_leaves_the_page(page, path):
    with serving(SimpleNamespace(), page=page) as port:
        status, _, content = ask(port, "GET", path)
        assert status == 404
        assert b"secret" not in content


def test_the_page_is_served_with_headers_that_forbid_the_rest(page):
    with serving(SimpleNamespace(), page=page) as port:
        for path in ("/", "/index.html", "/runtime.wasm.gz", "/api/", "/openapi.json", "/health", "/none"):
            _, headers, _ = ask(port, "GET", path)
            assert headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "Access-Control-Allow-Origin" not in headers
        status, headers, content = ask(port, "GET", "/")
        assert (status, content) == (200, b"<title>the page</title>")
        status, again, content = ask(port, "GET", "/", headers={"If-None-Match": headers["ETag"]})
        assert (status, content, again["Cache-Control"]) == (304, b"", "no-cache")
        _, headers, _ = ask(port, "GET", "/single.html")
        own = "default-src 'none'; script-src 'sha256-abc='; frame-ancestors 'none'"
        assert headers["Content-Security-Policy"] == own
        _, headers, content = ask(port, "GET", "/runtime.wasm.gz")
        assert (content, headers["Content-Encoding"]) == (b"packed", None), "the page unpacks it"
    assert "'unsafe-inline'" not in POLICY
    assert "'unsafe-eval'" not in POLICY
    assert "'wasm-unsafe-eval'" in POLICY


def test_addresses_that_are_not_the_page_s_beside_it(page):
    with serving(SimpleNamespace(), page=page) as port:
        for method in ("GET", "PUT", "OPTIONS"):
            status, _, content = ask(port, method, "/predict")
            assert (status, content) == (405, b'{"error":"this address does not take such a request"}')
        assert ask(port, "HEAD", "/predict")[0] == 405
        assert ask(port, "GET", "/predict")[1]["Allow"] == "POST"
        status, headers, _ = ask(port, "GET", "/api")
        assert (status, headers["Location"]) == (307, "/api/")


def test_where_there_is_no_page_another_says_how_to_build_it(port):
    status, headers, content = ask(port, "GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"make page" in content


def test_other_origins_read_answers_only_where_that_is_asked(port, hopper):
    asking = {"Origin": "https://example.org"}
    preflight = asking | {"Access-Control-Request-Method": "POST"}
    assert ask(port, "GET", "/health", headers=asking)[1]["Access-Control-Allow-Origin"] is None
    assert ask(port, "OPTIONS", "/predict", headers=preflight)[0] == 405
    pipeline = SimpleNamespace(answer=lambda photo: Answer(path=""))
    with serving(pipeline, cors="https://example.org") as other:
        status, headers, _ = predict(other, form(("a", b"x")), headers=asking)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://example.org")
        assert ask(other, "OPTIONS", "/predict", headers=preflight)[0] == 200
        _, headers, _ = predict(other, form(("a", b"x")), headers={"Origin": "https://example.com"})
        assert headers["Access-Control-Allow-Origin"] != "https://example.com"


def test_a_failure_of_ours_is_json_without_its_words(capsys):
    def fail(photo):
        raise RuntimeError("a secret of ours")

    with serving(SimpleNamespace(answer=fail)) as port:
        status, headers, answer = predict(port, form(("a", b"x")))
        assert (status, answer) == (500, {"error": "the request cannot be answered"})
        assert "Content-Security-Policy" in headers
        assert port.server.gate.requests == 0
        assert predict(port, form(("a", b"x")))[0] == 500


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_page_to_try_it_runs_under_its_policy(port):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command += ["--enable-logging=stderr"]  # else the page's complaints are not heard
    done = subprocess.run([*command, f"http://127.0.0.1:{port:d}/api/"], capture_output=True, text=True, timeout=120)
    assert "POST /predict</h3>" in done.stdout
    assert "curl --form photo=@photo.jpg" in done.stdout
    assert "Content Security Policy" not in done.stderr


# ---------------------------------------------------------------------------------------------------- the command


@contextmanager
def command(*arguments) -> Iterator[SimpleNamespace]:
    """`glasses serve` as a process: `process`, its `port`, and `said`, which waits for its end and returns stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "glasses", "serve", "--port", "0", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=obey_signals,
    )
    try:
        first = process.stderr.readline()
        assert first.startswith("glasses: http://127.0.0.1:"), first
        number = int(first.split("/")[2].split(":")[1])
        until(lambda: ask_status(number) == 200)
        yield SimpleNamespace(process=process, port=number, said=lambda: process.communicate(timeout=60)[1])
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_ends_it_when_what_is_at_work_is_answered(hopper, number, status, words):
    body = form(("private name.jpg", hopper.read_bytes()))
    with command() as running, connect(running.port) as client:
        idle = connect(running.port)
        send_request(client, body, len(body) // 2)
        until(lambda: json.loads(ask(running.port, "GET", "/health")[2])["requests"] == 1)
        running.process.send_signal(number)
        until(lambda: ask_status(running.port) is None)  # no new ones
        assert running.process.poll() is None, "it waits for the one at work"
        client.sendall(body[len(body) // 2 :])
        answer = receive(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"glasses":true' in answer
        said = running.said()
        idle.close()
    assert running.process.returncode == status
    assert said.splitlines()[-1] == f"glasses: {words}"
    assert "Traceback" not in said


def test_it_ends_though_a_client_never_does(hopper):
    body = form(("a.jpg", hopper.read_bytes()))
    with command() as running, connect(running.port) as client:
        send_request(client, body, 100)
        until(lambda: json.loads(ask(running.port, "GET", "/health")[2])["requests"] == 1)
        running.process.send_signal(signal.SIGTERM)
        drip(client, body[100:])
        said = running.said()
    assert running.process.returncode == 143
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "glasses: stopped by SIGTERM"


def test_its_log_holds_neither_pictures_nor_names(hopper):
    with command("--workers", "1") as running:
        predict(running.port, form(("private name.jpg", hopper.read_bytes())))
        predict(running.port, form(("x", b""), field="private name"))
        predict(running.port, f"--{BOUNDARY}private".encode())
        ask(running.port, "GET", "/private%20name?private=name")
        with connect(running.port) as client:
            client.sendall(b"private name\r\n\r\n")
            receive(client)
        running.process.send_signal(signal.SIGTERM)
        said = running.said()
    assert "predict: 200, 1 photos, " in said
    assert said.count("predict: 400, 0 photos, ") == 2
    assert all(" photos, " in line for line in said.splitlines()[2:-1]), "nothing about what is in a body"
    assert "private" not in said
    assert "127.0.0.1" not in said


def test_what_is_wrong_with_the_command_is_one_line(capsys, monkeypatch, tmp_path):
    def refused(*arguments) -> str:
        try:
            status = cli.main(["serve", *arguments])
        except SystemExit as stop:
            status = stop.code
        assert status == 2
        return capsys.readouterr().err.splitlines()[-1]

    with open_port("127.0.0.1", 0) as taken:
        number = str(taken.getsockname()[1])
        assert f"cannot listen at 127.0.0.1:{number}: Address already in use: give another" in refused("--port", number)
    assert "--port must be from 0 to 65535, not 65536" in refused("--port", "65536")
    assert "--host needs an address" in refused("--host", "", "--port", "0")
    for cors in ("example.org", "https://example.org/", "https://example.org/page"):
        assert f"--cors must be an origin as https://example.org, or *, not {cors}" in refused("--cors", cors)
    assert "--workers must be at least 1, not 0" in refused("--workers", "0")
    assert "--threshold must be between 0 and 1, not 2" in refused("--threshold", "2")
    assert "cannot listen at nowhere.invalid" in refused("--host", "nowhere.invalid", "--port", "0")
    assert "no network 'nonsense'" in refused("--port", "0", "--model", "nonsense")
    for module in ("glasses.server", "glasses.uploads", "glasses.connections"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "python_multipart.multipart", None)
    assert "pip install starlette uvicorn python-multipart" in refused("--port", "0")


def test_addresses_of_both_kinds():
    with open_port("127.0.0.1", 0) as four:
        assert address(four) == f"127.0.0.1:{four.getsockname()[1]}"
    if socket.has_ipv6:
        try:
            six = open_port("::1", 0)
        except OSError:
            pytest.skip("no IPv6 here")
        with six:
            assert address(six) == f"[::1]:{six.getsockname()[1]}"


def test_the_benchmark_asks_in_every_way():
    table = serve.measure(count=12, repeats=1).set_index("way")
    assert list(table.index) == [
        "glasses predict",
        "1 client, 1 photo a request",
        "4 clients, 1 photo a request",
        "50 clients, 1 photo a request",
        "4 clients, 10 photos a request",
    ]
    assert table["ratio"]["glasses predict"] == 1
    np.testing.assert_allclose(table["ratio"], table["photos_per_s"] / table["photos_per_s"].iloc[0])
    assert (table[["photos_per_s", "cpu_ms"]] > 0).all(axis=None)
