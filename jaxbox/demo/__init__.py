"""The `jaxbox` command: a detector, trained with the losses of this library, and a simulation.

    interrupts    signals that end the command
    arguments     what is read from the command line, and what is said where that cannot be meant
    files         the folder that a run leaves behind
    catalogue     every loss, described from its docstring
    listing       `jaxbox losses`
    processes     several processes that train as one
    scenes        images and their boxes, as a detector is trained on them
    models        the detectors
    data          digits, and folders of images
    training      `jaxbox train`
    refusals      what more than one command refuses
    use           `jaxbox detect` and `jaxbox evaluate`
    comparison    `jaxbox compare`
    simulate      `jaxbox simulate`
    command       what the command line takes; needs no more than jaxbox itself

All from `scenes` to `simulate` need the extra `demo`, but for what reads their command lines.
"""
