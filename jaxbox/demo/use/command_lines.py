"""`jaxbox detect` and `jaxbox evaluate`: what their command lines take, and what is said where that cannot be meant."""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxbox.demo import arguments, files, refusals

SURE = 0.5  # the lowest score that is told, unless another is asked for


def add_parsers(commands: Any) -> None:  # noqa: ANN401
    """Adds both commands to the subparsers of a command line."""
    add = commands.add_parser(
        "detect",
        help="find objects on images with the detector of a run, draw them, and print their boxes",
        description="Finds objects on images with the detector of a run. Prints a line of JSON an image, with boxes in "
        "pixels, classes and scores, and writes a picture of each to a folder.",
        epilog="example: jaxbox detect runs/train photo.jpg",
    )
    add_run(add)
    add.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="to look at")
    add.add_argument(
        "--score",
        metavar="S",
        type=arguments.share,
        default=SURE,
        help=f"the lowest score of what is told, from 0 to 1 (default: {SURE})",
    )
    add.add_argument(
        "--out",
        metavar="DIR",
        type=arguments.folder,
        default="runs/detect",
        help="for the pictures (default: runs/detect)",
    )
    add.set_defaults(handler=detect, complain=add.error, parser=add)

    add = commands.add_parser(
        "evaluate",
        help="measure the detector of a run on a folder of images by COCO's protocol",
        description="Measures the detector of a run on a folder of images in COCO's layout, by COCO's protocol in "
        "pixels of the images, and prints its twelve numbers; of turned boxes, five.",
        epilog="example: jaxbox evaluate runs/train runs/digits",
    )
    add_run(add)
    add.add_argument(
        "folder", metavar="FOLDER", type=Path, help="images with their boxes, as `jaxbox train` takes them"
    )
    add.add_argument(
        "--all",
        action="store_true",
        help="on all images, instead of those that `jaxbox train` would hold out to test with",
    )
    add.add_argument("--out", metavar="DIR", type=arguments.folder, help="for the numbers as JSON, evaluation.json")
    add.set_defaults(handler=evaluate, complain=add.error, parser=add)


def add_run(parser: arguments.Parser) -> None:
    """Adds the folder of a run."""
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder that `jaxbox train --out` wrote")


def trained_by(chosen: argparse.Namespace) -> Any:  # noqa: ANN401
    """Reads the run that was chosen; ends with status 2 if it is none."""
    from jaxbox.demo import processes
    from jaxbox.demo.use import finding

    parser: arguments.Parser = chosen.parser
    processes.require_devices()
    try:
        return finding.trained(chosen.run)
    except (FileNotFoundError, ValueError) as error:
        parser.error(f"argument RUN: {error}")


def detect(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox detect`."""
    names = list(names_of(chosen.images))
    leaves = leaves_of(chosen.out, names)
    refusals.check_folder(chosen, leaves)
    for path in chosen.images:
        if not path.is_file():
            chosen.complain(f"argument IMAGE: there is no file {files.shown(path)!r}; write the names of images")
    print("load     JAX and Flax, a few seconds", file=sys.stderr, flush=True)  # what is printed is for programs

    from jaxbox.demo.use import finding

    parser: arguments.Parser = chosen.parser
    trained = trained_by(chosen)
    try:
        images = finding.look(chosen.images)
    except ValueError as error:
        parser.error(f"argument IMAGE: {error}")
    finding.detect(trained, images, names, chosen.score, chosen.run, chosen.out, leaves)


def evaluate(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox evaluate`."""
    if chosen.out is not None:
        refusals.check_folder(chosen, files.EVALUATED)
    print("load     JAX and Flax, a few seconds", flush=True)

    from jaxbox.demo.use import measuring

    parser: arguments.Parser = chosen.parser
    trained = trained_by(chosen)
    try:
        truth = measuring.read(trained, chosen.run, chosen.folder, all_images=chosen.all)
    except ValueError as error:
        parser.error(f"argument FOLDER: {error}")
    measuring.evaluate(trained, truth, chosen.run, chosen.folder, chosen.out)


def leaves_of(out: Path, names: Sequence[str]) -> files.Leaves:
    """What `jaxbox detect` leaves in a folder: new pictures, in place of those of an earlier command."""
    earlier = {path.split("/")[0] for path in files.earlier_run(out, files.DETECTED.record).digests}
    return files.DETECTED._replace(others=tuple(sorted({*names, *earlier} - {files.DETECTED.record})))


def names_of(paths: Sequence[Path]) -> Iterator[str]:
    """The name of a picture for each image, no two of which are the same in any file system."""
    taken = set()
    for path in paths:
        stem = files.shown(Path(path.stem))
        tries = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        name = next(name for name in tries if name.casefold() not in taken)
        taken.add(name.casefold())
        yield f"{name}.png"
