"""What the command line of `jaxbox compare` takes. It imports what it runs once it has said what it does."""

import argparse

from jaxbox.demo import arguments, files, refusals

DEFAULTS = {"seeds": 5, "steps": 300, "batch_size": 16, "test_images": 512}
HEADS = ("cells", "turned")  # of `ranking.REFERENCES`; queries are trained with two losses only
BESIDE = {"cells": 5.0, "turned": 0.0}  # the weight of L1 beside each loss, as in DETR


def add_parser(commands: "argparse._SubParsersAction[arguments.Parser]") -> None:
    """Adds the parser of `jaxbox compare`."""
    add = commands.add_parser(
        "compare",
        help="train the same detector under each of some losses, and say which of them differ from GIoU",
        description="Trains the same detector of handwritten digits from the same starts under each of some box "
        "losses, measures each on the same held-out digits, and writes a table, a picture and the raw numbers to a "
        "folder: average precision and how far it is from that under GIoU, with intervals over seeds and images. What "
        "is trained stays in the folder: the same command goes on after an interrupt, with more losses or seeds too.",
        epilog="example: jaxbox compare --losses giou ciou nwd --seeds 3",
    )
    add.add_argument(
        "--losses",
        metavar="NAME",
        nargs="+",
        help="box losses (default: all that the head is trained with). GIoU is always among them. `jaxbox losses` "
        "lists the names",
    )
    add.add_argument(
        "--head",
        metavar="NAME",
        type=arguments.one_of(*HEADS),
        default=HEADS[0],
        help=f"what predicts boxes, as in `jaxbox train`: {' or '.join(HEADS)} (default: {HEADS[0]})",
    )
    add.add_argument(
        "--seeds",
        metavar="N",
        type=arguments.whole(1, 1000, 5),
        default=DEFAULTS["seeds"],
        help="starts of each loss: initial parameters, and training images; the same for all losses (default: "
        f"{DEFAULTS['seeds']})",
    )
    add.add_argument(
        "--l1",
        metavar="WEIGHT",
        type=arguments.not_negative,
        help=f"what L1 counts beside each loss; 0 for each loss alone (default: {BESIDE['cells']:g}; turned: 0, which "
        "L1 is no loss of)",
    )
    add.add_argument(
        "--weight",
        metavar="NAME=WEIGHT",
        type=arguments.weighted_loss,
        action="append",
        default=[],
        help="what a loss counts, in place of as much as pulls at boxes at the start as GIoU does; that of GIoU scales "
        "all others (default: giou=2; turned: rotated_giou=2)",
    )
    for name, what, example in (
        ("steps", "updates of each model", 300),
        ("batch_size", "images an update", 16),
        ("test_images", "images of held-out digits to measure with", 512),
    ):
        add.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="N",
            type=arguments.whole(1, 10**9, example),
            default=DEFAULTS[name],
            help=f"{what} (default: {DEFAULTS[name]})",
        )
    add.add_argument("--small", action="store_true", help="digits of half the size on canvases of the same size")
    add.add_argument(
        "--out",
        metavar="DIR",
        type=arguments.folder,
        default="runs/compare",
        help="for the files of the comparison (default: runs/compare)",
    )
    add.set_defaults(handler=compare_losses, complain=add.error)


def compare_losses(chosen: argparse.Namespace) -> None:
    """Runs `jaxbox compare`."""
    refusals.check_folder(chosen, files.COMPARED)
    beside = BESIDE[chosen.head] if chosen.l1 is None else chosen.l1
    if beside and not BESIDE[chosen.head]:
        chosen.complain(f"argument --l1: --head {chosen.head} is not trained with L1; write --l1 0, or --head cells")
    print("load     JAX and Flax, a few seconds", flush=True)

    from jaxbox.demo import catalogue

    known = catalogue.box_losses() | catalogue.turned_losses()
    asked = {"--losses": chosen.losses or [], "--weight": [name for name, _ in chosen.weight]}
    for option, names in asked.items():
        asked[option] = list(dict.fromkeys(name.removesuffix(catalogue.SUFFIX) for name in names))
        for name in asked[option]:
            if name not in known:
                chosen.complain(f"argument {option}: there is no box loss {name!r}{arguments.suggest(name, known)}")

    from jaxbox.demo import processes
    from jaxbox.demo.comparison import compare, ranking
    from jaxbox.demo.training import heads

    offered, reference = heads.HEADS[chosen.head].losses, ranking.REFERENCES[chosen.head]
    for option, names in asked.items():
        refusals.require_offered(chosen, option, names)
    losses = asked["--losses"] or list(offered)
    if reference not in losses:
        print(f"losses   {reference} is added: the differences are from it", flush=True)
    losses = sorted({*losses, reference}, key=lambda name: (name != reference, offered.index(name)))
    for name in asked["--weight"]:
        if name not in losses:
            chosen.complain(
                f"argument --weight: {name!r} is not compared; write it behind --losses too, or leave it out"
            )
    settings = compare.Settings(
        head=chosen.head,
        losses=tuple(losses),
        seeds=chosen.seeds,
        l1=beside,
        weights=dict(zip(asked["--weight"], (weight for _, weight in chosen.weight), strict=True)),
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        test_images=chosen.test_images,
        small=chosen.small,
        out=chosen.out,
    )
    try:
        compare.check(settings)
    except FileExistsError as error:
        chosen.complain(f"argument --out: {error}")
    processes.require_devices()
    compare.run_comparison(settings, chosen.started)
