"""The `jaxbox` command line. It needs no more than jaxbox itself; each command imports what it runs."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jaxbox.demo import catalogue

DEFAULT_LOSSES = (("l1", 5.0), ("giou", 2.0))  # the pair and the weights of DETR
PIPED_WIDTH = 160  # columns of a table that no terminal bounds
FULL = {"steps": 800, "batch_size": 32, "test_images": 512}
QUICK = {"steps": 40, "batch_size": 16, "test_images": 64}
SIMULATED = ("iou", "giou", "diou", "ciou")  # the losses of the DIoU paper
POINTS = 5000  # of the published scatter


class Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Wrong arguments exit with status 2.

    Args:
      arguments: what follows `jaxbox` on the command line; by default, what was typed.

    Returns:
      The exit status: 0, 1 if the command failed, or 130 if it was interrupted.
    """
    started = time.perf_counter()
    parser = make_parser()
    chosen = parser.parse_args(arguments, argparse.Namespace(started=started))
    if chosen.command is None:
        parser.print_help()
        return 0
    try:
        chosen.handler(chosen)
    except KeyboardInterrupt:
        return complain("jaxbox: interrupted; no half-written file is left.", 130)
    except ModuleNotFoundError as error:
        package, _, _ = str(error.name).partition(".")
        return complain(
            f"jaxbox {chosen.command}: the package `{package}` is missing; write `uv sync` in a checkout of jaxbox, "
            "or `pip install 'jaxbox[demo]'` elsewhere.",
            1,
        )
    except (OSError, FloatingPointError) as error:
        return complain(f"jaxbox {chosen.command}: {error}.", 1)
    return 0


def complain(sentence: str, status: int) -> int:
    """Prints a sentence on standard error and passes the exit status on."""
    print(sentence, file=sys.stderr)
    return status


def make_parser() -> argparse.ArgumentParser:
    """The commands and their arguments. A command is a subparser with a `handler` that takes its arguments."""
    parser = Parser(
        prog="jaxbox",
        description="Bounding-box losses for JAX.",
        epilog="examples:\n  jaxbox train --loss ciou=2 --out runs/ciou\n"
        "  jaxbox simulate --points 200\n  jaxbox losses",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")

    add = commands.add_parser(
        "train",
        help="train a detector of handwritten digits under any sum of box losses",
        description="Trains a detector of handwritten digits under any sum of box losses, measures it on held-out "
        "digits, and writes pictures, metrics and parameters to a folder.",
        epilog="example: jaxbox train --loss l1=5 --loss giou=2",
    )
    add.add_argument(
        "--loss",
        metavar="NAME[=WEIGHT]",
        type=weighted_loss,
        action="append",
        help="a box loss and what it counts, 1 by default; repeat it for a sum (default: l1=5 and giou=2). "
        "`jaxbox losses` lists the names",
    )
    add.add_argument("--steps", metavar="N", type=at_least_one, help=f"updates of the model (default: {FULL['steps']})")
    add.add_argument(
        "--batch-size", metavar="N", type=at_least_one, help=f"images an update (default: {FULL['batch_size']})"
    )
    add.add_argument("--seed", metavar="N", type=seed, default=0, help="of parameters and training images (default: 0)")
    add.add_argument(
        "--out", metavar="DIR", type=folder, default="runs/train", help="for the files of the run (default: runs/train)"
    )
    add.add_argument(
        "--quick",
        action="store_true",
        help=f"a first look: {QUICK['steps']} steps of {QUICK['batch_size']}, {QUICK['test_images']} test images",
    )
    add.set_defaults(handler=train)

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
        choices=("published", "exact", "both"),
        default="both",
        help="which way boxes go: by the published directions, which are not the gradients of the losses and only "
        f"exist for {', '.join(SIMULATED)}; by exact gradients; or by each in turn, to compare (default: both)",
    )
    add.add_argument(
        "--points",
        metavar="N",
        type=points,
        default=POINTS,
        help=f"where boxes start, 343 from each (default: all {POINTS}; 200 are a first look)",
    )
    add.add_argument(
        "--precision", choices=("float32", "float64"), default="float32", help="of all arrays (default: float32)"
    )
    add.add_argument(
        "--out",
        metavar="DIR",
        type=folder,
        default="runs/simulate",
        help="for the files of the run (default: runs/simulate)",
    )
    add.set_defaults(handler=run_simulation, complain=add.error)

    add = commands.add_parser(
        "losses",
        help="list every loss with its formula, range and paper",
        description="Lists every loss with its formula, range and paper.",
        epilog="example: jaxbox losses",
    )
    add.set_defaults(handler=show_losses)
    return parser


def train(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox train`, alone or as one of several processes."""
    from jaxbox.demo import processes

    try:
        launch = processes.launch(os.environ)
    except ValueError as error:
        raise SystemExit(complain(f"jaxbox train: {error}.", 2)) from error

    from jaxbox.demo import run  # which takes seconds, before the others wait for this process

    losses: dict[str, float] = {}
    for name, weight in chosen.loss or DEFAULT_LOSSES:
        losses[name] = losses.get(name, 0) + weight
    sizes = QUICK if chosen.quick else FULL
    settings = run.Settings(
        losses=losses,
        steps=chosen.steps or sizes["steps"],
        batch_size=chosen.batch_size or sizes["batch_size"],
        test_images=sizes["test_images"],
        seed=chosen.seed,
        out=chosen.out,
    )
    with processes.joined(launch):
        run.run(settings, chosen.started)


def run_simulation(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox simulate`."""
    from jaxbox.demo import simulate

    experiments = tuple(simulate.EXPERIMENTS) if chosen.experiment == "both" else (chosen.experiment,)
    names = tuple(dict.fromkeys(name.removesuffix(catalogue.SUFFIX) for name in chosen.losses))
    known = simulate.known(experiments)
    for name in names:
        if name not in known:
            what = "box loss" if "exact" in experiments else "published direction for the loss"
            remedy = ", or --experiment exact" if name in simulate.known(["exact"]) else ""
            chosen.complain(f"argument --losses: there is no {what} {name!r}; write some of {', '.join(known)}{remedy}")
    settings = simulate.Settings(
        losses=names, experiments=experiments, points=chosen.points, precision=chosen.precision, out=chosen.out
    )
    simulate.run(settings, chosen.started)


def show_losses(_: argparse.Namespace) -> None:
    """Runs `jaxbox losses`."""
    import rich.box
    import rich.console
    import rich.markup
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for title in catalogue.Entry._fields:
        table.add_column(title, overflow="fold", no_wrap=title in ("name", "range"))
    for entry in catalogue.entries():
        table.add_row(*map(rich.markup.escape, entry))
    console = rich.console.Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(table)


def weighted_loss(text: str) -> tuple[str, float]:
    """Reads `giou=2`, or `giou`, which weighs 1."""
    name, equals, weight = text.partition("=")
    name = name.removesuffix(catalogue.SUFFIX)
    known = catalogue.box_losses()
    if name not in known:
        raise argparse.ArgumentTypeError(f"there is no box loss {name!r}; write one of {', '.join(known)}")
    try:
        value = float(weight) if equals else 1.0
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"the weight {weight!r} is not a number above 0; write {name}=1")
    return name, value


def at_least_one(text: str) -> int:
    """Reads a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0; write 100, for example")
    return int(text)


def points(text: str) -> int:
    """Reads a number of points that the published scatter has."""
    if not text.isdecimal() or not 1 <= int(text) <= POINTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {POINTS}; write 200, for example")
    return int(text)


def seed(text: str) -> int:
    """Reads a whole number of 0 or more that fits 32 bits."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}; write 0, for example")
    return int(text)


def folder(text: str) -> Path:
    """Reads the name of a folder that is there and can be written to, or could be made."""
    path = Path(text)
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be written, because of {str(nearest)!r}; write the name of a folder, such as runs/train"
        )
    return path


if __name__ == "__main__":
    sys.exit(main())
