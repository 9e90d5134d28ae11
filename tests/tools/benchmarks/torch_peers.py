"""The IoU family in PyTorch: one branch-free formula, run eagerly and by torch.compile, and torchvision's functions.

PyTorch is not a dependency: without it there are no calls.
"""

import functools
import importlib.util
import math
import os

EPSILON = 1e-7
FAMILY = "iou", "giou", "diou", "ciou"
FLOATS_A_PAIR = 40  # more than autograd keeps of all pairs of the formula below
TORCHVISION_LOSSES = {
    "giou": "generalized_box_iou_loss",
    "diou": "distance_box_iou_loss",
    "ciou": "complete_box_iou_loss",
}
TORCHVISION_PAIRS = {"iou": "box_iou", "giou": "generalized_box_iou"}


def loss(torch, name, predictions, targets):
    x1, y1, x2, y2 = predictions.unbind(-1)
    x1_star, y1_star, x2_star, y2_star = targets.unbind(-1)
    width = (torch.minimum(x2, x2_star) - torch.maximum(x1, x1_star)).clamp(min=0)
    height = (torch.minimum(y2, y2_star) - torch.maximum(y1, y1_star)).clamp(min=0)
    overlap = width * height
    union = (x2 - x1) * (y2 - y1) + (x2_star - x1_star) * (y2_star - y1_star) - overlap
    iou = overlap / (union + EPSILON)
    if name == "iou":
        return 1 - iou
    width = torch.maximum(x2, x2_star) - torch.minimum(x1, x1_star)
    height = torch.maximum(y2, y2_star) - torch.minimum(y1, y1_star)
    if name == "giou":
        return 1 - iou + (width * height - union) / (width * height + EPSILON)
    distance = (x1 + x2 - x1_star - x2_star) ** 2 + (y1 + y2 - y1_star - y2_star) ** 2
    diou = 1 - iou + distance / 4 / (width**2 + height**2 + EPSILON)
    if name == "diou":
        return diou
    angle = torch.atan((x2_star - x1_star) / (y2_star - y1_star + EPSILON)) - torch.atan(
        (x2 - x1) / (y2 - y1 + EPSILON)
    )
    v = 4 / math.pi**2 * angle**2
    with torch.no_grad():
        alpha = v / (1 - iou + v + EPSILON)
    return diou + alpha * v


def library():
    """PyTorch, ready for functions of new shapes, or None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.compiler.reset()  # after eight shapes of one function it would run eagerly
    return torch


@functools.cache
def torchvision_operators(torch):
    """torchvision's functions, or None where it is not installed."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    library = torch.library.Library("torchvision", "DEF")  # its compiled operators are missing beside a CPU torch
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import ops

    return ops


def of_loss(name, predictions, targets, *_, device="cpu"):
    """Value and gradient of the mean of a loss, by every way to get it in PyTorch: name of the way -> call."""
    if name not in FAMILY or (torch := library()) is None:
        return {}
    leaf, targets = torch.tensor(predictions, device=device, requires_grad=True), torch.tensor(targets, device=device)

    def value_and_gradient(function):
        def call():
            leaf.grad = None
            value = function(leaf, targets)
            value.backward()
            return value

        return call

    def mean(predictions, targets):
        return loss(torch, name, predictions, targets).mean()

    ways = {"torch": mean, "torch.compile": torch.compile(mean, dynamic=False)}
    if device == "cpu" and (ops := torchvision_operators(torch)) and name in TORCHVISION_LOSSES:
        of_torchvision = getattr(ops, TORCHVISION_LOSSES[name])
        ways["torchvision"] = lambda p, t: of_torchvision(p, t, reduction="mean")
    return {way: value_and_gradient(function) for way, function in ways.items()}


def of_pairs(name, a, b, weights):
    """All pairs by broadcasting: the calls for the similarities, and those for the gradients of their weighted sum."""
    if (torch := library()) is None:
        return {}, {}
    a, b = (torch.tensor(x, requires_grad=True) for x in (a, b))
    weights = torch.tensor(weights)

    def compare(a, b):
        return 1 - loss(torch, name, a[:, None], b[None])

    def weighted_sum(a, b):
        return (compare(a, b) * weights).sum()

    def forward(function):
        return torch.no_grad()(lambda: function(a, b))

    def gradients(function):
        return lambda: torch.autograd.grad(function(a, b), (a, b))

    ways = {"torch": lambda x: x, "torch.compile": functools.partial(torch.compile, dynamic=False)}
    of_values = {f"{way} forward": forward(make(compare)) for way, make in ways.items()}
    of_gradients = {f"{way} gradients": gradients(make(weighted_sum)) for way, make in ways.items()}
    if (ops := torchvision_operators(torch)) and name in TORCHVISION_PAIRS:
        of_values["torchvision forward"] = forward(getattr(ops, TORCHVISION_PAIRS[name]))
    return of_values, of_gradients
