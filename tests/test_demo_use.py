"""`jaxbox detect` and `jaxbox evaluate`: what they find, print, write and refuse."""

import dataclasses
import json

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxbox.demo import command, files
from jaxbox.demo.data import digits, folder
from jaxbox.demo.training import heads, run
from jaxbox.demo.use import command_lines, finding, measuring
from tests.test_command import fails, tree

BILINEAR = Image.Resampling.BILINEAR


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs of untrained detectors, `cells` and `turned`, and digits for both, `upright` and `rotated`."""
    place = tmp_path_factory.mktemp("use")
    for name in ("cells", "turned"):
        (place / name).mkdir()
        head = heads.HEADS[name]
        run.save(head.model(nnx.Rngs(0), head.architecture), place / name / run.PARAMETERS)
        record = {"settings": {"head": name}, "architecture": dataclasses.asdict(head.architecture)}
        (place / name / run.METRICS).write_text(json.dumps(record | {"classes": digits.NAMES}))
    for name, options in (("upright", []), ("rotated", ["--rotated"])):
        typed = ["digits", "--images", "4", "--test-images", "3", "--out", str(place / name), *options]
        assert command.main(typed) == 0
    return place


def images_of(place, name="upright"):
    return sorted(str(path) for path in (place / name / "images").glob("val-*"))


# What is found.


def found_on(place, tmp_path, image):
    image.save(tmp_path / "image.png")
    (found,) = finding.find(finding.trained(place / "cells").model, finding.look([tmp_path / "image.png"]))
    return found


def test_boxes_are_in_pixels_of_the_image_whatever_its_size(place, tmp_path):
    image = Image.open(images_of(place)[0]).resize((480, 480))
    small, large = (found_on(place, tmp_path, each) for each in (image.resize((48, 48), BILINEAR), image))
    np.testing.assert_allclose(10 * small.boxes, large.boxes, atol=1e-3)


def test_boxes_are_in_pixels_of_the_image_where_it_is_no_square(place, tmp_path):
    strip = Image.open(images_of(place)[0]).crop((0, 12, 48, 36))
    square = Image.new("L", (48, 48), "white")
    square.paste(strip, (0, 12))
    one, other = (found_on(place, tmp_path, image) for image in (strip, square))
    np.testing.assert_allclose(one.boxes, np.clip(other.boxes - [0, 12, 0, 12], 0, [48, 24, 48, 24]), atol=1e-3)


def test_turned_boxes_are_in_pixels_too(place, tmp_path):
    large = Image.open(images_of(place, "rotated")[0]).resize((480, 480))
    for name, image in (("small", large.resize((48, 48), BILINEAR)), ("large", large)):
        image.save(tmp_path / f"{name}.png")
    pictures = finding.look([tmp_path / "small.png", tmp_path / "large.png"])
    small, large = finding.find(finding.trained(place / "turned").model, pictures)
    np.testing.assert_allclose(small.boxes * [10, 10, 10, 10, 1], large.boxes, rtol=1e-5)


@pytest.mark.parametrize("name", ["cells", "turned"])
def test_detect_prints_a_line_an_image_and_writes_a_picture_of_each(place, tmp_path, capsys, name):
    images = images_of(place, "upright" if name == "cells" else "rotated")
    typed = ["detect", str(place / name), *images, "--score", "0.01", "--out", str(tmp_path / "out")]
    assert command.main(typed) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == images
    for line in lines:
        assert len(line["boxes"]) == len(line["classes"]) == len(line["scores"]) > 0
        assert {len(box) for box in line["boxes"]} == {4 if name == "cells" else 5}
        assert set(line["classes"]) <= set(digits.NAMES)
        assert line["scores"] == sorted(line["scores"], reverse=True)
        assert min(line["scores"]) >= 0.01
    record = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert record["images"] == lines
    with Image.open(tmp_path / "out" / "val-000001.png") as picture:
        assert max(picture.size) >= finding.SHOWN


def test_detect_replaces_its_pictures_and_nothing_else(place, tmp_path, capsys):
    images = images_of(place)
    for some in (images, images[:1]):
        assert command.main(["detect", str(place / "cells"), *some, "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"detections.json", "val-000001.png"}
    (tmp_path / "val-000002.png").touch()
    before = tree(tmp_path)
    capsys.readouterr()
    told = fails(capsys, "detect", str(place / "cells"), *images, "--out", str(tmp_path))
    assert "val-000002.png' was not written by `jaxbox detect`" in told
    assert tree(tmp_path) == before


def test_images_of_one_name_have_pictures_of_their_own():
    names = command_lines.names_of([command.Path(path) for path in ("a/cat.jpg", "b/cat.png", "b/Cat.png", "dog.jpg")])
    assert list(names) == ["cat.png", "cat-2.png", "Cat-3.png", "dog.png"]


# What is measured.


def picture(boxes, classes, crowd, areas):
    arrays = np.array(boxes, float), np.array(classes), np.array(crowd, bool), np.array(areas, float)
    return folder.Picture(command.Path("none"), (100, 100), *arrays)


def test_what_is_found_exactly_has_precision_one_by_the_areas_of_the_annotations():
    true = [
        picture([[0, 0, 20, 20], [40, 0, 90, 50]], [0, 1], [False, False], [400, 100]),
        picture([[0, 0, 50, 50], [0, 0, 90, 90]], [1, 0], [False, True], [2500, 8100]),
    ]
    found = [finding.Found(each.boxes, each.classes, np.array([0.9, 0.8])) for each in true]
    coco = measuring.compared(found, true, ["cat", "dog"])
    coco.summarize()
    numbers = dict(zip(measuring.NAMES, coco.stats, strict=True))
    for name in ("ap", "ar100", "ap_small", "ap_medium"):
        assert numbers[name] == pytest.approx(1)
    assert numbers["ap_large"] == -1


def test_nothing_found_has_precision_zero():
    coco = measuring.compared(
        [finding.Found(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))],
        [picture([[0, 0, 20, 20]], [0], [False], [400])],
        ["cat"],
    )
    coco.summarize()
    assert coco.stats[0] == 0


def test_evaluate_prints_the_twelve_numbers_and_writes_them(place, tmp_path, capsys):
    typed = ["evaluate", str(place / "cells"), str(place / "upright"), "--out", str(tmp_path / "out")]
    assert command.main(typed) == 0
    printed = capsys.readouterr().out
    assert "test     3 images with " in printed
    assert printed.count("Average Precision") == printed.count("Average Recall") == 6
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert tuple(record["metrics"]) == measuring.NAMES
    assert f"maxDets=100 ] = {record['metrics']['ap']:.3f}" in printed


def test_evaluate_measures_turned_boxes_on_all_images_if_that_is_asked_for(place, capsys):
    assert command.main(["evaluate", str(place / "turned"), str(place / "rotated"), "--all"]) == 0
    printed = capsys.readouterr().out
    assert "test     7 images with " in printed
    assert all(f"         {name} " in printed for name in ("mean_iou", "ap50", "ap75", "ap"))


def test_padded_arrays_hold_the_same_turned_boxes():
    boxes = np.array([[10, 10, 8, 4, 0.3], [30, 10, 8, 4, 0.7]])
    true = [picture(boxes, [0, 1], [False, True], [32, 32]), picture(boxes[:1], [1], [False], [32])]
    found = [finding.Found(each.boxes, each.classes, np.ones(len(each.boxes))) for each in true]
    detections, scenes = measuring.padded(found, true)
    np.testing.assert_array_equal(scenes.valid, [[True, False], [True, False]])
    np.testing.assert_array_equal(scenes.crowd, [[False, True], [False, False]])
    np.testing.assert_array_equal(detections.scores, [[1, 1], [1, 0]])
    np.testing.assert_allclose(detections.boxes[0], scenes.boxes[0], rtol=1e-6)


# What is refused.


def test_an_image_or_a_run_that_cannot_be_used_is_named_in_one_line(place, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no image")
    image, out = images_of(place)[0], ["--out", str(tmp_path / "out")]
    for run_of, some, said in [
        ("cells", "nothing.png", "there is no file 'nothing.png'"),
        ("cells", str(tmp_path / "text.jpg"), "text.jpg' cannot be read (cannot identify image file"),
        ("nowhere", image, "nowhere'; pass the folder that `jaxbox train --out` wrote"),
        ("upright", image, "upright/parameters'; pass the folder that `jaxbox train --out` wrote"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            command.main(["detect", str(place / run_of), image, some, *out])
        told = capsys.readouterr()
        assert (stopped.value.code, told.out) == (2, "")
        assert said in told.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert "'2' is not a number from 0 to 1; write 0.5" in fails(capsys, "detect", "run", "image", "--score", "2")


def refused(capsys, *typed):
    with pytest.raises(SystemExit) as stopped:
        command.main(["evaluate", *map(str, typed)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_a_folder_that_does_not_fit_a_run_is_named_in_one_line(place, tmp_path, capsys):
    assert "has no file of annotations" in refused(capsys, place / "cells", tmp_path)
    assert "which --head turned is trained with" in refused(capsys, place / "turned", place / "upright")
    for name in ("train.json", "val.json"):
        content = json.loads((place / "upright" / name).read_text())
        for category in content["categories"]:
            category["name"] = f"letter {category['name']}"
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "images").symlink_to(place / "upright" / "images")
    told = refused(capsys, place / "cells", tmp_path)
    assert "has boxes of 'letter " in told
    assert "knows 0, 1, 2" in told
    assert told.count("\n") == 1


def test_a_run_without_names_of_classes_is_named(place, tmp_path, capsys):
    files.os.symlink(place / "cells" / run.PARAMETERS, tmp_path / run.PARAMETERS)
    record = json.loads((place / "cells" / run.METRICS).read_text())
    (tmp_path / run.METRICS).write_text(json.dumps(record | {"classes": ["1"]}))
    assert "does not have a name for each class" in refused(capsys, tmp_path, place / "upright")
