"""The losses: against labels, against a teacher, and against its maps."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import EACH_ARCHITECTURE
from data_load import Label
from losses import (
    HINT_LAYERS,
    Distillation,
    believed,
    distillation_loss,
    glasses_loss,
    hint_loss,
    log_likelihoods,
    wing_loss,
)
from models import GlassesCNN, make_model


def logits_of(kinds: list[list[float]], face: list[float]) -> torch.Tensor:
    """(B, 4) logits of these probabilities: of the three kinds, and of a face."""
    return torch.cat([torch.tensor(kinds).log(), torch.tensor(face).logit()[:, None]], dim=1)


def test_likelihoods_by_hand():
    """First a face or none, then what it wears: 0.8 of 0.2, 0.5, 0.3."""
    found = log_likelihoods(logits_of([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], [0.8, 0.5])).exp()
    by_hand = {
        Label.NONE: (0.16, 0.30),
        Label.EYEGLASSES: (0.40, 0.05),
        Label.SUNGLASSES: (0.24, 0.15),
        Label.UNKNOWN_KIND: (0.64, 0.20),
        Label.NOBODY: (0.2, 0.5),
    }
    assert found.shape == (2, len(Label))
    for label, expected in by_hand.items():
        assert found[:, label].tolist() == pytest.approx(expected, abs=1e-6), label
    together = found[:, [Label.NONE, Label.UNKNOWN_KIND, Label.NOBODY]].sum(1)
    assert together.tolist() == pytest.approx([1, 1])
    assert torch.isfinite(log_likelihoods(torch.tensor([[-900.0, 900, 0, 900], [0, 0, 0, -900]]))).all()


def test_loss_of_unknown_kind_is_minus_log_of_the_sum():
    logits = logits_of([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], [0.8, 0.5])
    loss = glasses_loss(logits, torch.tensor([Label.UNKNOWN_KIND, Label.UNKNOWN_KIND]))
    assert loss.item() == pytest.approx(-(np.log(0.64) + np.log(0.2)) / 2, abs=1e-6)


def test_what_is_nobody_wears_nothing_to_learn_from():
    """The loss of such a row is that of its last logit alone, also with smoothed labels, and no kind is pulled at."""
    torch.manual_seed(0)
    logits = torch.randn(6, 4, requires_grad=True)
    labels = torch.tensor([Label.NOBODY, Label.NONE, Label.NOBODY, Label.SUNGLASSES, Label.UNKNOWN_KIND, Label.NOBODY])
    glasses_loss(logits, labels, 0.1).backward()
    nobody = labels == Label.NOBODY
    assert logits.grad[nobody, :3].abs().max() == 0
    torch.testing.assert_close(logits.grad[nobody, 3], logits[nobody, 3].sigmoid() / 6)
    torch.testing.assert_close(logits.grad[~nobody, 3], -(1 - logits[~nobody, 3].sigmoid()) / 6)
    assert logits.grad[~nobody, :3].abs().min() > 0
    alone = glasses_loss(logits[nobody], labels[nobody], 0.1)
    assert alone.item() == pytest.approx(F.softplus(logits[nobody, 3]).mean().item(), abs=1e-6)


def test_smoothing_takes_some_labels_at_random():
    logits = logits_of([[0.5, 0.25, 0.25]], [0.8])
    for label, hit in ((Label.NONE, 0.5), (Label.EYEGLASSES, 0.25)):
        expected = -(0.9 * np.log(hit) + 0.1 * np.log(0.5)) - np.log(0.8)
        assert glasses_loss(logits, torch.tensor([label]), 0.1).item() == pytest.approx(expected, abs=1e-6)


def test_distillation_by_hand():
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.0, 2.0, 0.0, 0.5], [0.3, 0.2, 0.1, 1.0]])
    teacher = torch.tensor([[3.0, 0.0, 0.0, 4.0], [0.0, 9.0, 0.0, 4.0], [7.0, 0.0, 0.0, -2.0]])
    labels = torch.tensor([Label.NONE, Label.NONE, Label.NOBODY])  # the teacher is sure that the second is wrong
    soft, ours = (teacher[:, :3] / 3).softmax(1), (logits[:, :3] / 3).softmax(1)
    kinds = (soft * (soft / ours).log()).sum(1)[:2]  # of nobody the kinds do not matter
    p, q = (teacher[:, 3] / 3).sigmoid(), (logits[:, 3] / 3).sigmoid()
    face = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    distance = 9 * (kinds.sum() + face.sum()) / 3

    def likely(z: torch.Tensor) -> list[torch.Tensor]:
        return [*(z[:2, :3].softmax(1)[:, 0] * z[:2, 3].sigmoid()), 1 - z[2, 3].sigmoid()]

    doubted = likely(teacher)[1] / 0.1
    assert doubted < 0.01
    plain = -sum(w * one.log() for w, one in zip((1, doubted, 1), likely(logits), strict=True)) / 3
    assert distillation_loss(logits, labels, teacher) == pytest.approx((0.7 * distance + 0.3 * plain).item(), rel=1e-5)
    less = (0.25 * distance + 0.75 * plain).item()
    assert distillation_loss(logits, labels, teacher, share=0.25) == pytest.approx(less, rel=1e-5)
    both = distillation_loss(teacher, torch.tensor([Label.UNKNOWN_KIND] * 3), teacher, share=1.0)
    assert both.item() == pytest.approx(0, abs=1e-6)


def test_a_student_is_taught_no_kinds_of_nobody():
    torch.manual_seed(0)
    logits, teacher = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)
    labels = torch.tensor([Label.NOBODY, Label.NONE, Label.NOBODY, Label.EYEGLASSES])
    distillation_loss(logits, labels, teacher, smoothing=0.01).backward()
    assert logits.grad[::2, :3].abs().max() == 0
    assert logits.grad[1::2, :3].abs().min() > 0
    assert logits.grad[:, 3].abs().min() > 0


def test_a_label_counts_unless_the_teacher_rules_it_out():
    kinds = [[0.5, 0.3, 0.2], [0.98, 0.015, 0.005], [0.98, 0.015, 0.005], [0.4, 0.3, 0.3], [0.4, 0.3, 0.3]]
    teacher = logits_of(kinds, [0.8, 0.8, 0.8, 0.95, 0.1])
    labels = torch.tensor([Label.SUNGLASSES, Label.UNKNOWN_KIND, Label.SUNGLASSES, Label.NOBODY, Label.NONE])
    assert believed(teacher, labels).tolist() == pytest.approx([1, 0.16, 0.04, 0.5, 0.4], rel=1e-4)


def test_hints_compare_where_maps_are_active():
    left, right = torch.zeros(2, 1, 4, 6), torch.zeros(2, 5, 4, 6)
    left[..., :3], right[..., 3:] = 1, -7
    assert hint_loss(left, left * 9).item() == pytest.approx(0, abs=1e-6), "strength and channels do not matter"
    assert hint_loss(left, right).item() == pytest.approx(2, abs=1e-6)
    larger = torch.zeros(2, 8, 8, 12)
    larger[..., :6] = 1
    assert hint_loss(left, larger).item() < 0.1


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_hints_come_from_maps_of_an_eighth_of_the_size(architecture):
    model, seen = make_model(architecture, pretrained=False), []
    model.get_submodule(HINT_LAYERS[architecture]).register_forward_hook(lambda *call: seen.append(call[2].shape))
    model.eval()(torch.rand(1, 3, 64, 96))
    assert seen[0][2] in (7, 8)
    assert seen[0][3] in (11, 12)


def test_distillation_moves_the_student_alone_and_asks_every_teacher():
    torch.manual_seed(0)
    student, teachers = GlassesCNN((8,) * 6, dropout=0), [GlassesCNN(), make_model("resnet18")]
    faces, labels = torch.rand(4, 3, 64, 96), torch.tensor([0, 1, 2, 3])
    with Distillation(student, teachers, hints=2.0) as loss:
        given = loss(faces, student(faces), labels)
        given.backward()
        with torch.no_grad():
            logits = torch.stack([teacher(faces) for teacher in loss.teachers]).mean(0)
            soft = distillation_loss(student(faces), labels, logits)
            maps = loss.recorder.maps
            hints = [hint_loss(maps[student], maps[teacher]) for teacher in loss.teachers]
    assert given.item() == pytest.approx((soft + 2 * torch.stack(hints).mean()).item(), rel=1e-4)
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for teacher in teachers for p in teacher.parameters())
    assert not any(module.training for teacher in loss.teachers for module in teacher.modules())


def listeners(network) -> list:
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


def test_distillation_listens_only_inside_its_with_statement():
    student, teacher = GlassesCNN((8,) * 6), GlassesCNN((8,) * 6)
    faces, labels = torch.rand(2, 3, 64, 96), torch.tensor([0, 1])
    loss = Distillation(student, [teacher])
    with pytest.raises(RuntimeError, match="with statement"):
        loss(faces, student(faces), labels)

    def interrupted() -> None:
        with loss:
            loss(faces, student(faces), labels)
            assert len(listeners(student)) == len(listeners(loss.teachers[0])) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not listeners(student) + listeners(teacher) + listeners(loss.teachers[0])
    assert not loss.recorder.maps, "the maps of a batch take memory"
    with Distillation(student, [teacher], hints=0) as plain:
        plain(faces, student(faces), labels)
        assert not listeners(student)


def test_hints_shrink_the_larger_map_without_losing_points():
    """One bright pixel of 16 by 16, which bilinear interpolation alone would miss."""
    large, small = torch.zeros(1, 1, 64, 96), torch.ones(1, 1, 4, 6)
    nothing = hint_loss(small, large).item()
    large[..., 1, 1] = 1
    assert hint_loss(small, large).item() > 0.5
    assert hint_loss(small, large).item() != pytest.approx(nothing)


def test_hints_weigh_one_by_default():
    assert Distillation(GlassesCNN((8,) * 6), []).hints == 1


# ------------------------------------------------------------------------------------------------ key points


def faces_and_labels(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 68, 2) labels, and points that are off by up to a quarter of the eye distance."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 100, (count, 68, 2))
    labels[:, 36], labels[:, 45] = (20, 40), (60, 70)  # 50 pixels apart
    found = labels + rng.uniform(-12, 12, labels.shape)
    return torch.tensor(found), torch.tensor(labels)


def test_wing_loss_is_that_of_a_slow_loop():
    found, labels = faces_and_labels()
    losses, sides = [], set()
    for face, truth in zip(found.numpy(), labels.numpy(), strict=True):
        for i in range(68):
            for axis in (0, 1):
                error = abs(face[i, axis] - truth[i, axis]) / 50
                small = error < 0.1
                losses.append(0.1 * np.log(1 + error / 0.02) if small else error - (0.1 - 0.1 * np.log(1 + 0.1 / 0.02)))
                sides.add(small)
    assert sides == {True, False}
    assert wing_loss(found, labels).item() == pytest.approx(np.mean(losses), rel=1e-9)
    assert wing_loss(labels, labels).item() == 0


def test_wing_loss_is_of_one_piece_and_of_no_size():
    found, labels = faces_and_labels()
    for width, curvature in ((0.1, 0.02), (0.3, 0.1)):
        below, above = (
            wing_loss(labels + sign * 50 * (width + step), labels, width, curvature).item()
            for sign, step in ((1, -1e-9), (-1, 1e-9))
        )
        assert below == pytest.approx(above, abs=1e-6)
        assert below == pytest.approx(width * np.log(1 + width / curvature), abs=1e-6)
    assert wing_loss(3 * found + 7, 3 * labels + 7).item() == pytest.approx(wing_loss(found, labels).item(), rel=1e-9)


def test_wing_loss_pulls_at_small_errors_more_than_at_large_ones():
    _, labels = faces_and_labels(1)
    pulls = []
    for error in (0.0001, 0.05, 0.2, 5):
        found = (labels + 50 * error).requires_grad_()
        wing_loss(found, labels).backward()
        pulls.append(found.grad[0, 5, 0].item() * 136 * 50)  # of one coordinate, a unit of the eye distance
    assert pulls == pytest.approx([0.1 / 0.0201, 0.1 / 0.07, 1, 1], rel=1e-6)
