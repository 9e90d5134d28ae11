"""Several processes that train as one: how they find each other, and how they part."""

import atexit
import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
LAUNCHERS = {"srun": "SLURM_STEP_NUM_TASKS", "mpirun": "OMPI_COMM_WORLD_SIZE"}  # how many processes each one started
RANKS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK")  # which of them this one is
REMEDY = f"set {ADDRESS} to host:port of the first process, {COUNT}, and {NUMBER} from 0"


def launch(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """How this process was launched, by its environment variables alone.

    Args:
      environment: such as `os.environ`.

    Returns:
      The arguments of `jax.distributed.initialize`, or None for a process that trains by itself.

    Raises:
      ValueError: if only some of the variables are set, or one of them says nothing that can be meant.
    """
    given = {name: environment[name] for name in (ADDRESS, COUNT, NUMBER) if environment.get(name)}
    several = any(environment.get(name, "1") not in ("", "1") for name in LAUNCHERS.values())
    if several and not given.keys() & {COUNT, NUMBER}:
        return {}  # JAX asks the launcher
    if not given:
        return None
    if missing := [name for name in (ADDRESS, COUNT, NUMBER) if name not in given]:
        raise ValueError(f"{' and '.join(given)} but not {' and '.join(missing)} is set; {REMEDY}, or none of them")
    if not re.fullmatch(r".+:\d+", given[ADDRESS]):
        raise ValueError(f"{ADDRESS} is {given[ADDRESS]!r}; write that of the first process, as host:port")
    for name in (COUNT, NUMBER):
        if not given[name].isdecimal():
            raise ValueError(f"{name} is {given[name]!r}, which is not a whole number; {REMEDY}")
    count, number = int(given[COUNT]), int(given[NUMBER])
    if not number < count:
        raise ValueError(f"{NUMBER} is {number}, but of {COUNT}={count} processes the last has number {count - 1}")
    if count == 1:
        return None
    # "deactivate": nothing is missing, so that JAX need not ask a cluster about it.
    return {
        "coordinator_address": given[ADDRESS],
        "num_processes": count,
        "process_id": number,
        "cluster_detection_method": "deactivate",
    }


def is_first(arguments: Mapping[str, Any] | None, environment: Mapping[str, str]) -> bool:
    """Whether this process is the one that tells and writes, as far as that is known before the others are joined.

    Args:
      arguments: what `launch` returned.
      environment: such as `os.environ`.
    """
    if arguments is None:
        return True
    number = arguments.get("process_id", next((environment[name] for name in RANKS if name in environment), None))
    return str(number) == "0"


def require_devices() -> None:
    """Lets JAX look for devices.

    Raises:
      OSError: if there are none of the kind that is asked for.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion is all that JAX has where it finds no CUDA
        first_line, _, _ = str(error).partition("\n")
        if re.match(r"[A-Z_]+: ", first_line):
            raise
        says = f" ({first_line.partition(' (')[0].rstrip('.')})" if first_line else ""
        asked = os.environ.get("JAX_PLATFORMS")
        kind = f" of the platform {asked!r}, which JAX_PLATFORMS asks for" if asked else ""
        remedy = "; unset it, or write JAX_PLATFORMS=cpu" if asked else ""
        raise OSError(f"JAX finds no device{kind}{says}{remedy}") from error


@contextlib.contextmanager
def joined(arguments: dict[str, Any] | None) -> Iterator[None]:
    """Joins the other processes, which see each other's devices from then on. Must come before any computation.

    A process that fails ends without waiting for the others, which JAX would do; they then cannot go on either, and end
    with an error of their own: at once where the network tells them, else when JAX misses the heartbeat, after 100 s.

    Args:
      arguments: what `launch` returned. With None nothing happens.

    Yields:
      Nothing.

    Raises:
      ConnectionError: if the others cannot be reached, or are lost.
    """
    if arguments is None:
        yield
        return

    import jax

    try:
        connect(arguments)
        yield
    except BaseException as error:
        atexit.register(leave, 130 if isinstance(error, KeyboardInterrupt) else 1)
        first_line, _, _ = str(error).partition("\n")
        if isinstance(error, (jax.errors.JaxRuntimeError, ValueError)) and re.match(r"[A-Z_]+: ", first_line):
            # A status of XLA, which JAX raises as one or the other.
            raise ConnectionError(f"this process cannot go on with the others: {first_line.rstrip('.')}") from error
        raise


def connect(arguments: dict[str, Any]) -> None:
    """Waits until all processes are there: for 5 minutes, after which JAX ends the process.

    Args:
      arguments: of `jax.distributed.initialize`, not all of which JAX needs to be told.

    Raises:
      ConnectionError: if JAX does not know how to find them.
    """
    import jax

    failures: list[ValueError] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(**arguments)
        except ValueError as error:
            failures.append(error)

    # Python hears no interrupt in a thread that waits in C++.
    waiting = threading.Thread(target=initialize, daemon=True)
    waiting.start()
    waiting.join()
    for error in failures:
        raise ConnectionError(f"JAX does not find the other processes ({str(error).rstrip('.')}); {REMEDY}") from error


def leave(status: int) -> None:
    """Ends this process as it is. Registered last, it runs before JAX's own farewell, which waits for all processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
