"""The way from a photo to an answer."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from detector_architectures import Face, load_detector
from glasses.crops import CROP, Crop, align_face
from glasses.keypoints import open_keypoints
from glasses.photos import read_image
from glasses.pipeline import (
    CONSTANT,
    SCORE,
    SECOND_LOOK,
    GlassesPipeline,
    cut_faces,
    find_candidates,
    find_faces,
    is_face,
)


@pytest.fixture(scope="module")
def pipeline():
    return GlassesPipeline()


def test_answers_in_order_with_boxes_in_pixels_of_the_photo(pipeline, hopper, astronaut, tmp_path):
    large = tmp_path / "large.jpg"
    Image.open(astronaut).convert("RGB").resize((4096, 4096), Image.Resampling.BICUBIC).save(large)
    first, second, third, fourth = pipeline([hopper, large, tmp_path / "gone.jpg", read_image(astronaut)[0]])
    assert first.glasses
    assert first.kind == "eyeglasses"
    assert second.glasses is False
    assert second.kind == "none"
    assert np.abs(np.array(second.faces[0].box) / 8 - np.array(fourth.faces[0].box)).max() < 6
    assert (third.error, third.glasses, third.faces) == ("no such file", None, [])
    assert fourth.path == ""


class Spot:
    """A detector of white spots on black: the smallest box around all of them is a face."""

    name = "spot"

    def __init__(self):
        self.searched = []

    def __call__(self, image):
        self.searched.append(image.shape[:2])
        y, x = np.nonzero(image.min(2) > 128)
        if not len(x):
            return []
        left, top, width, height = x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1
        return [Face((float(left), float(top), float(width), float(height)), 0.9, self.name)]


@pytest.mark.parametrize("source", ["path", "bytes", "stream"])
def test_a_small_face_of_a_large_photo_is_decoded_again_finer(tmp_path, source):
    """4000 pixels are decoded to 1000; a face of 24 there is looked at again in its 96 pixels, for a finer crop."""
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    pixels[1000:1096, 2000:2096] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    photo = {
        "path": lambda: tmp_path / "a.jpg",
        "bytes": (tmp_path / "a.jpg").read_bytes,
        "stream": lambda: io.BytesIO((tmp_path / "a.jpg").read_bytes()),
    }[source]()
    spot = Spot()
    answer = GlassesPipeline(spot, assume_face=True).answer(photo)  # the network does not take it for one
    assert answer.error is None
    assert spot.searched[0] == (750, 1000)
    assert len(spot.searched) == 2
    assert max(spot.searched[1]) == pytest.approx(2 * 96, abs=4), "only the surroundings, in all their pixels"
    assert answer.faces[0].box == pytest.approx((2000, 1000, 96, 96), abs=2)


def test_a_large_face_of_a_large_photo_is_decoded_once(tmp_path):
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    pixels[1000:1800, 2000:2800] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    spot = Spot()
    (face,) = GlassesPipeline(spot, assume_face=True).answer(tmp_path / "a.jpg").faces
    assert face.box == pytest.approx((2000, 1000, 800, 800), abs=4)
    assert spot.searched == [(750, 1000)]


def test_a_photo_is_answered_the_same_alone_and_in_a_batch(pipeline, hopper, astronaut):
    many = list(pipeline([hopper, astronaut] * 20))
    alone = [next(iter(pipeline([photo]))) for photo in (hopper, astronaut)]
    for i, answer in enumerate(many):
        assert answer.probability == pytest.approx(alone[i % 2].probability, abs=1e-5)


def test_every_face_is_listed_main_face_first(pipeline, hopper, astronaut):
    left, right = (cv2.resize(read_image(photo)[0], (512, 512)) for photo in (hopper, astronaut))
    (answer,) = pipeline([np.hstack([left, right])])
    assert len(answer.faces) == 2
    assert sorted(face.kind for face in answer.faces) == ["eyeglasses", "none"]
    assert answer.probability == answer.faces[0].probability
    assert answer.faces[0].box[2] > answer.faces[1].box[2]


def test_photos_of_nobody_are_answered_nobody(pipeline, nobody, hopper):
    answers = list(pipeline([*nobody, hopper]))
    shown = [Path(answer.path).name for answer in answers[:-1] if answer.faces]
    assert len(shown) <= 1, shown
    for answer in answers[:-1]:
        if not answer.faces:
            assert answer.glasses is answer.probability is answer.kind is answer.detector is answer.error is None
    assert answers[-1].glasses is True


def test_assume_face_takes_the_centre(hopper):
    blank = np.full((120, 160, 3), 90, np.uint8)
    for pipeline in (GlassesPipeline(assume_face=True), GlassesPipeline("center")):
        answer = pipeline.answer(blank)
        assert answer.detector == "center"
        assert len(answer.faces) == 1
        assert 0 <= answer.probability <= 1
    assert GlassesPipeline(assume_face=True).answer(hopper).detector == "finder"


def test_any_face_answers_for_the_likeliest(hopper, astronaut):
    """The main face, large and without glasses, beside a smaller one with."""
    image = np.full((600, 900, 3), 128, np.uint8)
    image[40:552, 40:552] = read_image(astronaut)[0]
    image[200:350, 700:828] = cv2.resize(read_image(hopper)[0], (128, 150), interpolation=cv2.INTER_AREA)
    main, likeliest = (GlassesPipeline(any_face=any_face).answer(image) for any_face in (False, True))
    assert (main.glasses, main.kind) == (False, "none")
    assert (likeliest.glasses, likeliest.kind) == (True, "eyeglasses")
    assert likeliest.probability == max(face.probability for face in likeliest.faces)
    assert [face.box for face in likeliest.faces] == [face.box for face in main.faces]


def test_one_photo_is_one_photo(pipeline, hopper, monkeypatch):
    """Not a list of the letters of its name, nor of its rows."""
    monkeypatch.chdir(hopper.parent)
    with open(hopper, "rb") as file:
        photos = [hopper.name, hopper, hopper.read_bytes(), file, Image.open(hopper), read_image(hopper)[0]]
        for photo in photos:
            assert pipeline.answer(photo).glasses is True
            if photo is file:
                file.seek(0)
            (answer,) = pipeline(photo)
            assert answer.glasses is True
            if photo is file:
                file.seek(0)
        assert [answer.path for answer in pipeline(photos)] == [hopper.name, str(hopper), "", str(hopper), "", ""]


NO_PHOTOS = [7, None, 3.5, np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4, 2)), np.zeros((2, 3, 4, 3), np.uint8)]


@pytest.mark.parametrize("photo", NO_PHOTOS)
def test_what_is_no_photo_is_one_clear_type_error_or_an_answer_in_its_place(pipeline, hopper, photo):
    with pytest.raises(TypeError, match=r"^not a photo: "):
        pipeline.answer(photo)
    with pytest.raises(TypeError, match=r"^not a photo: "):
        pipeline(photo)
    first, second, third = pipeline([hopper, photo, hopper])
    assert first.glasses is third.glasses is True
    assert second.error.startswith("not a photo: ")
    assert (second.glasses, second.faces) == (None, [])


def test_a_grey_array_does_not_lose_its_neighbours(pipeline, hopper):
    gray = cv2.cvtColor(read_image(hopper)[0], cv2.COLOR_RGB2GRAY)
    assert [answer.glasses for answer in pipeline([hopper, gray, hopper])] == [True, True, True]


def test_a_stream_is_answered_as_it_comes(pipeline, hopper):
    """A generator is not read to its end before the first answer."""
    asked = []

    def photos():
        for number in range(500):
            asked.append(number)
            yield hopper

    assert next(pipeline(photos())).glasses is True
    assert len(asked) < 100


def test_a_cut_file_is_answered_with_its_warning(pipeline, hopper):
    answer = pipeline.answer(hopper.read_bytes()[:-100])
    assert answer.glasses is True
    assert answer.error is None
    assert answer.warning.startswith("the file is cut off")


@pytest.mark.parametrize("angle", [-25, 25])
def test_tilted_photos(pipeline, hopper, astronaut, angle):
    for photo, glasses in ((hopper, True), (astronaut, False)):
        image = read_image(photo)[0]
        centre = (image.shape[1] / 2, image.shape[0] / 2)
        turned = cv2.warpAffine(image, cv2.getRotationMatrix2D(centre, angle, 1.0), image.shape[1::-1])
        (answer,) = pipeline([turned])
        assert answer.glasses is glasses


def test_trouble_with_one_photo_does_not_lose_the_others(hopper):
    slim = load_detector("slim")

    def detector(image):
        if image.shape[0] < 50:
            raise cv2.error("OpenCV(4): (-215)\nassertion failed")
        return slim(image)

    good, bad, again = GlassesPipeline(detector)([hopper, np.zeros((40, 40, 3), np.uint8), hopper])
    assert good.glasses is again.glasses is True
    assert bad.error.startswith("cannot be searched for faces: ")
    assert "\n" not in bad.error


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of np.matrix
@pytest.mark.parametrize("trouble", [IndexError("x"), KeyError("x"), ZeroDivisionError(), AssertionError()])
def test_whatever_a_detector_raises_is_the_error_of_its_photo(hopper, trouble):
    slim = load_detector("slim")

    def detector(image):
        if len(image) == 40:
            raise trouble
        return slim(image)

    photos = [hopper, np.zeros((40, 40, 3), np.uint8), np.matrix([[1, 2], [3, 4]]), hopper]
    first, second, third, fourth = GlassesPipeline(detector)(photos)
    assert first.glasses is fourth.glasses is True
    assert second.error.startswith("cannot be searched for faces: ")
    assert third.error.startswith("not a photo: ")


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"workers": 0}])
def test_less_than_one_at_a_time_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        GlassesPipeline(**wrong)


def test_an_array_of_another_library_is_one_photo(pipeline, hopper):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="not a photo: Tensor"):
        pipeline(torch.from_numpy(read_image(hopper)[0].copy()))


def test_threshold_decides(hopper):
    (answer,) = GlassesPipeline(threshold=1.0)([hopper])
    assert answer.probability < 1
    assert answer.glasses is False
    assert answer.kind == "none"


def test_importing_the_tool_loads_nothing_of_the_course():
    heavy = ("torch", "torchvision", "pandas", "matplotlib", "sklearn", "skimage")
    code = (
        "import sys, glasses, glasses.cli, glasses.predict, glasses.drawing, glasses.eyewear\n"
        "from glasses import GlassesPipeline, read_image\n"
        f"GlassesPipeline(); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_tool_offers():
    import glasses

    assert {"Answer", "FaceAnswer", "GlassesPipeline", "PhotoError", "read_image", "try_on"} == set(glasses.__all__)
    assert all(getattr(glasses, name).__name__ == name for name in glasses.__all__)
    with pytest.raises(AttributeError):
        glasses.nonsense  # noqa: B018


def test_a_classifier_may_be_handed_in(hopper):
    class Doubtful:
        threshold, crop = 0.6, CROP

        def __call__(self, crops):
            assert crops.shape[1:] == (CROP.height, CROP.width, 3)
            return np.tile(np.float32([0.45, 0.15, 0.40, 0.9]), (len(crops), 1))

    answer = GlassesPipeline(classifier=Doubtful()).answer(hopper)
    assert (answer.glasses, answer.kind) == (False, "none")
    assert answer.probability == pytest.approx(0.55)
    answer = GlassesPipeline(classifier=Doubtful(), threshold=0.5).answer(hopper)
    assert (answer.glasses, answer.kind) == (True, "sunglasses")


# ------------------------------------------------------------------------------------------- what is a face


def seen(score: float, name: str = "finder", box: tuple[float, ...] = (40, 40, 80, 80)) -> Face:
    return Face(box, score, name)


@pytest.mark.parametrize(
    ("score", "probability", "expected"),
    [
        (0.4, 0.9999, True),  # a mask, of which the finder is unsure: the network is sure
        (0.4, 0.5, False),
        (0.9999, 0.1, True),  # a face in the dark, of which the network is unsure: the finder is sure
        (0.99, 0.0, False),  # both count
        (0.005, 0.9999, False),
        (0.8, 0.8, False),  # neither is sure enough alone, nor are both
        (0.98, 0.9, True),
        (1.0, 1.0, True),
        (0.0, 0.0, False),
    ],
)
def test_of_a_face_the_finder_and_the_network_decide_together(score, probability, expected):
    assert is_face(seen(score), probability) is expected


def test_a_face_stays_one_if_either_grows_surer():
    certain = [is_face(seen(score), p) for score in np.linspace(0, 1, 101) for p in np.linspace(0, 1, 101)]
    table = np.array(certain).reshape(101, 101)
    assert (np.diff(table.astype(int), axis=0) >= 0).all()
    assert (np.diff(table.astype(int), axis=1) >= 0).all()
    assert 0 < table.mean() < 1


def test_odds_are_weighed_by_hand():
    """score^a (1 - score)^-a p^b (1 - p)^-b is at least e^-c: the same regression, with odds instead of logits."""
    rng = np.random.default_rng(0)
    for score, p in rng.uniform(0.001, 0.999, (500, 2)):
        odds = (score / (1 - score)) ** SCORE * (p / (1 - p)) ** SECOND_LOOK
        assert is_face(seen(score), p) == (odds >= np.exp(-CONSTANT)), (score, p)


def test_of_the_faces_of_other_detectors_the_network_decides():
    for name in ("slim", "haar", "mtcnn", "dlib", "of my own"):
        assert [is_face(seen(score, name), 0.25) for score in (0.01, 0.99)] == [True, True]
        assert [is_face(seen(score, name), 0.15) for score in (0.01, 0.99)] == [False, False]


def test_the_centre_was_said_to_be_a_face():
    assert is_face(seen(0.0, "center"), 0.0)


class Candidates:
    """A detector that sees the same in every photo, and takes for faces what is likely."""

    name = "candidates"

    def __init__(self, *faces: Face):
        self.faces = faces

    def __call__(self, image):
        return [face for face in self.faces if face.score >= 0.9]

    def candidates(self, image):
        return list(self.faces)


class Told:
    """A classifier that gives these rows, of P(glasses) and P(face), to the crops in turn: all sunglasses."""

    threshold, crop = 0.5, CROP

    def __init__(self, *rows: tuple[float, float]):
        self.rows = list(rows)

    def __call__(self, crops):
        rows, self.rows = self.rows[: len(crops)], self.rows[len(crops) :]
        return np.float32([[1 - worn, 0, worn, face] for worn, face in rows])


BLANK = np.full((200, 300, 3), 128, np.uint8)
MAIN, ASIDE = seen(0.99, box=(100, 40, 120, 120)), seen(0.6, box=(10, 10, 40, 40))


def test_the_next_face_is_the_main_one_where_the_first_is_none():
    """The large one in the middle is a dog, say; the small one beside it a person with a mask."""
    detector, boxes = Candidates(ASIDE, MAIN), [(100, 40, 120, 120), (10, 10, 40, 40)]
    answer = GlassesPipeline(detector, classifier=Told((0.1, 0.9), (0.8, 0.999))).answer(BLANK)
    assert [face.box for face in answer.faces] == boxes, "both are faces: the large one first"
    assert (answer.glasses, answer.kind) == (False, "none")
    for options in ({}, {"assume_face": True}, {"any_face": True}):
        answer = GlassesPipeline(detector, classifier=Told((0.1, 0.001), (0.8, 0.999)), **options).answer(BLANK)
        assert [face.box for face in answer.faces] == boxes[1:]
        assert (answer.glasses, answer.kind, answer.detector) == (True, "sunglasses", "finder")
        assert answer.probability == answer.faces[0].probability == pytest.approx(0.8)


def test_what_is_no_face_answers_for_nobody_though_it_wears_glasses():
    classifier = Told((0.1, 0.999), (0.9, 0.001))
    answer = GlassesPipeline(Candidates(MAIN, ASIDE), classifier=classifier, any_face=True).answer(BLANK)
    assert (len(answer.faces), answer.glasses, answer.probability) == (1, False, pytest.approx(0.1))


def test_where_no_candidate_is_a_face_nobody_is_there_unless_one_is_assumed():
    rows = (0.8, 0.001), (0.2, 0.001)
    answer = GlassesPipeline(Candidates(MAIN, ASIDE), classifier=Told(*rows)).answer(BLANK)
    assert answer.faces == []
    assert answer.glasses is answer.probability is answer.kind is answer.detector is answer.error is None
    assert answer.seconds["classify"] > 0, "they were looked at"
    answer = GlassesPipeline(Candidates(MAIN, ASIDE), classifier=Told(*rows), assume_face=True).answer(BLANK)
    assert [face.box for face in answer.faces] == [(100, 40, 120, 120)]
    assert (answer.glasses, answer.detector, answer.probability) == (True, "finder", pytest.approx(0.8))


def test_each_photo_of_a_batch_keeps_its_own_rows():
    """Of the first and the third photo a candidate is dropped: the rows of those behind it stay theirs."""
    rows = (0.1, 0.001), (0.2, 0.999), (0.3, 0.999), (0.4, 0.999), (0.5, 0.999), (0.6, 0.001)
    answers = list(GlassesPipeline(Candidates(MAIN, ASIDE), classifier=Told(*rows))([BLANK] * 3))
    found = [[round(face.probability, 3) for face in answer.faces] for answer in answers]
    assert found == [[0.2], [0.3, 0.4], [0.5]]
    assert [answer.probability for answer in answers] == pytest.approx([0.2, 0.3, 0.5])


def test_an_assumed_face_is_the_likeliest_candidate_before_the_centre():
    unlikely = Candidates(seen(0.2), seen(0.4, box=(10, 10, 20, 20)), seen(0.3))
    assert find_faces(unlikely, BLANK) == []
    assert find_faces(unlikely, BLANK, assume_face=True) == [unlikely.faces[1]]
    assert find_faces(Candidates(MAIN, ASIDE), BLANK, assume_face=True) == [MAIN], "what is found needs no assuming"
    (centre,) = find_faces(Candidates(), BLANK, assume_face=True)
    assert centre.detector == "center"
    assert find_candidates(unlikely, BLANK)[0].box == (40, 40, 80, 80), "the main one first"
    assert find_candidates(Spot(), BLANK) == [], "a detector that tells no candidates has its faces"


def test_a_small_candidate_is_found_anew_in_the_finer_photo_and_keeps_its_score(tmp_path):
    """Its place is better known from near; how likely it is was judged with all around it."""

    class Doubtful(Spot):
        def __call__(self, image):
            return []

        def candidates(self, image):
            score = 0.6 if image.shape[:2] == (750, 1000) else 0.005
            return [replace(face, score=score, detector="finder") for face in super().__call__(image)]

    pixels = np.zeros((3000, 4000, 3), np.uint8)
    pixels[1000:1096, 2000:2096] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    detector = Doubtful()
    (face,) = GlassesPipeline(detector, classifier=Told((0.8, 0.9999))).answer(tmp_path / "a.jpg").faces
    assert len(detector.searched) == 2
    assert face.box == pytest.approx((2000, 1000, 96, 96), abs=2)
    assert not is_face(seen(0.005), 0.9999), "with the score from near it would be none"


def test_nothing_is_a_face_in_pictures_of_nobody_though_much_could_be_one(pipeline, nobody):
    """With assume_face the answer is of what could be one, and where nothing could, of the centre."""
    assumed, could = GlassesPipeline(assume_face=True), []
    for file in nobody:
        if file.name == "motorcycle_left.png":  # whose headlamp and mirrors pass for a face
            continue
        assert pipeline.answer(file).faces == [], file.name
        answer, candidates = assumed.answer(file), find_candidates(pipeline.detector, read_image(file)[0])
        assert answer.detector == ("finder" if candidates else "center")
        assert len(answer.faces) == 1
        assert answer.glasses is not None
        could += [file.name] if candidates else []
    assert len(could) >= 6, "else there was nothing to drop"


# ----------------------------------------------------------------------------------------------- the crops


def test_faces_are_cut_by_the_key_points(hopper):
    image = read_image(hopper)[0]
    (face,) = load_detector("auto")(image)
    crops = cut_faces(image, [face, face.moved(3, -2)])
    assert (crops.shape, crops.dtype) == ((2, CROP.height, CROP.width, 3), np.uint8)
    exact = open_keypoints().exact(image, [face.landmarks])[0]
    np.testing.assert_array_equal(crops[0], align_face(image, exact, CROP))
    by_detector = [align_face(image, one.landmarks, CROP).astype(int) for one in (face, face.moved(8, -6))]
    crops = cut_faces(image, [face, face.moved(8, -6)]).astype(int)
    moved, moves = (np.abs(first - second).mean() for first, second in (by_detector, crops))
    assert moves < moved / 3, "wherever the detector saw it"
    nothing = cut_faces(image, [], Crop(32, 16, 12.0, 0.1))
    assert (nothing.shape, nothing.dtype) == ((0, 16, 32, 3), np.uint8)
