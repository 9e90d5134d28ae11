"""Nothing breaks a loss: finite everywhere, the right answer at every awkward pair, and a way out of it.

`python -m tests.tools.guarantees` runs every precision and transform; here are those that the laws have not.
"""

import inspect
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbox import losses, similarity
from tests import cases
from tests.shapes import UPRIGHT
from tests.table import LOSSES, every_upright_loss
from tests.tools import guarantees

PROMISES = guarantees.promises()
ALL_LOSSES = [name for name in PROMISES if name.endswith("_loss")]
UPRIGHT_LOSSES = [name for name in ALL_LOSSES if PROMISES[name].shape is UPRIGHT]
SIMILARITIES = [name for name in PROMISES if not name.endswith("_loss")]


# Finite and in range.


@pytest.mark.parametrize(
    ("name", "dtype", "transform"),
    [
        *((name, "float32", "jax_debug_nans") for name in ALL_LOSSES),
        *((name, "float16", "vmap(grad)") for name in UPRIGHT_LOSSES),
        *((name, "float32", "vmap(grad)") for name in SIMILARITIES),
    ],
)
def test_every_kind_of_pair_has_a_finite_derivative_and_a_value_in_range(name, dtype, transform):
    found = guarantees.count(name, dtype, transform)
    assert not {kind: what for kind, what in found.items() if what not in ("", "overflow")}


def test_the_count_sees_what_is_wrong(monkeypatch):
    def broken(a, b):
        return jnp.sum((a - b) / jnp.where(jnp.all(a == b, axis=-1, keepdims=True), 0.0, 1e25), axis=-1)

    monkeypatch.setattr(guarantees, "promises", lambda: {"broken": guarantees.Promise(broken, -1, 1, 1)})
    found = guarantees.count("broken", "float32", "vmap(grad)")
    assert found["identical"] == "not finite"
    assert found["near"] == ""


# The right answer. The geometry of each kind is written down by hand, with the subgradients that were chosen; from it
# the losses follow by their formulas. The slopes are by x1, y1, x2 and y2 of the prediction.


class Geometry(NamedTuple):
    intersection: float
    of_intersection: tuple[float, float, float, float]
    of_area: tuple[float, float, float, float]
    hull: tuple[float, float]
    of_hull: tuple[float, float, float, float]  # of its width by x1, its height by y1, its width by x2, ...
    offset: tuple[float, float]


NOTHING = (0.0, 0.0, 0.0, 0.0)
GEOMETRY = {
    # Both edges of each overlap coincide: one half each.
    "identical": Geometry(2200, (-27.5, -20, 27.5, 20), (-55, -40, 55, 40), (40, 55), (-0.5, -0.5, 0.5, 0.5), (0, 0)),
    "concentric": Geometry(400, (-20, -20, 20, 20), (-20, -20, 20, 20), (40, 55), NOTHING, (0, 0)),
    # Both edges of the overlap along x coincide.
    "concentric, of one width": Geometry(
        1000, (-12.5, -40, 12.5, 40), (-25, -40, 25, 40), (40, 55), (-0.5, 0, 0.5, 0), (0, 0)
    ),
    "contained": Geometry(500, (-20, -25, 20, 25), (-20, -25, 20, 25), (40, 55), NOTHING, (-2.5, -12.5)),
    "containing": Geometry(2200, NOTHING, (-65, -75, 65, 75), (75, 65), (-1, -1, 1, 1), (2.5, 0)),
    # The low x coincides: one half of its side of the intersection, and the other half in the hull.
    "contained, with a shared edge": Geometry(
        625, (-12.5, -25, 25, 25), (-25, -25, 25, 25), (40, 55), (-0.5, 0, 0, 0), (-7.5, -5)
    ),
    # An overlap of exactly 0 has derivative 1, so that the boxes are drawn together.
    "touching at an edge": Geometry(0, (-30, 0, 0, 0), (-30, -30, 30, 30), (70, 55), (0, 0, 1, 0), (35, -7.5)),
    "touching at a corner": Geometry(0, NOTHING, (-25, -15, 25, 15), (55, 80), (0, 0, 1, 1), (27.5, 40)),
    "near": Geometry(1350, (0, 0, 45, 30), (-50, -40, 50, 40), (50, 60), (-1, -1, 0, 0), (-10, -7.5)),
    "apart along x": Geometry(0, NOTHING, (-36, -25, 36, 25), (75, 55), (0, 0, 1, 0), (42.5, 5.5)),
    "apart along both": Geometry(0, NOTHING, (-30, -25, 30, 25), (75, 105), (0, 0, 1, 1), (42.5, 62.5)),
    "apart, with edges in line": Geometry(0, NOTHING, (-15, -25, 15, 25), (40, 80), (-0.5, 0, 0, 1), (-7.5, 45)),
    "a million sides away": Geometry(
        0, NOTHING, (-3, -5, 3, 5), (3e6 + 5, 4e6 + 7), (0, -1, 1, 0), (3e6 + 0.5, -4e6 - 2)
    ),
    # A side of exactly 0 has derivative 1 in areas, so that the box grows, and one half in the hull.
    "zero width inside": Geometry(0, (-30, 0, 30, 0), (-30, 0, 30, 0), (40, 55), (0.5, 0, -0.5, 0), (-10, -7.5)),
    "zero width apart": Geometry(0, NOTHING, (-30, 0, 30, 0), (70, 55), (0.5, 0, 0.5, 0), (50, -7.5)),
    "zero height inside": Geometry(0, (0, -20, 0, 20), (0, -20, 0, 20), (40, 55), (0, 0.5, 0, -0.5), (0, -22.5)),
    "point inside": Geometry(0, NOTHING, NOTHING, (40, 55), (0.5, 0.5, -0.5, -0.5), (-10, -22.5)),
    "point at the center": Geometry(0, NOTHING, NOTHING, (40, 55), (0.5, 0.5, -0.5, -0.5), (0, 0)),
    "point apart": Geometry(0, NOTHING, NOTHING, (70, 65), (0.5, 0.5, 0.5, 0.5), (50, 37.5)),
    "points apart": Geometry(0, NOTHING, NOTHING, (4, 1), (-0.5, -0.5, -0.5, -0.5), (-4, -1)),
    "segments on one line": Geometry(0, (0, -1.5, 0, 1.5), (0, -6, 0, 6), (6, 0), (-1, 0, 1, 0), (-0.5, 0)),
    "crossed segments": Geometry(0, NOTHING, (0, -6, 0, 6), (6, 6), (-1, 0.5, 1, -0.5), (1, 0)),
    "target of zero area": Geometry(0, NOTHING, (-50, -40, 50, 40), (40, 50), (-1, -1, 1, 1), (10, 20)),
    # The hull grows with the depth of the flip; areas are 0 with derivative 0.
    "flipped along x": Geometry(0, NOTHING, NOTHING, (60, 55), (1, 0, -1, 0), (0, -5)),
    "flipped along y": Geometry(0, NOTHING, NOTHING, (40, 90), (0, 1, 0, -1), (0, -5)),
    "flipped along both": Geometry(0, NOTHING, NOTHING, (60, 90), (1, 1, -1, -1), (0, -5)),
    "flipped and apart": Geometry(0, NOTHING, NOTHING, (130, 55), (1, 0, 0, 0), (90, -7.5)),
    "extreme aspect": Geometry(
        1, (-0.5, -0.5, 0, 1), (-1, -1e4, 1, 1e4), (1e4, 1e4), (-0.5, -0.5, 1, 0), (4999.5, -4999.5)
    ),
    "huge": Geometry(
        6.4e29, (0, 0, 0, 4e14), (-2e15, -2e15, 2e15, 2e15), (2e15, 2e15), (-1, -1, 1, 0.5), (-1e14, -6e14)
    ),
    "tiny": Geometry(
        4e-30,
        (0, -1e-15, 1e-15, 2e-15),
        (-2e-15, -3e-15, 2e-15, 3e-15),
        (3e-15, 5e-15),
        (-1, -0.5, 0.5, 0),
        (-5e-16, -1.5e-15),
    ),
    "padding against a target": Geometry(0, NOTHING, NOTHING, (60, 70), (-0.5, -0.5, -0.5, -0.5), (-40, -42.5)),
}
EQUAL = ["identical", "extreme aspect, equal", "equal points", "equal segments", "padding"]


def quotient(x, dx, y, dy):
    """A ratio and its slopes; 0 with slope 0 where the denominator is 0."""
    if y == 0:
        return 0.0, np.zeros(4)
    return x / y, (dx - x / y * dy) / y


def by_hand(kind):
    """The values of some losses and their gradients at a kind of pair, from its geometry."""
    intersection, of_intersection, of_area, hull, of_hull, (x, y) = (np.array(field, float) for field in GEOMETRY[kind])
    prediction, target = (np.array(box) for box in cases.AWKWARD[kind])
    sides, sides_star = prediction[2:] - prediction[:2], target[2:] - target[:2]
    area, area_star = np.prod(np.maximum(sides, 0)), np.prod(sides_star)
    union, of_union = area + area_star - intersection, of_area - of_intersection
    iou, of_iou = quotient(intersection, of_intersection, union, of_union)
    width, height = hull
    of_width, of_height = of_hull * [1, 0, 1, 0], of_hull * [0, 1, 0, 1]
    filled, of_filled = quotient(union, of_union, width * height, of_width * height + width * of_height)
    squared_diagonal, of_diagonal = width**2 + height**2, 2 * (width * of_width + height * of_height)
    distance, of_distance = quotient(x**2 + y**2, np.array([x, y, x, y]), squared_diagonal, of_diagonal)
    change, of_change = 0.0, np.zeros(4)
    for side, side_star, length, of_length, of_side in (
        (sides[0], sides_star[0], width, of_width, np.array([-1, 0, 1, 0])),
        (sides[1], sides_star[1], height, of_height, np.array([0, -1, 0, 1])),
    ):
        share, of_share = quotient(side - side_star, of_side, length, of_length)
        change, of_change = change + share**2, of_change + 2 * share * of_share
    (w, h), (w_star, h_star) = np.maximum(sides, 0), sides_star
    turn = np.arctan2(h, w) - np.arctan2(h_star, w_star) if w + h > 0 and w_star + h_star > 0 else 0.0
    aspect = (2 / np.pi * turn) ** 2
    alpha = aspect / (1 - iou + aspect) if aspect else 0.0
    grows = np.array([-1, -1, 1, 1]) * np.tile(sides >= 0, 2)  # a flipped side has derivative 0
    _, of_turn = quotient(0, np.array([-h, w, -h, w]) * grows, w**2 + h**2, 0)
    error = prediction - target
    # An edge counts as a thousand sides away at most; one that is where it should be has derivative 0.
    moves, units = np.abs(error), np.tile(np.abs(sides_star), 2)
    edges = np.divide(moves, units, out=np.where(moves > 0, 1e3, 0), where=units > 0)
    penalty, of_penalty = np.mean(np.minimum(edges, 1e3)), np.zeros(4)
    np.divide(np.sign(error), 4 * units, out=of_penalty, where=(units > 0) & (edges < 1e3))
    return {
        "l1_loss": (np.sum(np.abs(error)), np.sign(error)),
        "iou_loss": (1 - iou, -of_iou),
        "giou_loss": (2 - iou - filled, -of_iou - of_filled),
        "diou_loss": (1 - iou + distance, -of_iou + of_distance),
        "eiou_loss": (1 - iou + distance + change, -of_iou + of_distance + of_change),
        "ciou_loss": (
            1 - iou + distance + alpha * aspect,
            -of_iou + of_distance + alpha * 2 * (2 / np.pi) ** 2 * turn * of_turn,
        ),
        "powerful_iou_loss": (
            2 - iou - np.exp(-(penalty**2)),
            -of_iou + 2 * penalty * np.exp(-(penalty**2)) * of_penalty,
        ),
    }


@pytest.mark.parametrize("name", by_hand("near"))
@pytest.mark.usefixtures("x64")
def test_value_and_gradient_are_those_found_by_hand(name):
    derivative = jax.jit(jax.vmap(jax.value_and_grad(getattr(losses, name))))
    values, gradients = derivative(*cases.stacked({kind: cases.AWKWARD[kind] for kind in GEOMETRY}))
    for kind, value, gradient in zip(GEOMETRY, values, gradients, strict=True):
        wanted, slopes = by_hand(kind)[name]
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12, err_msg=kind)
        np.testing.assert_allclose(
            gradient, slopes, rtol=1e-9, atol=1e-12 * max(1, np.max(np.abs(slopes))), err_msg=kind
        )


def test_every_kind_of_pair_has_an_answer_by_hand_but_those_that_repeat_another():
    repeated = {"same shape, moved", "far", "a million of its own sides away", "tiny and far", "tiny and apart"}
    repeated |= {"the largest of float16", "the smallest of float16", "huge and apart", "huge against tiny"}
    repeated |= {"huge and flipped", "long and thin", "points that almost meet"}
    assert cases.AWKWARD.keys() == GEOMETRY.keys() | set(EQUAL) | repeated


# A way out. What a loss does not lead out of, its docstring names by the word that is the key here.

STARTS = {
    "apart": (
        "touching at an edge",
        "touching at a corner",
        "apart along x",
        "apart along both",
        "zero width apart",
    ),
    "far": (),
    "no width": ("zero width inside", "zero height inside"),
    "point": ("point inside", "point at the center", "point apart", "padding against a target"),
    "flipped": ("flipped along x", "flipped along y", "flipped along both"),
    "flipped and apart": ("flipped and apart",),
}
TWELVE_SIDES_AWAY = ((500.0, 675.0, 540.0, 720.0), cases.TARGET)
UNIT = 25  # the target has sides of about 2 of these, and the options of the rows are in units
NO_OVERLAP = ("apart", "far", "no width", "point", "flipped", "flipped and apart")
STAYS = {
    "iou_loss": ("apart", "far", "point", "flipped", "flipped and apart"),
    "squared_iou_loss": NO_OVERLAP,
    "log_iou_loss": NO_OVERLAP,
    "bounded_iou_loss": ("apart", "far", "point", "flipped and apart"),
    "diou_loss": ("point", "flipped", "flipped and apart"),
    "ciou_loss": ("point", "flipped", "flipped and apart"),
    "eiou_loss": ("flipped",),
    "focal_eiou_loss": NO_OVERLAP,
    "extended_iou_loss": ("point", "flipped and apart"),
    "alpha_iou_loss": NO_OVERLAP,
    "alpha_giou_loss": ("far", "no width", "point", "flipped and apart"),
    "alpha_diou_loss": ("apart", "far", "no width", "point", "flipped", "flipped and apart"),
    "alpha_ciou_loss": ("far", "point", "flipped", "flipped and apart"),
    "wiou_loss": ("point", "flipped", "flipped and apart"),
    "focused_wiou_loss": ("point", "flipped", "flipped and apart"),
    "inner_iou_loss": NO_OVERLAP,
    "focaler_iou_loss": ("apart", "far", "point", "flipped", "flipped and apart"),
    "shape_iou_loss": ("flipped and apart",),
    "powerful_iou_loss": ("far",),
    "focused_powerful_iou_loss": ("apart", "far", "point", "flipped and apart"),
    "nwd_loss": (),
    "gcd_loss": NO_OVERLAP,
}


def descended(row, starts, targets):
    """Where 10,000 steps of Adam on the corners lead."""
    optimizer = optax.adam(optax.linear_schedule(0.05, 0, 10_000))

    def step(carry, _):
        predictions, state = carry
        updates, state = optimizer.update(jax.grad(lambda x: jnp.sum(row(x, targets)))(predictions), state)
        return (optax.apply_updates(predictions, updates), state), None

    with jax.numpy_dtype_promotion("standard"):  # for optax
        (final, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=10_000))(starts)
    return final


@every_upright_loss
def test_descent_leads_from_every_awkward_start_to_the_target_or_the_docstring_says_why_not(row):
    kinds = [kind for group in STARTS.values() for kind in group]
    pairs = {kind: cases.AWKWARD[kind] for kind in kinds} | {"far": TWELVE_SIDES_AWAY}
    starts, targets = (jnp.asarray(x / UNIT, jnp.float32) for x in cases.stacked(pairs))
    final = descended(row, starts, targets)
    overlap = dict(zip(pairs, np.asarray(similarity.iou(final, targets)), strict=True))
    stuck = {group for group, kinds in STARTS.items() if min(overlap[kind] for kind in kinds or [group]) < 0.9}
    assert stuck == set(STAYS.get(row.name, ()))
    _, _, why = inspect.getdoc(row.loss).partition("\nGradient:\n")
    words = {"far": "apart", "flipped and apart": "flipped"}
    assert all(words.get(group, group) in why for group in stuck)


# Masks.

GARBAGE = (np.nan, np.inf, -np.inf, 1e38, 0.0)


def by_vmap_and_by_scan(loss):
    """Masked rows one by one: gradients by `vmap`, and derivatives in forward mode by `scan` with `remat`."""

    def gradients(predictions, targets, keep):
        return jax.value_and_grad(partial(loss, where=keep), (0, 1))(predictions, targets)

    def forward(carry, row):
        predictions, targets, keep = row
        masked = jax.checkpoint(partial(loss, where=keep))
        return carry, jax.jvp(masked, (predictions, targets), (jnp.ones_like(predictions), jnp.zeros_like(targets)))

    return lambda *rows: (jax.vmap(gradients)(*rows), jax.lax.scan(forward, None, rows)[1])


def with_where(name):
    function = getattr(losses, name)
    options = {row.name: row.options for row in LOSSES}.get(name, {})
    if name == "distribution_focal_loss":
        return lambda a, b, where: function(a, b[..., 0], where=where)
    if name == "uncertain_l1_loss":
        return lambda a, b, where: function(a, 2 * a, b, where=where)
    return partial(function, **options)


@pytest.mark.parametrize("name", UPRIGHT_LOSSES)
def test_a_masked_row_changes_no_bit_under_vmap_scan_remat_or_forward_mode(name):
    kept = cases.stacked(cases.AWKWARD)
    predictions, targets = (np.repeat(x.astype(np.float32), 2, axis=0) for x in kept)
    keep = np.arange(len(predictions)) % 2 == 0
    compute = jax.jit(by_vmap_and_by_scan(with_where(name)), compiler_options={"xla_backend_optimization_level": 0})
    clean = jax.tree.leaves(compute(predictions, targets, keep))
    assert all(np.all(np.isfinite(part)) for part in clean)
    assert np.any(clean[0] != 0)
    for garbage in GARBAGE:
        soiled = [np.where(keep[:, None], x, np.float32(garbage)) for x in (predictions, targets)]
        for part, clean_part in zip(jax.tree.leaves(compute(*soiled, keep)), clean, strict=True):
            np.testing.assert_array_equal(part, clean_part)
            np.testing.assert_array_equal(part[1::2], 0)
