"""What is asserted about the arguments of a detector's loss."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import core

from jaxbox import _checks
from jaxbox.assigners.choices import number, sizes_of_levels
from jaxbox.detectors.targets import Denoising, Targets

__all__ = ["checked", "checked_dense"]

# What a dense detector predicts of an anchor: the axes behind those of images and anchors.
OF_AN_ANCHOR = {"logits": "K", "probabilities": "K", "bins": "4 bins"}
OF_AN_ANCHOR |= dict.fromkeys(("angles", "centerness", "objectness"), "")
OF_AN_ANCHOR |= dict.fromkeys(("deltas", "distances", "predictions", "raw"), "4")
OF_A_PROPOSAL = OF_AN_ANCHOR | {"deltas": "K, 4"}


def _check(function: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    images = _predictions(given, "")
    background = function.endswith(".detr_loss")
    classes = given["logits"].shape[-1] - background
    given["targets"] = targets = _targets(given["targets"], images[:-1], classes)
    known = {"axis_name": _names(given["axis_name"])}
    if given.get("denoising") is not None:
        given["denoising"] = _denoising(given["denoising"], targets, given["logits"].shape[-1])
    if "corners" in given:
        _sides(given, images, "")
        if given["denoising"] is not None and (given["denoising"].corners is None):
            raise ValueError(
                "`denoising.corners` is None, but noised queries have distributions too. Write "
                "`denoising._replace(corners=corners, references=references)`."
            )
    if given.get("slots") is not None:
        given["slots"] = _checks.exactly("slots", _checks.indices("slots", given["slots"]), images)
    if "class_loss" in given:
        known["class_loss"] = given["class_loss"]
    if "groups" in given:
        known["groups"] = _groups(given["groups"], images[-1])
    if given.get("image_weights") is not None:
        weights = _checks.floats("image_weights", given["image_weights"])
        given["image_weights"] = _checks.exactly("image_weights", weights, images[-2:-1])
    _check_weights(given, untouched, _checks.dtype_to_compute_in([given["logits"], given["predictions"]]))
    return known


def _check_dense(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    axes = OF_A_PROPOSAL if "proposals" in given else OF_AN_ANCHOR
    heads = (2,) if "many_weight" in given else ()
    predicted = [name for name in given if name in axes]
    rows = _predicted(given, predicted, axes, heads)
    classes = next((given[name].shape[-1] for name in predicted if axes[name] == "K"), None)
    images = rows or (*np.shape(getattr(given["targets"], "where", ()))[:1], *np.shape(given["anchors"])[:1])
    layout = _checks.TURNED if "angles" in given else _checks.BOXES
    given["targets"] = targets = _targets(given["targets"], images[:-1], classes, layout)
    if targets.labels.dtype.kind == "f":
        raise TypeError(
            f"`targets.labels` has dtype {targets.labels.dtype}, but a target has one class here. Write "
            "`targets._replace(labels=targets.labels.argmax(-1))`."
        )
    dtype = _checks.dtype_to_compute_in([given[name] for name in predicted] or [targets.boxes])
    _check_places(given, images, dtype)
    for name in {"sampled", "where"} & given.keys():
        given[name] = _checks.mask(given[name], images, name)
    known = {"axis_name": _names(given["axis_name"])} if "axis_name" in given else {}
    if "level_sizes" in given:
        known["level_sizes"] = sizes_of_levels(given["level_sizes"], images[-1])
        known["candidates"] = number("candidates", given["candidates"], 9)
    if "background" in given:
        known["background"] = _background(given["background"], given["logits"].shape[-1])
        _check_boxes_of_classes(given["deltas"].shape, given["logits"].shape[-1])
    if "low" in given:
        given["low"], given["high"] = _checks.thresholds(given["low"], given["high"], dtype)
    if "threshold" in given:
        given["threshold"] = _checks.option("threshold", given["threshold"], _checks.FINITE, (), dtype)
    if given.get("similarity") is not None:
        given["similarity"] = _checks.similarity_of(given["similarity"], [given["anchors"], targets.boxes], "giou")
    if "image_size" in given:
        given["image_size"] = _checks.along_axes("image_size", given["image_size"], 4, images, dtype)
    _check_weights(given, untouched, dtype)
    return known


checked, checked_dense = _checks.checked(_check), _checks.checked(_check_dense)


def _check_weights(given: _checks.Given, untouched: _checks.Given, dtype: np.dtype) -> None:
    for name in given.keys() - untouched.keys():
        if name.endswith(("_weight", "_cost")):
            given[name] = _checks.option(name, given[name], _checks.FINITE, (), dtype)


def _predicted(given: _checks.Given, names: list[str], axes: dict[str, str], heads: tuple[int, ...]) -> tuple[int, ...]:
    """Checks what is predicted of each anchor, and gives the shape of one value an anchor, `(B, A)`."""
    rows: tuple[int, ...] = ()
    for name in names:
        array = given[name] = _checks.floats(name, given[name])
        behind = [axis for axis in axes[name].split(", ") if axis]
        shape, front = array.shape, len(heads) + 2
        layout = ", ".join([*map(str, heads), "B", "A", *behind])
        missing = front + len(behind) - len(shape)
        fits = not missing and shape[: len(heads)] == heads
        if fits and behind[-1:] == ["4"]:
            fits = shape[-1] == 4
        elif fits and behind[-1:] == ["4 bins"]:
            fits = shape[-1] % 4 == 0 and shape[-1] > 4
        if not fits:
            remedy = f" For one image write `{name}[None]`." if missing == 1 and not heads else ""
            if missing == -1 and shape[-1] == 1:
                remedy = f" Write `{name}[..., 0]`."
            raise ValueError(
                f"`{name}` has shape {shape}, but it is `[{layout}]`, for A anchors of each of B images"
                f"{', of the head with many cells, then of that with one' if heads else ''}.{remedy}"
            )
        if rows and shape[len(heads) : front] != rows:
            raise ValueError(
                f"`{name}` has shape {shape}, but there is one row for each of the `{names[0]}`, "
                f"{(*heads, *rows, *behind)}."
            )
        rows = shape[len(heads) : front]
    return rows


def _check_places(given: _checks.Given, images: tuple[int, ...], dtype: np.dtype) -> None:
    """Checks anchors, proposals, points and strides."""
    wanted = {"anchors": (images[-1], 4), "proposals": (*images, 4), "points": (images[-1], 2), "strides": images[-1:]}
    for name in wanted.keys() & given.keys():
        of_boxes = name in ("anchors", "proposals")
        array = _checks.laid_out(name, given[name], _checks.PLANE) if of_boxes else _checks.floats(name, given[name])
        if array.shape != wanted[name]:
            remedy = "" if name == "proposals" or array.ndim < 2 else f" Write `{name}[0]` if it has an axis of images."
            raise ValueError(f"`{name}` has shape {array.shape}, but it is {wanted[name]}, a row for each.{remedy}")
        given[name] = array
    if "strides" in given:
        given["strides"] = _checks.option("strides", given["strides"], _checks.LENGTH, images[-1:], dtype)


def _check_boxes_of_classes(shape: _checks.Shape, classes: int) -> None:
    if shape[-2] not in (1, classes - 1, classes):
        raise ValueError(
            f"`deltas` has shape {shape}, but there is a box for each of {classes} logits, for each but the "
            f"background, or one for all: {(*shape[:-2], classes, 4)}, {(*shape[:-2], classes - 1, 4)} or "
            f"{(*shape[:-2], 1, 4)}."
        )


def _background(value: object, classes: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not -classes <= value < classes:
        raise TypeError(
            f"`background` is {value!r}, but it is the place of the background among {classes} logits. Write "
            "`background=0` if it is the first one, or `background=-1` for the last."
        )
    return int(value)


def _predictions(given: _checks.Given, of: str) -> _checks.Shape:
    """Checks logits and boxes, and gives the shape of one value a prediction, `[..., B, N]`."""
    logits, boxes = f"{of}logits", f"{of}predictions"
    given["logits"] = _checks.floats(logits, given["logits"])
    given["predictions"] = _checks.laid_out(boxes, given["predictions"], _checks.BOXES)
    leading, others = given["predictions"].shape[:-1], given["logits"].shape[:-1]
    if len(leading) < 2:
        raise ValueError(
            f"`{boxes}` has shape {given['predictions'].shape}, but it is `[..., B, N, 4]`: N predictions for each of "
            f"B images. For one image write `{boxes}[None]`."
        )
    if leading != others:
        raise ValueError(
            f"`{logits}` has shape {given['logits'].shape}, but there is one row for each of the `{boxes}`, "
            f"{(*leading, 'K')}."
        )
    return leading


def _targets(
    value: object, images: _checks.Shape, classes: int | None, layout: _checks.Layout = _checks.BOXES
) -> Targets:
    """Checks targets, whose axes are those of the images or fewer, without the layers in front."""
    if not (isinstance(value, tuple) and len(value) == 3):
        raise TypeError(
            f"`targets` is {_checks.kind(value)}, but it holds boxes, labels and a mask. Write "
            "`detectors.Targets(boxes, labels, where)`."
        )
    boxes = _checks.laid_out("targets.boxes", value[0], layout)
    slots = boxes.shape[:-1]
    if len(slots) < 2 or slots[:-1] != images[len(images) - len(slots) + 1 :]:
        raise ValueError(
            f"`targets.boxes` has shape {boxes.shape}, but it is `[B, M, {boxes.shape[-1]}]`, with the images of the "
            f"predictions, {images[-1:]}, and M slots for each."
        )
    labels = _checks.array_of("targets.labels", value[1])
    if labels.dtype.kind not in "iu" and not (labels.dtype.kind == "f" and labels.shape == (*slots, classes)):
        raise TypeError(
            f"`targets.labels` has dtype {labels.dtype} and shape {labels.shape}, but it holds a whole number for each "
            f"slot, {slots}, or 1 for each of several classes, {(*slots, classes)} of floating point. Write "
            "`targets.labels.astype(jnp.int32)` for the first."
        )
    if labels.dtype.kind in "iu":
        labels = _checks.exactly("targets.labels", labels, slots)
    where = _checks.exactly("targets.where", _checks.mask(value[2], jnp.shape(value[2]), "targets.where"), slots)
    if classes is not None:
        _check_range(labels, where, classes)
    return Targets(boxes, labels, where)


def _check_range(labels: _checks.Array, where: _checks.Array, classes: int) -> None:
    """Asserts that the labels of targets are classes, as far as they are known."""
    if isinstance(labels, core.Tracer) or isinstance(where, core.Tracer) or labels.dtype.kind not in "iu":
        return
    real = np.asarray(labels)[np.asarray(where)]
    wrong = real[(real < 0) | (real >= classes)]
    if wrong.size:
        raise ValueError(
            f"`targets.labels` has {wrong[0]}, but there are {classes} classes, from 0 on. Where it is padding write "
            "False in `targets.where`."
        )


def _denoising(value: object, targets: Targets, classes: int) -> Denoising:
    if not (isinstance(value, tuple) and len(value) == len(Denoising._fields)):
        raise TypeError(
            f"`denoising` is {_checks.kind(value)}, but it holds what noised queries predict. Write "
            "`detectors.Denoising(logits, predictions, slots, groups)`."
        )
    given = Denoising(*value)._asdict()
    images = _predictions(given, "denoising.")
    if given["logits"].shape[-1] != classes:
        raise ValueError(
            f"`denoising.logits` has shape {given['logits'].shape}, but `logits` has {classes} in the last axis."
        )
    slots = _checks.indices("denoising.slots", given["slots"])
    given["slots"] = _checks.exactly("denoising.slots", slots, (*targets.where.shape[:-1], images[-1]))
    if given["corners"] is not None:
        _sides(given, images, "denoising.")
    return Denoising(**given)


def _sides(given: _checks.Given, images: _checks.Shape, of: str) -> None:
    """Checks the distributions of sides, and the boxes that they start from."""
    corners = given["corners"] = _checks.floats(f"{of}corners", given["corners"])
    references = _checks.laid_out(f"{of}references", given["references"], _checks.PLANE)
    given["references"] = references
    if corners.ndim != 4 or corners.shape[1:-1] != images[-2:] or corners.shape[-1] % 4 or len(images) != 3:
        raise ValueError(
            f"`{of}corners` has shape {corners.shape}, but it is `[layers, B, N, 4 bins]`, with the images and queries "
            f"of the predictions, {images}."
        )
    if references.shape[:-1] != images[-2:]:
        raise ValueError(
            f"`{of}references` has shape {references.shape}, but there is one box a query, {(*images[-2:], 4)}."
        )


def _groups(groups: object, queries: int) -> int:
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise TypeError(f"`groups` is {groups!r}, but it is a number of groups, from 1 on. Write `groups=1`.")
    if queries % int(groups):
        raise ValueError(f"`groups` is {groups}, which does not divide {queries} queries. Write `groups=1` for one.")
    return int(groups)


def _names(axis_name: object) -> object:
    return tuple(axis_name) if isinstance(axis_name, list) else axis_name
