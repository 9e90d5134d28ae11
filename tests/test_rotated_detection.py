"""What detectors of turned boxes are made of: suppression, assignment and costs by a similarity of turned boxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import assigners, costs, similarity, suppression
from tests import dense_reference, rotated_reference

SIZE = 128
STRIDE = 8
CLASSES = 3


@pytest.fixture(autouse=True)
def in_float64(x64):
    """As the loops: no rounding decides."""


def turned(count, rng):
    """Turned boxes on an image, some of which are almost copies of others."""
    boxes = np.concatenate(
        [rng.uniform(0, SIZE, (count, 2)), rng.uniform(8, 60, (count, 2)), rng.uniform(-4, 4, (count, 1))], axis=-1
    )
    copies = rng.uniform(size=count) < 0.4
    near = boxes[rng.integers(0, count, count)] + rng.normal(scale=[2, 2, 2, 2, 0.1], size=(count, 5))
    return np.where(copies[:, None], near, boxes)


def padded(count, seed):
    rng = np.random.default_rng(seed)
    where = rng.uniform(size=count) < 0.8
    boxes = np.where(where[:, None], turned(count, rng), np.nan)
    return rng, boxes, rng.integers(0, CLASSES, count), where


@pytest.mark.parametrize("of_classes", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_of_turned_boxes_is_what_a_greedy_loop_keeps(seed, of_classes):
    rng, boxes, classes, where = padded(80, seed)
    scores = np.where(where, rng.uniform(size=80), np.nan)
    options = {"classes": classes} if of_classes else {}
    kept = suppression.nms(
        boxes, scores, threshold=0.3, outputs=60, similarity=similarity.rotated_iou, where=where, **options
    )
    alike = classes if of_classes else np.zeros_like(classes)
    wanted = dense_reference.greedy(boxes, scores, 0.3, 60, alike, where, overlap=rotated_reference.rotated_iou)
    np.testing.assert_array_equal(kept.indices, wanted)
    assert wanted.count(80) > 0  # some are dropped


def test_suppression_of_a_batch_of_turned_boxes_is_that_of_each_image():
    images = [padded(50, seed) for seed in range(3)]
    boxes = np.stack([boxes for _, boxes, _, _ in images])
    scores = np.stack([rng.uniform(size=50) for rng, *_ in images])
    keep = jax.jit(functools.partial(suppression.nms, threshold=0.3, outputs=20, similarity=similarity.rotated_giou))
    together = keep(boxes, scores)
    for image in range(3):
        np.testing.assert_array_equal(together.indices[image], keep(boxes[image], scores[image]).indices)


def inside_of(box, point, least_side):
    """Whether a point lies inside a box: a turn back of the point, by a matrix."""
    x, y, w, h, angle = box
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ (point - [x, y])
    return bool(np.all(np.abs(back) < np.maximum([w, h], least_side) / 2))


def points_of_cells():
    line = (np.arange(SIZE // STRIDE) + 0.5) * STRIDE
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("least_side", [None, 16.0])
def test_what_is_inside_of_turned_boxes_is_told_in_their_frame(seed, least_side):
    _, targets, _, where = padded(9, seed)
    points = points_of_cells()
    found = assigners.rotated_inside(points, targets, least_side=least_side, where=where)
    for m, box in enumerate(targets):
        wanted = [where[m] and inside_of(box, point, least_side or 0.0) for point in points]
        np.testing.assert_array_equal(found[:, m], wanted)
    assert np.any(found)


def test_a_point_on_a_side_is_not_inside():
    target = jnp.array([[8.0, 8, 6, 4, jnp.pi / 2]])  # 4 wide and 6 high
    points = jnp.array([[10.0, 8.0], [9.99, 8.0], [8.0, 11.0], [8.0, 10.99]])
    assert assigners.rotated_inside(points, target)[:, 0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("seed", range(30))
def test_task_aligned_assignment_of_turned_boxes_is_that_of_a_loop(seed):
    rng, targets, labels, where = padded(7, seed)
    points = points_of_cells()
    predictions = np.concatenate([points + rng.normal(scale=4, size=points.shape), turned(len(points), rng)[:, 2:]], 1)
    scores = rng.uniform(size=(len(points), CLASSES))
    overlaps = similarity.pairwise(similarity.rotated_iou)(predictions, targets)
    inside = assigners.rotated_inside(points, targets, where=where)
    slots, found = assigners.task_aligned(scores, overlaps, inside, labels, where=where)
    by_hand = np.where(where, rotated_reference.rotated_iou(predictions[:, None], targets), np.nan)
    by_hand = np.where(by_hand < 1e-12, 0, by_hand)  # polygons that touch leave a rounding of areas
    options = {"candidates": 10, "alpha": 0.5, "beta": 6.0}
    wanted = dense_reference.aligned(scores, by_hand, np.asarray(inside), labels, where, **options)
    np.testing.assert_array_equal(slots, wanted[0])
    np.testing.assert_allclose(found, wanted[1], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("alike", "by_hand"),
    [
        (similarity.rotated_giou, rotated_reference.rotated_giou),
        (similarity.rotated_mgiou, rotated_reference.rotated_mgiou),
    ],
)
def test_the_cost_of_turned_boxes_is_l1_of_centers_and_sides_less_the_similarity(alike, by_hand):
    rng = np.random.default_rng(0)
    predictions, targets = turned(6, rng) / SIZE, turned(4, rng) / SIZE
    found = costs.box_costs(predictions, targets, similarity=alike)
    apart = np.sum(np.abs(predictions[:, None, :4] - targets[None, :, :4]), axis=-1)
    np.testing.assert_allclose(found, 5 * apart - 2 * by_hand(predictions[:, None], targets), rtol=1e-10)


def test_boxes_of_another_kind_than_the_similarity_are_refused():
    upright, with_an_angle = jnp.ones((3, 4)), jnp.ones((3, 5))
    with pytest.raises(ValueError, match=r"`boxes` has shape \(3, 4\), but a turned box is `\[..., 5\]`"):
        suppression.nms(upright, upright[:, 0], threshold=0.5, outputs=2, similarity=similarity.rotated_iou)
    with pytest.raises(ValueError, match=r"`boxes` has shape \(3, 5\), but a box is `\[..., 2n\]`"):
        suppression.nms(with_an_angle, with_an_angle[:, 0], threshold=0.5, outputs=2)
    with pytest.raises(ValueError, match=r"`predictions` has shape \(3, 4\), but a turned box is `\[..., 5\]`"):
        costs.box_costs(upright, upright, similarity=similarity.rotated_iou)
