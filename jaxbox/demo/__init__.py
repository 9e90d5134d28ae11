"""The `jaxbox` command: a detector of handwritten digits, trained with the losses of this library, and a simulation.

    interrupts    signals that end the command
    arguments     what is read from the command line, and what is said where that cannot be meant
    files         the folder that a run leaves behind
    resuming      a run that is not finished: its folder, its lock, and the command that began it
    catalogue     every loss, described from its docstring
    listing       `jaxbox losses`
    processes     several processes that train as one
    scenes        images and their boxes, as a detector is trained on them
    detector      a Flax model of cells, their targets, and how its outputs become detections
    turned        a Flax model of cells with turned boxes
    queries       a Flax model of queries, which a decoder refines
    digits        real digits on noisy canvases, with their boxes
    train         the whole losses, the train step and the loop
    evaluation    average precision, as COCO computes it, and the same of turned boxes
    heads         the kinds of detectors: a model, its loss, and how it detects
    folder        a folder of images with their boxes, in the layout of COCO
    loader        batches of such images
    datasets      digits or such images, to train and to test with
    export        `jaxbox digits`
    log           what a run measures at each step, as JSON lines and for TensorBoard
    checkpoints   what training goes on from, by Orbax
    loop          the training loop: its log, its validations and its checkpoints
    run           a run of `jaxbox train`, from the digits to the table
    finding       `jaxbox detect`
    measuring     `jaxbox evaluate`
    simulate      a run of `jaxbox simulate`, from the grid to the table
    bootstrap     how sure an average precision is
    ranking       what a comparison of losses comes to: intervals, the table, the page and the picture
    compare       a run of `jaxbox compare`, from the trainings to the table
    refusals      what more than one command refuses
    comparing     what the command line of `jaxbox compare` takes
    use           the command lines of `jaxbox detect` and `jaxbox evaluate`
    command       what the command line takes; needs no more than jaxbox itself

All from `scenes` to `compare` need the extra `demo`.
"""
