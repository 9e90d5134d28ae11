"""The whole loss of YOLOv8 with its gradients, against the PyTorch code of ultralytics on the same inputs.

Without PyTorch or ultralytics only the library is measured.
"""

import functools
import importlib.util
import os
import tempfile
import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import boxes, coders, detectors
from tests.tools.benchmarks import dense, torch_peers
from tests.tools.benchmarks.timing import measure

BINS = 16
SIZES = [(2, 50), (8, 50)]  # images and slots, at 8400 anchors


def inputs(images, slots):
    """A scene of anchors and padded targets, with logits, and bins whose mean is about what is predicted."""
    given = dense.scene(images, slots)
    rng = np.random.default_rng(1)
    sides = coders.encode_distances(given["predictions"], given["points"], scale=given["strides"])
    bins = rng.normal(0, 0.1, (*sides.shape, BINS)) - np.abs(np.arange(BINS) - np.asarray(sides)[..., None])
    logits = rng.normal(-4, 1, given["scores"].shape)
    return given, np.float32(logits), np.float32(bins.reshape(*logits.shape[:2], -1))


def ours(given, logits, bins):
    """The value and the gradients of logits and bins, compiled, by the library."""
    targets = detectors.Targets(given["targets"], given["labels"], given["where"])

    def loss(logits, bins, *others):
        return len(logits) * detectors.yolov8_loss(logits, bins, *others)[0]  # as ultralytics multiplies it

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1)))
    return functools.partial(
        compiled, jnp.asarray(logits), jnp.asarray(bins), targets, given["points"], given["strides"]
    )


@functools.cache
def criterion(torch):
    """The loss of ultralytics for a model of three levels."""
    with tempfile.TemporaryDirectory() as folder:
        # Its import writes settings, looks for a network, and sets variables and how NumPy prints for good.
        asked = {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
        with mock.patch.dict(os.environ, asked), np.printoptions():
            from ultralytics.utils.loss import v8DetectionLoss
    head = types.SimpleNamespace(stride=torch.tensor(dense.STRIDES, dtype=torch.float), nc=dense.CLASSES, reg_max=BINS)
    weights = types.SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    return v8DetectionLoss(
        types.SimpleNamespace(args=weights, model=[head], parameters=lambda: iter([torch.zeros(())]))
    )


def theirs(given, logits, bins):
    """The same by ultralytics, channels before anchors; None where that or PyTorch is not installed."""
    if importlib.util.find_spec("ultralytics") is None or (torch := torch_peers.library()) is None:
        return None
    compute = criterion(torch)
    leaves = [torch.tensor(x.swapaxes(1, 2).copy(), requires_grad=True) for x in (logits, bins)]
    where = np.asarray(given["where"])
    height, width = dense.IMAGE
    centers = boxes.absolute_to_normalized(boxes.xyxy_to_cxcywh(given["targets"]), image_size=dense.IMAGE)
    batch = {
        "batch_idx": torch.tensor(np.nonzero(where)[0], dtype=torch.float),
        "cls": torch.tensor(np.asarray(given["labels"])[where], dtype=torch.float),
        "bboxes": torch.tensor(np.asarray(centers)[where]),
    }
    maps = [torch.zeros(len(logits), 1, height // stride, width // stride) for stride in dense.STRIDES]

    def run():
        loss = compute({"scores": leaves[0], "boxes": leaves[1], "feats": maps}, batch)[0].sum()
        return loss.detach(), torch.autograd.grad(loss, leaves)

    return run


def of_yolo(effort, sizes=SIZES):
    """The loss of YOLOv8: value and gradients."""
    for images, slots in sizes:
        arrays = inputs(images, slots)
        candidates = {"jaxbox": ours(*arrays), "ultralytics": theirs(*arrays)}
        candidates = {way: call for way, call in candidates.items() if call}
        of = {"function": "yolov8_loss", "images": images, "anchors": len(arrays[0]["points"]), "slots": slots}
        yield of, measure(candidates, effort.less())
