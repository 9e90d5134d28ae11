"""A folder of images in COCO's layout: what is read, what is refused, and how batches are made of it."""

import dataclasses
import json
import subprocess

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxbox import rotated
from jaxbox.demo import command, files
from jaxbox.demo.data import digits, folder, loader
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import datasets, evaluation, heads, run
from tests.devices import host_devices
from tests.test_command import fails
from tests.test_demo import COMMAND, standard_promotion  # noqa: F401
from tests.test_many_devices import both, by_hand, of_its_own

ARCHITECTURE = dataclasses.replace(digits.UPRIGHT, size=64, stride=8)
SIZE = (40, 60)  # height and width


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folders of upright digits and of turned ones."""
    out = tmp_path_factory.mktemp("exported")
    for name, options in (("upright", []), ("turned", ["--rotated"])):
        typed = ["digits", "--images", "40", "--test-images", "12", *options, "--out", str(out / name)]
        assert command.main(typed) == 0
    return out


def write(place, count=3, *, name="annotations.json", **changes):
    """A folder of white rectangles on black; returns what its file of annotations holds."""
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    content = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]}
    for number in range(1, count + 1):
        pixels = np.zeros(SIZE, np.uint8)
        pixels[10:30, 5 + number : 25] = 255
        Image.fromarray(pixels).save((place / name).parent / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 40})
        box = [5 + number, 10, 20 - number, 20]
        content["annotations"].append({"id": number, "image_id": number, "category_id": 7, "bbox": box, "iscrowd": 0})
    content |= changes
    (place / name).write_text(json.dumps(content))
    return content


def changed(place, **annotation):
    """The same, with the first annotation changed."""
    content = write(place)
    content["annotations"][0] |= annotation
    (place / "annotations.json").write_text(json.dumps(content))


# What is read.


def test_the_exported_digits_are_read_back(exported):
    contents = folder.read(exported / "upright", turned=False)
    assert (contents.names, contents.channels, contents.remarks) == (digits.NAMES, 1, [])
    assert (len(contents.train), len(contents.held_out)) == (40, 12)
    scenes = digits.compose(digits.train_and_test_digits()[0], 40, np.random.default_rng(0))
    (read,) = loader.testing(contents.train, dataclasses.replace(ARCHITECTURE, size=digits.CANVAS))
    np.testing.assert_allclose(read.images, scenes.images, atol=0.5 / 255 + 1e-6)
    for which in ("boxes", "classes"):
        for ours, theirs, mask, other in zip(
            getattr(read, which), getattr(scenes, which), read.valid, scenes.valid, strict=True
        ):
            np.testing.assert_allclose(ours[mask], theirs[other], atol=1e-5)


def test_the_quads_of_exported_digits_are_their_turned_boxes(exported):
    contents = folder.read(exported / "turned", turned=True)
    scenes = digits.compose_turned(digits.train_and_test_digits()[0], 40, np.random.default_rng(0))
    for picture, found, valid in zip(folder.with_turned_boxes(contents.train), scenes.boxes, scenes.valid, strict=True):
        wanted = rotated.to_corners(found[valid] * [*[digits.CANVAS] * 4, 1])
        ours = np.asarray(rotated.to_corners(picture.boxes))
        distances = np.linalg.norm(ours[:, :, None] - wanted[:, None], axis=-1)
        assert np.all(np.min(distances, axis=-1) < 0.02)


@pytest.mark.parametrize(
    ("train_file", "test_file"),
    [
        ("train.json", "val.json"),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
    ],
)
def test_each_layout_is_found(tmp_path, train_file, test_file):
    write(tmp_path, 4, name=train_file)
    write(tmp_path, 2, name=test_file)
    if "instances" in train_file:
        for part in ("train2017", "val2017"):
            (tmp_path / part).mkdir()
            for image in (tmp_path / "annotations").glob("*.png"):
                (tmp_path / part / image.name).write_bytes(image.read_bytes())
        for image in (tmp_path / "annotations").glob("*.png"):
            image.unlink()
    contents = folder.read(tmp_path, turned=False)
    assert (len(contents.train), len(contents.held_out), contents.remarks) == (4, 2, [])


def test_of_a_single_file_one_image_in_ten_is_held_out_and_classes_go_by_the_numbers_of_categories(tmp_path):
    write(tmp_path, 12)
    contents = folder.read(tmp_path, turned=False)
    assert (len(contents.train), len(contents.held_out)) == (10, 2)
    assert contents.names == ("cat", "dog")
    assert {int(number) for picture in contents.train for number in picture.classes} == {1}
    assert contents.remarks == ["one image in 10 of annotations.json is held out to test with"]
    assert not {x.path for x in contents.train} & {x.path for x in contents.held_out}


def test_an_image_without_boxes_is_kept_and_a_crowd_is_masked(tmp_path):
    content = write(tmp_path, 3)
    content["annotations"] = content["annotations"][1:]
    content["annotations"][-1] |= {"iscrowd": 1, "segmentation": {"counts": [1], "size": [40, 60]}}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    contents = folder.read(tmp_path, turned=False)
    (scenes,) = loader.testing([*contents.held_out, *contents.train], ARCHITECTURE)
    np.testing.assert_array_equal(np.sum(scenes.valid, axis=-1), [0, 1, 0])
    np.testing.assert_array_equal(np.sum(scenes.crowd, axis=-1), [0, 0, 1])


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"bbox": [5, 5, 0, 4]}, "has a box without area"),
        ({"bbox": [5, 5, -3, 4]}, "has a box without area"),
        ({"bbox": [5, 5, float("nan"), 4]}, "has no box of finite numbers"),
        ({"bbox": [5, 5, 4]}, "has no box of finite numbers"),
        ({"bbox": None}, "has no box of finite numbers"),
        ({"bbox": ["5", 5, 4, 4]}, "has no box of finite numbers"),
        ({"bbox": [60, 5, 4, 4]}, "has a box outside of its image"),
    ],
)
def test_a_box_that_is_none_is_named_and_skipped(tmp_path, annotation, said):
    changed(tmp_path, **annotation)
    remarks = folder.read(tmp_path, turned=False).remarks
    assert remarks[0] == f"skipped: annotation 1 of '1.png' {said}"


def test_images_that_cannot_be_read_are_named_and_counted(tmp_path):
    content = write(tmp_path, 12)
    for number in range(1, 6):
        (tmp_path / f"{number}.png").unlink()
    whole = (tmp_path / "6.png").read_bytes()
    (tmp_path / "6.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "7.png").write_text("no image")
    content["images"][7] |= {"width": 40, "height": 60}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    contents = folder.read(tmp_path, turned=False)
    assert len(contents.train) + len(contents.held_out) == 4
    assert contents.remarks[:5] == [f"skipped: '{number}.png' is missing" for number in range(1, 6)]
    assert contents.remarks[5] == "skipped: 8 images in all"


# What is refused.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no annotations as COCO writes them"),
        ("{}", "lacks 'images' somewhere"),
        ('{"images": [], "annotations": [], "categories": []}', "has no categories"),
    ],
)
def test_a_file_that_holds_no_annotations_is_an_error(tmp_path, text, said):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        folder.read(tmp_path, turned=False)


def test_annotations_that_contradict_themselves_are_errors_that_say_what_to_write(tmp_path):
    changed(tmp_path, category_id=5)
    with pytest.raises(ValueError, match=r"annotation 1 .* has category 5, which is not listed; write one of 3, 7"):
        folder.read(tmp_path, turned=False)
    changed(tmp_path, image_id=9)
    with pytest.raises(ValueError, match=r"annotation 1 .* is of image 9, which is not listed"):
        folder.read(tmp_path, turned=False)
    images = write(tmp_path)["images"]
    write(tmp_path, images=[*images, images[0]])
    with pytest.raises(ValueError, match=r"2 images of .* have the id 1; give each one of its own"):
        folder.read(tmp_path, turned=False)


def test_without_an_image_or_a_box_there_is_an_error(tmp_path):
    write(tmp_path)
    for image in tmp_path.glob("*.png"):
        image.unlink()
    with pytest.raises(ValueError, match=r"has no image to train with that can be read; skipped: '1.png' is missing"):
        folder.read(tmp_path, turned=False)
    write(tmp_path, annotations=[])
    with pytest.raises(ValueError, match="has no box to train with"):
        folder.read(tmp_path, turned=False)


def test_a_turned_head_asks_for_quads(capsys, tmp_path):
    write(tmp_path)
    told = fails(capsys, "train", "--data", str(tmp_path), "--head", "turned", "--out", str(tmp_path / "out"))
    assert "annotation 1 of" in told
    assert "write its four corners as 'segmentation': [[x0, y0, x1, y1, x2, y2, x3, y3]]" in told


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--data", "nowhere"], "'nowhere' does not exist; write the name of a folder that holds `annotations.json`"),
        (["--data", "."], "has no file of annotations"),
        (["--size", "64"], "argument --size: it comes with --data"),
        (["--no-flip"], "argument --no-flip: it comes with --data"),
        (["--data", ".", "--stride", "6"], "argument --stride: 6 is not a power of two; write 8"),
        (["--data", ".", "--size", "100"], "argument --size: 100 is no multiple of the stride, 8; write 96"),
        (["--data", ".", "--width", "20"], "argument --width: 20 is not a multiple of 8; write 16"),
    ],
)
def test_a_wrong_folder_or_size_is_one_line_that_says_what_to_write(capsys, tmp_path, monkeypatch, typed, said):
    monkeypatch.chdir(tmp_path)
    assert said in fails(capsys, "train", *typed, "--out", "out")


# How batches are made.


def test_boxes_move_with_the_pixels(tmp_path):
    write(tmp_path, 12)
    trained = folder.read(tmp_path, turned=False).train
    batches = loader.training(trained, ARCHITECTURE, 16, seed=0, flips=True)
    for _ in range(3):
        batch = next(batches)
        for image, found, valid in zip(batch.images[..., 0], batch.boxes, batch.valid, strict=True):
            for box in found[valid] * ARCHITECTURE.size:
                left, top, right, bottom = np.rint(box).astype(int)
                inside = image[top + 2 : bottom - 2, left + 2 : right - 2]
                assert np.all(inside > 0.95)
                around = np.concatenate([image[top + 2 : bottom - 2, x] for x in (left - 2, right + 1) if 0 < x < 64])
                assert np.all((around < 0.05) | (around > 0.95))


def test_a_loader_resumes_where_it_was_and_a_seed_fixes_it(tmp_path):
    write(tmp_path, 12)
    trained = folder.read(tmp_path, turned=False).train
    first, again, other = (loader.training(trained, ARCHITECTURE, 4, seed, flips=True) for seed in (0, 0, 1))
    begun = [next(first) for _ in range(5)]
    state = json.loads(json.dumps(first.get_state()))
    wanted = [next(first) for _ in range(4)]
    again.set_state(state)
    for ours, theirs in zip(wanted, again, strict=False):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert np.any(next(other).images != begun[0].images)


def test_digits_resume_where_they_were():
    trained, _ = digits.train_and_test_digits()
    first, again = digits.stream(trained, 3, 0), digits.stream(trained, 3, 1)
    next(first)
    again.set_state(json.loads(json.dumps(first.get_state())))
    jax.tree.map(np.testing.assert_array_equal, next(first), next(again))


def test_two_processes_see_disjoint_images_that_are_all(tmp_path):
    content = write(tmp_path, 11)
    trained = folder.read(tmp_path, turned=False).train
    assert len(trained) == len(content["images"]) - 2
    named = [x._replace(classes=np.array([i])) for i, x in enumerate(trained)]
    seen = []
    for process in range(2):
        batches = loader.training(named, ARCHITECTURE, 8, seed=0, flips=False, process=process, processes=2)
        seen.append({int(x) for _ in range(4) for batch in [next(batches)] for x in batch.classes[batch.valid]})
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) >= 8
    with pytest.raises(ValueError, match="2 images do not suffice for 3 processes; start fewer"):
        loader.training(named[:2], ARCHITECTURE, 8, seed=0, flips=False, process=0, processes=3)


def test_two_processes_have_the_two_halves_of_a_batch_of_digits():
    trained, _ = digits.train_and_test_digits()
    whole, *halves = (
        next(digits.stream(trained, 6, 0, process=process, processes=count))
        for process, count in ((0, 1), (0, 2), (1, 2))
    )
    jax.tree.map(lambda x, *parts: np.testing.assert_array_equal(x, np.concatenate(parts)), whole, *halves)


# Crowds.


def with_crowd(scenes, box):
    """The same scenes with a crowd of their first class in one more slot."""
    count = len(scenes.valid)
    one = np.zeros((count, 1), bool)
    found = np.broadcast_to(np.float32(box), (count, 1, len(box)))
    return Scenes(
        scenes.images,
        np.concatenate([scenes.boxes, found], axis=1),
        np.concatenate([scenes.classes, scenes.classes[:, :1]], axis=1),
        np.concatenate([scenes.valid, one], axis=1),
        np.concatenate([scenes.crowd, ~one], axis=1),
    )


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_found_in_a_crowd_is_not_wrong(turned):
    compose = digits.compose_turned if turned else digits.compose
    scenes = compose(digits.train_and_test_digits()[1], 30, np.random.default_rng(0))
    measure = evaluation.evaluate_turned if turned else evaluation.evaluate
    false = np.float32([0.5, 0.5, 0.9, 0.04, 0.3] if turned else [0.1, 0.5, 0.9, 0.54])
    crowd = [0.5, 0.5, 1, 1, 0] if turned else [0, 0, 1, 1]
    found = detector.Detections(
        np.concatenate([np.nan_to_num(scenes.boxes), np.broadcast_to(false, (30, 1, len(false)))], axis=1),
        np.concatenate([scenes.classes, scenes.classes[:, :1]], axis=1),
        np.concatenate([scenes.valid * np.float32(0.5), np.ones((30, 1), np.float32)], axis=1),
    )
    assert measure(found, scenes)["ap"] < 0.9
    assert measure(found, with_crowd(scenes, crowd)) == pytest.approx(dict.fromkeys(evaluation.METRICS, 1.0))


@pytest.mark.parametrize("head", ["cells", "turned"])
def test_cells_in_a_crowd_count_nothing_as_background(head):
    head = heads.HEADS[head]
    scenes = head.compose(digits.train_and_test_digits()[0], 4, np.random.default_rng(0))
    model = head.model(nnx.Rngs(0), dataclasses.replace(head.architecture, width=16))
    total_loss = head.total_loss({"rotated_giou": 1.0} if head.boxes == "turned" else {"giou": 1.0})
    everywhere = [0.5, 0.5, 2, 2, 0] if head.boxes == "turned" else [-1, -1, 2, 2]
    (_, plain), (_, crowded), (_, elsewhere) = (
        total_loss(model, batch)
        for batch in (
            scenes,
            with_crowd(scenes, everywhere),
            with_crowd(scenes, [x + 9 for x in everywhere[:4]] + everywhere[4:]),
        )
    )
    assert float(crowded["class loss"]) < 0.9 * float(plain["class loss"])
    np.testing.assert_allclose(elsewhere["class loss"], plain["class loss"], rtol=1e-6)
    np.testing.assert_allclose(crowded["box loss"], plain["box loss"], rtol=1e-6)


# The commands.


def test_the_exported_folder_has_its_files_and_is_written_again(capsys, exported):
    place = exported / "upright"
    assert {path.name for path in place.iterdir()} == set(files.DIGITS.names)
    typed = ["digits", "--images", "40", "--test-images", "12", "--out", str(place)]
    before = (place / "images" / "train-000007.png").read_bytes()
    assert command.main(typed) == 0
    assert "where this replaces what was written" in capsys.readouterr().out
    assert (place / "images" / "train-000007.png").read_bytes() == before


def test_a_file_that_was_added_to_an_exported_folder_is_not_replaced(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.png").write_text("mine")
    assert "was not written by `jaxbox digits`" in fails(capsys, "digits", "--out", str(tmp_path))
    assert (tmp_path / "images" / "mine.png").read_text() == "mine"


@pytest.mark.parametrize(("head", "name"), [("cells", "upright"), ("turned", "turned")])
def test_a_head_trains_on_a_folder_and_loads_again(exported, tmp_path, head, name):
    typed = ["train", "--data", str(exported / name), "--head", head, "--size", "48", "--stride", "8", "--width", "16"]
    typed += ["--no-flip", "--steps", "6", "--batch-size", "8", "--out", str(tmp_path / "out")]
    finished = subprocess.run([*COMMAND, *typed], env=host_devices(2), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "40 images with" in finished.stdout
    record = json.loads((tmp_path / "out" / run.METRICS).read_text())
    assert record["classes"] == list(digits.NAMES)
    model = run.load(tmp_path / "out")
    assert dataclasses.asdict(model.architecture) == record["architecture"] | {"dilations": datasets.DILATIONS}
    contents = folder.read(exported / name, turned=head == "turned")
    tested = folder.with_turned_boxes(contents.held_out) if head == "turned" else contents.held_out
    found, scenes = run.find_all(model, loader.testing(tested, model.architecture))
    assert heads.HEADS[head].evaluate(found, scenes) == pytest.approx(record["metrics"], abs=1e-5)


def test_queries_in_two_processes_train_on_a_folder(exported, tmp_path):
    typed = ["train", "--data", str(exported / "upright"), "--head", "queries", "--size", "48", "--width", "16"]
    typed += ["--steps", "3", "--batch-size", "8"]
    results = both(lambda number: [*COMMAND[3:], *typed, "--out", str(tmp_path / str(number))], by_hand, devices=1)
    (status, told, errors), (other_status, other_told, other_errors) = results
    assert status == other_status == 0, errors + other_errors
    assert "2 devices of 2 processes" in told
    assert of_its_own(other_told) == []
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
