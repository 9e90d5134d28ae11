"""Every error that the package raises about arguments: what it says to write runs where the call was written."""

import ast
import functools
import pathlib
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbox
from jaxbox import assigners, boxes, coders, costs, losses, matching, reductions, rotated, similarity, suppression
from tests import wrong_calls
from tests.wrong_calls import box

ROOT = pathlib.Path(boxes.__file__).parent
FILES = [*(f"_checks/{name}.py" for name in ("arrays", "layouts", "options", "calls")), "similarity/pairs.py"]
FILES += ["reductions.py", "losses/distributions.py", "losses/classes.py", "costs.py"]
FILES += ["coders/preparation.py", "coders/bins.py", "coders/cells.py", "coders/turned.py", "boxes.py", "rotated.py"]
FILES += ["suppression.py", *(f"assigners/{name}.py" for name in ("choices", "geometry", "aligned", "priced"))]


AT_LEAST = "reductions.weighted_mean(values, at_least=at_least)"
VARIANCE = "losses.uncertain_l1_loss(predictions, targets, targets, where=where)"
ABSOLUTE = "normalized_to_absolute(boxes, image_size=image_size)"
WITH_SIZE = "similarity.pairwise(functools.partial(losses.mpdiou_loss, image_size=image_size))(predictions, targets)"
TWO_APART = "logits.reshape(*logits.shape[:-1], 2, 4)"
ASARRAY = "jnp.asarray(values, jnp.float32)"


def both(boxes):
    return {"predictions": boxes, "targets": boxes}


PAIR = {"predictions": box(3, 4), "targets": box(3, 4) + 0.5}
SETS = {"a": box(3, 4), "b": box(2, 4)}
VALUES = {"values": box(2, 3)}
CALL = "losses.giou_loss(predictions, targets)"
CIOU = "losses.ciou_loss(predictions, targets)"
MASKED = "losses.giou_loss(predictions, targets, where=where)"
CLIP = "clip(boxes, window)"
SMOOTH = "losses.smooth_l1_loss(predictions, targets, beta=beta)"
MPDIOU = "losses.mpdiou_loss(predictions, targets, image_size=image_size)"
MEAN = "reductions.weighted_mean(values, weights, where=where)"
SUM = "reductions.weighted_sum(values, axis=axis)"
DISTRIBUTION = "losses.distribution_focal_loss(logits, targets, where=where)"
MATRIX = "similarity.pairwise(similarity.iou)(a, b, where=where)"

# A call, the variables of whoever writes it, a part of the message, and all that it says to write.
WRONG = [
    # What is no array of floating point.
    (
        CALL,
        PAIR | {"predictions": [[0.0, 0, 1, 1]] * 3},
        "`predictions` is a list, not an array",
        "jnp.asarray(predictions, jnp.float32)",
    ),
    (
        CALL,
        PAIR | {"targets": ((0, 0, 1, 1),) * 3},
        "`targets` is a tuple, not an array",
        "jnp.asarray(targets, jnp.float32)",
    ),
    (CALL, PAIR | {"targets": "boxes"}, "`targets` is a str, not an array"),
    (CALL, PAIR | {"targets": [[0.0, 0], [1.0]]}, "`targets` is a list, not an array"),
    (CALL, PAIR | {"targets": None}, "`targets` is None, not an array"),
    (CALL, PAIR | {"targets": np.arange(12).reshape(3, 4)}, "`targets` has dtype int64", "targets.astype(jnp.float32)"),
    (CALL, PAIR | {"targets": jnp.ones((3, 4), bool)}, "`targets` has dtype bool", "targets.astype(jnp.float32)"),
    (
        CALL,
        PAIR | {"targets": jnp.ones((3, 4), complex)},
        "`targets` has dtype complex64",
        "targets.real.astype(jnp.float32)",
    ),
    (
        "similarity.iou(a, b)",
        SETS | {"a": [0.0, 0.0, 1.0, 1.0]},
        "`a` is a list, not an array",
        "jnp.asarray(a, jnp.float32)",
    ),
    (
        "area(boxes)",
        {"boxes": [0.0, 0.0, 1.0, 2.0]},
        "`boxes` is a list, not an array",
        "jnp.asarray(boxes, jnp.float32)",
    ),
    (
        "check(boxes, where=where)",
        {"boxes": box(3, 4), "where": [1, 0, 1]},
        "`where` is a list",
        "jnp.asarray(where, bool)",
    ),
    (
        MEAN,
        VALUES | {"values": 1.0, "weights": None, "where": None},
        "`values` is a float, not an array",
        "jnp.asarray(values, jnp.float32)",
    ),
    # What the last axis holds.
    (CALL, both(box(1)[0]), "`predictions` has shape ()"),
    (CALL, both(box(1)), "`predictions` has shape (1,)"),
    (CALL, both(box(9)), "`predictions` has shape (9,)", "predictions[..., :4]"),
    (
        CALL,
        both(box(3, 2, 2)),
        "`predictions` has shape (3, 2, 2)",
        "predictions.reshape(*predictions.shape[:-2], 4)",
        "boxes.Intervals(predictions)",
    ),
    (CALL, both(box(5, 2)), "For intervals", "boxes.Intervals(predictions)"),
    (CALL, both(box(3, 5)), "A box with an angle, `[..., 5]`", "predictions[..., :4]"),
    (CALL, both(box(4, 5)), "A box with an angle, `[..., 5]`", "predictions[..., :4]"),
    (CALL, both(box(4, 7)), "A box with an angle, `[..., 7]`", "predictions[..., :6]"),
    (CALL, both(box(4, 9)), "If the coordinates come before", "jnp.swapaxes(predictions, -1, -2)"),
    (CALL, both(box(2, 8)), "2 boxes in a row", "predictions.reshape(*predictions.shape[:-1], -1, 4)"),
    (CALL, both(box(2, 85)), "the first 4 columns", "predictions[..., :4]"),
    (CALL, both(box(3, 4, 1)), "a box is `[..., 2n]`", "predictions[..., 0]"),
    (CALL, both(box(4, 1)), "a box is `[..., 2n]`", "predictions[..., 0]"),
    (CIOU, both(box(3, 2, 2)), "For two corners", "predictions.reshape(*predictions.shape[:-2], 4)"),
    (CALL, both(box(3, 3)), "a box is `[..., 2n]`"),
    (MATRIX, SETS | {"a": box(3, 5), "where": None}, "`a` has shape (3, 5)", "a[..., :4]"),
    (CALL, PAIR | {"targets": box(3, 6)}, "boxes of different dimensions"),
    (CIOU, both(box(3, 6)), "in the plane"),
    (CIOU, both(box(3, 2)), "in the plane"),
    ("losses.l1_loss(predictions, targets)", both(box(1)[0]), "must hold coord"),
    (
        "area(boxes)",
        {"boxes": box(3, 2, 2)},
        "`boxes` has shape (3, 2, 2)",
        "boxes.reshape(*boxes.shape[:-2], 4)",
        "jaxbox.boxes.Intervals(boxes)",
    ),
    # Pairs, and all with all.
    (
        "losses.smooth_l1_loss(predictions, targets, beta=1.0)",
        PAIR | {"targets": box(2, 4)},
        "does not broadcast",
        "similarity.pairwise(losses.smooth_l1_loss)(predictions, targets)",
    ),
    (MATRIX, SETS | {"b": box(2, 6), "where": None}, "Got `a` of shape (3, 4) and `b` of shape (2, 6)"),
    ("similarity.diou(a, b)", {"a": box(2, 3, 4), "b": box(5, 3, 4)}, "do not broadcast"),
    (MPDIOU, PAIR | {"targets": box(2, 4), "image_size": (3, jnp.float32(4))}, "functools.partial", WITH_SIZE),
    (CALL, PAIR | {"targets": box(4)}, "does not broadcast", "jnp.broadcast_to(targets, predictions.shape)"),
    (
        CALL,
        PAIR | {"targets": box(1, 4)},
        "does not broadcast",
        "jnp.broadcast_to(targets, predictions.shape)",
        "similarity.pairwise(losses.giou_loss)(predictions, targets)",
    ),
    (CALL, PAIR | {"predictions": box(4)}, "does not broadcast", "jnp.broadcast_to(predictions, targets.shape)"),
    (
        CALL,
        {"predictions": box(3, 1, 4), "targets": box(1, 2, 4)},
        "does not broadcast",
        "jnp.broadcast_arrays(predictions, targets)",
        "similarity.pairwise(losses.giou_loss)(predictions, targets)",
    ),
    (
        CALL,
        PAIR | {"targets": box(2, 4)},
        "compare all with all",
        "similarity.pairwise(losses.giou_loss)(predictions, targets)",
    ),
    (CALL, {"predictions": box(2, 3, 4), "targets": box(5, 3, 4)}, "does not broadcast"),
    (
        "losses.nwd_loss(predictions, targets, constant=2.0)",
        PAIR | {"targets": box(2, 4)},
        "functools.partial",
        "similarity.pairwise(functools.partial(losses.nwd_loss, constant=2.0))(predictions, targets)",
    ),
    (
        MPDIOU,
        PAIR | {"targets": box(2, 4), "image_size": (3, 4)},
        "functools.partial",
        "similarity.pairwise(functools.partial(losses.mpdiou_loss, image_size=(3, 4)))(predictions, targets)",
    ),
    (
        "losses.nwd_loss(predictions, targets, constant=constant)",
        PAIR | {"targets": box(2, 4), "constant": jnp.float32(3)},
        "all with",
        "similarity.pairwise(functools.partial(losses.nwd_loss, constant=constant))(predictions, targets)",
    ),
    (
        "losses.huber_loss(predictions, targets, delta=delta)",
        PAIR | {"targets": box(2, 4), "delta": np.inf},
        "all with",
        'similarity.pairwise(functools.partial(losses.huber_loss, delta=float("inf")))(predictions, targets)',
    ),
    (
        MPDIOU,
        PAIR | {"targets": box(2, 4), "image_size": [3, 4]},
        "functools.partial",
        "similarity.pairwise(functools.partial(losses.mpdiou_loss, image_size=[3, 4]))(predictions, targets)",
    ),
    (MPDIOU, PAIR | {"targets": box(2, 4), "image_size": jnp.array([3.0, 4])}, "functools.partial", WITH_SIZE),
    (
        "similarity.diou(a, b)",
        {"a": box(7, 4), "b": box(4, 4)},
        "do not broadcast",
        "similarity.pairwise(similarity.diou)(a, b)",
    ),
    (
        "similarity.nwd(a, b, constant=2)",
        {"a": box(7, 4), "b": box(4, 4)},
        "do not broadcast",
        "similarity.pairwise(functools.partial(similarity.nwd, constant=2.0))(a, b)",
    ),
    (MATRIX, SETS | {"b": box(4), "where": None}, "but sets of boxes are", "b[None]"),
    (MATRIX, SETS | {"a": box(4), "where": None}, "but sets of boxes are", "a[None]"),
    (MATRIX, {"a": box(2, 3, 4), "b": box(5, 3, 4), "where": None}, "with leading axes"),
    (MATRIX, SETS | {"where": np.ones(3, bool)}, "`where` is an array of shape", "where=(where, None)"),
    (MATRIX, SETS | {"where": np.ones(2, bool)}, "`where` is an array of shape", "where=(None, where)"),
    (MATRIX, SETS | {"where": np.ones((3, 2), bool)}, "but all pairs take two masks"),
    (MATRIX, SETS | {"where": (np.ones((3, 1), bool), None)}, "`where[0]` has shape (3, 1)", "where[0][..., 0]"),
    (
        MATRIX,
        SETS | {"a": [[0.0, 0, 1, 1]], "where": None},
        "`a` is a list, not an array",
        "jnp.asarray(a, jnp.float32)",
    ),
    (
        "similarity.pairwise(a)(a, b)",
        SETS,
        "`pairwise` takes a function of two boxes",
        "similarity.pairwise(similarity.iou)(a, b)",
    ),
    # Masks and weights.
    (MASKED, both(box(4)) | {"where": np.ones(1, bool)}, "`where` has shape (1,)", "where[..., 0]"),
    (MASKED, both(box(2, 3, 4)) | {"where": np.ones((2, 3, 1), bool)}, "shape (2, 3, 1)", "where[..., 0]"),
    (MASKED, both(box(2, 3, 4)) | {"where": np.ones((4, 2, 3), bool)}, "`where` has shape (4, 2, 3)"),
    (MASKED, both(box(2, 3, 5, 4)) | {"where": np.ones((4, 5), bool)}, "`where` has shape (4, 5)"),
    (MASKED, both(box(2, 3, 5, 4)) | {"where": np.ones((1, 5), bool)}, "(1, 5)", "jnp.broadcast_to(where, (2, 3, 5))"),
    (VARIANCE, PAIR | {"where": np.ones(2, bool)}, "`where` has shape (2,)"),
    (MEAN, VALUES | {"values": 1, "weights": None, "where": None}, "`values` is an int", ASARRAY),
    (MASKED, PAIR | {"where": np.ones((3, 1), bool)}, "`where` has shape (3, 1)", "where[..., 0]"),
    (MASKED, PAIR | {"where": np.ones((3, 4), bool)}, "`where` has shape (3, 4)", "jnp.all(where, axis=-1)"),
    (MASKED, PAIR | {"where": np.ones(3, int)}, "`where` has dtype int64, but a mask is boolean", "where != 0"),
    (MASKED, PAIR | {"where": np.ones(3)}, "`where` has dtype float64, but a mask is boolean", "where != 0"),
    (MASKED, PAIR | {"where": np.ones(2, bool)}, "`where` has shape (2,)"),
    (MASKED, PAIR | {"where": True}, "`where` is a bool, not an array", "jnp.full((3,), where, bool)"),
    (MASKED, PAIR | {"where": [True, False, True]}, "`where` is a list", "jnp.asarray(where, bool)"),
    (MASKED, PAIR | {"where": "all"}, "`where` is a str"),
    (MASKED, both(box(2, 3, 4)) | {"where": np.ones(2, bool)}, "has shape (2,)", "where[..., None]"),
    (MASKED, both(box(2, 3, 4)) | {"where": np.ones(3, bool)}, "has shape (3,)", "jnp.broadcast_to(where, (2, 3))"),
    (MASKED, both(box(2, 3, 4)) | {"where": np.ones((3, 2), bool)}, "(3, 2)", "where.T"),
    (MEAN, VALUES | {"weights": 0.5, "where": None}, "`weights` is 0.5", "jnp.full((2, 3), weights)"),
    (MEAN, VALUES | {"weights": box(2), "where": None}, "`weights` has shape (2,)", "weights[..., None]"),
    (
        MEAN,
        VALUES | {"weights": box(2, 3, 4), "where": None},
        "`weights` has shape (2, 3, 4)",
        "jnp.mean(weights, axis=-1)",
    ),
    (MEAN, VALUES | {"weights": np.ones((2, 3), bool), "where": None}, "that of a mask", "where=weights"),
    (
        MEAN,
        VALUES | {"weights": np.ones((2, 3), int), "where": None},
        "If it is a mask",
        "where=weights != 0",
        "weights.astype(jnp.float32)",
    ),
    (MEAN, VALUES | {"weights": None, "where": np.ones((2, 1, 1), bool)}, "`where` has shape (2, 1, 1)"),
    (SUM, VALUES | {"axis": 2}, "`axis` is 2", "axis=None"),
    (SUM, VALUES | {"axis": 1.5}, "`axis` is 1.5", "axis=0"),
    (SUM, VALUES | {"axis": True}, "`axis` is True", "axis=0"),
    (SUM, VALUES | {"axis": (0, -2)}, "names an axis twice", "axis=None"),
    (SUM, VALUES | {"values": box(1)[0], "axis": 0}, "have no axis", "axis=None"),
    (SUM, VALUES | {"axis": "rows"}, "`axis` is 'rows'", "axis=0"),
    (
        "reductions.update_mean(mean, values, momentum=0.1)",
        VALUES | {"mean": box(3)},
        "a running mean is one",
        "jnp.mean(mean)",
    ),
    # Distributions.
    (DISTRIBUTION, {"logits": box(3, 8), "targets": box(3, 2), "where": None}, "2 targets in a row", TWO_APART),
    (
        DISTRIBUTION,
        {"logits": box(3, 64), "targets": box(3, 4), "where": None},
        "4 targets in a row",
        "logits.reshape(*logits.shape[:-1], 4, 16)",
    ),
    (
        DISTRIBUTION,
        {"logits": box(3, 9), "targets": box(3, 1), "where": None},
        "`targets` has shape (3, 1)",
        "targets[..., 0]",
    ),
    (
        DISTRIBUTION,
        {"logits": box(3, 9), "targets": box(1), "where": None},
        "`targets` has shape (1,)",
        "jnp.broadcast_to(targets, (3,))",
    ),
    (
        DISTRIBUTION,
        {"logits": box(5, 4, 16), "targets": box(5), "where": None},
        "`targets` has shape (5,)",
        "jnp.broadcast_to(targets[..., None], (5, 4))",
    ),
    (
        DISTRIBUTION,
        {"logits": box(5, 8), "targets": box(5, 8), "where": None},
        "`targets` has shape (5, 8)",
        "jnp.mean(targets, axis=-1)",
    ),
    (DISTRIBUTION, {"logits": box(3, 1), "targets": box(3), "where": None}, "at least 2 bins"),
    (
        DISTRIBUTION,
        {"logits": box(4, 4, 9), "targets": box(4, 4), "where": np.ones(4, bool)},
        "`where` has",
        "where[..., None]",
    ),
    # Options.
    (AT_LEAST, VALUES | {"at_least": -1.0}, "`at_least` is -1.0", "at_least=1.0"),
    (AT_LEAST, VALUES | {"at_least": box(1)}, "there is one number in all, ()"),
    ("losses.huber_loss(predictions, targets, delta=delta)", PAIR | {"delta": -1.0}, "`delta` is -1.0", "delta=1.0"),
    (
        "losses.nwd_loss(predictions, targets, constant=constant)",
        PAIR | {"constant": 1e-50},
        "`constant` is 1e-50",
        "constant=1.0",
    ),
    (
        "losses.alpha_iou_loss(predictions, targets, alpha=alpha)",
        PAIR | {"alpha": 1e-50},
        "which is 0.0 in",
        "alpha=2.0",
    ),
    (SMOOTH, PAIR | {"beta": "0.1"}, "`beta` is '0.1', a str", "beta=0.1"),
    (SMOOTH, PAIR | {"beta": "much"}, "`beta` is 'much'"),
    (SMOOTH, PAIR | {"beta": None}, "`beta` is None"),
    (SMOOTH, PAIR | {"beta": [0.1, 1.0, 2.0]}, "a list", "beta=jnp.asarray([0.1, 1.0, 2.0])"),
    (SMOOTH, PAIR | {"beta": True}, "has dtype bool", "beta=1.0"),
    (SMOOTH, PAIR | {"beta": box(3, 1)}, "`beta` has shape", "beta[..., 0]"),
    ("losses.log_iou_loss(predictions, targets, floor=floor)", PAIR | {"floor": box(4)}, "`floor` has shape"),
    ("losses.log_iou_loss(predictions, targets, floor=floor)", PAIR | {"floor": 1.5}, "`floor` is 1.5", "floor=1e-06"),
    (
        "losses.focaler_iou_loss(predictions, targets, lower=lower)",
        PAIR | {"lower": 0.95},
        "below `upper`",
        "lower=0.0",
    ),
    ("losses.l1_loss(predictions, targets, beta=1)", PAIR, "unexpected keyword argument 'beta'"),
    ("losses.giou_loss(predictions)", PAIR, "missing a required argument: 'targets'"),
    # Sizes and windows.
    (MPDIOU, PAIR | {"image_size": (True, True)}, "`image_size` has dtype bool"),
    (MPDIOU, PAIR | {"image_size": ()}, "need 2 numbers"),
    (MPDIOU, PAIR | {"image_size": (1, 480, 640)}, "need 2 numbers", "image_size=(480, 640)"),
    (MPDIOU, PAIR | {"image_size": (4, 480, 640)}, "need 2 numbers", "image_size=(480, 640)"),
    (MPDIOU, PAIR | {"image_size": (2, 480, 640)}, "need 2 numbers", "image_size=(2, 480)"),
    (MPDIOU, PAIR | {"image_size": (480, 640, jnp.float32(3))}, "need 2 numbers"),
    (MPDIOU, PAIR | {"image_size": jnp.array([480.0])}, "need 2 numbers"),
    (ABSOLUTE, {"boxes": box(3, 6), "image_size": (480, 640)}, "need 3 numbers"),
    (MPDIOU, PAIR | {"image_size": 640}, "`image_size` is 640", "image_size=(640, 640)"),
    (MPDIOU, PAIR | {"image_size": (480, 640, 3)}, "need 2 numbers", "image_size=(480, 640)"),
    (MPDIOU, PAIR | {"image_size": (3, 480, 640)}, "`image_size=(480, 640)`", "image_size=(480, 640)"),
    (MPDIOU, PAIR | {"image_size": ("480", "640")}, "`image_size` is '480', a str"),
    (MPDIOU, PAIR | {"image_size": (480,)}, "need 2 numbers", "image_size=(480, 480)"),
    (MPDIOU, PAIR | {"image_size": jnp.array([480.0, 640, 3])}, "need 2 numbers", "image_size[..., :2]"),
    (MPDIOU, PAIR | {"image_size": "640x480"}, "need 2 numbers"),
    (MPDIOU, PAIR | {"image_size": (480, 0)}, "`image_size` is 0"),
    (MPDIOU, PAIR | {"image_size": box(2, 2) + 1}, "`image_size` has shape (2, 2)"),
    (CLIP, {"boxes": box(3, 4), "window": box(2, 4)}, "`window` has shape (2, 4)"),
    (CLIP, {"boxes": box(3, 4), "window": box(3, 2, 4)}, "`window` has shape (3, 2, 4)"),
    (
        CLIP,
        {"boxes": box(2, 3, 4), "window": box(3, 4)},
        "`window` has shape (3, 4)",
        "jnp.broadcast_to(window, (2, 3, 4))",
    ),
    (CLIP, {"boxes": boxes.Intervals(box(3, 2)), "window": boxes.Intervals(box(2, 2))}, "`window` has shape (2, 2)"),
    (
        CLIP,
        {"boxes": box(3, 4), "window": box(2)},
        "Of a window from the origin",
        "jnp.concatenate([jnp.zeros_like(window), window], axis=-1)",
    ),
    (CALL, {"predictions": boxes.Intervals(box(3, 4)), "targets": box(3, 4)}, "an interval is"),
    ("scale(boxes, factor)", {"boxes": box(3, 4), "factor": np.inf}, "`factor` is inf", "factor=1.0"),
]
WRONG += wrong_calls.OF_DETECTORS
WRONG += wrong_calls.OF_TURNED
MODULES = [assigners, boxes, coders, costs, losses, matching, reductions, rotated, similarity, suppression]
SCOPE = {
    **{name: getattr(boxes, name) for name in boxes.__all__},
    **{module.__name__.split(".")[-1]: module for module in MODULES},
    "jaxbox": jaxbox,
    "jax": jax,
    "functools": functools,
    "jnp": jnp,
    "np": np,
}


def said(code, variables):
    """The message of the error that a call raises, and where in the package it was raised."""
    with pytest.raises((TypeError, ValueError)) as caught:
        eval(code, SCOPE | variables)
    place = [
        (str(entry.path), entry.lineno + 1) for entry in caught.traceback if ROOT in pathlib.Path(entry.path).parents
    ]
    return str(caught.value), place[-1]


def advice(message):
    """The code that a message says to write."""
    return re.findall(r"[Ww]rite `((?:[^`])+)`", message)


def mended(code, suggestion):
    """The call with what was suggested in the place of what was wrong."""
    call = ast.parse(code, mode="eval").body
    keyword = re.fullmatch(r"(\w+)=(.+)", suggestion)
    if keyword:  # an argument by name, in the place of one with this name or of the variable that it holds now
        name, value = keyword[1], ast.parse(keyword[2], mode="eval").body
        call.keywords = [given for given in call.keywords if given.arg != name]
        moved = {name, ast.unparse(value).split(" ")[0]}
        call.args = [given for given in call.args if ast.unparse(given) not in moved]
        call.keywords.append(ast.keyword(name, value))
        return ast.unparse(call)
    replacement = ast.parse(suggestion, mode="eval").body
    if suggestion.startswith("similarity.pairwise("):
        return suggestion
    if suggestion.startswith("jnp.broadcast_arrays("):
        return f"{ast.unparse(call.func)}(*{suggestion})"
    if suggestion.startswith("where[0]"):
        call.keywords = [ast.keyword("where", ast.parse(f"({suggestion}, where[1])", mode="eval").body)]
        return ast.unparse(call)
    mentioned = [node.id for node in ast.walk(replacement) if isinstance(node, ast.Name)]
    (variable, *_) = [name for name in mentioned if name == "boxes" or name not in SCOPE]
    call.args = [replacement if ast.unparse(given) == variable else given for given in call.args]
    for given in call.keywords:
        given.value = replacement if ast.unparse(given.value) == variable else given.value
    return ast.unparse(call)


@pytest.mark.parametrize(
    ("code", "variables", "part", "advised"),
    [(code, variables, part, advised) for code, variables, part, *advised in WRONG],
    ids=[row[2] for row in WRONG],
)
def test_what_a_message_says_to_write_runs_in_the_place_of_the_call(code, variables, part, advised):
    message, _ = said(code, variables)
    assert part in message
    assert "Chex" not in message
    assert advice(message) == advised
    for which, suggestion in enumerate(advised):
        again = mended(code, suggestion)
        for _ in range(2):  # the same fault may be in the other array too
            try:
                eval(again, SCOPE | variables)
            except ValueError as error:
                further = advice(str(error))
                again = mended(again, further[which]) if which < len(further) else again
        eval(again, SCOPE | variables)


def test_every_error_of_the_package_about_arguments_is_raised_here():
    raised = {said(code, variables)[1] for code, variables, *_ in WRONG}
    for file in FILES:
        tree = ast.parse((ROOT / file).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise):
                lines = range(node.lineno, node.end_lineno + 1)
                assert any((str(ROOT / file), line) in raised for line in lines), f"{file}:{node.lineno}"


@pytest.fixture
def without_assertions():
    chex.disable_asserts()
    yield
    chex.enable_asserts()


@pytest.mark.usefixtures("without_assertions")
def test_a_program_that_disables_assertions_disables_those_about_shapes_and_no_other_check():
    assert losses.giou_loss(box(3, 4), box(4)).shape == (3,)
    assert losses.giou_loss(box(3, 4), box(3, 4), where=np.ones(1, bool)).shape == (3,)
    with pytest.raises(TypeError, match="`targets` has dtype int32"):
        losses.giou_loss(box(3, 4), jnp.zeros((3, 4), int))
    with pytest.raises(ValueError, match="but a box is"):
        losses.giou_loss(box(3, 2, 2), box(3, 2, 2))
    with pytest.raises(ValueError, match="`delta` is -1"):
        losses.huber_loss(box(3, 4), box(3, 4), delta=-1)
    with pytest.raises(TypeError, match="`where` has dtype int64"):
        reductions.weighted_mean(box(3), where=np.ones(3, int))


def test_an_error_inside_a_jit_is_the_same():
    with pytest.raises(ValueError, match=r"Got `predictions` of shape \(3, 4\) and `targets` of shape \(2, 4\)"):
        jax.jit(losses.giou_loss)(box(3, 4), box(2, 4))
    with pytest.raises(TypeError, match="`predictions` has dtype int32"):
        jax.grad(lambda x: jnp.sum(losses.giou_loss(jnp.zeros((3, 4), int), x)))(box(3, 4))
