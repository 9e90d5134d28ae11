"""What more than one command refuses, with what to write instead."""

import argparse
from collections.abc import Iterable

from jaxbox.demo import arguments, files


def check_folder(chosen: argparse.Namespace, leaves: files.Leaves, *, try_to_write: bool = True) -> None:
    """Ends with status 2 if a run may not write to its folder."""
    try:
        files.check(chosen.out, leaves)
        if try_to_write:
            with files.workplace(chosen.out):
                pass
    except FileExistsError as error:
        chosen.complain(f"argument --out: {error}")
    except OSError as error:
        chosen.complain(
            f"argument --out: {files.shown(chosen.out)!r} cannot be written ({error.strerror}); write the name of "
            "another folder, such as runs/train"
        )


def require_offered(chosen: argparse.Namespace, option: str, names: Iterable[str]) -> None:
    """Ends with status 2 if a head is not trained with one of some losses."""
    from jaxbox.demo.training import heads

    offered = heads.HEADS[chosen.head].losses
    for name in names:
        if name not in offered:
            alike = next((x for x in (f"rotated_{name}", name.removeprefix("rotated_")) if x in offered), name)
            others = " or ".join(f"--head {other}" for other, head in heads.HEADS.items() if name in head.losses)
            chosen.complain(
                f"argument {option}: --head {chosen.head} is not trained with {name!r}"
                f"{arguments.suggest(alike, offered)}; or {others}"
            )
