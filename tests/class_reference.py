"""The losses of classes in float64 NumPy, written from the papers, with plain logarithms of probabilities.

Nothing here is shared with the package. Where a paper holds a factor constant in the gradient, the function takes
`held`: the logits at which that factor is computed.
"""

import numpy as np


def sigmoid(logits):
    return np.where(logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), 1 - 1 / (1 + np.exp(-np.abs(logits))))


def cross_entropy(logits, targets):
    """Binary, against targets between 0 and 1; right for large logits too."""
    return targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)


def focal_loss(logits, onehot, alpha=0.25, gamma=2.0):
    p = sigmoid(logits)
    wrong = np.where(onehot == 1, 1 - p, p)
    balance = np.where(onehot == 1, alpha, 1 - alpha)
    return np.sum(balance * wrong**gamma * cross_entropy(logits, onehot), axis=-1)


def varifocal_loss(logits, onehot, quality, alpha=0.75, gamma=2.0, held=None):
    p = sigmoid(logits if held is None else held)
    targets = onehot * quality[..., None]
    weights = np.where(onehot == 1, targets, alpha * p**gamma)
    return np.sum(weights * cross_entropy(logits, targets), axis=-1)


def matchability_loss(logits, onehot, quality, gamma=1.5, held=None):
    p = sigmoid(logits if held is None else held)
    targets = onehot * quality[..., None] ** gamma
    weights = np.where(onehot == 1, 1, p**gamma)
    return np.sum(weights * cross_entropy(logits, targets), axis=-1)


def iou_aware_loss(logits, onehot, quality, alpha=0.25, floor=0.01, held=None):
    score = sigmoid(logits if held is None else held)
    targets = np.maximum(score**alpha * quality[..., None] ** (1 - alpha), floor)
    of_classes = cross_entropy(logits, targets)
    of_others = sigmoid(logits) ** 2 * cross_entropy(logits, np.zeros_like(logits))
    return np.sum(np.where(onehot == 1, of_classes, of_others), axis=-1)


def quality_focal_loss(logits, onehot, quality, beta=2.0):
    targets = onehot * quality[..., None]
    return np.sum(np.abs(targets - sigmoid(logits)) ** beta * cross_entropy(logits, targets), axis=-1)


def log_softmax(logits):
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def distillation_loss(student, teacher, weights, temperature=5.0):
    p, q = (log_softmax(x / temperature) for x in (student, teacher))
    return weights * temperature**2 * np.sum(np.exp(q) * (q - p), axis=-1)
