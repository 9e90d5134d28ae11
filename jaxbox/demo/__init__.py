"""The `jaxbox` command: a detector of handwritten digits, trained with the losses of this library, and a simulation.

    interrupts    signals that end the command
    arguments     what is read from the command line, and what is said where that cannot be meant
    files         the folder that a run leaves behind
    catalogue     every loss, described from its docstring
    listing       `jaxbox losses`
    processes     several processes that train as one
    digits        real digits on noisy canvases, with their boxes
    detector      a Flax model of cells, their targets, and how its outputs become detections
    queries       a Flax model of queries, which a decoder refines
    train         the whole losses, the train step and the loop
    heads         the kinds of detectors: a model, its loss, and how it detects
    evaluation    average precision, as COCO computes it
    run           a run of `jaxbox train`, from the digits to the table
    simulate      a run of `jaxbox simulate`, from the grid to the table
    command       what the command line takes; needs no more than jaxbox itself

`digits`, `detector`, `queries`, `train`, `heads`, `evaluation`, `run` and `simulate` need the extra `demo`.
"""
