"""`glasses video` as people call it: lines, spans, films with boxes or glasses, one line for each trouble."""

import csv
import io
import json
import signal
import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from conftest import ROOT, obey_signals
from films import Scene, dressed, packets, portrait, write
from glasses import GlassesPipeline
from glasses.cli import main
from glasses.tracks import Span, TrackedFace
from glasses.video import Film
from glasses.video_command import STEADY_LOOK, Painter, summary, wanted

PUT_ON, TAKEN_OFF, END = 1.0, 2.2, 3.0  # seconds of the film below


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """A face that moves, and puts on sunglasses and takes them off; with sound."""
    scene, (bare, _), dark = Scene(), portrait(), dressed("aviator")
    images = []
    for n in range(round(25 * END)):
        t = n / 25
        worn = dark if PUT_ON <= t < TAKEN_OFF else bare
        images.append(scene.frame([(worn, 320 + 80 * np.sin(2 * t), 180, 1, 5 * np.sin(3 * t))], 3, n))
    return write(tmp_path_factory.mktemp("film") / "in.mp4", images, sound="aac")


def command(capsys, *arguments) -> tuple[int, str, list[str]]:
    """Exit status, stdout, and the lines of stderr."""
    capsys.readouterr()
    try:
        status = main(["video", *map(str, arguments)])
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def images_of(path: Path) -> list[np.ndarray]:
    film = Film(path)
    return [frame.image() for frame in film.frames()]


# ------------------------------------------------------------------------------------------------------- answers


def test_a_line_for_each_face_and_frame_and_the_spans(film, capsys):
    status, out, err = command(capsys, film)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [answer["frame"] for answer in answers] == list(range(75))
    assert [answer["time"] for answer in answers] == pytest.approx([n / 25 for n in range(75)], abs=1e-3)
    assert {answer["track"] for answer in answers} == {1}
    assert list(answers[0]) == ["time", "frame", "track", "box", "probability", "kind"]
    changes = [b["time"] for a, b in pairwise(answers) if a["kind"] != b["kind"]]
    assert len(changes) == 2
    assert changes == pytest.approx([PUT_ON, TAKEN_OFF], abs=0.45)
    assert err == [
        "track 1: 0:00.0 to 0:01.0 no glasses",
        "track 1: 0:01.0 to 0:02.2 sunglasses",
        "track 1: 0:02.2 to 0:03.0 no glasses",
        "1 track, 1 with glasses, in 75 frames (0:03.0)",
    ]
    x, y, w, h = answers[0]["box"]
    assert 270 < x + w / 2 < 370
    assert 130 < y + h / 2 < 230


def test_csv_says_the_same(film, capsys):
    _, lines, _ = command(capsys, film)
    status, table, _ = command(capsys, film, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert status == 0
    assert table.startswith("time,frame,track,x,y,w,h,probability,kind\n")
    for row, line in zip(rows, map(json.loads, lines.splitlines()), strict=True):
        assert [int(row[name]) for name in "xywh"] == line["box"]
        assert (int(row["frame"]), int(row["track"]), row["kind"]) == (line["frame"], line["track"], line["kind"])
        assert float(row["probability"]) == pytest.approx(line["probability"], abs=1e-4)
        assert float(row["time"]) == pytest.approx(line["time"], abs=1e-3)


@pytest.mark.parametrize(("options", "frames"), [(["--every", 10], range(0, 75, 10)), (["--fps", 5], range(0, 75, 5))])
def test_fewer_frames(film, capsys, options, frames):
    status, out, err = command(capsys, film, *options)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [answer["frame"] for answer in answers] == list(frames)
    assert {answer["track"] for answer in answers} == {1}
    assert err[-1].endswith("in 75 frames (0:03.0)")


def test_a_rate_is_one_of_the_film_s_time():
    """Also where the frames come irregularly."""
    is_wanted = wanted(None, 2.0)
    times = [0, 0.1, 0.45, 0.5, 0.9, 1.7, 1.8, 2.0, 2.3]
    assert [time for number, time in enumerate(times) if is_wanted(number, time)] == [0, 0.5, 1.7, 2.3]


def test_summary_of_several_tracks():
    spans = {1: [Span(0, 3.24, "none"), Span(3.24, 7.9, "sunglasses")], 2: [Span(61, 62, "none")]}
    assert summary(spans, 100, 62.0) == [
        "track 1: 0:00.0 to 0:03.2 no glasses",
        "track 1: 0:03.2 to 0:07.9 sunglasses",
        "track 2: 1:01.0 to 1:02.0 no glasses",
        "2 tracks, 1 with glasses, in 100 frames (1:02.0)",
    ]
    assert summary({}, 1, 0.0) == ["no face, in 1 frame (0:00.0)"]


def test_a_film_of_nobody(tmp_path, capsys):
    path = write(tmp_path / "a.mp4", [Scene().frame()] * 10)
    assert command(capsys, path) == (0, "", ["no face, in 10 frames (0:00.4)"])


def test_one_frame(tmp_path, capsys):
    path = write(tmp_path / "a.mp4", [Scene().frame([(dressed("wayfarer"), 320, 180, 1, 0)])])
    status, out, err = command(capsys, path)
    assert (status, json.loads(out)["kind"]) == (0, "eyeglasses")
    assert err == ["track 1: 0:00.0 to 0:00.0 eyeglasses", "1 track, 1 with glasses, in 1 frame (0:00.0)"]


# -------------------------------------------------------------------------------------------------------- films


def test_the_film_with_boxes(film, tmp_path, capsys):
    target = tmp_path / "out.mp4"
    status, out, _ = command(capsys, film, "--output", target, "--every", 10)
    assert status == 0
    assert len(out.splitlines()) == 8, "the lines are fewer, the frames are not"
    before, after = images_of(film), images_of(target)
    assert len(after) == len(before) == 75
    assert [frame.time for frame in Film(target).frames()] == [frame.time for frame in Film(film).frames()]
    assert packets(target) == packets(film)
    assert list(tmp_path.iterdir()) == [target]
    for number, colour in ((0, (86, 180, 233)), (45, (230, 159, 0))):  # none, glasses: of glasses/drawing.py
        near = np.abs(after[number].astype(int) - colour).max(2) < 60
        drawn = near & (np.abs(after[number].astype(int) - before[number]).max(2) > 30)
        assert drawn.sum() > 300
        away = np.abs(after[number][-40:].astype(int) - before[number][-40:])
        assert away.mean() < 3, "nothing but boxes is drawn"


def test_the_film_with_glasses(film, tmp_path, capsys):
    """The network sees them in each frame, they move with the face, and nothing else has changed."""
    target = tmp_path / "out.mkv"
    bare = write(tmp_path / "in.mp4", images_of(film)[:25])
    status, out, _ = command(capsys, bare, "--output", target, "--try-on", "aviator")
    assert status == 0
    assert {json.loads(line)["kind"] for line in out.splitlines()} == {"none"}, "the answers are for the film itself"
    before, after = images_of(bare), images_of(target)
    answers = list(GlassesPipeline()(after))
    assert [answer.kind for answer in answers] == ["sunglasses"] * 25
    assert np.mean([np.abs(a[-40:].astype(int) - b[-40:]).mean() for a, b in zip(after, before, strict=True)]) < 3


def test_the_light_on_tried_on_glasses_is_steady():
    scene, (bare, points) = Scene(), portrait()
    face = TrackedFace((250, 85, 140, 190), 0.1, "none", points + np.array([245, 85]), track=1)
    paint, looks = Painter("wayfarer"), []
    for n in range(12):
        paint(scene.frame([(np.uint8(bare * (0.8 + 0.2 * (n % 2))), 320, 180, 1, 0)], 3, n), [face])
        looks.append(paint._looks[1].level)
    assert np.abs(np.diff(looks)).max() < 2 * STEADY_LOOK * 0.3, "a lamp that flickers"
    paint(scene.frame(), [])
    assert paint._looks == {}, "nothing is kept of faces that are gone"


def test_each_face_has_its_frame_with_random(tmp_path, capsys):
    scene, (bare, _) = Scene(), portrait()
    path = write(tmp_path / "a.mp4", [scene.frame([(bare, 160, 180, 1, 0), (bare, 480, 180, 1, 0)])] * 5)
    assert command(capsys, path, "--output", tmp_path / "b.mp4", "--try-on", "random")[0] == 0
    first, last = images_of(tmp_path / "b.mp4")[::4]
    assert np.abs(first.astype(int) - last).mean() < 2, "the same from frame to frame"
    left, right = (last[100:260, x - 60 : x + 60].astype(int) for x in (160, 480))
    assert np.abs(left - right).mean() > 3


# ------------------------------------------------------------------------------------------------------ trouble


def test_a_cut_film_is_answered_as_far_as_it_goes(tmp_path, capsys):
    scene, (bare, _) = Scene(), portrait()
    images = [scene.frame([(bare, 320, 180, 1, 0)], 8, n) for n in range(50)]
    path = write(tmp_path / "a.mp4", images, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    status, out, err = command(capsys, path, "--output", tmp_path / "b.mp4")
    assert status == 1
    assert 10 < len(out.splitlines()) < 40
    assert err[0].startswith(f"glasses: {path}: the film is cut off or damaged, it ends at 0:0")
    assert err[-1].startswith("1 track, 0 with glasses, in ")
    assert len(images_of(tmp_path / "b.mp4")) == len(out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["missing.mp4"], 1, "missing.mp4: no such file"),
        (["text.mp4"], 1, "text.mp4: not a film in a format FFmpeg reads"),
        (["empty.mp4"], 1, "empty.mp4: the file is empty"),
        (["."], 1, ".: a folder, not a film"),
        ([], 2, "give a film, or --camera and its number"),
        (["in.mp4", "--camera", "0"], 2, "give a film, or --camera and its number"),
        (["in.mp4", "--every", "0"], 2, "--every must be above 0, not 0"),
        (["in.mp4", "--fps", "nan"], 2, "--fps must be above 0, not nan"),
        (["in.mp4", "--every", "2", "--fps", "2"], 2, "not allowed with argument --every"),
        (["in.mp4", "--format", "text"], 2, "invalid choice: 'text'"),
        (["in.mp4", "--output", "out.avi"], 2, "out.avi does not end as a film does"),
        (["in.mp4", "--output", "none/out.mp4"], 2, "--output: there is no folder none"),
        (["in.mp4", "--output", "in.mp4"], 2, "in.mp4 is the film that is read, give another file"),
        (["in.mp4", "--output", "folder.mp4"], 2, "folder.mp4 is a folder, give a file"),
        (["in.mp4", "--output", ""], 2, "does not end as a film does"),
        (["in.mp4", "--try-on", "aviator"], 2, "--try-on draws into a film: give --output FILE"),
        (["in.mp4", "--output", "out.mp4", "--try-on", "monocle"], 2, "unknown frame 'monocle'"),
        (["in.mp4", "--output", "out.mp4", "--try-on", "all"], 2, "all is for photos, give one frame or random"),
        (["--camera", "97"], 1, "camera 97: there is no such camera"),
    ],
)
def test_trouble_is_one_line(film, tmp_path, monkeypatch, capsys, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mp4").write_bytes(film.read_bytes())
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    there = sorted(tmp_path.rglob("*"))
    ended, out, err = command(capsys, *arguments)
    assert (ended, out) == (status, "")
    assert words in err[-1]
    assert err[-1].startswith("glasses")
    assert len(err) == 1 or err[0].startswith("usage:")
    assert sorted(tmp_path.rglob("*")) == there, "nothing is left behind"


def test_without_pyav_it_says_what_to_install(film, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    assert command(capsys, film) == (2, "", ["glasses: films need the package PyAV: pip install 'av>=17'"])
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(__version__="16.1.0"))
    assert command(capsys, film)[2] == ["glasses: PyAV 16.1.0 is too old for films: pip install 'av>=17'"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full(film, tmp_path, monkeypatch, capsys):
    """The name beside the target leads to a full disk."""
    target = tmp_path / "out.mkv"
    monkeypatch.setattr("glasses.video_command.whole_file", lambda path: nullcontext(Path("/dev/full")))
    status, _, err = command(capsys, film, "--output", target)
    assert (status, err) == (1, [f"glasses: cannot write {target}: No space left on device"])


def run(*arguments, **options) -> subprocess.Popen:
    pipe = subprocess.PIPE
    call = [sys.executable, "-m", "glasses", "video", *map(str, arguments)]
    return subprocess.Popen(call, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, preexec_fn=obey_signals, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing(film, tmp_path, number):
    process = run(film, "--output", tmp_path / "out.mp4", "--try-on", "aviator")
    while not list(tmp_path.iterdir()):
        assert process.stdout.readline()
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"], "it is written beside its place"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_has_seen_enough(film, tmp_path):
    process = run(film, "--output", tmp_path / "out.mp4")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


MEMORY = """
import resource, sys
from glasses.cli import main
main(["video", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("output", [False, True])
def test_memory_does_not_grow_with_the_film(tmp_path, output):
    """Peak memory of a film, and of one seven times as long."""
    scene, (bare, _) = Scene(320, 180), portrait()
    image = scene.frame([(bare, 160, 90, 0.7, 0)])
    peaks = []
    for count in (200, 1400):
        path = write(tmp_path / f"{count}.mp4", [image] * count, options={"preset": "ultrafast"}, sound="aac")
        more = ["--output", str(tmp_path / "out.mp4")] if output else []
        call = [sys.executable, "-c", MEMORY, str(path), *more]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) == count
        peaks.append(int(done.stderr.splitlines()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 12, f"megabytes: {peaks}"


# ------------------------------------------------------------------------------------------------------- camera


class FakeCapture:
    """A camera that gives some pictures of a face, as OpenCV does, and then no more; or Ctrl-C."""

    pictures, interrupted = 12, False

    def __init__(self, number: int):
        scene, dark = Scene(), dressed("aviator")
        self.frames = [scene.frame([(dark, 320, 180, 1, 0)], 3, n)[..., ::-1] for n in range(self.pictures)]

    def isOpened(self):  # noqa: N802
        return True

    def read(self):
        if self.frames:
            return True, self.frames.pop()
        if self.interrupted:
            raise KeyboardInterrupt
        return False, None

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    """The fake one, and no screen."""
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("glasses.camera.Path.exists", lambda path: True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return FakeCapture


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a screen is always taken to be there")
def test_a_camera_without_a_screen(camera, capsys):
    status, out, err = command(capsys, "--camera", 0)
    assert status == 0
    assert {json.loads(line)["kind"] for line in out.splitlines()} == {"sunglasses"}
    assert len(out.splitlines()) == 12
    assert err[0] == "glasses: no window: there is no screen; the answers go on, Ctrl-C ends them"
    assert err[-1].startswith("1 track, 1 with glasses, in 12 frames")


def test_ctrl_c_ends_a_recording_in_order(camera, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(camera, "interrupted", True)
    status, out, _ = command(capsys, "--camera", 0, "--output", tmp_path / "me.mp4")
    assert status == 0
    assert len(images_of(tmp_path / "me.mp4")) == len(out.splitlines()) == 12
    assert [file.name for file in tmp_path.iterdir()] == ["me.mp4"]


def test_a_camera_in_a_window_until_q_is_pressed(camera, monkeypatch, capsys):
    shown = []
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(cv2, "namedWindow", lambda *arguments: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: ord("q") if len(shown) == 5 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *arguments: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append("closed"))
    status, out, err = command(capsys, "--camera", 0)
    assert (status, len(out.splitlines()), shown.pop()) == (0, 5, "closed")
    assert len(shown) == 5
    orange = np.abs(shown[0].astype(int) - (0, 159, 230)).max(2) < 30  # BGR
    assert orange.sum() > 300, "the box is drawn"
    assert err[-1].startswith("1 track, 1 with glasses, in 5 frames")


def test_an_opencv_without_windows_says_what_is_needed(camera, monkeypatch, capsys):
    def refuse(*arguments):
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(cv2, "namedWindow", refuse)
    status, out, err = command(capsys, "--camera", 0)
    assert (status, len(out.splitlines())) == (0, 12)
    assert "pip uninstall opencv-python-headless, then pip install 'opencv-python<5'" in err[0]


def test_a_camera_that_gives_no_picture(camera, monkeypatch, capsys):
    monkeypatch.setattr(camera, "pictures", 0)
    assert command(capsys, "--camera", 0)[::2] == (
        1,
        ["glasses: no window: there is no screen; the answers go on, Ctrl-C ends them"] * (sys.platform == "linux")
        + ["glasses: camera 0: it gives no picture"],
    )


# ------------------------------------------------------------------------------------------------------ predict


def test_predict_says_which_command_answers_for_films(film, tmp_path, capsys):
    for name in ("a.mp4", "a.mkv", "a.avi", "a.ts"):
        path = film
        if name != "a.mp4":
            path = write(tmp_path / name, images_of(film)[:5], codec="mpeg4")
        assert main(["predict", str(path)]) == 1
        err = capsys.readouterr().err.splitlines()
        assert err[0] == f"glasses: {path}: a film, not a picture: `glasses video FILM` answers for films"


@pytest.mark.parametrize("brand", ["crx ", "M4A "])
def test_raw_photos_and_sounds_are_no_films(tmp_path, capsys, brand):
    """Though their files are made as those of films are."""
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand.encode() + bytes(100))
    assert main(["predict", str(tmp_path / "a.jpg")]) == 1
    assert capsys.readouterr().err.splitlines()[0].endswith(": not a picture in a format Pillow reads")


def test_predict_passes_over_films_in_folders(film, tmp_path, capsys):
    (tmp_path / "in.mp4").write_bytes(film.read_bytes())
    cv2.imwrite(str(tmp_path / "a.png"), images_of(film)[40][..., ::-1])
    assert main(["predict", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "1 of 1 photo with glasses\n"


def test_help_needs_no_video_package():
    code = "import sys; from glasses.cli import main; sys.argv = ['glasses']\ntry: main(['video', '--help'])\n"
    code += "except SystemExit: print(sorted({'av', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
