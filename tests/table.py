"""The table of losses: what the tests know of each. Every law is a test over every row.

A loss enters by one row in `LOSSES`: its reference, its range, its options, and for each law that it cannot keep, the
reason.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from jaxbox import boxes, losses
from tests import gaussian_reference, reference, rotated_reference
from tests.shapes import SOLIDS, TURNED, UPRIGHT, Shape


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What the tests know of a loss.

    The flags from `has_a_unit` on weaken one test each, and what they hold is the reason. `upper_if_flipped` is the
    range of a loss whose docstring gives flipped boxes another one, and `shape` tells what it takes.
    """

    loss: Callable[..., jax.Array]
    reference: Callable[..., np.ndarray]
    upper: float
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    dimensions: tuple[int, ...] = (1, 2, 3)
    planar: bool = False
    any_layout: bool = False
    holds_predictions: bool = False
    holds_targets: bool = False
    upper_if_flipped: float | None = None
    has_a_unit: str = ""
    may_climb: str = ""
    reaches_the_target_only_from: tuple[Callable[..., np.ndarray], str] | None = None
    averages_axes: str = ""
    ties: str = ""
    shape: Shape = UPRIGHT

    @property
    def name(self) -> str:
        return self.loss.__name__

    def __call__(self, predictions, targets, **kwargs):
        if getattr(predictions, "shape", ())[-1:] == (2,) and not self.any_layout:
            predictions, targets = boxes.Intervals(predictions), boxes.Intervals(targets)
        return self.loss(predictions, targets, **self.options, **kwargs)


def overlapping_cores(starts, targets):
    return reference.inner_iou(starts, targets, ratio=0.7) > 0.02


def near_centers(starts, targets):
    return np.all(np.abs(reference.offset(starts, targets)) < 0.4 * reference.sides(targets), axis=-1)


def near_edges(starts, targets):
    return reference.powerful_penalty(starts, targets) < 0.7


A_LENGTH = "it is measured in the unit of the coordinates"
coordinate_row = partial(Row, upper=np.inf, any_layout=True, has_a_unit=A_LENGTH)
OVERLAP = (overlapping_cores, "intersection over union is 0, without a gradient, for all boxes that are apart")
POWERS = (overlapping_cores, "the powers of its terms are flat where the boxes are apart")
WEIGHT_IS_HELD = "its weight is held in the gradient, and may grow by more along the step than the rest falls"

LOSSES = [
    coordinate_row(losses.l1_loss, reference.l1_loss),
    coordinate_row(losses.l2_loss, reference.l2_loss),
    coordinate_row(losses.smooth_l1_loss, reference.smooth_l1_loss, options={"beta": 0.5}),
    coordinate_row(losses.huber_loss, reference.huber_loss, options={"delta": 0.5}),
    coordinate_row(losses.balanced_l1_loss, reference.balanced_l1_loss, options={"beta": 0.5}),
    coordinate_row(losses.log_cosh_loss, reference.log_cosh_loss),
    Row(losses.iou_loss, reference.iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.squared_iou_loss, reference.squared_iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.log_iou_loss, reference.log_iou_loss, -np.log(1e-6), reaches_the_target_only_from=OVERLAP),
    Row(
        losses.bounded_iou_loss,
        reference.bounded_iou_loss,
        4,
        holds_targets=True,
        upper_if_flipped=6,
        reaches_the_target_only_from=(near_centers, "its bound is 0 for a center half a side of the target away"),
    ),
    Row(losses.giou_loss, reference.giou_loss, 2),
    Row(losses.diou_loss, reference.diou_loss, 2),
    Row(losses.ciou_loss, reference.ciou_loss, 3, dimensions=(2,), planar=True, holds_predictions=True),
    Row(losses.eiou_loss, reference.eiou_loss, 4),
    Row(
        losses.focal_eiou_loss,
        reference.focal_eiou_loss,
        4,
        holds_predictions=True,
        reaches_the_target_only_from=(overlapping_cores, "its weight is a power of IoU"),
        may_climb=WEIGHT_IS_HELD,
    ),
    Row(losses.extended_iou_loss, reference.extended_iou_loss, 2, dimensions=(2,), planar=True),
    Row(losses.siou_loss, reference.siou_loss, 3, dimensions=(2,), planar=True),
    Row(losses.alpha_iou_loss, reference.alpha_iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.alpha_giou_loss, reference.alpha_giou_loss, 2, reaches_the_target_only_from=POWERS),
    Row(losses.alpha_diou_loss, reference.alpha_diou_loss, 2, reaches_the_target_only_from=POWERS),
    Row(
        losses.alpha_ciou_loss,
        reference.alpha_ciou_loss,
        3,
        dimensions=(2,),
        planar=True,
        holds_predictions=True,
        reaches_the_target_only_from=POWERS,
    ),
    Row(losses.wiou_loss, reference.wiou_loss, np.e, holds_predictions=True),
    Row(
        losses.focused_wiou_loss,
        reference.focused_wiou_loss,
        np.inf,
        options={"mean_loss": 0.4},
        holds_predictions=True,
        may_climb=WEIGHT_IS_HELD,
    ),
    Row(losses.mgiou_loss, reference.mgiou_loss, 1, averages_axes="an axis that is flipped counts as one with a gap"),
    Row(
        losses.mpdiou_loss,
        reference.mpdiou_loss,
        np.inf,
        options={"image_size": (3.0, 4.0)},
        dimensions=(2,),
        has_a_unit="its penalty is measured in images",
    ),
    Row(
        losses.inner_iou_loss,
        reference.inner_iou_loss,
        1,
        options={"ratio": 0.75},  # a number that binary has, so that edges coincide alike in every precision
        reaches_the_target_only_from=OVERLAP,
    ),
    Row(
        losses.focaler_iou_loss,
        reference.focaler_iou_loss,
        1,
        options={"upper": 0.98},  # it stops at the upper IoU
        reaches_the_target_only_from=OVERLAP,
    ),
    Row(losses.shape_iou_loss, reference.shape_iou_loss, 4, {"scale": 0.5}, (2,), planar=True, holds_targets=True),
    Row(
        losses.powerful_iou_loss,
        reference.powerful_iou_loss,
        2,
        reaches_the_target_only_from=(overlapping_cores, "its penalty saturates a few sides of the target away"),
    ),
    Row(
        losses.focused_powerful_iou_loss,
        reference.focused_powerful_iou_loss,
        2.6,
        reaches_the_target_only_from=(near_edges, "its weight makes the loss fall again far from the target"),
    ),
    Row(losses.nwd_loss, reference.nwd_loss, 1, {"constant": 2.0}, has_a_unit="its constant is a length"),
    Row(losses.gcd_loss, reference.gcd_loss, 1),
]


SMALLEST = "where two rectangles around both are the smallest its gradient jumps, and rounding decides"
CROSSING = "where edges of nearly one direction cross, rounding decides how much of them counts"
turned_row = partial(Row, upper=1, dimensions=(2,), shape=TURNED)
solid_row = partial(Row, upper=1, dimensions=(3,), shape=SOLIDS)
OF_TURNED_BOXES = [
    turned_row(losses.rotated_iou_loss, rotated_reference.rotated_iou_loss, ties=CROSSING),
    turned_row(losses.rotated_giou_loss, rotated_reference.rotated_giou_loss, upper=2, ties=SMALLEST),
    turned_row(losses.rotated_diou_loss, rotated_reference.rotated_diou_loss, upper=2, ties=SMALLEST),
    turned_row(losses.rotated_mgiou_loss, rotated_reference.rotated_mgiou_loss),
    solid_row(losses.solid_iou_loss, rotated_reference.solid_iou_loss, ties=CROSSING),
    solid_row(losses.solid_giou_loss, rotated_reference.solid_giou_loss, upper=2, ties=SMALLEST),
    solid_row(losses.solid_diou_loss, rotated_reference.solid_diou_loss, upper=2, ties=SMALLEST),
    solid_row(losses.solid_mgiou_loss, rotated_reference.solid_mgiou_loss),
    turned_row(losses.gwd_loss, gaussian_reference.gwd_loss),
    turned_row(losses.kld_loss, gaussian_reference.kld_loss),
    turned_row(losses.reverse_kld_loss, gaussian_reference.reverse_kld_loss),
    turned_row(losses.jeffreys_loss, gaussian_reference.jeffreys_loss),
    turned_row(losses.bhattacharyya_loss, gaussian_reference.bhattacharyya_loss),
    turned_row(losses.probiou_loss, gaussian_reference.probiou_loss),
    turned_row(losses.kfiou_loss, gaussian_reference.kfiou_loss),
    turned_row(
        losses.rotated_nwd_loss,
        gaussian_reference.rotated_nwd_loss,
        options={"constant": 2.0},
        has_a_unit="its constant is a length",
    ),
    turned_row(losses.angle_loss, gaussian_reference.angle_loss, holds_targets=True),
]
EVERY = [*LOSSES, *OF_TURNED_BOXES]


def rows(wanted=bool, of=LOSSES):
    return pytest.mark.parametrize("row", [row for row in of if wanted(row)], ids=lambda row: row.name)


every_upright_loss = rows()
every_loss = rows(of=EVERY)
every_loss_without_a_unit = rows(lambda row: not row.has_a_unit, of=EVERY)
in_both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])

# Their arguments are not two arrays of boxes; tests/test_distributions.py has them.
OF_DISTRIBUTIONS = {"distribution_focal_loss", "uncertain_l1_loss"}


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    given = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    return {name: default for name, default in given.items() if name not in ("where", "held")}
