"""How does a photo become an answer?  file -> image -> faces -> landmarks -> crops -> probabilities -> answer

from glasses import GlassesPipeline
pipeline = GlassesPipeline()                         # detector="auto", model="glasses"
answer = pipeline.answer("a.jpg")                    # one photo
for answer in pipeline(["a.jpg", "b.png"]):          # many: a stream, in their order
    print(answer.path, answer.glasses, answer.probability, answer.kind)
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from math import log
from time import perf_counter

import numpy as np

from detector_architectures import Face, find_again, load_detector, main_face
from detector_architectures.center import Center
from detector_architectures.finder import Finder

from .classifiers import open_network
from .crops import CROP, KINDS, Crop, align_face, crop_scale
from .keypoints import open_keypoints
from .photos import Photo, PhotoError, check_photo, is_photo, read_finer, read_photo
from .recognizer import CHIP, align_chip

# Is it a face?  Of `finder`'s score and of the P(face) of the network that sees the crop the logits are added up. The
# weights are those of logistic regressions, for both shipped networks, on the candidates in 553 pictures of nobody that
# chose nothing else, and in photos of people, a third of them with masks; the constant lets 1 % of nobody pass.
SCORE, SECOND_LOOK, CONSTANT = 0.7, 0.45, -2.0
LEAST_FACE = 0.2  # P(face) from which on the faces of other detectors are believed, whose scores are no probabilities


@dataclass
class FaceAnswer:
    """One face: box as x, y, w, h in pixels of the upright photo, P(glasses), and which of `KINDS` it is.

    keypoints: (68, 2) float32, x and y in the same pixels, where they were asked for (`glasses.keypoints`).
    crop: (64, 96, 3) uint8, what the network saw of it, where that was asked for.
    chip, vector: (112, 112, 3) uint8 and (D,) float32 of length 1, what a recognizer saw of it and what it said, where
    one was given (`glasses.recognizer`).
    """

    box: tuple[int, int, int, int]
    probability: float
    kind: str
    keypoints: np.ndarray | None = field(default=None, repr=False, compare=False)
    crop: np.ndarray | None = field(default=None, repr=False, compare=False)
    chip: np.ndarray | None = field(default=None, repr=False, compare=False)
    vector: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass
class Answer:
    """The answer for a photo: that of its main face, and all faces, the main one first.

    glasses, probability, kind and detector are None where the photo shows nobody (`faces` is empty) and where it could
    not be read (`error` says why). warning: what is not quite right with the file. `seconds` holds the time of each
    stage; "classify" is this photo's share of its batch.
    """

    path: str
    glasses: bool | None = None
    probability: float | None = None
    kind: str | None = None
    detector: str | None = None
    faces: list[FaceAnswer] = field(default_factory=list)
    error: str | None = None
    warning: str | None = None
    seconds: dict[str, float] = field(default_factory=dict, repr=False)


def find_faces(detector, image: np.ndarray, assume_face: bool = False) -> list[Face]:
    """All faces of an (H, W, 3) uint8 RGB image, the main one first.

    Where the detector finds none the list is empty, or with `assume_face` holds its likeliest candidate; where it has
    none, the square at the centre.
    """
    faces = detector(image)
    if not faces and assume_face:
        candidates = find_candidates(detector, image)
        faces = [max(candidates, key=lambda face: face.score)] if candidates else load_detector("center")(image)
    return main_first(faces, image.shape)


def find_candidates(detector, image: np.ndarray) -> list[Face]:
    """All that could be a face, where the detector can tell that, else its faces; the main one first."""
    return main_first(getattr(detector, "candidates", detector)(image), image.shape)


def main_first(faces: list[Face], shape: tuple[int, ...]) -> list[Face]:
    """The main face of a photo of this shape, and then the others, the large ones first."""
    first = main_face(faces, shape)
    others = sorted((face for face in faces if face is not first), key=lambda face: -face.area)
    return [first, *others] if faces else []


def is_face(face: Face, probability: float) -> bool:
    """Whether what a detector found is a face, by its score and by the P(face) of the network that saw the crop."""
    if face.detector == Center.name:  # which was told to take it for one
        return True
    if face.detector != Finder.name:
        return probability >= LEAST_FACE
    return face_logit(face.score, probability) >= 0


def face_logit(score: float, probability: float) -> float:
    """The logit of being a face, by the score of `finder` and by the P(face) of the network that saw the crop."""
    return SCORE * logit(score) + SECOND_LOOK * logit(probability) + CONSTANT


def logit(probability: float) -> float:
    """log(p / (1 - p)), of a probability that is not taken for surer than 0.0001 or 0.9999."""
    probability = min(max(probability, 1e-4), 1 - 1e-4)
    return log(probability / (1 - probability))


def cut_faces(image: np.ndarray, faces: Sequence[Face], crop: Crop = CROP) -> np.ndarray:
    """(N, 64, 96, 3) uint8: the faces of an image cut out for a network, by the landmarks of the key points.

    A detector's own landmarks move several times as far with the light, the size and the place of a face in the photo.
    """
    exact = open_keypoints().exact(image, [face.landmarks for face in faces])
    crops = [align_face(image, landmarks, crop) for landmarks in exact]
    return np.stack(crops) if crops else np.zeros((0, crop.height, crop.width, 3), np.uint8)


def cut_chips(image: np.ndarray, faces: Sequence[Face]) -> list[np.ndarray]:
    """The faces of an image cut out for a recognizer, (112, 112, 3) uint8 each, by the landmarks of the key points."""
    exact = open_keypoints().exact(image, [face.landmarks for face in faces])
    return [align_chip(image, landmarks) for landmarks in exact]


class GlassesPipeline:
    """Photos in, answers out, in order; decoding and detection run in `workers` threads, faces in batches.

    detector: a name of `detector_architectures.DETECTORS`, or such a detector. model: a name in `glasses/weights/` or
    the path of an `.onnx` file. classifier: used instead of `model`, as `models.load_classifier` makes one.
    threshold: the probability from which a face wears glasses; None takes the one stored with the weights.
    assume_face: where no face is found, what could be one is taken for it, else the centre of the photo. any_face: the
    photo's answer is that of the face most likely to wear glasses, not that of the main face. keypoints: each face has
    its 68 points. crops: each face has its crop. recognizer: as `glasses.recognizer.open_recognizer` opens one: each
    face has its vector.

    Raises what `load_detector`, `open_network` and `open_keypoints` raise, ValueError for less than one worker or photo
    a batch.
    """

    def __init__(
        self,
        detector="auto",
        model: str | os.PathLike = "glasses",
        threshold: float | None = None,
        workers: int | None = None,
        batch: int = 32,
        classifier=None,
        assume_face: bool = False,
        any_face: bool = False,
        keypoints: bool = False,
        crops: bool = False,
        recognizer=None,
    ):
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.classifier = open_network(model) if classifier is None else classifier
        self.threshold = self.classifier.threshold if threshold is None else threshold
        self.workers = min(8, os.cpu_count() or 1) if workers is None else workers
        self.batch = batch
        if self.workers < 1 or self.batch < 1:
            raise ValueError(f"workers and batch must be at least 1, not {self.workers} and {self.batch}")
        self.assume_face, self.any_face, self.keep_crops = assume_face, any_face, crops
        opened = open_keypoints()  # `cut_faces` asks it: where it is missing this is told now, not of each photo
        self.find_keypoints, self.recognizer = opened if keypoints else None, recognizer

    def answer(self, photo) -> Answer:
        """The answer for one photo: a path, the bytes of a file, an open file, a PIL image, or an array (`as_image`).

        Raises TypeError with one line for anything else; a file that cannot be read is an answer with an `error`.
        """
        return next(self._answer_each([check_photo(photo)], map))

    def __call__(self, photos: Iterable) -> Iterator[Answer]:
        """The answers for many photos, each as `answer` takes it, in their order; a single photo is a stream of one.

        What is no photo is answered in its place by an `error`; the others are answered all the same.
        """
        if is_photo(photos) or not isinstance(photos, Iterable):
            photos = [check_photo(photos)]
        return self._answer_all(photos)

    def _answer_all(self, photos: Iterable) -> Iterator[Answer]:
        if self.workers == 1:  # this thread
            yield from self._answer_each(photos, map)
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                yield from self._answer_each(photos, pool.map)

    def _answer_each(self, photos: Iterable, each: Callable) -> Iterator[Answer]:
        """The answers batch by batch. each: as `map`, here or in threads."""
        photos = iter(photos)
        while chunk := list(islice(photos, self.batch)):
            answers = self._classify(list(each(self._cut_faces, chunk)))
            yield from each(self._recognize, answers) if self.recognizer else answers

    def _cut_faces(self, source) -> tuple[Answer, list[Face], Sequence[np.ndarray]]:
        """Decode, detect and align one photo: its answer so far, and the faces and their crops."""
        answer = Answer(path=_path_of(source))
        start = perf_counter()
        try:
            photo = read_photo(source)
        except (PhotoError, TypeError) as error:
            answer.error = str(error)
            return answer, [], []
        answer.warning = photo.warning
        decoded = perf_counter()
        try:
            faces = find_candidates(self.detector, photo.image)
            if not faces and self.assume_face:
                faces = load_detector("center")(photo.image)
            photo, faces = self._from_near(photo, faces)
            detected = perf_counter()
            crops = cut_faces(photo.image, faces, self.classifier.crop)
            aligned = perf_counter()
            points = self._points(photo, faces)
            chips = cut_chips(photo.image, faces) if self.recognizer else [None] * len(faces)
        except Exception as error:  # whatever a detector raises: one photo's trouble must not lose the others
            reason = " ".join(str(error).split()) or type(error).__name__
            answer.error = f"cannot be searched for faces: {reason}"[:200]
            return answer, [], []
        boxes = [tuple(round(v) for v in face.scaled(photo.scale).box) for face in faces]
        kept = crops if self.keep_crops else [None] * len(faces)
        parts = zip(boxes, points, kept, chips, strict=True)
        answer.faces = [FaceAnswer(box, 0.0, "none", *of_face) for box, *of_face in parts]
        answer.seconds = {"decode": decoded - start, "detect": detected - decoded, "align": aligned - detected}
        if self.find_keypoints:
            answer.seconds["keypoints"] = perf_counter() - aligned
        answer.seconds["classify"] = 0.0
        return answer, faces, crops

    def _from_near(self, photo: Photo, faces: list[Face]) -> tuple[Photo, list[Face]]:
        """The photo decoded finer, and its faces found anew there, where the crop of a face that the answer may be of
        would have to be enlarged otherwise."""
        if photo.scale <= 1:
            return photo, faces
        seen = [self.classifier.crop]
        if self.find_keypoints:
            seen.append(self.find_keypoints.crop)
        if self.recognizer:
            seen.append(CHIP)
        every = self.any_face or self.recognizer
        asked = faces if every else [*faces[:1], *sorted(faces, key=lambda face: -face.score)[:1]]
        enlarged = [crop_scale(face.landmarks, crop) for face in asked for crop in seen]
        try:
            finer = read_finer(photo, max(enlarged, default=1.0))
        except PhotoError:  # a cut file may have its coarse pixels alone
            return photo, faces
        ratio = photo.scale / finer.scale
        if ratio <= 1:
            return photo, faces
        faces = [face.scaled(ratio) for face in faces]
        look = getattr(self.detector, "candidates", self.detector)
        again = [find_again(finer.image, face, look) for face in faces]
        return finer, [replace(new, score=old.score) if new else old for new, old in zip(again, faces, strict=True)]

    def _points(self, photo: Photo, faces: list[Face]) -> Sequence[np.ndarray | None]:
        """The key points of each face in pixels of the upright photo, None where nobody asked for them."""
        if not self.find_keypoints:
            return [None] * len(faces)
        points = self.find_keypoints(photo.image, [face.landmarks for face in faces])
        return (points + 0.5) * photo.scale - 0.5  # a pixel's middle is at whole numbers

    def _classify(self, cut: Sequence[tuple[Answer, list[Face], Sequence[np.ndarray]]]) -> Iterator[Answer]:
        """Classify the faces of all photos of a batch at once and fill in the answers."""
        flat = [crop for _, _, crops in cut for crop in crops]
        start = perf_counter()
        rows = iter(self.classifier(np.stack(flat)) if flat else [])
        share = (perf_counter() - start) / max(1, len(flat))
        for answer, found, _ in cut:
            if found:
                answer.seconds["classify"] = share * len(found)
            faces = []
            for of_face, face, row in zip(answer.faces, found, rows, strict=False):
                of_face.probability = float(1 - row[0])
                of_face.kind = KINDS[1 + int(row[2] > row[1])] if of_face.probability >= self.threshold else "none"
                if is_face(face, float(row[3])):
                    faces.append((of_face, face))
            if self.assume_face and not faces:
                pairs = zip(answer.faces, found, strict=True)
                faces = sorted(pairs, key=lambda pair: -pair[1].score)[:1]  # as `find_faces` does
            self._conclude(answer, faces)
            yield answer

    def _recognize(self, answer: Answer) -> Answer:
        """The answer of a photo with the vectors of its faces, which depend on this photo alone."""
        if answer.faces:
            start = perf_counter()
            vectors = self.recognizer(np.stack([face.chip for face in answer.faces]))
            for of_face, vector in zip(answer.faces, vectors, strict=True):
                of_face.vector = vector
            answer.seconds["recognize"] = perf_counter() - start
        return answer

    def _conclude(self, answer: Answer, faces: list[tuple[FaceAnswer, Face]]) -> None:
        """Fill in what follows from the faces of a photo."""
        answer.faces = [of_face for of_face, _ in faces]
        if faces:
            main, face = faces[0]
            if self.any_face:
                main = max(answer.faces, key=lambda face: face.probability)
            answer.probability, answer.kind, answer.detector = main.probability, main.kind, face.detector
            answer.glasses = main.probability >= self.threshold


def _path_of(photo) -> str:
    """The path or file name of a photo, "" where it has none."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "name", "") if hasattr(photo, "read") else ""
    return name if isinstance(name, str) else ""
