"""What a compiled program does: its kernels, the bytes that these read and write, and the cycles that XLA expects.

It reads the text of an optimized program of any backend. On a TPU an array is padded to whole tiles, one may lie in
memory of the chip, which costs nothing here, and copies run beside the kernels.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all", "partition-id"}
COPIES = re.compile(r"(copy|slice|async|dynamic-slice|dynamic-update-slice)-(start|update|done)")
NO_KERNELS = re.compile(r'custom_call_target="(ConcatBitcast|AllocateBuffer|AssumeGatherIndicesInBound)"')
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$")
ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")  # dtype, lengths, layout


class Instruction(NamedTuple):
    """An instruction of an optimized program."""

    name: str
    shape: str
    operation: str
    operands: list[str]
    rest: str  # of its line, after the operation


def computations(text: str) -> dict[str, list[Instruction]]:
    """The instructions of every computation of a program by its name; that of the entry is `ENTRY`."""
    found = {}
    for block in re.finditer(r"^(ENTRY |%?)([\w.-]+)[^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        name = "ENTRY" if block[1] == "ENTRY " else block[2]
        matches = filter(None, map(INSTRUCTION.match, block[3].splitlines()))
        found[name] = [
            Instruction(*match.groups()[:3], re.findall(r"%([\w.-]+)", match[4].split("), ")[0]), match[4])
            for match in matches
        ]
    return found


def bytes_of(shape: str) -> int:
    """The bytes in main memory of a shape as XLA prints it, `f32[8,4]{1,0}`, or of a tuple of them."""
    return sum(_bytes_of_array(*array) for array in ARRAY.findall(shape))


def _bytes_of_array(dtype: str, lengths: str, layout: str) -> int:
    order, _, tiling = layout.partition(":")
    if re.search(r"S\([1-9]\d*\)", tiling):
        return 0
    sides = [int(length) for length in lengths.split(",") if length]
    tile = re.search(r"T\(([\d,]+)\)", tiling)
    if tile:  # it covers the last axes in memory
        in_memory = [sides[int(place)] for place in reversed(order.split(","))] if order else sides
        covers = [int(length) for length in tile[1].split(",")]
        in_memory = [1] * (len(covers) - len(in_memory)) + in_memory
        whole, ends = in_memory[: -len(covers)], in_memory[-len(covers) :]
        sides = whole + [-(-end // cover) * cover for end, cover in zip(ends, covers, strict=True)]
    return BYTES.get(dtype, 4) * math.prod(sides)


def _run(program: dict[str, list[Instruction]], name: str = "ENTRY", times: int = 1) -> Iterator[tuple]:
    """The instructions that run one after the other, how often, and those among which their operands are.

    The body of a loop runs as often as XLA knows, else it is counted once.
    """
    for instruction in program[name]:
        if instruction.operation == "while":
            (body,) = re.findall(r"body=%?([\w.-]+)", instruction.rest)
            count = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.rest)
            yield from _run(program, body, times * int(count[1] if count else 1))
        elif instruction.operation == "call":
            (called,) = re.findall(r"to_apply=%?([\w.-]+)", instruction.rest)
            yield from _run(program, called, times)
        elif instruction.operation not in FREE and not NO_KERNELS.search(instruction.rest):
            yield instruction, times, program[name]


def _is_kernel(instruction: Instruction, others: list[Instruction]) -> bool:
    """Whether it starts a kernel: a TPU copies beside the kernels, and has a processor for single numbers."""
    if COPIES.fullmatch(instruction.operation):
        return False
    if instruction.operation == "fusion" or instruction.operation == "custom-call":
        return True
    shapes = [instruction.shape, *(other.shape for other in others if other.name in instruction.operands)]
    return any(lengths for shape in shapes for _, lengths, _ in ARRAY.findall(shape))


def kernels(text: str) -> list[str]:
    """The operations of a program that start a kernel."""
    run = _run(computations(text))
    return [one.operation for one, times, others in run if _is_kernel(one, others) for _ in range(times)]


def bytes_moved(text: str) -> int:
    """The bytes of the operands and of the results of every kernel and copy of an optimized program."""
    return sum(times * _bytes_moved_by(one, others) for one, times, others in _run(computations(text)))


def _bytes_moved_by(instruction: Instruction, others: list[Instruction]) -> int:
    sizes = {other.name: bytes_of(other.shape) for other in others if other.name in instruction.operands}
    if COPIES.fullmatch(instruction.operation):
        if not instruction.operation.endswith("-start"):
            return 0
        return _bytes_copied(instruction.shape)
    return bytes_of(instruction.shape) + sum(sizes.get(name, 0) for name in set(instruction.operands))


def _bytes_copied(shape: str) -> int:
    """Of the shape of a copy's start, `(to, from, ...)`, or of a slice's, `((from), to, ...)`: what crosses."""
    arrays = [array for array in ARRAY.findall(shape) if array[1]]
    if shape.startswith("(("):
        source, target = arrays[0], arrays[-1]
        moved = _without_space(target)
        return _bytes_of_array(*target) + (moved if _bytes_of_array(*source) else 0)
    return sum(_bytes_of_array(*array) for array in arrays[:2])


def _without_space(array: tuple[str, str, str]) -> int:
    dtype, lengths, layout = array
    return _bytes_of_array(dtype, lengths, re.sub(r"S\(\d+\)", "", layout))


def cycles(text: str) -> int:
    """The cycles that the cost model of a TPU expects of all kernels; 0 for another backend."""
    found = ((re.search(r'"estimated_cycles":"(\d+)"', one.rest), times) for one, times, _ in _run(computations(text)))
    return sum(times * int(match[1]) for match, times in found if match)
