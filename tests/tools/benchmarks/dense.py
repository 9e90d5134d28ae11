"""Assigners and suppression against the same in plain `jax.numpy`, as people write it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import assigners, coders, similarity, suppression
from tests.tools.benchmarks.timing import measure

IMAGE, STRIDES, CLASSES = (640, 640), (8, 16, 32), 80
ASSIGNMENTS = [("task_aligned", 8, 50), ("atss", 8, 50)]  # of images and slots, at 8400 anchors
SUPPRESSIONS = [(1000, 300), (8400, 100), (1000, 100)]  # boxes, and how many are kept at most


def scene(images, slots):
    """Points and their strides, targets in pixels with padding behind, labels, predictions and probabilities."""
    rng = np.random.default_rng(0)
    points, strides = map(np.asarray, coders.grid_points(IMAGE, STRIDES))
    half = np.exp(rng.uniform(np.log(8), np.log(IMAGE[0] / 4), (images, slots, 2)))
    middle = rng.uniform(0, IMAGE[0], (images, slots, 2))
    targets = np.float32(np.concatenate([middle - half, middle + half], axis=-1))
    where = np.arange(slots) < rng.integers(1, slots + 1, images)[:, None]
    labels = np.int32(rng.integers(0, CLASSES, (images, slots)))
    reach = strides[:, None] * rng.uniform(0.5, 4, (images, len(points), 4))
    predictions = np.float32(np.concatenate([points - reach[..., :2], points + reach[..., 2:]], axis=-1))
    scores = np.float32(rng.uniform(size=(images, len(points), CLASSES)))
    arrays = {"points": points, "strides": strides, "targets": targets, "where": where, "labels": labels}
    return {name: jnp.asarray(x) for name, x in (arrays | {"predictions": predictions, "scores": scores}).items()}


def anchors_of(given):
    """Square anchors with sides of eight strides."""
    half = 4 * given["strides"][:, None]
    return jnp.concatenate([given["points"] - half, given["points"] + half], axis=-1)


def ours(name, given):
    """The slots of all anchors."""
    if name == "atss":
        sizes = [(IMAGE[0] // stride) * (IMAGE[1] // stride) for stride in STRIDES]
        return assigners.atss(anchors_of(given), given["targets"], level_sizes=sizes, where=given["where"])
    overlaps = similarity.pairwise(similarity.ciou)(given["predictions"], given["targets"])
    inside = assigners.inside(given["points"], given["targets"], where=given["where"])
    return assigners.task_aligned(given["scores"], overlaps, inside, given["labels"], where=given["where"])[0]


def plain_overlaps(a, b, *, complete=False):
    """IoU, or CIoU, of all pairs, `[N, 4]` and `[M, 4]`."""
    a, b = a[:, None], b[None]
    shared = jnp.prod(jnp.clip(jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2]), 0), -1)
    (w, h), (w2, h2) = (((x[..., 2] - x[..., 0]), (x[..., 3] - x[..., 1])) for x in (a, b))
    iou = shared / (w * h + w2 * h2 - shared + 1e-7)
    if not complete:
        return iou
    hull = jnp.maximum(a[..., 2:], b[..., 2:]) - jnp.minimum(a[..., :2], b[..., :2])
    apart = jnp.sum((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2, -1) / 4
    v = 4 / jnp.pi**2 * (jnp.arctan(w2 / (h2 + 1e-7)) - jnp.arctan(w / (h + 1e-7))) ** 2
    return iou - apart / (jnp.sum(hull**2, -1) + 1e-7) - v * v / (v - iou + 1 + 1e-7)


def plain_inside(points, targets):
    return jnp.all((points[:, None] > targets[None, :, :2]) & (points[:, None] < targets[None, :, 2:]), axis=-1)


def plain_task_aligned(points, targets, where, labels, predictions, scores):
    """YOLOv8's assignment of an image, by matrices."""
    count = len(targets)
    inside = plain_inside(points, targets) & where
    overlaps = jnp.where(inside, jnp.clip(plain_overlaps(predictions, targets, complete=True), 0), 0)
    metric = jnp.where(inside, scores[:, labels] ** 0.5 * overlaps**6, 0)
    _, best = lax.top_k(metric.T, 10)
    chosen = jnp.zeros((count, len(points)), bool).at[jnp.arange(count)[:, None], best].set(True).T & inside
    several = jnp.sum(chosen, axis=1) > 1
    chosen = jnp.where(several[:, None], jax.nn.one_hot(jnp.argmax(overlaps, axis=1), count, dtype=bool), chosen)
    return jnp.where(jnp.any(chosen, axis=1), jnp.argmax(chosen, axis=1), count)


def plain_atss(sizes, points, targets, where, anchors):
    """ATSS of an image, by matrices."""
    count = len(targets)
    overlaps = plain_overlaps(anchors, targets)
    apart = jnp.linalg.norm(points[:, None] - (targets[None, :, :2] + targets[None, :, 2:]) / 2, axis=-1)
    near, start = [], 0
    for size in sizes:
        near.append(lax.top_k(-apart[start : start + size].T, 9)[1] + start)
        start += size
    near = jnp.concatenate(near, axis=1)
    known = jnp.take_along_axis(overlaps.T, near, axis=1)
    least = jnp.mean(known, axis=1) + jnp.std(known, axis=1, ddof=1)
    candidate = jnp.zeros((count, len(points)), bool).at[jnp.arange(count)[:, None], near].set(True).T
    chosen = candidate & (overlaps >= least) & plain_inside(points, targets) & where
    best = jnp.where(chosen, overlaps, -1)
    return jnp.where(jnp.any(chosen, axis=1), jnp.argmax(best, axis=1), count)


def plain(name, given):
    """The slots of all anchors by the plain form."""
    if name == "atss":
        sizes = [(IMAGE[0] // stride) * (IMAGE[1] // stride) for stride in STRIDES]
        form = functools.partial(plain_atss, sizes, given["points"], anchors=anchors_of(given))
        return jax.vmap(form)(given["targets"], given["where"])
    names = ("targets", "where", "labels", "predictions", "scores")
    return jax.vmap(functools.partial(plain_task_aligned, given["points"]))(*(given[name] for name in names))


def plain_nms(boxes, scores, outputs, threshold=0.5):
    """A walk over the sorted boxes of an image, each of which drops what is behind it."""
    count = len(scores)
    order = jnp.argsort(-scores)
    x1, y1, x2, y2 = boxes[order].T
    area, rank = (x2 - x1) * (y2 - y1), jnp.arange(count)

    def look_at_one(i, kept):
        width = jnp.clip(jnp.minimum(x2[i], x2) - jnp.maximum(x1[i], x1), 0)
        height = jnp.clip(jnp.minimum(y2[i], y2) - jnp.maximum(y1[i], y1), 0)
        iou = width * height / (area[i] + area - width * height)
        return kept & ~(kept[i] & (iou > threshold) & (rank > i))

    kept = lax.fori_loop(0, count, look_at_one, jnp.ones(count, bool))
    return jnp.full(outputs, count).at[jnp.where(kept, jnp.cumsum(kept) - 1, outputs)].set(order, mode="drop")


def detections(count):
    """Boxes of an image in units of its side, and their scores."""
    rng = np.random.default_rng(0)
    middle, half = rng.uniform(0, 1, (count, 2)), rng.uniform(0.02, 0.1, (count, 2))
    boxes = np.float32(np.concatenate([middle - half, middle + half], axis=-1))
    return jnp.asarray(boxes), jnp.asarray(rng.uniform(size=count), jnp.float32)


def of_assigners(effort, sizes=ASSIGNMENTS):
    """Assignments of batches, and the plain forms under `vmap`."""
    for name, images, slots in sizes:
        given = scene(images, slots)
        candidates = {
            "jaxbox": functools.partial(jax.jit(functools.partial(ours, name)), given),
            "plain": functools.partial(jax.jit(functools.partial(plain, name)), given),
        }
        of = {"function": name, "images": images, "anchors": len(given["points"]), "slots": slots}
        yield of, measure(candidates, effort.less())


def of_suppression(effort, sizes=SUPPRESSIONS):
    """Suppression in an image, and a plain walk over all boxes."""
    for count, outputs in sizes:
        arrays = detections(count)
        keep = functools.partial(suppression.nms, threshold=0.5, outputs=outputs)
        candidates = {
            "jaxbox": functools.partial(jax.jit(keep), *arrays),
            "plain": functools.partial(jax.jit(functools.partial(plain_nms, outputs=outputs)), *arrays),
        }
        yield {"function": "nms", "boxes": count, "outputs": outputs}, measure(candidates, effort.less())
