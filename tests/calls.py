"""Every public function, as one of arrays with a row a box, for the tests that ask where the package works."""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import (
    assigners,
    boxes,
    coders,
    costs,
    gaussian,
    losses,
    matching,
    reductions,
    rotated,
    similarity,
    suppression,
)
from tests import cases

OPTIONS = {
    "focused_wiou_loss": {"mean_loss": 0.5},
    "mpdiou": {"image_size": (3.0, 4.0)},
    "mpdiou_loss": {"image_size": (3.0, 4.0)},
    "nwd": {"constant": 2.0},
    "nwd_loss": {"constant": 2.0},
    "rotated_nwd_loss": {"constant": 2.0},
}
OF_ONE_SET = {  # what these take beside their boxes
    "absolute_to_normalized": {"image_size": (3.0, 4.0)},
    "clip": {"window": np.array([-1.0, -1, 1, 1])},
    "check": {"window": np.array([-9.0, -9, 9, 9])},
    "flip_horizontally": {"image_size": (3.0, 4.0)},
    "flip_vertically": {"image_size": (3.0, 4.0)},
    "normalized_to_absolute": {"image_size": (3.0, 4.0)},
    "resize": {"image_size": (3.0, 4.0), "new_size": (6.0, 2.0)},
    "scale": {"factor": 1.5},
    "translate": {"offset": (1.0, -2.0)},
}
ARE_CLASSES = {"Intervals", "Assignment", "Kept"}


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A public function of arrays.

    Attributes:
      name: of the function, with its module.
      function: of the arrays, and of `axis_name` if it is a reduction.
      shapes: of the arrays, where None is the number of rows; the first ones have rows that may be spread.
      is_matrix: whether the rows of the second array are the columns of the result.
      is_reduction: whether the rows are reduced.
      has_gradient: whether the result has one.
    """

    name: str
    function: Callable
    shapes: tuple[tuple[int | None, ...], ...]
    is_matrix: bool = False
    is_reduction: bool = False
    has_gradient: bool = True

    def arrays(self, count, dtype=np.float32):
        """Numbers for each array, with so many rows; boxes are upright, and about half of the pairs overlap."""
        drawn = []
        for number, shape in enumerate(self.shapes):
            whole = [count if length is None else length for length in shape]
            if shape[-1] == 4:
                drawn.append(cases.random_boxes(np.prod(whole[:-1]), seed=number).reshape(whole))
            else:
                drawn.append(np.random.default_rng(number).uniform(0.1, 3, whole))
        return [np.asarray(x, dtype) for x in drawn]


BOX, NUMBER = (None, 4), (None,)
TURNED, SOLID = (None, 5), (None, 7)


def of_pairs(module, name):
    function = functools.partial(getattr(module, name), **OPTIONS.get(name, {}))
    lengths = getattr(module, name).check.layout.lengths
    shape = BOX if len(lengths) != 1 else (None, *lengths)
    return Call(f"{module.__name__.split('.')[-1]}.{name}", function, (shape, shape))


def of_set(name):
    function = functools.partial(getattr(boxes, name), **OF_ONE_SET.get(name, {}))
    return Call(f"boxes.{name}", function, (BOX,), has_gradient=name not in ("check", "is_valid"))


def masked_matrix(a, b):
    return similarity.pairwise(similarity.giou)(a, b, where=(boxes.sides(a)[..., 0] < 1, boxes.sides(b)[..., 1] < 1))


def normalizer(counts, axis_name=None):
    """As a sum over the devices, which is what one of them has."""
    devices = 1 if axis_name is None else lax.psum(1, axis_name)
    return devices * reductions.normalizer(counts, axis_name=axis_name, least=1.0 / devices)


OF_DISTRIBUTIONS = [
    Call("losses.distribution_focal_loss", losses.distribution_focal_loss, ((None, 9), NUMBER)),
    Call("losses.uncertain_l1_loss", losses.uncertain_l1_loss, (BOX, BOX, BOX)),
]
LOGITS, POINT = (None, 9), (None, 2)
OF_CLASSES = [
    Call("losses.focal_loss", losses.focal_loss, (LOGITS, LOGITS)),
    *(
        Call(f"losses.{name}", getattr(losses, name), (LOGITS, LOGITS, NUMBER))
        for name in losses.classes.__all__
        if name != "focal_loss"
    ),
]
CODERS = [
    Call("coders.encode_deltas", coders.encode_deltas, (BOX, BOX)),
    Call("coders.decode_deltas", coders.decode_deltas, (BOX, BOX)),
    Call("coders.encode_distances", coders.encode_distances, (BOX, POINT)),
    Call("coders.decode_distances", coders.decode_distances, (BOX, POINT)),
    Call("coders.encode_rotated_distances", coders.encode_rotated_distances, (TURNED, POINT)),
    Call("coders.decode_rotated_distances", coders.decode_rotated_distances, (BOX, NUMBER, POINT)),
    Call("coders.encode_fine", coders.encode_fine, (BOX, BOX)),
    Call("coders.decode_fine", coders.decode_fine, (BOX, BOX)),
    Call("coders.encode_grid", functools.partial(coders.encode_grid, scale=8.0), (BOX, POINT)),
    Call("coders.decode_grid", functools.partial(coders.decode_grid, scale=8.0), (BOX, POINT)),
    Call("coders.decode_yolo", functools.partial(coders.decode_yolo, stride=8.0), (BOX, POINT, POINT)),
    Call("coders.decode_yolov5", functools.partial(coders.decode_yolov5, stride=8.0), (BOX, POINT, POINT)),
    Call("coders.encode_rotated_deltas", coders.encode_rotated_deltas, (TURNED, TURNED)),
    Call("coders.decode_rotated_deltas", coders.decode_rotated_deltas, (TURNED, TURNED)),
    Call("coders.encode_phases", coders.encode_phases, (NUMBER,)),
    Call("coders.decode_phases", coders.decode_phases, ((None, 3),)),
    Call("coders.expected_bin", coders.expected_bin, (LOGITS,)),
    Call("coders.expected_bin, of values", lambda x: coders.expected_bin(x, np.arange(9, dtype=np.float32)), (LOGITS,)),
    Call("coders.fractional_bin", lambda x: coders.fractional_bin(x, np.arange(4, dtype=np.float32)), (NUMBER,)),
]
OF_TURNED = {
    "from_corners": (None, 4, 2),
    "from_polygon": (None, 6, 2),
    "from_xyxy": BOX,
    "from_kitti": SOLID,
    "to_kitti": SOLID,
    "from_nuscenes": (None, 10),
    "to_nuscenes": SOLID,
}
MOVES = {name: OF_ONE_SET[name] for name in ("flip_horizontally", "flip_vertically", "translate")}
MOVES |= {"resize": {"factor": 1.5}}
ROTATED = [
    Call(
        f"rotated.{name}",
        functools.partial(getattr(rotated, name), **MOVES.get(name, {})),
        (OF_TURNED.get(name, TURNED),),
    )
    for name in rotated.__all__
]


def masked_polygon(points):
    return rotated.from_polygon(points, where=jnp.asarray(points)[..., 0] > 1)


ROTATED += [Call("rotated.from_polygon, masked", masked_polygon, ((None, 6, 2),))]
WITHOUT_ARRAYS = {"coders.fine_bins", "coders.grid_points"}  # what only makes some
COSTS = [
    Call("costs.box_costs", costs.box_costs, (BOX, BOX), is_matrix=True),
    Call("costs.class_costs", lambda x: costs.class_costs(x, np.array([3, 0, 8, -1])), (LOGITS,)),
    Call("costs.class_costs, of several", costs.class_costs, (LOGITS, LOGITS), is_matrix=True),
    Call("costs.class_costs, of images", lambda x: costs.class_costs(x, np.array([3, 0, 8])), ((None, 5, 9),)),
    Call("costs.focal_costs", costs.focal_costs, (LOGITS,)),
]
MATRICES = [
    Call("similarity.pairwise", similarity.pairwise(similarity.giou), (BOX, BOX), is_matrix=True),
    Call("similarity.pairwise, masked", masked_matrix, (BOX, BOX), is_matrix=True),
    Call("similarity.pairwise, of images", similarity.pairwise(similarity.giou), ((None, 200, 4), (None, 128, 4))),
    Call(
        "similarity.pairwise, of rows that all images share",
        functools.partial(similarity.pairwise(similarity.giou), cases.random_boxes(7, seed=5)),
        ((None, 5, 4),),
    ),
    Call(
        "similarity.pairwise, of a loss",
        similarity.pairwise(functools.partial(losses.smooth_l1_loss, beta=0.1)),
        (BOX, BOX),
        is_matrix=True,
    ),
]
REDUCTIONS = [
    Call("reductions.weighted_sum", reductions.weighted_sum, (NUMBER, NUMBER), is_reduction=True),
    Call("reductions.weighted_mean", reductions.weighted_mean, (NUMBER, NUMBER), is_reduction=True),
    Call(
        "reductions.update_mean",
        lambda values, **mapped: reductions.update_mean(0.5, values, momentum=0.1, **mapped),
        (NUMBER,),
        is_reduction=True,
        has_gradient=False,
    ),
    Call("reductions.normalizer", normalizer, (NUMBER,), is_reduction=True),
]


def slots_of(overlaps):
    return matching.threshold_assignment(overlaps, low=0.5, high=1.0)[0]


TABLE = (None, 9, 5)  # the rows that are spread are images, of predictions and slots of targets
MATCHING = [
    Call(f"matching.{function.__name__}", called, shapes, has_gradient=function is matching.take)
    for function, called, shapes in [
        (matching.linear_assignment, matching.linear_assignment, (TABLE,)),
        (matching.threshold_assignment, functools.partial(matching.threshold_assignment, low=0.5, high=1.0), (TABLE,)),
        (matching.rescue_targets, lambda table: matching.rescue_targets(slots_of(table), table), (TABLE,)),
        (matching.majority, lambda table: matching.majority(slots_of(table)[None], columns=5), (TABLE,)),
        (matching.take, lambda table, boxes: matching.take(boxes, slots_of(table)), (TABLE, (None, 5, 4))),
    ]
]
ANCHORS = cases.random_boxes(9, seed=9)
POINTS = boxes.center(ANCHORS)


def aligned(function):
    def call(scores, overlaps):
        table = jnp.asarray(overlaps)
        labels = (table[..., 0, :] > 1).astype(jnp.int32)
        return function(scores, overlaps, table > 1, labels, candidates=3)[1]

    return call


def priced(costs):
    table = jnp.asarray(costs)
    return assigners.sim_ota(costs, table / 3, table > 1, table > 2)


def first(boxes):
    return jnp.asarray(boxes)[..., 0]


def keep_one(*arrays, **options):
    return assigners.task_aligned(*arrays, keep=1, **options)


TARGETS, SCORES = (None, 5, 4), (None, 9, 3)
DENSE = [
    Call(name, called, shapes, has_gradient=False)
    for name, called, shapes in [
        ("assigners.inside", functools.partial(assigners.inside, POINTS), (TARGETS,)),
        ("assigners.rotated_inside", functools.partial(assigners.rotated_inside, POINTS), ((None, 5, 5),)),
        ("assigners.near", functools.partial(assigners.near, POINTS, radius=POINTS[:, 0] * 0 + 2), (TARGETS,)),
        ("assigners.atss", functools.partial(assigners.atss, ANCHORS, level_sizes=(5, 4), candidates=2), (TARGETS,)),
        (
            "assigners.smallest_inside",
            functools.partial(
                assigners.smallest_inside, POINTS, ranges=ANCHORS[:, :2] * 0 + [[0, 9]], radius=POINTS[:, 0] * 0 + 9
            ),
            (TARGETS,),
        ),
        ("assigners.task_aligned", aligned(assigners.task_aligned), (SCORES, TABLE)),
        (
            "assigners.task_aligned, one kept",
            aligned(keep_one),
            (SCORES, TABLE),
        ),
        ("assigners.task_aligned_tood", aligned(assigners.task_aligned_tood), (SCORES, TABLE)),
        ("assigners.sim_ota", priced, (TABLE,)),
        (
            "suppression.nms",
            lambda boxes: suppression.nms(boxes, first(boxes), threshold=0.2, outputs=4).indices,
            ((None, 9, 4),),
        ),
        (
            "suppression.nms, of turned boxes",
            lambda boxes: (
                suppression.nms(
                    boxes, first(boxes), threshold=0.2, outputs=4, similarity=similarity.rotated_iou
                ).indices
            ),
            ((None, 9, 5),),
        ),
        (
            "suppression.soft_nms",
            lambda boxes: suppression.soft_nms(boxes, first(boxes), outputs=4).scores,
            ((None, 9, 4),),
        ),
    ]
]
SPECIAL = {call.name.split(",")[0].split(".")[1] for call in (*OF_DISTRIBUTIONS, *OF_CLASSES, *MATRICES, *REDUCTIONS)}
CALLS = [
    *(of_pairs(losses, name) for name in losses.__all__ if name not in SPECIAL),
    *OF_DISTRIBUTIONS,
    *OF_CLASSES,
    *(of_pairs(similarity, name) for name in similarity.__all__ if name not in SPECIAL),
    *(of_pairs(gaussian, name) for name in gaussian.__all__ if name != "mean_and_covariance"),
    Call("gaussian.mean_and_covariance", lambda boxes: gaussian.mean_and_covariance(boxes)[1], (TURNED,)),
    *MATRICES,
    *(of_set(name) for name in boxes.__all__ if name not in ARE_CLASSES),
    *ROTATED,
    *CODERS,
    *COSTS,
    *REDUCTIONS,
    *MATCHING,
    *DENSE,
]


def total(function):
    """The sum of the results of a function, with which it has a gradient."""
    return lambda *arrays, **mapped: function(*arrays, **mapped).sum()
