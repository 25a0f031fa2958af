"""Notebook 7: the tiny student learns what its teacher says, the same on every run; the histogram; the small tasks."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from sklearn.metrics.pairwise import cosine_similarity

from exercises import accept_rates, cosines
from recognition.figures import plot_cosines
from recognition.lesson import teach, tiny_student, vectors_of

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def lessons():
    """200 plain faces of some colour, and a teacher who says which: rows of length 1."""
    colours = RNG.integers(0, 256, (200, 3), dtype=np.uint8)
    faces = np.broadcast_to(colours[:, None, None], (200, 112, 112, 3)).copy()
    answers = (colours.astype(np.float32) - 127.5) @ RNG.normal(size=(3, 5)).astype(np.float32)
    return faces, answers / np.linalg.norm(answers, axis=1, keepdims=True)


def test_the_student_learns_what_the_teacher_says(lessons):
    faces, answers = lessons
    student = tiny_student(5)
    before = cosines(vectors_of(student, faces), answers).mean()
    losses = teach(student, faces, answers, epochs=12)
    vectors = vectors_of(student, faces)
    assert len(losses) == 12 * 2
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert cosines(vectors, answers).mean() > max(0.8, before + 0.3)


def test_seeds_say_what_is_drawn(lessons):
    def taught(first: int, order: int) -> np.ndarray:
        student = tiny_student(5, first)
        teach(student, *lessons, epochs=1, seed=order)
        return vectors_of(student, lessons[0])

    np.testing.assert_array_equal(taught(0, 0), taught(0, 0))
    assert np.abs(taught(0, 0) - taught(0, 1)).max() > 1e-3
    assert np.abs(taught(0, 0) - taught(1, 0)).max() > 1e-3


def test_relations_are_part_of_the_loss(lessons):
    alone, both = (teach(tiny_student(5), *lessons, epochs=1, relations=weight)[0] for weight in (0.0, 0.5))
    assert alone < both
    assert 0 <= alone <= 2, "1 - a cosine"


def test_too_few_faces_are_a_line(lessons):
    faces, answers = lessons
    with pytest.raises(ValueError, match="at least 100 faces are needed to teach from, not 99"):
        teach(tiny_student(5), faces[:99], answers[:99])


def test_each_histogram_is_the_share_of_its_own_pairs():
    alike = RNG.uniform(-0.3, 1, 500)
    same = RNG.random(500) < 0.2
    figure = plot_cosines(alike, same, 0.5)
    (axis,) = figure.axes
    first, second = (sum(bar.get_height() for bar in bars) for bars in axis.containers)
    assert (first, second) == (pytest.approx(1), pytest.approx(1))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"one person ({same.sum()})" in words
    assert f"two people ({(~same).sum()})" in words


def test_cosines_are_those_of_scikit_learn():
    one, other = RNG.normal(size=(2, 20, 6))
    np.testing.assert_allclose(cosines(one, other), np.diag(cosine_similarity(one, other)))


def test_accept_rates_are_those_of_scikit_learn():
    alike, same = RNG.random(60), RNG.random(60) < 0.4
    false, true = confusion_matrix(same, alike >= 0.6, normalize="true")[:, 1]
    assert accept_rates(alike, same, 0.6) == (pytest.approx(false), pytest.approx(true))
