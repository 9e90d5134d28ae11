"""A run of `jaxbox train`.

train         the whole losses, the train step, the optimizer and the devices
evaluation    average precision, as COCO computes it, and the same of turned boxes
heads         the kinds of detectors: a model, its loss, and how it detects
datasets      digits or a folder, to train and to test with
log           what a run measures at each step, as JSON lines and for TensorBoard
resuming      a run that is not finished: its folder, its lock, and the command that began it
checkpoints   what training goes on from, by Orbax
loop          the training loop: its log, its validations and its checkpoints
run           from the data to the table
"""
