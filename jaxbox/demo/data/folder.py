"""A folder of images with their boxes in COCO's layout: where its files lie, and what of them can be used."""

import contextlib
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from jaxbox import rotated

HELD_OUT = 10  # one image in so many, where there is no file of annotations for testing
NAMED = 5  # so many lines about what is skipped, and then a count
GREY = {"1", "L", "LA", "I;16"}  # what Pillow calls images without colors
LAYOUT = (
    "`annotations.json`, or `train.json` and `val.json`, beside the images or beside a folder `images`; or "
    "`annotations/instances_train*.json` as COCO has it; or `train/_annotations.coco.json` as Roboflow writes it"
)


class Picture(NamedTuple):
    """An image in a file and what is on it.

    Attributes:
      path: of the file.
      size: height and width in pixels.
      boxes: `xyxy` in pixels, `[n, 4]`; or quads, `[n, 8]`, which `with_turned_boxes` makes turned boxes, `[n, 5]`.
      classes: `[n]`, from 0.
      crowd: `[n]`, True for a region of objects that nobody told apart.
      areas: `[n]`, in square pixels, as the file of annotations has them; COCO tells small from large by them.
    """

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


class Folder(NamedTuple):
    """What a folder holds.

    Attributes:
      names: of the classes, in the order of the numbers of COCO's categories.
      channels: 1 if all images are grey, else 3.
      train: the images to train with.
      held_out: those to test with.
      remarks: what was skipped, and how the images were split, a line each.
    """

    names: tuple[str, ...]
    channels: int
    train: list[Picture]
    held_out: list[Picture]
    remarks: list[str]


class Share(NamedTuple):
    """A file of annotations and the folders that its images may be in."""

    annotations: Path
    places: list[Path]


def read(root: Path, *, turned: bool) -> Folder:
    """Reads a folder in COCO's layout.

    Args:
      root: the folder.
      turned: whether the boxes are the quads in `segmentation`, and not those in `bbox`.

    Returns:
      The images that can be read, with the boxes or quads that lie on them.

    Raises:
      ValueError: if the folder is none, holds no annotations, or they contradict themselves; it says what to write.
    """
    shares = find(root)
    cocos = [index(share.annotations) for share in shares]
    categories: dict[int, str] = {}
    for share, coco in zip(shares, cocos, strict=True):
        for number, category in coco.cats.items():
            name = str(category.get("name", number))
            if categories.setdefault(number, name) != name:
                raise ValueError(
                    f"category {number} is {name!r} in {str(share.annotations)!r} and {categories[number]!r} in "
                    f"{str(shares[0].annotations)!r}; give it one name"
                )
    if not categories:
        raise ValueError(f"{str(shares[0].annotations)!r} has no categories; list them as {{'id': 1, 'name': 'cat'}}")
    order = {number: place for place, number in enumerate(sorted(categories))}
    skipped: dict[str, list[str]] = {"image": [], "box": []}
    modes: set[str] = set()
    parts = [
        list(pictures(share, coco, order, turned, skipped, modes)) for share, coco in zip(shares, cocos, strict=True)
    ]
    remarks = [line for what, lines in skipped.items() for line in shortened(lines, what)]
    if len(parts) == 1:
        (every,) = parts
        parts = [[x for i, x in enumerate(every) if i % HELD_OUT], every[::HELD_OUT]]
        remarks.append(f"one image in {HELD_OUT} of {shares[0].annotations.name} is held out to test with")
    train, held_out = parts
    for share, part, what in zip((shares[0], shares[-1]), parts, ("train", "test"), strict=True):
        if not part:
            raise ValueError(
                f"{str(share.annotations)!r} has no image to {what} with that can be read"
                f"{''.join(f'; {line}' for line in remarks[:1])}; put the images into {str(share.places[0])!r}"
            )
    if not any(np.any(~picture.crowd) for picture in train):
        raise ValueError(f"{str(shares[0].annotations)!r} has no box to train with; annotate some images")
    names = tuple(categories[number] for number in sorted(categories))
    return Folder(names, 1 if modes <= GREY else 3, train, held_out, remarks)


def find(root: Path) -> list[Share]:
    """The files of annotations in a folder: that to train with and that to test with, or one for both.

    Raises:
      ValueError: if there is none.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise ValueError(f"{str(root)!r} {what}; write the name of a folder that holds {LAYOUT}")

    def first(*patterns: str) -> Path | None:
        return next((path for pattern in patterns for path in sorted(root.glob(pattern)) if path.is_file()), None)

    alone = first("annotations.json")
    train = first("train.json", "annotations/instances_train*.json", "train/_annotations.coco.json")
    test = first(
        "val.json",
        "annotations/instances_val*.json",
        "valid/_annotations.coco.json",
        "val/_annotations.coco.json",
        "test/_annotations.coco.json",
    )
    files = [alone] if alone else [train, test] if train and test else [train] if train else []
    if not files:
        seen = sorted(path.name for path in root.iterdir() if path.suffix == ".json" or path.is_dir())
        held = f"; it holds {', '.join(seen[:NAMED])}" if seen else ""
        raise ValueError(f"{str(root)!r} has no file of annotations{held}; a folder holds {LAYOUT}")
    return [Share(file, list(places(root, file))) for file in files]


def places(root: Path, annotations: Path) -> Iterator[Path]:
    """Where the images of a file of annotations may be."""
    folder, name = annotations.parent, annotations.stem.removeprefix("instances_")
    for place in (folder / "images", folder, root / name, root / "images" / name, root / "images", root):
        if place.is_dir():
            yield place


def index(path: Path) -> COCO:
    """Reads a file of annotations.

    Raises:
      ValueError: if it is none.
    """
    example = '{"images": [...], "annotations": [...], "categories": [...]}'
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            coco = COCO(str(path))
        dataset: Any = coco.dataset
        images, annotations = dataset["images"], dataset["annotations"]
        coco.cats = {category["id"]: category for category in dataset["categories"]}
        numbers = Counter(image["id"] for image in images)
        [image["file_name"] + "" for image in images]
        of_images = [annotation["image_id"] for annotation in annotations]
        of_categories = [annotation["category_id"] for annotation in annotations]
        labels = [annotation["id"] for annotation in annotations]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}; write {example}") from error
    except KeyError as error:
        raise ValueError(f"{str(path)!r} lacks {error} somewhere; write {example}, as COCO does") from error
    except (AssertionError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} holds no annotations as COCO writes them; write {example}") from error
    for number, count in numbers.items():
        if count > 1:
            raise ValueError(f"{count} images of {str(path)!r} have the id {number!r}; give each one of its own")
    for label, image, category in zip(labels, of_images, of_categories, strict=True):
        if category not in coco.cats:
            known = ", ".join(str(number) for number in sorted(coco.cats)[:20])
            raise ValueError(
                f"annotation {label!r} of {str(path)!r} has category {category!r}, which is not listed; write one of "
                f"{known}, or list it under 'categories'"
            )
        if image not in numbers:
            raise ValueError(
                f"annotation {label!r} of {str(path)!r} is of image {image!r}, which is not listed; list it under "
                "'images', or remove the annotation"
            )
    return coco


def pictures(
    share: Share, coco: COCO, order: dict[int, int], turned: bool, skipped: dict[str, list[str]], modes: set[str]
) -> Iterator[Picture]:
    """The images of a file of annotations that can be read, in the order of their numbers.

    Args:
      share: the file, and where its images may be.
      coco: what the file holds.
      order: the class of each category.
      turned: whether boxes are quads.
      skipped: takes a line for each image and each box that is not usable.
      modes: takes what Pillow calls the kinds of the images.
    """
    dataset: Any = coco.dataset
    images = sorted(dataset["images"], key=lambda image: str(image["id"]).zfill(20))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow lets go of Python's lock while it decodes
        looked = pool.map(lambda image: look(image, share.places), images)
        for image, (path, size, mode, fault) in zip(images, looked, strict=True):
            if path is None:
                skipped["image"].append(f"{image['file_name']!r} {fault}")
                continue
            modes.add(mode)
            annotations: list[Any] = coco.imgToAnns.get(image["id"], [])
            rows = []
            for annotation in annotations:
                box = quad_of(annotation, share.annotations) if turned else box_of(annotation)
                fault = fault_of(box, size)
                if fault or box is None:
                    skipped["box"].append(f"annotation {annotation['id']!r} of {image['file_name']!r} {fault}")
                else:
                    area = numbers_of([annotation.get("area")], 1) or [polygon_area(box)]
                    rows.append((box, order[annotation["category_id"]], bool(annotation.get("iscrowd")), *area))
            found, *others = zip(*rows, strict=True) if rows else ((), (), (), ())
            classes, crowd, areas = map(np.array, others, (np.int32, bool, float))
            yield Picture(path, size, boxes_of(found, turned), classes, crowd, areas)


def look(image: dict[str, Any], places: Iterable[Path]) -> tuple[Path | None, tuple[int, int], str, str]:
    """Finds and decodes an image: its path, height and width, kind, and, if there is no path, what is wrong with it."""
    name = image["file_name"]
    path = next((place / name for place in places if (place / name).is_file()), None)
    if path is None:
        return None, (0, 0), "", "is missing"
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            mode = opened.mode
            opened.draft(None, (width // 8, height // 8))  # quicker, where the format allows
            opened.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason, *_ = str(error).partition("\n")
        return None, (0, 0), "", f"cannot be read ({reason[:80].rstrip('.')})"
    said = image.get("width", width), image.get("height", height)
    if said != (width, height):
        return None, (0, 0), "", f"has {width} x {height} pixels, but its annotation says {said[0]} x {said[1]}"
    return path, (height, width), mode, ""


def box_of(annotation: dict[str, Any]) -> np.ndarray | None:
    """The corners of `bbox`, `[4, 2]`; None if it is none."""
    numbers = numbers_of(annotation.get("bbox"), 4)
    if numbers is None:
        return None
    x, y, w, h = numbers
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) if w > 0 and h > 0 else np.full((4, 2), x)


def quad_of(annotation: dict[str, Any], path: Path) -> np.ndarray | None:
    """The corners of the quad in `segmentation`, `[4, 2]`; of a crowd, which has a mask there, those of `bbox`.

    Raises:
      ValueError: if there is no quad.
    """
    if annotation.get("iscrowd"):
        return box_of(annotation)
    outline = annotation.get("segmentation")
    if not (isinstance(outline, list) and len(outline) == 1 and isinstance(outline[0], list) and len(outline[0]) == 8):
        raise ValueError(
            f"annotation {annotation['id']!r} of {str(path)!r} has no quad, which --head turned is trained with; write "
            "its four corners as 'segmentation': [[x0, y0, x1, y1, x2, y2, x3, y3]], or train with --head cells"
        )
    numbers = numbers_of(outline[0], 8)
    return None if numbers is None else np.array(numbers).reshape(4, 2)


def numbers_of(values: object, count: int) -> list[float] | None:
    """So many finite numbers, or None."""
    if not isinstance(values, list) or len(values) != count:
        return None
    fine = all(isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e9 for x in values)
    return [float(x) for x in values] if fine and all(map(math.isfinite, values)) else None


def fault_of(corners: np.ndarray | None, size: tuple[int, int]) -> str:
    """What is wrong with a box on an image of a height and a width; nothing if it is empty."""
    if corners is None:
        return "has no box of finite numbers"
    if not polygon_area(corners) > 0:
        return "has a box without area"
    (x, y), (height, width) = corners.T, size
    if np.max(x) <= 0 or np.max(y) <= 0 or np.min(x) >= width or np.min(y) >= height:
        return "has a box outside of its image"
    return ""


def polygon_area(corners: np.ndarray) -> float:
    """The area of a quad of its corners, `[4, 2]`."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def boxes_of(corners: Sequence[np.ndarray], turned: bool) -> np.ndarray:
    """Boxes of their corners: upright ones, `[n, 4]`, or quads, `[n, 8]`."""
    points = np.array(corners, np.float32).reshape(-1, 4, 2)
    if turned:
        return points.reshape(-1, 8)
    return np.concatenate([np.min(points, axis=1), np.max(points, axis=1)], axis=-1)


def with_turned_boxes(pictures: Sequence[Picture]) -> list[Picture]:
    """The same with the smallest turned box around each quad. JAX computes them, once the processes are joined."""
    quads = np.concatenate([picture.boxes for picture in pictures])
    found = np.asarray(rotated.from_polygon(quads.reshape(-1, 4, 2)))
    ends = np.cumsum([len(picture.boxes) for picture in pictures])[:-1]
    return [x._replace(boxes=each) for x, each in zip(pictures, np.split(found, ends), strict=True)]


def shortened(lines: list[str], what: str) -> Iterator[str]:
    """The first lines about what is skipped, and a count."""
    yield from (f"skipped: {line}" for line in lines[:NAMED])
    if len(lines) > NAMED:
        yield f"skipped: {len(lines)} {'boxes' if what == 'box' else 'images'} in all"
