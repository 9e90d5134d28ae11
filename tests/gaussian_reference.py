"""The distances and losses of normal distributions in float64 NumPy, written from the papers with matrices.

A box `[..., 5]` is center, width, height, angle; its covariance is R diag(w^2, h^2) R^T / 4. This module shares nothing
with the package: roots of matrices are those of their eigenvalues, and determinants and inverses those of NumPy. A
floor is not applied: boxes are wider than that.
"""

import numpy as np


def distribution(boxes, share=4):
    """Mean `[..., 2]` and covariance `[..., 2, 2]`; the variance along a side is its square over `share`."""
    c, s = np.cos(boxes[..., 4]), np.sin(boxes[..., 4])
    rotation = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)
    variances = boxes[..., 2:4] ** 2 / share
    return boxes[..., :2], rotation @ (variances[..., None] * np.swapaxes(rotation, -1, -2))


def root(matrix):
    """The symmetric root of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ (np.sqrt(np.maximum(values, 0))[..., None] * np.swapaxes(vectors, -1, -2))


def trace(matrix):
    return np.trace(matrix, axis1=-2, axis2=-1)


def quadratic(vector, matrix):
    return np.einsum("...i,...ij,...j->...", vector, matrix, vector)


def wasserstein(a, b):
    (mean_a, covariance_a), (mean_b, covariance_b) = distribution(a), distribution(b)
    between = root(root(covariance_b) @ covariance_a @ root(covariance_b))
    of_shapes = trace(covariance_a + covariance_b - 2 * between)
    return np.sqrt(np.sum((mean_a - mean_b) ** 2, axis=-1) + of_shapes)


def kl(a, b):
    (mean_a, covariance_a), (mean_b, covariance_b) = distribution(a), distribution(b)
    inverse = np.linalg.inv(covariance_b)
    of_sizes = np.log(np.linalg.det(covariance_b) / np.linalg.det(covariance_a))
    return (quadratic(mean_a - mean_b, inverse) + trace(inverse @ covariance_a) + of_sizes - 2) / 2


def jeffreys(a, b):
    return (kl(a, b) + kl(b, a)) / 2


def bhattacharyya(a, b, share=4):
    (mean_a, covariance_a), (mean_b, covariance_b) = distribution(a, share), distribution(b, share)
    middle = (covariance_a + covariance_b) / 2
    determinant = np.linalg.det(covariance_a) * np.linalg.det(covariance_b)
    of_shapes = np.log(np.linalg.det(middle) / np.sqrt(determinant)) / 2
    return quadratic(mean_a - mean_b, np.linalg.inv(middle)) / 8 + of_shapes


def bounded(distance, tau):
    return 1 - 1 / (tau + np.log(1 + distance))


def gwd_loss(predictions, targets, tau=1.0):
    determinant = np.linalg.det(distribution(predictions)[1]) * np.linalg.det(distribution(targets)[1])
    return bounded(wasserstein(predictions, targets) / (2 * determinant ** (1 / 8)), tau)


def kld_loss(predictions, targets, tau=1.0):
    return bounded(np.sqrt(kl(predictions, targets)), tau)


def reverse_kld_loss(predictions, targets, tau=1.0):
    return bounded(np.sqrt(kl(targets, predictions)), tau)


def jeffreys_loss(predictions, targets, tau=1.0):
    return bounded(np.sqrt(jeffreys(predictions, targets)), tau)


def bhattacharyya_loss(predictions, targets, tau=1.0):
    return bounded(np.sqrt(bhattacharyya(predictions, targets)), tau)


def probiou_loss(predictions, targets):
    return np.sqrt(1 - np.exp(-bhattacharyya(predictions, targets, share=12)))


def kfiou(a, b):
    """At most 1/3: the volumes are roots of determinants, that of the overlap of the filtered covariance."""
    covariance_a, covariance_b = distribution(a)[1], distribution(b)[1]
    gain = covariance_a @ np.linalg.inv(covariance_a + covariance_b)
    overlap = covariance_a - gain @ covariance_a
    own, other, both = (np.sqrt(np.linalg.det(covariance)) for covariance in (covariance_a, covariance_b, overlap))
    return both / (own + other - both)


def kfiou_loss(predictions, targets):
    return 1 - 3 * kfiou(predictions, targets)


def rotated_nwd_loss(predictions, targets, constant):
    return 1 - np.exp(-wasserstein(predictions, targets) / constant)


def angle_loss(predictions, targets):
    aspect = np.log(targets[..., 2] / targets[..., 3])
    return np.exp(-(aspect**2) / 9) * np.sin(2 * (predictions[..., 4] - targets[..., 4])) ** 2
