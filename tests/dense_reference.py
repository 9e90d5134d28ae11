"""Suppression and assignment of anchors as plain NumPy loops in float64, an image, a target and an anchor at a time."""

import numpy as np


def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return shared / union if union > 0 else 0.0


def greedy(boxes, scores, threshold, outputs, classes, where, overlap=iou):
    """Non-maximum suppression: the places of what is kept, then N."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if where[i] and all(classes[i] != classes[j] or overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(int(i))
    return (kept + [len(scores)] * outputs)[:outputs]


def softly(boxes, scores, outputs, sigma, least, classes, where):
    """Soft suppression: the places and the lowered scores of what is kept."""
    left, kept = {i: float(scores[i]) for i in range(len(scores)) if where[i]}, []
    while left and len(kept) < outputs:
        best = max(left, key=lambda i: (left[i], -i))
        if left[best] < least:
            break
        kept.append((best, left.pop(best)))
        for i in left:
            if classes[i] == classes[best]:
                left[i] *= np.exp(-(iou(boxes[i], boxes[best]) ** 2) / sigma)
    filled = kept + [(len(scores), 0.0)] * (outputs - len(kept))
    return [i for i, _ in filled], [score for _, score in filled]


def contains(box, point):
    return np.all((box[:2] < point) & (point < box[2:]))


def of_most(choosers, overlaps, count):
    """The slot that each anchor overlaps most among those that chose it, the first of equal ones."""
    return np.array(
        [max(slots, key=lambda m: (overlaps[a, m], -m)) if slots else count for a, slots in enumerate(choosers)]
    )


def atss(anchors, targets, where, level_sizes, candidates):
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    overlaps = np.array([[iou(a, t) if w else 0 for t, w in zip(targets, where, strict=True)] for a in anchors])
    choosers = [[] for _ in anchors]
    for m in np.flatnonzero(where):
        apart = np.sum((centers - (targets[m, :2] + targets[m, 2:]) / 2) ** 2, axis=-1)
        near, start = [], 0
        for size in level_sizes:
            near += [start + i for i in np.argsort(apart[start : start + size], kind="stable")[:candidates]]
            start += size
        known = overlaps[near, m]
        for a, overlap in zip(near, known, strict=True):
            if overlap >= np.mean(known) + np.std(known, ddof=1) and contains(targets[m], centers[a]):
                choosers[a].append(m)
    return of_most(choosers, overlaps.reshape(len(anchors), -1), len(targets))


def smallest_inside(points, targets, where, ranges, radius):
    slots = []
    for point, (least, greatest), near in zip(points, ranges, radius, strict=True):
        fitting = []
        for m in np.flatnonzero(where):
            box = targets[m]
            furthest = max(*(point - box[:2]), *(box[2:] - point))
            is_near = np.max(np.abs(point - (box[:2] + box[2:]) / 2)) < near
            if contains(box, point) and is_near and least < furthest < greatest:
                fitting.append((np.prod(box[2:] - box[:2]), m))
        slots.append(min(fitting)[1] if fitting else len(targets))
    return np.array(slots)


def aligned(scores, overlaps, inside, labels, where, *, candidates, alpha, beta, keep=None, among_all=False):
    """Both rules of task-aligned assignment: slots and scores."""
    anchors, count = overlaps.shape
    real = [m for m in range(count) if where[m]]
    over = {m: np.maximum(overlaps[:, m], 0) for m in real}
    metric = {m: scores[:, labels[m]] ** alpha * over[m] ** beta for m in real}
    choosers = [[] for _ in range(anchors)]
    for m in real:
        pool = range(anchors) if among_all else np.flatnonzero(inside[:, m])
        for a in sorted(pool, key=lambda a: (-metric[m][a], a))[:candidates]:
            if inside[a, m] and metric[m][a] > 0:
                choosers[a].append(m)
    slots = np.full(anchors, count)
    for a, own in enumerate(choosers):
        pool = own if among_all or len(own) < 2 else [m for m in real if inside[a, m]]
        if own:
            slots[a] = max(pool, key=lambda m: (over[m][a], -m))
    if keep is not None:
        for m in real:
            ranked = sorted(np.flatnonzero(slots == m), key=lambda a: (-metric[m][a], a))
            slots[ranked[keep:]] = count
    found = np.zeros(anchors)
    for m in real:
        own = slots == m
        if np.any(own) and np.max(metric[m][own]) > 0:
            found[own] = metric[m][own] / np.max(metric[m][own]) * np.max(over[m][own])
    return slots, found


def sim_ota(costs, overlaps, allowed, preferred, where, candidates):
    anchors, count = costs.shape
    real = [m for m in range(count) if where[m]]
    choosers = [[] for _ in range(anchors)]

    def rank(a, m):
        return (not preferred[a, m], costs[a, m])

    for m in real:
        pool = np.flatnonzero(allowed[:, m])
        wanted = max(1, int(np.sum(np.sort(overlaps[pool, m])[::-1][:candidates])))
        for a in sorted(pool, key=lambda a: (*rank(a, m), a))[:wanted]:
            choosers[a].append(m)
    slots = np.full(anchors, count)
    for a, own in enumerate(choosers):
        if own:
            pool = own if len(own) < 2 else [m for m in real if allowed[a, m]]
            slots[a] = min(pool, key=lambda m: (*rank(a, m), m))
    return slots
