"""What a wrong call of the loss of a dense detector is told."""

import numpy as np
import pytest

from jaxbox import detectors

BOXES, WHERE = np.float32(np.cumsum(np.ones((2, 3, 4)), axis=-1)), np.ones((2, 3), bool)
TARGETS = detectors.Targets(BOXES, np.zeros((2, 3), int), WHERE)
ANCHORS, POINTS = np.float32(np.cumsum(np.ones((5, 4)), axis=-1)), np.ones((5, 2), np.float32)
STRIDES = np.full(5, 8, np.float32)
LOGITS, DELTAS, BINS = (np.ones((2, 5, k), np.float32) for k in (7, 4, 64))
RETINANET = {"logits": LOGITS, "deltas": DELTAS, "targets": TARGETS, "anchors": ANCHORS}
YOLOV8 = {"logits": LOGITS, "bins": BINS, "targets": TARGETS, "points": POINTS, "strides": STRIDES}
FCOS = {key: YOLOV8[key] for key in ("logits", "targets", "points", "strides")} | {"distances": DELTAS}
FCOS |= {"centerness": np.ones((2, 5), np.float32)}
GFL = {"logits": LOGITS, "bins": BINS, "targets": TARGETS, "anchors": ANCHORS, "strides": STRIDES, "level_sizes": [5]}
PROPOSALS = {"logits": LOGITS, "deltas": DELTAS[:, :, None], "targets": TARGETS, "proposals": np.stack([ANCHORS] * 2)}
HEADS = YOLOV8 | {"logits": np.stack([LOGITS] * 2), "distances": np.stack([DELTAS] * 2), "image_size": (64, 64)}
del HEADS["bins"]
TURNED = np.concatenate([BOXES, BOXES[..., :1]], axis=-1)
OBB = HEADS | {"angles": np.ones((2, 2, 5), np.float32), "targets": TARGETS._replace(boxes=TURNED)}
WRONG = [
    ("retinanet", RETINANET, {"logits": LOGITS[0]}, "`logits` has shape (5, 7), but it is `[B, A, K]`, for A anchors "
     "of each of B images. For one image write `logits[None]`."),
    ("retinanet", RETINANET, {"deltas": DELTAS[:, :4]}, "`deltas` has shape (2, 4, 4), but there is one row for each "
     "of the `logits`, (2, 5, '4')."),
    ("retinanet", RETINANET, {"deltas": BINS}, "`deltas` has shape (2, 5, 64), but it is `[B, A, 4]`, for A anchors of "
     "each of B images."),
    ("retinanet", RETINANET, {"anchors": ANCHORS[None]}, "`anchors` has shape (1, 5, 4), but it is (5, 4), a row for "
     "each. Write `anchors[0]` if it has an axis of images."),
    ("retinanet", RETINANET, {"low": 0.6}, "`low` is 0.6, but it is at most `high`, which is 0.5: what is below `low` "
     "answers for no target, and what is between is ignored. Write `low=high` if nothing is."),
    ("retinanet", RETINANET, {"similarity": "giou"}, "`similarity` is a str, but it is a function of two boxes. Write "
     "`similarity=similarity.giou`."),
    ("retinanet", RETINANET, {"targets": TARGETS._replace(labels=np.full((2, 3), 7))}, "`targets.labels` has 7, but "
     "there are 7 classes, from 0 on. Where it is padding write False in `targets.where`."),
    ("retinanet", RETINANET, {"targets": TARGETS._replace(labels=np.ones((2, 3, 7)))}, "`targets.labels` has dtype "
     "float64, but a target has one class here. Write `targets._replace(labels=targets.labels.argmax(-1))`."),
    ("retinanet", RETINANET, {"targets": TARGETS._replace(boxes=BOXES[:1])}, "`targets.boxes` has shape (1, 3, 4), but "
     "it is `[B, M, 4]`, with the images of the predictions, (2,), and M slots for each."),
    ("fcos", FCOS, {"centerness": np.ones((2, 5, 1), np.float32)}, "`centerness` has shape (2, 5, 1), but it is "
     "`[B, A]`, for A anchors of each of B images. Write `centerness[..., 0]`."),
    ("yolov8", YOLOV8, {"bins": BINS[..., :30]}, "`bins` has shape (2, 5, 30), but it is `[B, A, 4 bins]`, for A "
     "anchors of each of B images."),
    ("yolov8", YOLOV8, {"points": POINTS[None]}, "`points` has shape (1, 5, 2), but it is (5, 2), a row for each. "
     "Write `points[0]` if it has an axis of images."),
    ("yolov8", YOLOV8, {"strides": STRIDES * 0}, "`strides` is [0. 0. 0. 0. 0.], but it must be from 1e-15 to "
     "1e15."),
    ("yolov8", YOLOV8, {"ciou_weight": np.nan}, "`ciou_weight` is nan, but it must be finite. Write "
     "`ciou_weight=1.0`, for example."),
    ("gfl", GFL, {"level_sizes": [4]}, "`level_sizes` is (4,), 4 in all, but there are 5 anchors. Write "
     "`level_sizes=[5]` for one level."),
    ("gfl", GFL, {"candidates": 0}, "`candidates` is 0, but it is a whole number from 1 on. Write `candidates=9`."),
    ("fast_rcnn", PROPOSALS, {"deltas": DELTAS}, "`deltas` has shape (2, 5, 4), but it is `[B, A, K, 4]`, for A "
     "anchors of each of B images. For one image write `deltas[None]`."),
    ("fast_rcnn", PROPOSALS, {"deltas": np.ones((2, 5, 7, 5), np.float32)}, "`deltas` has shape (2, 5, 7, 5), but it "
     "is `[B, A, K, 4]`, for A anchors of each of B images."),
    ("fast_rcnn", PROPOSALS, {"deltas": np.ones((2, 5, 5, 4), np.float32)}, "`deltas` has shape (2, 5, 5, 4), but "
     "there is a box for each of 7 logits, for each but the background, or one for all: (2, 5, 7, 4), (2, 5, 6, 4) or "
     "(2, 5, 1, 4)."),
    ("yolov8", YOLOV8, {"bins": DELTAS}, "`bins` has shape (2, 5, 4), but it is `[B, A, 4 bins]`, for A anchors of "
     "each of B images."),
    ("fast_rcnn", PROPOSALS, {"background": 7}, "`background` is 7, but it is the place of the background among 7 "
     "logits. Write `background=0` if it is the first one, or `background=-1` for the last."),
    ("yolo26", HEADS, {"logits": LOGITS}, "`logits` has shape (2, 5, 7), but it is `[2, B, A, K]`, for A anchors of "
     "each of B images, of the head with many cells, then of that with one."),
    ("yolo26_obb", OBB, {"angles": np.ones((2, 2, 5, 1), np.float32)}, "`angles` has shape (2, 2, 5, 1), but it is "
     "`[2, B, A]`, for A anchors of each of B images, of the head with many cells, then of that with one. Write "
     "`angles[..., 0]`."),
    ("yolo26_obb", OBB, {"targets": TARGETS}, "`targets.boxes` has shape (2, 3, 4), but a turned box is `[..., 5]`: "
     "center, width, height, and an angle in radians. Of upright boxes write `rotated.from_xyxy(targets.boxes)`, or "
     "take a function such as `giou_loss`."),
    ("yolo26", HEADS, {"image_size": 64}, "`image_size` is 64, but boxes of 4 numbers need 2 numbers, the last one "
     "along x. Write `image_size=(64, 64)`."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "changed", "message"), WRONG)
def test_a_wrong_call_is_told_what_to_write(name, given, changed, message):
    with pytest.raises((TypeError, ValueError)) as raised:
        getattr(detectors, f"{name}_loss")(**given | changed)
    assert str(raised.value) == message
    getattr(detectors, f"{name}_loss")(**given)
