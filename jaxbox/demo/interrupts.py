"""Signals that end the command: at any moment, within a second, with one sentence and without a half-written file.

Python runs a signal handler of its own between two steps of the main thread, and that may be inside XLA for a minute.
So the signals are blocked in every thread, and one thread waits for them. What the others write meanwhile cannot
outlive them: this module takes their place in the same process, removes what is unfinished, and ends.
"""

import os
import signal
import sys
import threading

SENTENCE = "jaxbox: {}; no half-written file is left."
INTERRUPTED = SENTENCE.format("interrupted")
SENTENCES = {
    "SIGINT": INTERRUPTED,
    "SIGTERM": SENTENCE.format("terminated"),
    "SIGHUP": SENTENCE.format("ended, since the terminal was closed"),
}
UNFINISHED = ".unfinished-"  # how the name of a folder begins that goes with all that it holds

lock = threading.Lock()  # who holds it is not interrupted: it protects `left`, and files that take their places
watched = threading.Event()
left: list[str] = []  # an unfinished folder, and the folders that were made to hold it, each after those it holds


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
    lock.acquire()  # for good
    # No destructor of a library runs, nor may another thread go on: XLA crashes if it is left while it compiles.
    arguments = [str(128 + number), SENTENCES[number.name], *left]
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


def end(status: str, sentence: str, *folders: str) -> None:
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
