"""The IoU family in PyTorch: one branch-free formula, run eagerly and by torch.compile, and torchvision's functions.

PyTorch is not a dependency: without it `peers` is empty.
"""

import functools
import importlib.util
import math
import os

EPSILON = 1e-7


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


@functools.cache
def torchvision_losses(torch):
    if importlib.util.find_spec("torchvision") is None:
        return {}
    library = torch.library.Library("torchvision", "DEF")  # its compiled operators are missing beside a CPU torch
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import ops

    return {"giou": ops.generalized_box_iou_loss, "diou": ops.distance_box_iou_loss, "ciou": ops.complete_box_iou_loss}


def peers(name, predictions, targets):
    """Value and gradient of the mean of a loss, by every way to get it in PyTorch: name of the way -> call."""
    if name not in ("iou", "giou", "diou", "ciou") or importlib.util.find_spec("torch") is None:
        return {}
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.compiler.reset()  # after eight shapes of one function it would run eagerly
    leaf, targets = torch.tensor(predictions, requires_grad=True), torch.tensor(targets)

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
    if name in (of_torchvision := torchvision_losses(torch)):
        ways["torchvision"] = lambda p, t: of_torchvision[name](p, t, reduction="mean")
    return {way: value_and_gradient(function) for way, function in ways.items()}
