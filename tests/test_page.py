"""The page in a real Chromium: it answers as the tool does, sends nothing, and can be used by everybody."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from conftest import ROOT
from detector_architectures import auto
from glasses import GlassesPipeline
from glasses.frames import FRAMES
from glasses.photos import ORIENTATIONS
from web import make_settings

pytest.importorskip("playwright", reason="needs playwright: pip install -r requirements-dev.txt")
from benchmarks.page import (
    answers_of,
    browser_path,
    chromium,
    compare,
    open_page,
    serve,
    wait,
    write_photos,
    write_webcam,
)

WEB = ROOT / "web"
FAR = 0.01  # share of the faces whose probability may differ by more than 0.02: 8-bit steps that fall the other way


# ------------------------------------------------------------------------------------- without a browser


def test_settings_are_those_of_the_tool():
    stale = "python -m web.make_settings writes it"
    assert make_settings.SETTINGS.read_text() == make_settings.written(make_settings.settings()), stale


def test_settings_follow_the_tool(monkeypatch):
    before = make_settings.settings()
    monkeypatch.setattr(auto, "FIRST", auto.FIRST + 1)
    text = make_settings.written(make_settings.settings())
    assert json.loads(text)["auto"] == before["auto"] | {"FIRST": auto.FIRST}
    assert text != make_settings.written(before)


def test_every_setting_is_used_and_none_typed_again():
    settings = json.loads((WEB / "settings.json").read_text())
    names = {name for part in settings.values() if isinstance(part, dict) for name in part if name.isupper()}
    sources = "\n".join(file.read_text() for file in (WEB / "src").glob("*.js"))
    assert {name for name in names if not re.search(rf"\b{name}\b", sources)} == set()
    assert not names & set(re.findall(r"^(?:export )?const ([A-Z_]+) =", sources, re.MULTILINE))


def test_the_lock_names_no_server():
    lock = json.loads((WEB / "package-lock.json").read_text())
    package = json.loads((WEB / "package.json").read_text())
    assert "http" not in "".join(one.get("resolved", "") for one in lock["packages"].values())
    for name, version in {**package["dependencies"], **package["devDependencies"]}.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version, "an exact version, and the one locked"


# ---------------------------------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The page, built by node alone from what is committed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm, which build the page")
    if not (WEB / "node_modules" / "onnxruntime-web").is_dir():
        install = ["npm", "ci", "--prefix", str(WEB), "--ignore-scripts", "--no-audit", "--no-fund"]
        if subprocess.run(install, capture_output=True, check=False, timeout=600).returncode:
            pytest.skip("no package index can be reached, from which to take onnxruntime-web")
    out = tmp_path_factory.mktemp("page")
    command = ["node", str(WEB / "build.mjs"), "--out", str(out), "--notebooks", "https://example.org/course/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def address(built):
    with serve(built) as address:
        yield address


@pytest.fixture(scope="module")
def browser(built, tmp_path_factory, astronaut):
    if browser_path() is None:
        pytest.skip("needs chromium, as Debian's package installs it")
    image = np.asarray(Image.open(astronaut).convert("RGB"))
    with chromium(write_webcam(image, tmp_path_factory.mktemp("webcam") / "portrait.mjpeg")) as browser:
        yield browser


@pytest.fixture
def tab(browser):
    """A fresh tab, and all that it complained of, which must be nothing."""
    with browser.new_context(viewport={"width": 1000, "height": 800}) as context:
        tab = context.new_page()
        complaints = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        yield tab
        assert complaints == []


@pytest.fixture
def page(tab, address):
    """The page, its networks loaded."""
    open_page(tab, address)
    return tab


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    return write_photos(tmp_path_factory.mktemp("photos"))


def pixels(page, selector: str) -> np.ndarray:
    """(H, W, 3) uint8: what a canvas shows."""
    data = page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"))


def drawn(page, what: str) -> np.ndarray:
    """(H, W, 3) uint8: what the card of a photo shows, as soon as it shows a frame, or heat."""
    wait(page, "() => document.querySelector('article').dataset.drawn ?? null", what)
    return pixels(page, "article canvas")


def test_answers_are_those_of_the_tool(page, photos):
    faces = sorted((ROOT / "data" / "sample").rglob("*@*.jpg"))[:100]
    table = compare([*photos, *faces], answers_of(page, [*photos, *faces]))
    of_photos, of_faces = table[: len(photos)], table[len(photos) :]
    assert of_photos["same"].all()
    assert of_photos["difference"].max() <= 0.02
    assert of_photos["difference"].isna().sum() == 1, "one shows a cat"
    assert (of_faces["difference"] > 0.02).mean() <= FAR, of_faces[of_faces["difference"] > 0.02]
    assert of_faces["same"].mean() >= 1 - FAR
    assert table["boxes"].mean() >= 1 - FAR, "others are a pixel off by rounding"


def test_the_single_file_answers_without_a_server(tab, built, photos):
    open_page(tab, (built / "glasses.html").as_uri())
    table = compare(photos, answers_of(tab, photos))
    assert table["same"].all()
    assert table["difference"].max() <= 0.02


@pytest.mark.real_data
def test_answers_are_those_of_the_tool_on_whole_photos(page, real_data):
    files = sorted((real_data / "wild48").rglob("*.jpg"))
    table = compare(files, answers_of(page, files))
    assert table["same"].all()
    assert (table["difference"] > 0.02).mean() <= FAR


# ----------------------------------------------------------------------------------------------- privacy


@pytest.mark.parametrize("name", ["index.html", "glasses.html"])
def test_the_policy_is_strict(built, name):
    text = (built / name).read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    allowed = {"'self'", "'none'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert {value for values in rules.values() for value in values if not value.startswith("'sha256-")} <= allowed
    assert rules["connect-src"] == (["'self'"] if name == "index.html" else ["'none'"])
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//(?!example.org)", text), "nothing of another origin"
    assert len(re.findall(r'href="https://example.org/course/\d_\w+.ipynb"', text)) == 7


@pytest.mark.parametrize("single", [False, True])
def test_nothing_is_asked_of_anybody(browser, built, address, photos, single):
    own = {f"{address}{name}" for name in ("", "page.js", "page.css")}
    own |= {f"{address}{file.name}" for file in built.glob("*.gz")}
    start = (built / "glasses.html").as_uri() if single else address
    with browser.new_context() as context:
        asked = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        open_page(page, start)
        answers_of(page, photos[:2])
        page.locator("label[for=frame-round]").click()
        page.locator("#camera").click()
        wait(page, "() => Number(document.getElementById('live').dataset.frames) > 3")
        page.locator("#stop").click()
        page.wait_for_timeout(300)
    asked = {url for url in asked if not url.startswith(("data:", "blob:"))}
    assert asked == ({start} if single else own)


@pytest.mark.parametrize("single", [False, True])
def test_the_policy_stops_whoever_would_send(browser, built, address, single):
    attempts = ["fetch(there)", "new WebSocket(there.replace('http', 'ws'))", "navigator.sendBeacon(there, 'a')"]
    attempts += ["document.body.append(Object.assign(new Image(), {src: there}))"]
    attempts += ["document.head.append(Object.assign(document.createElement('script'), {src: there}))"]
    with browser.new_context() as context, socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.5)
        there = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        page = context.new_page()
        refused = []
        page.on("console", lambda message: refused.append(message.text))
        page.goto((built / "glasses.html").as_uri() if single else address)
        for attempt in attempts:
            page.evaluate(f"async (there) => {{ try {{ await {attempt} }} catch {{}} }}", there)
        with pytest.raises(TimeoutError):  # nobody came
            elsewhere.accept()
        assert sum("Content Security Policy" in text for text in refused) >= len(attempts) - 1
        page.goto("about:blank")
        page.evaluate("(there) => void fetch(there).catch(() => {})", there)
        elsewhere.accept()  # a page without that policy gets through: the test would notice


# ------------------------------------------------------------------------------------ all kinds of files


@pytest.mark.parametrize("orientation", [1, *ORIENTATIONS])
def test_photos_turned_by_exif_are_upright(page, hopper, tmp_path, orientation):
    upright = Image.open(hopper)
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, ORIENTATIONS.get(orientation))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = tmp_path / "turned.jpg"
    (upright if turn is None else upright.transpose(turn)).save(file, quality=95, exif=exif)
    (answer,) = answers_of(page, [file])
    expected = GlassesPipeline().answer(hopper)
    assert answer.glasses is True
    assert np.allclose(answer.boxes[0], expected.faces[0].box, atol=4)


def test_what_is_no_photo_is_told_in_a_line(page, hopper, tmp_path):
    contents = {
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
        "empty.jpg": b"",
        "words.jpg": b"these are words",
        "cut.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "fine.jpg": hopper.read_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    answers = {one.name: one for one in answers_of(page, [tmp_path / name for name in contents])}
    assert list(answers) == list(contents), "in their order"
    assert answers["fine.jpg"].glasses is True
    for name in [*contents][:-1]:
        assert (answers[name].glasses, answers[name].probability) == (None, None)
        assert answers[name].error
        assert "\n" not in answers[name].error
        card = page.locator(f'[data-name="{name}"]')
        assert answers[name].error in card.inner_text()
    assert "HEIC" in answers["phone.heic"].error
    assert "JPEG" in answers["phone.heic"].error, "and what to do"
    assert "empty" in answers["empty.jpg"].error


def test_huge_photos_are_shrunk_and_it_says_so(page, hopper, tmp_path):
    file = tmp_path / "huge.jpg"
    Image.open(hopper).resize((5120, 6000)).save(file, quality=80)
    (answer,) = answers_of(page, [file])
    expected = GlassesPipeline().answer(file)
    assert answer.probability == pytest.approx(expected.probability, abs=0.02)
    assert np.allclose(answer.boxes[0], expected.faces[0].box, atol=40), "in pixels of the photo"
    assert "shrunk from 5120" in page.locator("article").inner_text()


def test_a_transparent_picture_lies_on_white(page, hopper, tmp_path):
    picture = Image.open(hopper).convert("RGBA")
    mask = np.zeros((picture.height, picture.width), np.uint8)
    cv2.ellipse(mask, (270, 210), (130, 160), 0, 0, 360, 255, -1)
    picture.putalpha(Image.fromarray(mask))
    picture.save(tmp_path / "cut.png")
    table = compare([tmp_path / "cut.png"], answers_of(page, [tmp_path / "cut.png"]))
    assert table["difference"].iloc[0] <= 0.02
    assert (pixels(page, "article canvas")[2, 2] > 250).all()


# ------------------------------------------------------------------------------------------- ways in

GIVE = """([kind, files]) => {
  const data = new DataTransfer();
  for (const [name, text, type = "image/jpeg"] of files) {
    data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, {type}));
  }
  const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
    : new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
  document.body.dispatchEvent(event);
  return [event.defaultPrevented, document.getElementById("dropping").hidden];
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_photos_come_by_paste_and_drop(page, hopper, kind):
    files = [[name, base64.b64encode(hopper.read_bytes()).decode()] for name in ("a.jpg", "b.jpg")]
    if kind == "drop":
        assert page.evaluate(GIVE, ["dragover", files]) == [True, False], "it shows that it takes them"
    assert page.evaluate(GIVE, [kind, files]) == [True, True], "the browser does not open them itself"
    standing = "() => [...document.querySelectorAll('[data-glasses]')].map((card) => card.dataset.name)"
    wait(page, standing, ["a.jpg", "b.jpg"])
    assert page.locator('article[data-glasses="true"]').count() == 2


def test_of_several_films_one_is_shown_and_it_says_so(page, hopper, tmp_path):
    av = pytest.importorskip("av", reason="writes the film")
    image = np.asarray(Image.open(hopper).convert("RGB").resize((240, 280)))
    with av.open(tmp_path / "film.webm", "w") as film:
        stream = film.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 240, 280, "yuv420p"
        for _ in range(10):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode())
    content = base64.b64encode((tmp_path / "film.webm").read_bytes()).decode()
    films = [[f"{letter}.webm", content, "video/webm"] for letter in "abc"]
    state = "() => document.getElementById('state').textContent"
    page.evaluate(GIVE, ["drop", films])
    wait(page, state, "One film is shown at a time: of these 3 it is a.webm.")
    wait(page, "() => document.getElementById('live').dataset.glasses ?? null", "true")
    page.evaluate(GIVE, ["drop", films[:1]])
    wait(page, f"() => ({state})().startsWith('Ready')")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animated_picture_the_first_frame_is_answered(page, hopper, tmp_path, suffix):
    first = Image.open(hopper).convert("RGB")
    file = tmp_path / f"moving.{suffix}"
    first.save(file, save_all=True, append_images=[Image.new("RGB", first.size, "navy")] * 2, duration=100)
    assert Image.open(file).n_frames > 1
    (answer,) = answers_of(page, [file])
    assert answer.glasses is True
    assert GlassesPipeline().answer(file).glasses is True, "as by the tool"


def test_photos_chosen_while_the_networks_load_are_answered_later(tab, address, hopper):
    tab.goto(address)
    (answer,) = answers_of(tab, [hopper])
    assert answer.glasses is True
    (again,) = answers_of(tab, [hopper])
    assert again.probability == answer.probability, "the same file can be chosen again"


def test_a_phone_offers_its_camera(browser, address):
    with browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(address)
        assert page.get_by_text("Take a photo").is_visible()
        assert page.locator("#snapshot").get_attribute("capture") == "user"


def test_a_file_that_goes_away_is_told(page, hopper, astronaut, tmp_path):
    file = Path(shutil.copy(hopper, tmp_path / "moved.jpg"))
    answers_of(page, [file, astronaut])
    file.unlink()
    page.locator("label[for=frame-round]").click()
    wait(page, "() => [...document.querySelectorAll('article')].map((card) => card.dataset.drawn).at(-1)", "round")
    assert "moved or changed" in page.locator("article").first.inner_text()
    page.evaluate("() => { Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError')); }")
    assert "a folder, or a file that was moved" in answers_of(page, [hopper])[-1].error


# --------------------------------------------------------------------------------------- moving pictures


def test_the_webcam_is_answered_live(page, photos):
    page.locator("#camera").click()
    assert compare(photos[:3], answers_of(page, photos[:3]))["difference"].max() < 0.02, "photos meanwhile"
    wait(page, "() => Number(document.getElementById('live').dataset.frames) > 20")
    assert page.locator("#live-answer").inner_text() == "No glasses"
    assert re.fullmatch(r"\d+ frames a second", page.locator("#live-rate").inner_text())
    assert float(page.locator("#live").get_attribute("data-probability")) < 0.1
    seen = pixels(page, "#view")
    blue = np.abs(seen.astype(int) - [0x56, 0xB4, 0xE9]).sum(2) < 12
    assert blue.sum() > 300, "a box in the colour of no glasses"
    page.locator("#stop").click()
    assert page.locator("#live").is_hidden()
    assert page.evaluate("() => document.getElementById('film-view').srcObject") is None
    assert page.evaluate("() => document.activeElement.id") == "camera"


def test_a_webcam_that_is_asked_for_twice_is_let_go(page):
    """The first stream ends when the second is shown, and that by the button."""
    page.evaluate("""() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      window.streams = [];
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.streams.push(stream);
        return stream;
      };
      document.getElementById("camera").click();
      document.getElementById("camera").click();
    }""")
    wait(page, "() => Number(document.getElementById('live').dataset.frames) > 3")
    states = "() => window.streams.map((stream) => stream.getTracks()[0].readyState)"
    wait(page, states, ["ended", "live"])
    page.locator("#stop").click()
    wait(page, states, ["ended", "ended"])
    assert page.locator("#state").get_attribute("class") != "trouble"


def test_a_webcam_that_is_refused_is_told(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
        )
        open_page(page, address)
        page.locator("#camera").click()
        wait(page, "() => document.getElementById('state').textContent.includes('not allowed')")
        assert page.locator("#live").is_hidden()


SPY = """() => {
    window.streams = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wish) => {
        const stream = await open(wish);
        window.streams.push(stream);
        return stream;
    };
}"""
OPEN = "() => window.streams.filter((stream) => stream.active).length"


def test_impatient_clicks_open_one_webcam(tab, address):
    tab.goto(address)
    tab.evaluate(SPY)
    tab.locator("#camera").dblclick()  # while the networks are loaded
    wait(tab, "() => Number(document.getElementById('live').dataset.frames) > 3")
    tab.locator("#camera").dblclick()
    wait(tab, "() => window.streams.length", 4)
    wait(tab, "() => Number(document.getElementById('live').dataset.frames) > 3")
    assert tab.evaluate(OPEN) == 1
    tab.locator("#stop").click()
    assert tab.evaluate(OPEN) == 0, "the webcam's light is off"
    assert "Ready" in tab.locator("#state").inner_text()


def test_a_webcam_that_is_taken_away_is_told(page):
    page.evaluate(SPY)
    page.locator("#camera").click()
    wait(page, "() => Number(document.getElementById('live').dataset.frames) > 3")
    page.evaluate("() => window.streams[0].getTracks()[0].stop()")
    wait(page, "() => document.getElementById('state').textContent", "the webcam gives no more pictures")
    assert page.locator("#live").is_hidden()


def test_glasses_are_tried_on_in_the_webcam(page):
    """The tool itself sees them in what the page shows."""
    page.locator("#camera").click()
    page.locator("label[for=frame-wayfarer]").click()
    frames = "() => Number(document.getElementById('live').dataset.frames ?? 0)"
    page.wait_for_timeout(200)
    now = page.evaluate(frames)
    wait(page, f"() => ({frames})() > {now + 5}")
    answer = GlassesPipeline().answer(pixels(page, "#view"))
    assert (answer.glasses, answer.kind) == (True, "eyeglasses")
    assert page.locator("#live").get_attribute("data-glasses") == "false", "its own answer is of the face"


def test_a_film_of_one_picture_is_answered(page, hopper, tmp_path):
    film = cv2.VideoWriter(str(tmp_path / "one.webm"), cv2.VideoWriter_fourcc(*"VP80"), 10, (480, 560))
    if not film.isOpened():
        pytest.skip("this OpenCV writes no WebM")
    film.write(cv2.resize(cv2.imread(str(hopper)), (480, 560)))
    film.release()
    over = "() => Promise.reject(new DOMException('interrupted by end of playback', 'AbortError'))"
    page.evaluate(f"() => {{ HTMLMediaElement.prototype.play = {over}; }}")  # as it is of an MP4
    page.locator("#film").set_input_files(str(tmp_path / "one.webm"))
    wait(page, "() => document.getElementById('live').dataset.glasses ?? null", "true")
    page.locator("#pause").click()
    page.wait_for_timeout(300)
    assert "Ready" in page.locator("#state").inner_text()


def test_a_film_is_answered(page, hopper, tmp_path):
    image = cv2.resize(cv2.imread(str(hopper)), (480, 560))
    film = cv2.VideoWriter(str(tmp_path / "film.webm"), cv2.VideoWriter_fourcc(*"VP80"), 10, (480, 560))
    if not film.isOpened():
        pytest.skip("this OpenCV writes no WebM")
    for shift in range(40):
        film.write(np.roll(image, shift, axis=1))
    film.release()
    page.locator("#film").set_input_files(str(tmp_path / "film.webm"))
    wait(page, "() => document.getElementById('live').dataset.glasses ?? null", "true")
    assert page.locator("#live-answer").inner_text() == "Glasses: eyeglasses"
    assert page.locator("#seek").is_visible()
    page.locator("#pause").click()
    wait(page, "() => document.getElementById('pause').textContent", "Play")
    (tmp_path / "broken.webm").write_bytes(b"no film")
    page.locator("#film").set_input_files(str(tmp_path / "broken.webm"))
    wait(page, "() => document.getElementById('state').textContent.startsWith('broken.webm: damaged')")


# ------------------------------------------------------------------------------------- what is drawn


def near(mask: np.ndarray) -> np.ndarray:
    """Where it is, and two pixels around."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def test_every_frame_is_where_the_tool_puts_it(page, astronaut):
    """Nearly all pixels that one changes are no further than two pixels from one that the other changes."""
    from glasses import read_image, try_on

    image, _ = read_image(astronaut, max_side=None)
    keypoints = GlassesPipeline(keypoints=True).answer(image).faces[0].keypoints
    answers_of(page, [astronaut])
    for name in FRAMES:
        page.locator(f"label[for=frame-{name}]").click()
        shown = drawn(page, name).astype(int)
        assert shown.shape == image.shape
        ours = np.abs(try_on(image, keypoints, name).astype(int) - image).sum(2) > 120
        theirs = np.abs(shown - image).sum(2) > 120
        assert ours.sum() > 150
        assert (ours & near(theirs)).sum() / ours.sum() > 0.85, name
        assert (theirs & near(ours)).sum() / theirs.sum() > 0.85, name
    page.locator("label[for=frame-none]").click()
    changed = np.abs(drawn(page, "none").astype(int) - image).max(2) > 0
    assert not changed[260:].any(), "all are taken off"


def test_the_heat_map_is_drawn_where_the_network_looks(page, hopper):
    (answer,) = answers_of(page, [hopper])
    before = drawn(page, "none").astype(int)
    page.get_by_role("button", name="Where does it look?").click()
    changed = np.abs(drawn(page, "none, heat").astype(int) - before).sum(2) > 30
    x, y, w, h = answer.boxes[0]
    rows, columns = np.nonzero(changed)
    assert changed[y : y + h // 2, x : x + w].mean() > 0.25
    assert x - w < columns.min() < columns.max() < x + 2 * w
    assert y - h / 2 < rows.min() < rows.max() < y + h
    assert page.locator("#key").is_visible()
    page.get_by_role("button", name="Where does it look?").click()
    assert (drawn(page, "none") == before).all()


# ------------------------------------------------------------------------------------------- for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_it_fits_and_can_be_read(browser, address, photos, scheme, width):
    with browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme) as context:
        page = context.new_page()
        open_page(page, address)
        answers_of(page, photos[:2])
        page.locator("#camera").click()
        wait(page, "() => Number(document.getElementById('live').dataset.frames) > 1")
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        for selector in ("h1", "header p", ".hint", ".verdict", ".more", "#state", ".main label", "#camera", "#how p"):
            style = "(one) => getComputedStyle(one)"
            ink = page.locator(selector).first.evaluate(f"(one) => ({style})(one).color")
            paper = page.locator(selector).first.evaluate(
                f"(one) => {{ while (({style})(one).backgroundColor === 'rgba(0, 0, 0, 0)') one = one.parentElement;"
                f" return ({style})(one).backgroundColor; }}"
            )
            assert contrast(ink, paper) >= 4.5, (selector, ink, paper)
        back = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (luminance(back) < 0.1) == (scheme == "dark")


def luminance(colour: str) -> float:
    """The relative luminance of "rgb(r, g, b)" (WCAG 2.2)."""
    values = np.array([float(v) for v in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


SHIFTS = """window.shifted = [];
  const places = (shift) => shift.sources.map(({node}) => node?.id || node?.className || node?.nodeName);
  new PerformanceObserver((list) => window.shifted.push(...list.getEntries().flatMap(places)))
    .observe({type: 'layout-shift', buffered: true});"""


def test_nothing_jumps(tab, address, photos):
    tab.add_init_script(SHIFTS)
    open_page(tab, address)
    tab.wait_for_timeout(200)
    assert tab.evaluate("() => window.shifted") == [], "while it loads"
    answers_of(tab, photos[:4])
    tab.wait_for_timeout(200)
    assert tab.evaluate("() => window.shifted") == ["how"], "which makes room for the answers, once"


def test_it_is_used_by_keyboard(page, hopper):
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "photo"
    assert page.locator("label[for=photo]").evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(20):
        page.keyboard.press("Enter")
        page.wait_for_timeout(200)
        if chosen:
            break
    chosen[0].set_files([str(hopper)])
    before = drawn(page, "none")
    for _ in range(9):
        if page.evaluate("() => document.activeElement.id") == "frame-none":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert (drawn(page, "round") != before).any()
    assert page.evaluate("() => document.activeElement.id") == "frame-round"


def test_it_is_heard(page, hopper):
    answers_of(page, [hopper])
    said = page.get_by_role("status")
    assert re.search(r"grace_hopper.jpg: Glasses: eyeglasses. Probability of glasses \d", said.text_content())
    for name in ("Webcam", "Save picture"):
        assert page.get_by_role("button", name=name).count() == 1
    for name in ("Choose photos", "Video file", *FRAMES):
        assert page.get_by_label(name, exact=True).count() == 1
    assert page.get_by_role("img", name="grace_hopper.jpg: Glasses: eyeglasses").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


# ------------------------------------------------------------------------------------------ when it cannot


def test_without_webassembly_it_says_so(browser, address, hopper):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("Object.defineProperty(window, 'WebAssembly', {value: undefined})")
        page.goto(address)
        wait(page, "() => document.getElementById('state').textContent.includes('lacks WebAssembly')")
        (answer,) = answers_of(page, [hopper])
        assert answer.error == "the networks cannot be run"
        assert page.locator("#state").get_attribute("class") == "trouble"


def test_a_missing_network_is_named(browser, built, tmp_path):
    shutil.copytree(built, tmp_path / "page")
    (tmp_path / "page" / "keypoints.onnx.gz").unlink()
    with serve(tmp_path / "page") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        wait(page, "() => document.getElementById('state').textContent.includes('keypoints.onnx.gz (404)')")


def test_loading_tells_how_much_has_come(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            """window.told = [];
            const telling = (list) => window.told.push(...list.map(() => document.getElementById('state').textContent));
            document.addEventListener('DOMContentLoaded', () =>
              new MutationObserver(telling).observe(document.getElementById('state'), {childList: true}));"""
        )
        open_page(page, address)
        told = page.evaluate("() => window.told")
    sizes = [re.fullmatch(r"Loading the networks: ([\d.]+) of ([\d.]+) MB", one) for one in told[:-1]]
    assert all(sizes)
    assert float(sizes[-1][1]) == float(sizes[-1][2])
