"""`jaxbox compare`: what it trains and keeps, what its intervals hold, and what it refuses."""

import contextlib
import io
import json
import os

import jax
import numpy as np
import pytest

from jaxbox import rotated
from jaxbox.demo import command, files
from jaxbox.demo.comparison import bootstrap, command_line, compare, ranking
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector
from jaxbox.demo.training import evaluation, heads
from tests.devices import host_devices
from tests.test_command import finish
from tests.test_demo import COMMAND, standard_promotion  # noqa: F401
from tests.test_demo_turned import noisy_detections
from tests.test_interrupts import ends, started, tree

TINY = ["compare", "--steps", "2", "--batch-size", "2", "--test-images", "6", "--seeds", "2"]
LOSSES = ["--losses", "ciou", "--weight", "ciou=3"]


def compares(*typed):
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert command.main([*TINY, *typed]) == 0
    return told.getvalue()


def refused(capsys, *typed):
    with pytest.raises(SystemExit) as stopped:
        command.main([*TINY, *typed])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def record_of(out):
    return json.loads((out / compare.RECORD).read_text())


def trainings_of(out):
    """What every training found, without how long it took."""
    return {
        path.name: [array.tobytes() for array in compare.read(path).found]
        for path in sorted((out / compare.TRAININGS).glob("*.npz"))
    }


def scenes_of(count, seed=0):
    return digits.compose(digits.train_and_test_digits()[1], count, np.random.default_rng(seed))


def noisy(scenes, seed, spread=0.02):
    """Upright detections near the true boxes of scenes, among others."""
    turned = scenes._replace(boxes=np.asarray(rotated.from_xyxy(scenes.boxes)))
    found = noisy_detections(turned, np.random.default_rng(seed), np.array([spread] * 4 + [0]))
    corners = found.boxes[..., [0, 1, 0, 1]] + found.boxes[..., [2, 3, 2, 3]] * np.float32([-0.5, -0.5, 0.5, 0.5])
    return found._replace(boxes=corners)


# The bootstrap.


def measured(found, scenes, drawn):
    return bootstrap.measure(bootstrap.match(found, scenes), bootstrap.truths(scenes), drawn)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_measured_from_matches_is_what_pycocotools_measures(seed):
    scenes = scenes_of(100, seed)
    found = noisy(scenes, seed)
    ((ap, ap75, mean_iou),) = measured(found, scenes, np.ones((1, 100), int))
    wanted = evaluation.evaluate(found, scenes)
    assert 0.1 < wanted["ap"] < 0.9
    assert (ap, ap75, mean_iou) == pytest.approx([wanted[name] for name in bootstrap.METRICS], abs=1e-6)


def test_an_image_that_is_drawn_twice_counts_as_two_images():
    scenes = scenes_of(40)
    found = noisy(scenes, 1)
    drawn = bootstrap.draw(1, 40, 3, np.random.default_rng(0)).images
    assert np.all(np.sum(drawn, axis=1) == 40)
    for values, counts in zip(measured(found, scenes, drawn), drawn, strict=True):
        again = np.repeat(np.arange(40), counts)
        copied_scenes, copied = (type(x)(*(array[again] for array in x)) for x in (scenes, found))
        wanted = evaluation.evaluate(copied, copied_scenes)
        assert values == pytest.approx([wanted[name] for name in bootstrap.METRICS], abs=1e-6)


def test_turned_detections_are_measured_as_the_head_does():
    scenes = digits.compose_turned(digits.train_and_test_digits()[1], 40, np.random.default_rng(0))
    found = noisy_detections(scenes, np.random.default_rng(1), np.array([0.02, 0.02, 0.03, 0.03, 0.3]))
    wanted = evaluation.evaluate_turned(found, scenes)
    (values,) = measured(found, scenes, np.ones((1, 40), int))
    assert values == pytest.approx([wanted[name] for name in bootstrap.METRICS], abs=1e-6)


def test_without_a_detection_or_a_digit_the_measures_are_zero():
    scenes = scenes_of(3)
    nothing = detector.Detections(np.zeros((3, 2, 4)), np.zeros((3, 2), int), np.zeros((3, 2)))
    blank = scenes._replace(valid=np.zeros_like(scenes.valid))
    for found, truth in ((nothing, scenes), (noisy(scenes, 0), blank)):
        np.testing.assert_array_equal(measured(found, truth, np.array([[1, 1, 1], [3, 0, 0]])), 0)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_an_interval_of_95_percent_holds_the_mean_in_95_of_100_cases(seeds):
    rng, cases, images = np.random.default_rng(0), 400, 60
    held = 0
    for _ in range(cases):
        of_seeds, of_images = rng.normal(size=seeds), rng.normal(scale=3, size=images)
        drawn = bootstrap.draw(seeds, images, 200, rng)
        values = of_seeds + (drawn.images @ of_images / images)[:, None]
        _, low, high = bootstrap.interval(values, drawn.seeds)
        held += low <= 0 <= high
    assert 0.92 < held / cases <= 1  # by chance it is 0.03 less once in 200 times


def test_a_single_seed_has_an_interval_over_images():
    drawn = bootstrap.draw(1, 50, 400, np.random.default_rng(0))
    mean, low, high = bootstrap.interval(drawn.images @ np.arange(50)[:, None] / 50, drawn.seeds)
    assert mean == 24.5
    error = 1.96 * np.std(np.arange(50)) / np.sqrt(50)
    assert (low, high) == pytest.approx((24.5 - error, 24.5 + error), abs=0.7)


def outcome(found, diverged=0):
    return compare.Outcome(found, weight=2.0, diverged=diverged, seconds=1.0)


def test_losses_are_ranked_and_those_that_are_no_different_are_not_told_apart():
    scenes = scenes_of(80)
    outcomes = {}
    for seed in range(3):
        same = noisy(scenes, seed)
        outcomes["giou", seed] = outcome(same)
        outcomes["same", seed] = outcome(same)
        outcomes["alike", seed] = outcome(noisy(scenes, seed + 10))
        outcomes["better", seed] = outcome(noisy(scenes, seed, spread=0.005))
        outcomes["gone", seed] = outcome(same._replace(scores=np.zeros_like(same.scores)), diverged=10)
    results = ranking.rank(outcomes, scenes, "giou")
    rows = {row.loss: row for row in results.rows}
    assert [results.rows[0].loss, results.rows[-1].loss] == ["better", "gone"]
    assert {name: row.verdict for name, row in rows.items()} == {
        "giou": "",
        "same": ranking.UNTOLD,
        "alike": ranking.UNTOLD,
        "better": ranking.BETTER,
        "gone": ranking.WORSE,
    }
    assert all(ends == (0, 0, 0) for ends in rows["same"].differences.values())
    assert rows["gone"].diverged == 3
    said = ranking.notes(results, 3)
    assert "Trainings that diverged count as an AP of 0: gone (3 of 3)." in said
    assert "2 of 4 differences from giou are told from 0" in said[1]
    page = ranking.page(results, "three seeds", said)
    assert "cannot be told from giou |" in page
    picture = ranking.picture(results, "three seeds")
    names = [text.get_text() for text in picture.axes[0].get_yticklabels()]
    assert names == [row.loss for row in results.rows]
    assert any("0.00 (diverged)" in text.get_text() for text in picture.axes[0].texts)


# The command.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the standard output of a comparison that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with jax.numpy_dtype_promotion("standard"):
        return out, compares(*LOSSES, "--out", str(out))


def test_a_comparison_leaves_its_table_its_picture_and_its_trainings(whole):
    out, told = whole
    assert {path.name for path in out.iterdir()} == {compare.TRAININGS, *files.COMPARED.names}
    assert (out / compare.PICTURE).read_bytes().startswith(b"\x89PNG")
    record = record_of(out)
    assert {(row["loss"], row["seed"]) for row in record["trainings"]} == {
        (loss, seed) for loss in ("giou", "ciou") for seed in (0, 1)
    }
    assert {row["loss"]: row["verdict"] for row in record["losses"]} == {"giou": "", "ciou": ranking.UNTOLD}
    assert {row["weight"] for row in record["losses"]} == {2.0, 3.0}
    for shown in (told, (out / compare.PAGE).read_text()):
        assert "cannot be told from giou" in shown
        assert "0 of 1 differences from giou are told from 0" in shown
    assert "giou is added: the differences are from it" in told
    assert "4 of 4, about 0 s left" in told


def test_an_interrupted_comparison_goes_on_and_ends_as_one_that_was_not(whole, tmp_path):
    out = tmp_path / "a" / "run"
    typed = [*TINY, *LOSSES, "--out", str(out)]
    with started([*COMMAND, *typed], env=os.environ) as process:
        assert any("2 of 4" in line for line in process.stdout)
        ends(process, "SIGINT")
    kept, before = trainings_of(out), tree(out)
    assert [*kept] == ["giou-0.npz", "giou-1.npz"]
    assert not list(out.rglob(".unfinished-*"))
    assert "2 of them are in" in compares(*typed[len(TINY) :])
    assert {path: content for path, content in tree(out).items() if path in before} == before
    assert trainings_of(out) == trainings_of(whole[0])
    for name in ("losses", "settings", "draws"):
        assert record_of(out)[name] == record_of(whole[0])[name]


def test_a_comparison_that_is_complete_is_written_again_without_training(whole):
    before = record_of(whole[0])
    told = compares(*LOSSES, "--out", str(whole[0]))
    assert "4 of them are in" in told
    assert "left" not in told
    assert f"where this replaces what was of {before['finished']}" in told
    assert record_of(whole[0])["trainings"] == before["trainings"]


def test_other_settings_are_refused_and_more_losses_and_seeds_are_not(capsys, whole):
    out = ["--out", str(whole[0])]
    before = tree(whole[0])
    told = refused(capsys, *LOSSES, "--steps", "3", "--l1", "0", *out)
    assert "holds trainings with other settings (l1 was 5.0 and is 0.0; steps was 2 and is 3)" in told
    assert f"write --out {whole[0] / 'run-2'}" in told
    assert tree(whole[0]) == before
    (whole[0] / compare.TRAININGS / "giou-2.npz").write_bytes(b"mine")
    assert command.main([*TINY, *LOSSES, "--seeds", "3", *out]) == 1
    assert "does not hold a training of `jaxbox compare`; remove it" in capsys.readouterr().err
    (whole[0] / compare.TRAININGS / "giou-2.npz").unlink()


def test_a_folder_of_another_kind_is_refused(capsys, tmp_path):
    (tmp_path / compare.TRAININGS).mkdir()
    (tmp_path / compare.TRAININGS / "mine").touch()
    told = refused(capsys, *LOSSES, "--out", str(tmp_path))
    assert f"{str(tmp_path / compare.TRAININGS)!r} was not written by `jaxbox compare`" in told
    assert "move it, or write --out" in told


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # no weight in float32: the loss is infinite
def test_a_training_that_diverges_is_a_result(tmp_path):
    typed = ["--losses", "giou", "--weight", "giou=1e39", "--steps", "12", "--seeds", "1", "--out", str(tmp_path)]
    told = compares(*typed)
    assert "giou, seed 0: diverged by step 10" in told
    assert "Trainings that diverged count as an AP of 0: giou (1 of 1)." in told
    assert "One seed does not say" in told
    (row,) = record_of(tmp_path)["losses"]
    assert (row["weight"], row["diverged"], row["values"]["ap"]) == (1e39, 1, [0, 0, 0])


def test_turned_boxes_and_small_digits_are_compared(tmp_path):
    typed = ["--head", "turned", "--losses", "rotated_giou", "--seeds", "1", "--small", "--out", str(tmp_path)]
    finished = finish([*TINY, *typed], env=host_devices(1))  # which compiles sooner
    assert finished.returncode == 0, finished.stderr
    record = record_of(tmp_path)
    assert (record["reference"], record["settings"]["l1"], record["settings"]["small"]) == ("rotated_giou", 0, True)


def test_what_is_compared_with_is_known_for_every_head():
    assert ranking.REFERENCES.keys() == command_line.BESIDE.keys() == {*command_line.HEADS} <= heads.HEADS.keys()


def settings(**changes):
    values = {"head": "cells", "losses": ("giou",), "seeds": 1, "l1": 0.0, "weights": {}, "steps": 1, "batch_size": 1}
    return compare.Settings(**values | {"test_images": 8, "small": False, "out": None} | changes)


def test_small_digits_have_half_the_sides():
    sides = []
    for small in (False, True):
        scenes = compare.Trainer(settings(small=small, test_images=200)).scenes
        sides.append(np.mean((scenes.boxes[..., 2:] - scenes.boxes[..., :2])[scenes.valid]))
    assert sides[1] / sides[0] == pytest.approx(0.5, abs=0.03)


def test_weights_give_every_loss_the_pull_of_giou_at_the_start():
    trainer = compare.Trainer(settings(weights={"nwd": 7.0}))
    assert trainer.weight_of("nwd") == 7
    assert trainer.weight_of("giou") == 2
    assert trainer.weight_of("l1") == pytest.approx(trainer.pull_of("giou"), rel=0.01)  # four signs have a norm of 2
    trainer.settings = settings(weights={"giou": 4.0})
    assert trainer.weight_of("l1") == pytest.approx(2 * trainer.pull_of("giou"), rel=0.01)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--losses", "guiou"], "argument --losses: there is no box loss 'guiou'; did you mean giou? write one of"),
        (["--losses", "kld"], "argument --losses: --head cells is not trained with 'kld'; write one of"),
        (["--losses", "giou", "--head", "turned"], "is not trained with 'giou'; did you mean rotated_giou?"),
        (["--head", "queries"], "there is no 'queries'; write one of cells, turned"),
        (["--seeds", "0"], "'0' is not a whole number from 1"),
        (["--l1", "-1"], "'-1' is not a number of 0 or more; write 5"),
        (["--l1", "nan"], "'nan' is not a number of 0 or more"),
        (["--head", "turned", "--l1", "5"], "--head turned is not trained with L1; write --l1 0"),
        (["--weight", "giou=0"], "the weight '0' is not a number above 0"),
        (["--weight", "nwdd=1"], "argument --weight: there is no box loss 'nwdd'; did you mean nwd?"),
        (["--losses", "ciou", "--weight", "nwd=1"], "argument --weight: 'nwd' is not compared"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_what_to_write(capsys, tmp_path, typed, said):
    assert said in refused(capsys, *typed, "--out", str(tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_a_foreign_file_by_a_name_of_the_result_is_refused_before_anything_is_trained(capsys, tmp_path):
    (tmp_path / compare.PICTURE).touch()
    told = refused(capsys, *LOSSES, "--out", str(tmp_path))
    assert f"{str(tmp_path / compare.PICTURE)!r} was not written by `jaxbox compare`" in told
    assert [path.name for path in tmp_path.iterdir()] == [compare.PICTURE]
