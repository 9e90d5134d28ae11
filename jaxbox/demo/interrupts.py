"""Signals that end the command: at any moment, within a second, with one sentence and without a half-written file.

Python runs a signal handler of its own between two steps of the main thread, and that may be inside XLA for a minute.
So the signals are blocked in every thread, and one thread waits for them. What the others write meanwhile cannot
outlive them: this module takes their place in the same process, removes what is unfinished, and ends.

Only where a training loop has made steps that it can save does a signal wait for it, and not for long.
"""

import os
import signal
import sys
import threading
from typing import NoReturn

SENTENCE = "jaxbox: {}; no half-written file is left."
INTERRUPTED = SENTENCE.format("interrupted")
SENTENCES = {
    "SIGINT": INTERRUPTED,
    "SIGTERM": SENTENCE.format("terminated"),
    "SIGHUP": SENTENCE.format("ended, since the terminal was closed"),
}
UNFINISHED = ".unfinished-"  # how the name of a folder begins that goes with all that it holds
PATIENCE = 30.0  # seconds that a signal waits for a training loop to save its steps

lock = threading.Lock()  # who holds it is not interrupted: it protects what follows, and files that take their places
watched = threading.Event()
left: list[str] = []  # an unfinished folder, and the folders that were made to hold it, each after those it holds
kept: list[tuple[int, str]] = []  # steps that are saved, and the command that goes on after them; the last one counts
patient = threading.Event()  # set while a signal waits for `postpone`
waiting: list[signal.Signals] = []  # the signal that does


def watch() -> None:
    """Lets a thread wait for the signals from now on, if none does yet. Must come before any other thread starts.

    A signal that is ignored stays ignored, as by `nohup` or in the background of a script. Windows cannot wait for
    signals: an interrupt is a KeyboardInterrupt there.
    """
    if watched.is_set() or not hasattr(signal, "sigwait"):
        return
    watched.set()
    numbers = [getattr(signal, name) for name in SENTENCES]
    heard = {number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    threading.Thread(target=wait, args=(heard,), daemon=True).start()


def wait(signals: set[signal.Signals]) -> None:
    """Waits for one of the signals, and ends the process."""
    number = signal.Signals(signal.sigwait(signals))
    with lock:
        is_asked = patient.is_set()
        if is_asked:
            waiting.append(number)
    if is_asked:
        limit = threading.Timer(PATIENCE, leave, [number])
        limit.daemon = True
        limit.start()
        number = signal.Signals(signal.sigwait(signals))  # who sends a second one does not want to wait
    leave(number)


def postpone(is_worth_it: bool) -> signal.Signals | None:
    """Says whether a signal may wait from now on, until this is called again, instead of ending the process at once.

    It waits for `PATIENCE` at most, and not for a second signal.

    Args:
      is_worth_it: whether this process has something that it can save.

    Returns:
      The signal that waits, for which the process must `leave`; None if there is none.
    """
    with lock:
        (patient.set if is_worth_it else patient.clear)()
        return waiting[0] if waiting else None


def leave(number: signal.Signals, *, is_saved: bool = False) -> NoReturn:
    """Ends this process for a signal, with its sentence.

    Args:
      number: the signal.
      is_saved: whether all that was done has been saved before.
    """
    lock.acquire()  # for good
    sentence = SENTENCES[number.name]
    if kept:
        (step, command), (what, _, _) = kept[-1], sentence.partition(";")
        where = f" after step {step}, which is saved; go on" if is_saved else f"; step {step} is saved: go on"
        sentence = f"{what}{where} with `{command}`."
    # No destructor of a library runs, nor may another thread go on: XLA crashes if it is left while it compiles.
    arguments = [str(128 + number), sentence, *left]
    try:
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *arguments])
    except OSError:  # Python has been uninstalled meanwhile
        end(*arguments)


def remove(folders: list[str]) -> None:
    """Removes an unfinished folder and what it holds, and of the folders that were made for it those that are empty."""
    import shutil  # which takes as long to import as all else here

    for folder in folders:
        if os.path.basename(folder).startswith(UNFINISHED):
            shutil.rmtree(folder)
        elif os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)


def remove_all() -> None:
    """Removes what is unfinished, in a process that goes on."""
    folders = left.copy()
    left.clear()
    remove(folders)


def end(status: str, sentence: str, *folders: str) -> NoReturn:
    """Removes folders, says a sentence, and ends."""
    try:
        remove(list(folders))
    except OSError as error:
        sentence = f"{sentence.partition(';')[0]}; {error.filename!r} cannot be removed: {error.strerror}."
    try:
        if os.isatty(1):
            os.write(1, b"\x1b[?25h\n")  # a bar hides the cursor, and leaves it at the end of its line
        os.write(2, f"{sentence}\n".encode())
    finally:  # the terminal may be gone
        os._exit(int(status))


if __name__ == "__main__":
    end(*sys.argv[1:])
