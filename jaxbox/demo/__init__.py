"""The `jaxbox` command: a detector of handwritten digits, trained end to end with the losses of this library.

    command       what the command line takes; needs no more than jaxbox itself
    catalogue     every loss, described from its docstring
    digits        real digits on noisy canvases, with their boxes
    detector      the Flax model, the targets of its cells, and how its outputs become detections
    training      the train step, the loop, and the files of a run
    evaluation    average precision, as COCO computes it

All but the first two need the extra `demo`.
"""
