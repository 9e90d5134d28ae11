"""What a compiled program does: its kernels, and the bytes that these read and write."""

import math
import re
from collections.abc import Iterable

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all", "partition-id"}
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$")


def entry(text: str) -> list[tuple[str, str, str, list[str]]]:
    """The instructions of the entry computation: name, shape, operation, names of the operands."""
    body = re.split(r"\nENTRY [^\n]*\{\n", text)[1].split("\n}")[0]
    found = (INSTRUCTION.match(line) for line in body.splitlines())
    return [
        (match[1], match[2], match[3], re.findall(r"%([\w.-]+)", match[4].split("), ")[0])) for match in found if match
    ]


def bytes_of(shape: str) -> int:
    """The bytes of a shape as XLA prints it, `f32[8,4]{1,0}`, or of a tuple of them."""
    arrays = re.findall(r"\b(\w+)\[([\d,]*)\]", shape)
    return sum(BYTES.get(dtype, 4) * math.prod(map(int, filter(None, lengths.split(",")))) for dtype, lengths in arrays)


def kernels(text: str) -> list[str]:
    """The operations of the entry computation that start a kernel."""
    return [operation for _, _, operation, _ in entry(text) if operation not in FREE]


def bytes_moved(text: str) -> int:
    """The bytes of the operands and of the results of every kernel of an optimized program."""
    instructions = entry(text)
    sizes = {name: bytes_of(shape) for name, shape, _, _ in instructions}

    def of(names: Iterable[str]) -> int:
        return sum(sizes.get(name, 0) for name in set(names))

    return sum(sizes[name] + of(operands) for name, _, operation, operands in instructions if operation not in FREE)
