"""That the command for devices that are not there reads programs and compares figures as it says."""

import pytest

from tests.tools import hlo
from tests.tools.ahead_of_time import figures, running, subjects, targets

TPU = """HloModule jit_loss, is_scheduled=true

%body (p: (s32[], f32[1024])) -> (s32[], f32[1024]) {
  %p = (s32[], f32[1024]{0:T(1024)}) parameter(0)
  %x = f32[1024]{0:T(1024)} get-tuple-element(%p), index=1
  %inner = f32[1024]{0:T(1024)} fusion(%x), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"7"}
  ROOT %t = (s32[], f32[1024]{0:T(1024)}) tuple(%x, %inner)
}

ENTRY %main (a: f32[1000,4], b: f32[1000,4]) -> (f32[], f32[1000]) {
  %a = f32[1000,4]{0,1:T(4,128)} parameter(0)
  %b = f32[1000,4]{0,1:T(4,128)} parameter(1)
  %copy-start = (f32[1000,4]{0,1:T(4,128)S(1)}, f32[1000,4]{0,1:T(4,128)}, u32[]{:S(2)}) copy-start(%b)
  %copy-done = f32[1000,4]{0,1:T(4,128)S(1)} copy-done(%copy-start)
  %slice-start = ((f32[1000,4]{0,1:T(4,128)}), f32[512,4]{0,1:T(4,128)S(1)}, s32[]{:S(2)}) slice-start(%a), slice={}
  %slice-done = f32[512,4]{0,1:T(4,128)S(1)} slice-done(%slice-start)
  %joined = f32[1000,4]{0,1:T(4,128)S(1)} custom-call(%slice-done), custom_call_target="ConcatBitcast"
  %one = f32[1000]{0:T(1024)} fusion(%a, %copy-done), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"100"}
  %sum = f32[]{:T(128)} fusion(%one), kind=kLoop, calls=%g, backend_config={"estimated_cycles":"20"}
  %start = (s32[], f32[1024]{0:T(1024)}) tuple(%sum, %one)
  %loop = (s32[], f32[1024]{0:T(1024)}) while(%start), body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %mean = f32[]{:T(128)} multiply(%sum, %sum)
  ROOT %result = (f32[], f32[1000]{0:T(1024)}) tuple(%mean, %one)
}
"""

GPU = """HloModule jit_loss

ENTRY main {
  p = f32[1000,4]{1,0} parameter(0)
  both = (f32[1000]{0}, /*index=1*/f32[1000]{0}) fusion(%p), kind=kLoop, calls=%f
  first = f32[1000]{0} get-tuple-element(%both), index=0
  second = f32[1000]{0} get-tuple-element(%both), index=1
  ROOT out = bf16[1000,4]{1,0} fusion(%first, %second), kind=kLoop, calls=%g
}
"""


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ("f32[1000,4]{1,0}", 16_000),
        ("f32[1000,4]{0,1:T(4,128)}", 4 * 4 * 1024),  # padded to whole tiles
        ("bf16[3,5,4]{1,2,0:T(4,128)(2,1)}", 2 * 3 * 4 * 128),
        ("f32[1000]{0:T(1024)}", 4 * 1024),
        ("f32[1000,4]{0,1:T(4,128)S(1)}", 0),  # on the chip
        ("pred[]", 1),
        ("(f32[2]{0}, s32[3]{0})", 20),
    ],
)
def test_an_array_has_the_bytes_of_its_tiles_in_main_memory(shape, count):
    assert hlo.bytes_of(shape) == count


def test_of_a_program_for_a_tpu_kernels_bytes_and_cycles_are_counted():
    # The multiplication of two numbers starts no kernel; the fusion in the loop starts three.
    assert hlo.kernels(TPU) == ["fusion"] * 5
    assert hlo.cycles(TPU) == 100 + 20 + 3 * 7
    boxes, half, losses, number = 4 * 4 * 1024, 4 * 4 * 512, 4 * 1024, 4 * 128
    kernels = (boxes + losses) + (losses + number) + 3 * (losses + losses) + (number + number)
    assert hlo.bytes_moved(TPU) == boxes + half + kernels


def test_of_a_program_for_a_gpu_every_operand_and_result_counts():
    assert hlo.kernels(GPU) == ["fusion", "fusion"]
    assert hlo.bytes_moved(GPU) == 16_000 + 2 * 4000 + 2 * 4000 + 8000
    assert figures.figures_of(GPU, 40_000) == {"bytes over the limit": 1.0, "kernels": 2, "cycles": 0}


def figure(moved=1.0, kernels=3, cycles=1000):
    return {"bytes over the limit": moved, "kernels": kernels, "cycles": cycles}


STORED = {"v5e": {"giou, forward, 1024": figure(), "giou, mean, 1024": figure()}, "h100": {}}


def test_what_is_as_it_was_or_better_is_no_fault():
    found = {"v5e": {"giou, forward, 1024": figure(1.1, 2, 1100)}}
    assert figures.worse(found, STORED) == []
    assert figures.unknown(found, STORED) == []


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (figure(moved=1.2), "bytes over the limit 1.0 before, 1.2 now"),
        (figure(kernels=4), "kernels 3 before, 4 now"),
        (figure(cycles=1101), "cycles 1,000 before, 1,101 now"),
    ],
)
def test_what_is_worse_by_more_than_a_tenth_is_said(worse, said):
    found = {"v5e": {"giou, forward, 1024": worse, "giou, mean, 1024": figure()}}
    assert figures.worse(found, STORED) == [f"v5e: giou, forward, 1024: {said}"]


def test_of_what_nothing_is_stored_that_is_said():
    found = {"v5e": {"giou, forward, 7": figure()}, "v6e": {"giou, forward, 1024": figure()}}
    assert figures.worse(found, STORED) == []
    assert figures.unknown(found, STORED) == ["v5e: giou, forward, 7", "v6e: giou, forward, 1024"]


def test_figures_are_stored_beside_those_of_other_targets(tmp_path):
    file = tmp_path / "figures.json"
    figures.write({"v5e": {"a, b, c": figure()}}, {"libtpu": "1"}, file)
    figures.write({"h100": {"a, b, c": figure(2.0)}}, {"cuda": "2"}, file)
    figures.write({"v5e": {"a, b, c": figure(3.0)}}, {"libtpu": "3"}, file)
    record = figures.read(file)
    assert record["versions"] == {"libtpu": "3", "cuda": "2"}
    assert [record["figures"][of]["a, b, c"]["bytes over the limit"] for of in ("v5e", "h100")] == [3.0, 2.0]


def test_the_table_has_a_row_a_program_and_a_column_a_target():
    lines = figures.table_of({"v5e": STORED["v5e"], "h100": {"giou, mean, 1024": figure(1.25, 4, 0)}}).splitlines()
    assert lines == [
        "| function | program | size | v5e | h100 |",
        "|---|---|---|---|---|",
        "| `giou` | forward | 1024 | 1.00 / 3 / 1 |  |",
        "| `giou` | mean | 1024 | 1.00 / 3 / 1 | 1.25 / 4 |",
    ]


def test_each_program_has_a_name_of_its_own_and_figures_are_stored_of_those_that_are_compiled():
    every = subjects.subjects()
    assert len({subject.key for subject in every}) == len(every)
    stored = figures.read()["figures"]
    assert stored.keys() == {*targets.TPUS, targets.CUDA}
    for names in (list(targets.TPUS), [targets.CUDA]):
        for target, subject in running.chosen(names, []):
            assert subject.key in stored[target]
