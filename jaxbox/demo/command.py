"""The `jaxbox` command line. It needs no more than jaxbox itself; each command imports what it runs.

Nothing that takes long is imported before a command has said what it does.
"""

import argparse
import io
import os
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import jaxbox
from jaxbox.demo import arguments, files, interrupts, refusals
from jaxbox.demo.comparison import command_line
from jaxbox.demo.training import resuming
from jaxbox.demo.use import command_lines

DETR = {"l1": 5.0, "giou": 2.0}  # its pair of losses and their weights
TURNED = {"rotated_nwd": 2.0, "rotated_giou": 0.5}  # a distance and an overlap, as well
DEFAULT_LOSSES = {"cells": DETR, "queries": DETR, "turned": TURNED}  # of each head
PIPED_WIDTH = 1000  # columns where no terminal bounds them
HEADS = tuple(DEFAULT_LOSSES)  # of `heads.HEADS`
FULL = {"steps": 800, "batch_size": 32, "test_images": 512}
QUICK = {"steps": 200, "batch_size": 16, "test_images": 64}
SIMULATED = ("iou", "giou", "diou", "ciou")  # the losses of the DIoU paper
POINTS = 5000  # of the published scatter


def main(typed: Sequence[str] | None = None) -> int:
    """Runs the command. Wrong arguments exit with status 2.

    Args:
      typed: what follows `jaxbox` on the command line; by default, what was typed.

    Returns:
      The exit status: 0, 1 if the command failed, or 130 if it was interrupted.
    """
    if typed is None:  # this process is the command
        interrupts.watch()
        prepare_output()
    parser, commands = make_parsers()
    words = sys.argv[1:] if typed is None else typed
    chosen = argparse.Namespace(started=time.perf_counter(), command=None, traceback=False, words=words)
    try:
        try:
            arguments.parse(words, parser, commands, chosen)
            if chosen.command is None:
                parser.print_help()
            else:
                chosen.handler(chosen)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return complain(interrupts.INTERRUPTED, 130)
    except Exception as error:
        if chosen.traceback:
            traceback.print_exc()
        return fail(error, f"jaxbox {chosen.command}" if chosen.command else "jaxbox", getattr(chosen, "out", None))
    return 0


def prepare_output() -> None:
    """Makes standard output and standard error take whatever the name of a folder holds, even if they are closed."""
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(error: Exception, name: str, out: Path | None) -> int:
    """Says in one sentence what went wrong; returns the exit status.

    Args:
      error: what was raised.
      name: of the command.
      out: the folder that it writes to, if it writes to any.
    """
    if isinstance(error, BrokenPipeError):  # who reads has read enough, as `head` has
        return complain("", 1)
    if isinstance(error, ModuleNotFoundError):
        package, _, _ = str(error.name).partition(".")
        return complain(
            f"{name}: the package `{package}` is missing; in a checkout of jaxbox, write `uv sync --extra demo` or "
            "`pip install -e '.[demo]'`.",
            1,
        )
    said = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, OSError) and error.strerror:
        is_ours = out is not None and interrupts.UNFINISHED in str(error.filename)
        where = out if is_ours else error.filename
        said = f"{error.strerror}{f' in {str(where)!r}' if where else ''}; no half-written file is left"
    elif not isinstance(error, (OSError, FloatingPointError)):
        said = f"{type(error).__name__}: {shorten(said)}; `jaxbox --traceback`, followed by the command, shows where"
    return complain(f"{name}: {said}.", 1)


def shorten(text: str) -> str:
    """A text that fits a few lines of a terminal."""
    return text if len(text) < 300 else f"{text[:300]}..."


def complain(sentence: str, status: int) -> int:
    """Prints a sentence on standard error and passes the exit status on."""
    try:
        sys.stdout.flush()
    except OSError:  # it takes no more; Python would try again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sentence:
        print(sentence, file=sys.stderr)
    return status


def make_parsers() -> tuple[arguments.Parser, Mapping[str, arguments.Parser]]:
    """The command line, and the parser of each command.

    A command is a subparser with a `handler`, which takes its arguments, and `complain`, for what is wrong with them.
    """
    parser = arguments.Parser(
        prog="jaxbox",
        description="Bounding-box losses for JAX.",
        epilog="examples:\n  jaxbox train --loss ciou=2 --out runs/ciou\n"
        "  jaxbox detect runs/ciou image.png\n  jaxbox evaluate runs/ciou folder\n"
        "  jaxbox compare --losses giou ciou\n  jaxbox simulate --points 200\n  jaxbox losses",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jaxbox {jaxbox.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an unexpected error comes from")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands", parser_class=arguments.Parser)

    add = commands.add_parser(
        "train",
        help="train a detector of handwritten digits, or of your own boxes, under any sum of box losses",
        description="Trains a detector of handwritten digits, or of what is in a folder of images, under any sum of "
        "box losses, measures it on held-out images, and writes pictures, metrics and parameters to a folder.",
        epilog="example: jaxbox train --loss l1=5 --loss giou=2",
    )
    add.add_argument(
        "--head",
        metavar="NAME",
        type=arguments.one_of(*HEADS),
        default=HEADS[0],
        help="what predicts boxes: cells, those of a grid, whose duplicates are dropped; queries, those of a small "
        "decoder, which are matched to the digits as in a DETR; or turned, cells that find digits turned by any angle, "
        f"with boxes turned like them (default: {HEADS[0]})",
    )
    add.add_argument(
        "--loss",
        metavar="NAME[=WEIGHT]",
        type=arguments.weighted_loss,
        action="append",
        help="a box loss and what it counts, 1 by default; repeat it for a sum (default: l1=5 and giou=2; turned: "
        f"{' and '.join(f'{name}={weight:g}' for name, weight in TURNED.items())}). `jaxbox losses` "
        "lists the names; queries take l1 and giou, turned takes those of turned boxes",
    )
    add.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        help="images with their boxes in COCO's layout, instead of digits: annotations.json, or train.json and "
        "val.json, and images; with --head turned, boxes are the quads in 'segmentation'",
    )
    add.add_argument(
        "--size",
        metavar="N",
        type=arguments.whole(32, 4096, 256),
        help="with --data: pixels a side of the square that images are resized to (default: 256)",
    )
    add.add_argument(
        "--stride",
        metavar="N",
        type=arguments.whole(2, 64, 8),
        help="with --data: pixels a side of a cell, a power of two that divides the size (default: 8)",
    )
    add.add_argument(
        "--width",
        metavar="N",
        type=arguments.whole(8, 2048, 64),
        help="with --data: channels of the features, a multiple of 8 (default: 64)",
    )
    add.add_argument(
        "--no-flip",
        action="store_true",
        help="with --data: keep left and right, as writing needs it",
    )
    add.add_argument(
        "--steps",
        metavar="N",
        type=arguments.whole(1, 10**9, 100),
        help=f"updates of the model (default: {FULL['steps']})",
    )
    add.add_argument(
        "--batch-size",
        metavar="N",
        type=arguments.whole(1, 10**9, 100),
        help=f"images an update (default: {FULL['batch_size']})",
    )
    add.add_argument(
        "--seed",
        metavar="N",
        type=arguments.whole(0, 2**32 - 1, 0),
        default=0,
        help="of parameters and training images (default: 0)",
    )
    add.add_argument(
        "--out",
        metavar="DIR",
        type=arguments.folder,
        default="runs/train",
        help="for the files of the run (default: runs/train)",
    )
    add.add_argument(
        "--quick",
        action="store_true",
        help=f"a first look: {QUICK['steps']} steps of {QUICK['batch_size']}, {QUICK['test_images']} test images",
    )
    add.add_argument(
        "--dtype",
        metavar="DTYPE",
        type=arguments.one_of("float32", "bfloat16"),
        default="float32",
        help="what layers compute in, float32 or bfloat16; parameters and losses are float32 (default: float32)",
    )
    resuming.add_options(add)
    add.set_defaults(handler=train, complain=add.error, parser=add)

    add = commands.add_parser(
        "digits",
        help="write images of handwritten digits, with their boxes, to a folder",
        description="Writes images of handwritten digits and their boxes to a folder in COCO's layout, which "
        "`jaxbox train --data` takes.",
        epilog="example: jaxbox digits --out runs/digits",
    )
    add.add_argument(
        "--images",
        metavar="N",
        type=arguments.whole(1, 10**6, 100),
        default=2000,
        help="to train with (default: 2000)",
    )
    add.add_argument(
        "--test-images",
        metavar="N",
        type=arguments.whole(1, 10**6, 100),
        default=500,
        help="of held-out digits (default: 500)",
    )
    add.add_argument("--rotated", action="store_true", help="digits that are turned by any angle, with quads")
    add.add_argument(
        "--seed", metavar="N", type=arguments.whole(0, 2**32 - 1, 0), default=0, help="of the images (default: 0)"
    )
    add.add_argument(
        "--out",
        metavar="DIR",
        type=arguments.folder,
        default="runs/digits",
        help="for the files (default: runs/digits)",
    )
    add.set_defaults(handler=write_digits, complain=add.error)

    command_lines.add_parsers(commands)

    add = commands.add_parser(
        "simulate",
        help="rerun the box regression of the DIoU paper, and run it with exact gradients",
        description="Runs the box regression of the DIoU paper, 1,715,000 boxes that descend for 200 steps under each "
        "loss, prints the total errors, and writes the curves, a map of the final errors and a record to a folder.",
        epilog="example: jaxbox simulate --losses giou eiou --points 200",
    )
    add.add_argument(
        "--losses",
        metavar="NAME",
        nargs="+",
        default=SIMULATED,
        help=f"what boxes descend (default: {' '.join(SIMULATED)}). `jaxbox losses` lists the names",
    )
    add.add_argument(
        "--experiment",
        metavar="WAY",
        type=arguments.one_of("published", "exact", "both"),
        default="both",
        help="which way boxes go: published, by the published directions, which are not the gradients of the losses "
        f"and only exist for {', '.join(SIMULATED)}; exact, by exact gradients; or both, by each in turn, to compare "
        "(default: both)",
    )
    add.add_argument(
        "--points",
        metavar="N",
        type=arguments.whole(1, POINTS, 200),
        default=POINTS,
        help=f"where boxes start, 343 from each (default: all {POINTS}; 200 are a first look)",
    )
    add.add_argument(
        "--precision",
        metavar="DTYPE",
        type=arguments.one_of("float32", "float64"),
        default="float32",
        help="of all arrays, float32 or float64 (default: float32)",
    )
    add.add_argument(
        "--out",
        metavar="DIR",
        type=arguments.folder,
        default="runs/simulate",
        help="for the files of the run (default: runs/simulate)",
    )
    add.set_defaults(handler=run_simulation, complain=add.error)

    add = commands.add_parser(
        "losses",
        help="list every loss with its formula, range and paper, or explain some",
        description="Lists every loss with its formula, range and paper, or explains those that are named.",
        epilog="example: jaxbox losses giou",
    )
    add.add_argument("names", metavar="NAME", nargs="*", help="of a loss, with or without `_loss`")
    add.set_defaults(handler=show_losses, complain=add.error)

    command_line.add_parser(commands)
    return parser, commands.choices


def train(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox train`, alone or as one of several processes."""
    from jaxbox.demo import processes

    try:
        launch = processes.launch(os.environ)
    except ValueError as error:
        raise SystemExit(complain(f"jaxbox train: {error}.", 2)) from error
    is_first = processes.is_first(launch, os.environ)
    resumes = chosen.resume is not None
    begun = resuming.Begun(resuming.words_of(chosen), Path.cwd())
    if resumes:
        chosen, begun = resuming.what_began(chosen)
    shape = shape_of(chosen)
    refusals.check_folder(chosen, files.TRAINED, try_to_write=is_first)
    resuming.check(chosen)
    if is_first:
        print("load     JAX and Flax, a few seconds", flush=True)

    from jaxbox.demo import catalogue

    losses: dict[str, float] = {}
    known = catalogue.box_losses() | catalogue.turned_losses()
    for name, weight in chosen.loss or DEFAULT_LOSSES[chosen.head].items():
        name = name.removesuffix(catalogue.SUFFIX)
        if name not in known:
            chosen.complain(f"argument --loss: there is no box loss {name!r}{arguments.suggest(name, known)}")
        losses[name] = losses.get(name, 0) + weight

    from jaxbox.demo.training import heads, run  # which takes seconds, before the others wait for this process

    refusals.require_offered(chosen, "--loss", losses)
    contents = None
    if chosen.data is not None:
        from jaxbox.demo.data import folder

        try:
            contents = folder.read(chosen.data, turned=heads.HEADS[chosen.head].boxes == "turned")
        except ValueError as error:
            chosen.complain(f"argument --data: {error}")
    sizes = QUICK if chosen.quick else FULL
    settings = run.Settings(
        head=chosen.head,
        losses=losses,
        steps=chosen.steps or sizes["steps"],
        batch_size=chosen.batch_size or sizes["batch_size"],
        test_images=sizes["test_images"],
        seed=chosen.seed,
        out=chosen.out,
        data=chosen.data,
        flips=not chosen.no_flip,
        **shape,
        save_every=(0 if chosen.data is None else resuming.SAVED) if chosen.save_every is None else chosen.save_every,
        validate_every=chosen.validate_every,
        tensorboard=chosen.tensorboard,
        dtype=chosen.dtype,
    )
    with processes.joined(launch):
        processes.require_devices()
        run.run(settings, chosen.started, begun, contents, resumes=resumes)


def shape_of(chosen: argparse.Namespace) -> dict[str, int]:
    """The size, stride and width of a detector of a folder. What cannot be meant ends with status 2."""
    given = {name: getattr(chosen, name) for name in ("size", "stride", "width") if getattr(chosen, name) is not None}
    if chosen.data is None:
        for name in [*given, *(["no-flip"] if chosen.no_flip else [])]:
            chosen.complain(f"argument --{name}: it comes with --data; write --data FOLDER, or leave it out")
    shape = {"size": 256, "stride": 8, "width": 64} | given
    size, stride = shape["size"], shape["stride"]
    if stride & (stride - 1):
        chosen.complain(f"argument --stride: {stride} is not a power of two; write 8, for example")
    if size % stride:
        chosen.complain(
            f"argument --size: {size} is no multiple of the stride, {stride}; write {max(size // stride, 1) * stride}"
        )
    if shape["width"] % 8:
        chosen.complain(f"argument --width: {shape['width']} is not a multiple of 8; write {shape['width'] // 8 * 8}")
    return shape


def write_digits(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox digits`."""
    refusals.check_folder(chosen, files.DIGITS)
    print("load     scikit-learn and its digits", flush=True)

    from jaxbox.demo import processes
    from jaxbox.demo.data import export

    processes.require_devices()
    export.run(
        export.Settings(
            images=chosen.images,
            test_images=chosen.test_images,
            rotated=chosen.rotated,
            seed=chosen.seed,
            out=chosen.out,
        )
    )


def run_simulation(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox simulate`."""
    refusals.check_folder(chosen, files.SIMULATED)
    print("load     JAX and the points of the published scatter", flush=True)

    from jaxbox.demo import catalogue, processes, simulate

    experiments = tuple(simulate.EXPERIMENTS) if chosen.experiment == "both" else (chosen.experiment,)
    names = tuple(dict.fromkeys(name.removesuffix(catalogue.SUFFIX) for name in chosen.losses))
    known = simulate.known(experiments)
    for name in names:
        if name not in known:
            what = "box loss" if "exact" in experiments else "published direction for the loss"
            remedy = ", or --experiment exact" if name in simulate.known(["exact"]) else ""
            chosen.complain(f"argument --losses: there is no {what} {name!r}{arguments.suggest(name, known)}{remedy}")
    settings = simulate.Settings(
        losses=names, experiments=experiments, points=chosen.points, precision=chosen.precision, out=chosen.out
    )
    processes.require_devices()
    simulate.run(settings, chosen.started)


def show_losses(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox losses`."""
    from jaxbox.demo import catalogue, listing

    known = catalogue.public_losses()
    names = list(dict.fromkeys(name.removesuffix(catalogue.SUFFIX) for name in chosen.names))
    for name in names:
        if name not in known:
            chosen.complain(f"there is no loss {name!r}{arguments.suggest(name, known)}")
    width, _ = shutil.get_terminal_size((PIPED_WIDTH, 0))
    print("\n".join(listing.in_full(name, width) for name in names) if names else listing.listing(width), end="")
