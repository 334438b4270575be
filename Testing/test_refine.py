"""The close look: what it finds doesn't depend on where it started, in any orientation of the network."""

import numpy as np
import pytest
from conftest import bone_threshold_state, model_card

from SpineContextSegLib.model import load_model
from SpineContextSegLib.refine import CloseLook
from SpineContextSegLib.resampling import ras_grid
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.stopwatch import Stopwatch
from SpineContextSegLib.volume import Volume
from Training.export import export

SHAPE = (140, 100, 150)


@pytest.fixture(scope="module")
def curved() -> Volume:
    """A column of bone that wanders from side to side through a body, 280 mm high."""
    array = np.full(SHAPE, 40, np.int16)
    for k in range(SHAPE[0]):
        j, i = 50 + round(20 * np.sin(k / 30)), 75 + round(35 * np.cos(k / 40))
        array[k, j - 7 : j + 7, i - 9 : i + 9] = 1200
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -120, 35, -800
    return Volume(array, affine)


def close_look(volume, model, runtime, progress=None) -> CloseLook:
    grid = ras_grid(volume.grid, model.card.spacing_ras_mm)
    return CloseLook(volume, grid, model, runtime, Stopwatch(), progress)


def bone_points(volume: Volume, planes: slice = slice(None)) -> np.ndarray:
    indices = np.argwhere(volume.array[planes] > 1000)
    return volume.grid.world((indices + [planes.start or 0, 0, 0])[:, ::-1])


def whole(spine, grid) -> np.ndarray:
    """The mask of label 1 on the whole fine grid, from the part that was looked at."""
    first = np.rint((spine.grid.affine[:3, 3] - grid.affine[:3, 3]) / grid.spacing_mm).astype(int)[::-1]
    mask = np.zeros(grid.shape, bool)
    mask[tuple(slice(f, f + n) for f, n in zip(first, spine.grid.shape))] = spine.probabilities[1] >= spine.inside
    return mask


@pytest.fixture(scope="module", params=["RAS", "LPS", "IAR"])
def model(request, tmp_path_factory):
    card = model_card("threshold", 2, (56, 48, 64), 2.0) | {"axis_order": request.param}
    return export(bone_threshold_state(2), card, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def runtime(model):
    return choose_runtime(model, threads=1)


def test_all_of_it_is_found_from_its_points(curved, model, runtime):
    look = close_look(curved, model, runtime)
    spine = look.along_spine(bone_points(curved))
    assert np.array_equal(whole(spine, look.grid), curved.array > 1000)
    full = close_look(curved, model, runtime)
    full.everywhere(curved.grid)
    assert look.windows < full.windows / 2


@pytest.mark.parametrize("planes", [slice(0, 10), slice(60, 70), slice(130, 140)], ids=["foot", "middle", "top"])
def test_a_glimpse_of_it_is_followed_to_both_ends(curved, model, runtime, planes):
    """The coarse look may miss most of a spine: the close look goes on as long as it finds any."""
    done = []
    look = close_look(curved, model, runtime, lambda *count: done.append(count))
    spine = look.along_spine(bone_points(curved, planes))
    assert np.array_equal(whole(spine, look.grid), curved.array > 1000)
    assert done[-1] == (look.windows, look.windows)
    assert [n for n, _ in done] == list(range(1, look.windows + 1))


def test_what_lies_aside_from_the_column_is_not_followed(model, runtime):
    """As a network may take some of a hip for sacrum, which is no reason to look at all of the hip."""

    def windows(hip: bool) -> int:
        array = np.full(SHAPE, 40, np.int16)
        array[:, 43:57, 33:47] = 1200
        if hip:
            array[60:80, 43:57, 62:145] = 1200
        volume = Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]))
        look = close_look(volume, model, runtime)
        column = array > 1000
        column[..., 60:] = False
        spine = look.along_spine(volume.grid.world(np.argwhere(column)[:, ::-1]))
        found = whole(spine, look.grid)
        assert np.array_equal(found & column, column) and found[..., 60:].any() == hip
        return look.windows

    assert windows(hip=True) == windows(hip=False)


def test_everywhere_is_everywhere_in_the_body(curved, model, runtime):
    look = close_look(curved, model, runtime)
    spine = look.everywhere(look.grid.crop((slice(30, 110), slice(15, 90), slice(20, 140))))
    assert np.array_equal(whole(spine, look.grid)[30:110, 15:90, 20:140], (curved.array > 1000)[30:110, 15:90, 20:140])


def test_border_of_the_scan_is_known(curved, model, runtime):
    """Also where the part that was looked at ends inside the scan."""
    spine = close_look(curved, model, runtime).everywhere(curved.grid)
    assert spine.at_border(np.array([[0, 50, 75], [139, 50, 75], [70, 50, 0]])).all()
    assert not spine.at_border(np.array([[1, 50, 75], [138, 50, 75], [70, 50, 1]])).any()
    middle = bone_points(curved, slice(68, 72))
    array = np.full(SHAPE, 40, np.int16)
    array[68:72] = curved.array[68:72]
    part = close_look(Volume(array, curved.affine), model, runtime).along_spine(middle)
    assert not part.at_border(np.argwhere(part.probabilities[1] >= part.inside)).any()
    assert part.grid.shape[0] < SHAPE[0] and not part.at_border(np.array([[0, 20, 20]])).any()


def test_scan_smaller_than_a_window(tiny_model):
    model = load_model(tiny_model)
    array = np.full((9, 5, 12), 40, np.int16)
    array[:, 1:4, 3:8] = 1200
    volume = Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]))
    look = close_look(volume, model, choose_runtime(model, threads=1))
    assert np.array_equal(whole(look.along_spine(bone_points(volume)), look.grid), array > 1000)
