"""The pictures: what each draws, read from the artists on the Axes."""

import base64
import io
import json
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxbox import losses, plots
from jaxbox.plots import boxes as drawn_boxes
from jaxbox.plots import planes

TARGET = np.array([30.0, 40, 60, 60])  # center (45, 50), sides 30 and 20
CENTERS = plots.center_plane(TARGET, sides=[34, 14], reach=60)  # neither in the target nor around it
SIZES = plots.size_plane(TARGET, center=[47, 51], smallest=-20, largest=70)

DRAWINGS = {
    "image": lambda ax: plots.draw_image(np.eye(8), ax=ax),
    "targets": lambda ax: plots.draw_targets(TARGET[None], ["cat"], ax=ax),
    "predictions": lambda ax: plots.draw_predictions(TARGET[None], ["cat"], [0.9], ax=ax),
    "curves": lambda ax: plots.draw_curves({"loss": [3.0, 2, 1]}, ax=ax),
    "landscape": lambda ax: plots.draw_landscape(losses.giou_loss, TARGET, CENTERS, ax=ax),
    "gradient field": lambda ax: plots.draw_gradient_field(losses.giou_loss, TARGET, SIZES, ax=ax),
    "trajectories": lambda ax: plots.draw_trajectories(TARGET + np.arange(9)[:, None, None], TARGET[None], ax=ax),
    "error curves": lambda ax: plots.draw_error_curves({"giou": [3.0, 2, 1]}, ax=ax),
    "error map": lambda ax: plots.draw_error_map([[1, 2], [3, 4]], [0.5, 2], ax=ax),
}
WITH_UNITS = ("landscape", "gradient field", "trajectories", "error curves", "error map")


@pytest.fixture
def ax():
    return Figure().subplots()


def center_offsets(places):
    return np.abs(np.asarray(places) - (TARGET[:2] + TARGET[2:]) / 2)


def arrows_and_dots(ax):
    """Where the arrows are and their directions, and where the dots are."""
    quiver, dots = ax.collections[:2]
    return quiver.get_offsets(), np.stack([quiver.U, quiver.V], axis=-1), dots.get_offsets()


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_is_drawn_on_the_axes_it_is_given_and_nowhere_else(draw, ax):
    from matplotlib import pyplot

    assert draw(ax) is ax
    assert ax.has_data()
    ax.figure.canvas.draw()
    assert not pyplot.get_fignums()


def test_without_axes_a_picture_is_drawn_on_the_current_ones():
    from matplotlib import pyplot

    figure, (_, second) = pyplot.subplots(1, 2)
    assert plots.draw_error_curves({"giou": [2.0, 1]}) is second
    pyplot.close(figure)


@pytest.mark.parametrize("name", WITH_UNITS)
def test_both_axes_say_what_they_are_and_in_which_unit(name, ax):
    DRAWINGS[name](ax)
    assert ax.get_xlabel() == "step" or ax.get_xlabel().endswith(("(px)", "(length)"))
    assert ax.get_ylabel().endswith(("(px)", "(length)"))


@pytest.mark.parametrize("make", [plots.center_plane, plots.size_plane])
def test_a_plane_names_the_unit_it_is_given(make):
    options = {"sides": [3, 2], "reach": 5} if make is plots.center_plane else {"center": [45, 50], "largest": 9}
    plane = make(TARGET, unit="m", **options)
    assert all(label.endswith("(m)") for label in plane.labels)


def test_planes_hold_the_boxes_they_say():
    np.testing.assert_array_equal(CENTERS.place(jnp.array([50.0, 20])), [33, 13, 67, 27])
    np.testing.assert_array_equal(SIZES.place(jnp.array([30.0, -2])), [32, 52, 62, 50])
    np.testing.assert_array_equal(CENTERS.at_target, [45, 50])
    np.testing.assert_array_equal(SIZES.at_target, [30, 20])


def test_the_outline_of_overlap_is_where_centers_of_touching_boxes_lie():
    np.testing.assert_array_equal(CENTERS.outlines["inside: the boxes overlap"], [13, 33, 77, 67])


def test_boxes_are_outlined_where_they_are_with_their_labels_and_scores(ax):
    plots.draw_targets(TARGET[None], ["cat"], ax=ax)
    plots.draw_predictions(TARGET[None] + 1, ["dog"], [0.876], ax=ax)
    drawn = [collection.get_paths()[0].vertices for collection in ax.collections]
    for vertices, box in zip(drawn, (TARGET, TARGET + 1), strict=True):
        np.testing.assert_array_equal([*np.min(vertices, axis=0), *np.max(vertices, axis=0)], box)
    assert [text.get_text() for text in ax.texts] == ["cat", "dog 0.88"]
    edges = [collection.get_edgecolor()[0, :3] for collection in ax.collections]
    assert np.any(edges[0] != edges[1])


TURNED = np.array([45.0, 50, 30, 20, 0.5])
TURNED_CORNERS = [45, 50] + np.array([[15, 10], [-15, 10], [-15, -10], [15, -10]]) @ [
    [np.cos(0.5), np.sin(0.5)],
    [-np.sin(0.5), np.cos(0.5)],
]


def test_turned_boxes_are_outlined_by_their_corners_with_labels_at_the_box_around(ax):
    plots.draw_targets(TURNED[None], ["cat"], ax=ax)
    plots.draw_predictions(TURNED[None], ["dog"], [0.876], ax=ax)
    for collection in ax.collections:
        np.testing.assert_allclose(collection.get_paths()[0].vertices[:4], TURNED_CORNERS, rtol=1e-6)
    places = [text.get_position() for text in ax.texts]
    (left, top), (_, bottom) = np.min(TURNED_CORNERS, axis=0), np.max(TURNED_CORNERS, axis=0)
    np.testing.assert_allclose(places, [(left, top), (left, bottom)], rtol=1e-6)


def test_a_plane_of_turns_holds_boxes_along_the_first_side_of_the_target_at_all_angles():
    plane = plots.turn_plane(TURNED, sides=[30, 20], reach=40)
    place = np.asarray(plane.place(jnp.array([10.0, 90.0])))
    np.testing.assert_allclose(
        place, [45 + 10 * np.cos(0.5), 50 + 10 * np.sin(0.5), 30, 20, 0.5 + np.pi / 2], rtol=1e-6
    )
    np.testing.assert_allclose(plane.place(jnp.asarray(plane.at_target, jnp.float32)), TURNED, rtol=1e-6)


def test_the_field_of_a_turned_box_points_to_the_target_in_sides_of_the_picture(ax):
    plane = plots.turn_plane(TURNED, sides=[30, 20], reach=20)
    places, arrows, _ = arrows_and_dots(plots.draw_gradient_field(losses.rotated_giou_loss, TURNED, plane, ax=ax))
    x, y = np.asarray(places).T
    inward = x / 20**2 * arrows[:, 0] + y / 90**2 * arrows[:, 1] < 0
    near = (np.abs(x) < 15) & (np.abs(y) < 30)
    assert np.mean(inward[near]) > 0.95


def test_turned_boxes_move_by_their_centers(ax):
    path = TURNED + np.linspace(40, 0, 30)[:, None, None] * [1, -1, 0.5, 0, 0.01]
    plots.draw_trajectories(path, TURNED[None], ax=ax)
    (line,) = ax.lines
    np.testing.assert_allclose(np.stack(line.get_data(), axis=-1), path[:, 0, :2], rtol=1e-5)
    np.testing.assert_allclose(ax.collections[-2].get_paths()[0].vertices[:4], TURNED_CORNERS, rtol=1e-6)


def test_a_box_that_leaves_its_image_does_not_widen_the_picture(ax):
    plots.draw_image(np.zeros((80, 50, 3)), ax=ax)
    plots.draw_predictions(TARGET[None], ax=ax)
    ax.figure.canvas.draw()
    assert (*ax.get_xlim(), *ax.get_ylim()) == (0, 50, 80, 0)


def test_a_landscape_has_the_values_of_the_loss_and_its_lowest_point_at_the_target(ax):
    plots.draw_landscape(losses.giou_loss, TARGET, CENTERS, ax=ax)
    values = ax.images[0].get_array()
    assert values.shape == (planes.FINE, planes.FINE)
    assert ax.images[0].get_extent() == [-15, 105, 110, -10]
    step = 120 / planes.FINE
    center = jnp.array([-15 + 10.5 * step, -10 + 40.5 * step])
    expected = losses.giou_loss(CENTERS.place(center), jnp.asarray(TARGET, jnp.float32))
    np.testing.assert_allclose(values[40, 10], expected, rtol=1e-5)
    row, column = np.unravel_index(np.argmin(values), values.shape)
    assert np.hypot(-15 + (column + 0.5) * step - 45, -10 + (row + 0.5) * step - 50) < 4


def test_arrows_point_down_the_loss(ax):
    plots.draw_gradient_field(losses.l2_loss, TARGET, CENTERS, ax=ax)
    places, arrows, _ = arrows_and_dots(ax)
    to_target = CENTERS.at_target - places
    np.testing.assert_allclose(arrows, to_target / np.linalg.norm(to_target, axis=-1, keepdims=True), atol=1e-3)


def test_a_field_has_as_many_arrows_and_dots_as_asked_for(ax):
    places, _, dots = arrows_and_dots(plots.draw_gradient_field(losses.iou_loss, TARGET, CENTERS, arrows=7, ax=ax))
    assert len(places) + len(dots) == 7**2


def test_no_two_outlines_of_planes_look_alike():
    looks = {}
    for plane in (CENTERS, SIZES):
        for drawn in plots.draw_landscape(losses.giou_loss, TARGET, plane, ax=Figure().subplots()).collections[1:]:
            looks[drawn.get_label()] = (str(drawn.get_edgecolor()), str(drawn.get_linestyle()))
    assert set(looks) == {*CENTERS.outlines, *SIZES.outlines}
    assert len(set(looks.values())) == len(looks)


def test_an_outline_of_another_plane_is_drawn_too(ax):
    plane = CENTERS._replace(outlines={"anchor": TARGET})
    plots.draw_landscape(losses.giou_loss, TARGET, plane, ax=ax)
    assert ax.collections[-1].get_label() == "anchor"


def test_boxes_without_overlap_are_dots_under_iou_and_arrows_under_giou():
    for loss in (losses.iou_loss, losses.giou_loss):
        places, _, dots = arrows_and_dots(plots.draw_gradient_field(loss, TARGET, CENTERS, ax=Figure().subplots()))
        assert len(places) + len(dots) == planes.COARSE**2
        overlap = np.all(center_offsets(dots) < [32, 17], axis=-1)
        if loss is losses.iou_loss:
            assert np.sum(~overlap) > planes.COARSE**2 / 2
            assert np.all(center_offsets(places) <= [32, 17])  # boxes that touch are drawn together
        else:
            assert np.all(center_offsets(dots) < [2 + 1e-3, 3 + 1e-3])  # the target covers the height of the box


def test_a_flipped_box_is_a_dot_under_iou_and_an_arrow_under_giou():
    for loss in (losses.iou_loss, losses.giou_loss):
        places, _, dots = arrows_and_dots(plots.draw_gradient_field(loss, TARGET, SIZES, ax=Figure().subplots()))
        flipped_places, flipped_dots = (np.any(np.asarray(x) < 0, axis=-1) for x in (places, dots))
        if loss is losses.iou_loss:
            assert not np.any(flipped_places)
            assert np.all(flipped_dots)
        else:
            assert len(dots) == 0


def test_a_loss_without_a_slope_has_no_contours_and_is_dots_all_over(ax):
    def constant(predictions, _):
        return 0 * predictions[..., 0]

    _, _, dots = arrows_and_dots(plots.draw_gradient_field(constant, TARGET, CENTERS, ax=Figure().subplots()))
    assert len(dots) == planes.COARSE**2
    plots.draw_landscape(constant, TARGET, CENTERS, ax=ax)
    assert len(ax.collections) == len(CENTERS.outlines)


def test_a_trajectory_is_drawn_from_its_first_box_to_its_last(ax):
    path = TARGET + np.linspace(40, 0, 30)[:, None, None]
    plots.draw_trajectories(path, TARGET[None], ax=ax)
    (line,) = ax.lines
    np.testing.assert_allclose(np.stack(line.get_data(), axis=-1), (path[:, 0, :2] + path[:, 0, 2:]) / 2)
    predicted = [collection for collection in ax.collections if collection.get_label() == "predicted"]
    assert len(predicted) == drawn_boxes.OUTLINES
    for collection, box in ((predicted[0], path[0, 0]), (predicted[-1], path[-1, 0])):
        vertices = collection.get_paths()[0].vertices
        np.testing.assert_allclose([*np.min(vertices, axis=0), *np.max(vertices, axis=0)], box)
    opacities = [collection.get_alpha() for collection in predicted]
    assert opacities == sorted(opacities)


def test_a_trajectory_shorter_than_its_outlines_is_drawn_whole(ax):
    plots.draw_trajectories(TARGET + np.arange(2)[:, None, None], TARGET[None], ax=ax)
    assert [collection.get_label() for collection in ax.collections].count("predicted") == 2


def test_error_curves_hold_every_step_on_a_logarithmic_axis_each_in_a_style_of_its_own(ax):
    curves = {name: np.geomspace(1e6, 10, 200) * (i + 1) for i, name in enumerate("abcdefghi")}
    plots.draw_error_curves(curves, ax=ax)
    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.lines] == list(curves)
    for line, values in zip(ax.lines, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 201))
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == len(curves)


def test_an_error_map_shows_one_value_a_point(ax):
    points, errors = np.random.default_rng(0).uniform(size=(2, 50, 2))
    plots.draw_error_map(points, errors[:, 0], limits=(1e-3, 1), ax=ax)
    (scatter,) = ax.collections
    np.testing.assert_array_equal(scatter.get_offsets(), points)
    np.testing.assert_array_equal(scatter.get_array(), errors[:, 0])
    assert scatter.get_clim() == (1e-3, 1)


@pytest.mark.parametrize("errors", [[0.0, 0.0], [0.0, 5.0]])
def test_an_error_of_zero_can_be_mapped(errors, ax):
    plots.draw_error_map([[0, 0], [1, 1]], errors, ax=ax)
    ax.figure.canvas.draw()
    assert np.all(np.isfinite(ax.collections[0].get_facecolor()))


def test_curves_are_told_apart_without_colour_as_well(ax):
    plots.draw_curves({"loss": [3.0, 2, 1], "box loss": [2.0, 1, 1]}, ax=ax)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["loss", "box loss"]
    assert len({line.get_linestyle() for line in legend.get_lines()}) == 2
    assert ax.get_xlabel() == "step"


def test_a_picture_is_sharp_keeps_its_colors_and_closes_its_figure():
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(3, 2))
    plots.draw_targets(TARGET[None], ax=ax)
    ax.autoscale_view()
    picture = plots.to_picture(figure, colors=8)
    assert not pyplot.get_fignums()
    image = Image.open(io.BytesIO(picture.png))
    assert image.size == (432, 288)
    np.testing.assert_allclose(image.info["dpi"], 144, atol=0.1)
    colors = {color for _, color in image.convert("RGB").getcolors()}
    assert len(colors) <= 8
    assert {(255, 255, 255), (0, 0x72, 0xB2)} <= colors
    assert picture._repr_png_() == (picture.png, {"width": 216, "height": 144})
    assert repr(picture) == "Picture(216 x 144)"


NOTEBOOKS = pathlib.Path(__file__).parent.parent / "notebooks"
OUTPUTS = {
    path.stem: [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
}
SHOWN = {
    name: [base64.b64decode(output["data"]["image/png"]) for output in outputs if "image/png" in output.get("data", {})]
    for name, outputs in OUTPUTS.items()
}


def sharpness(png):
    """Dots an inch."""
    return min(Image.open(io.BytesIO(png)).info["dpi"])


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_of_a_notebook_are_sharp(name):
    assert SHOWN[name]
    assert min(map(sharpness, SHOWN[name])) > 143.9


def test_pictures_that_the_readme_shows_are_sharp_and_those_of_the_notebooks():
    assert (NOTEBOOKS / "gradient_fields.png").read_bytes() == SHOWN["choosing_a_loss"][0]
    assert (NOTEBOOKS / "simulation_curves.png").read_bytes() == SHOWN["regression_simulation"][0]
    assert sharpness((NOTEBOOKS / "detections.png").read_bytes()) > 143.9


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_notebook_shows_no_warning_and_no_path_of_a_machine(name):
    assert [output for output in OUTPUTS[name] if output.get("name") == "stderr"] == []
    for output in OUTPUTS[name]:
        text = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
        assert not re.search(r"[Ww]arning|(^|\s)(/\w+){2,}|[A-Z]:\\", text)


def test_the_package_imports_no_matplotlib():
    program = "import sys, jaxbox; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
