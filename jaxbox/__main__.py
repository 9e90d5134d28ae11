"""The `jaxbox` command, also as `python -m jaxbox`. From its first line on an interrupt ends it with a sentence."""

import gc
import sys


def main() -> int:
    """Runs the command line that was typed. Wrong arguments exit with status 2.

    Returns:
      The exit status.
    """
    try:
        from jaxbox.demo import interrupts

        interrupts.watch()

        from jaxbox.demo import command

        status = command.main()
        gc.freeze()  # Python hears no signal while it ends, and would search all of JAX for garbage, for a second
        return status
    except KeyboardInterrupt:  # before the watch began
        print("jaxbox: interrupted; no half-written file is left.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
