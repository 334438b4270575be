"""Levels written into labels on a scan's own grid: flipped, oblique, anisotropic; vertebrae, discs, sacrum, canal."""

from dataclasses import replace

import numpy as np
import pytest
from columns import block_spine, spine_of, true_levels
from geometry import LPS, OBLIQUE, SAGITTAL, centered_grid

from SpineContextSegLib.column import Column, centers_above, level_above, name_vertebrae
from SpineContextSegLib.labels import (
    CANAL,
    DISC_LEVEL_UNKNOWN,
    DISC_OFFSET,
    LEVEL_ORDER,
    SACRUM,
    VERTEBRA_LEVEL_UNKNOWN,
)
from SpineContextSegLib.levels import A_GUESS, LOOKS_LIKE, ORDER, Levels
from SpineContextSegLib.refine import OFFSET_STEP_MM
from SpineContextSegLib.resampling import labels_on_grid
from SpineContextSegLib.spacing import looks_by_spacing
from SpineContextSegLib.volume import Grid, Volume
from Training.anatomy.generate import generate
from Training.make_phantom import verse_labels

SPACING_MM = 3.0
CLASSES = [value for value in ORDER if value not in LOOKS_LIKE]


@pytest.fixture(scope="module")
def anatomy():
    return generate(12, SPACING_MM, region="abdomen")


@pytest.fixture(scope="module")
def spine(anatomy):
    return spine_of(anatomy, error_mm=2.0)


def look_at(anatomy, spine, errs: bool):
    """A naming network that is sure: of the truth, or one level too low for every fourth vertebra."""
    truth = true_levels(anatomy)
    places = np.argwhere(truth > 0)
    points, values = spine.grid.world(places[:, ::-1]), truth[tuple(places.T)]
    middles = {value: points[values == value].mean(0) for value in np.unique(values).tolist()}

    def looks(centers):
        nearest = [min(middles, key=lambda value: np.linalg.norm(middles[value] - center)) for center in centers]
        numbers = np.array([CLASSES.index(LOOKS_LIKE.get(value, value)) for value in nearest])
        if errs:
            numbers += np.arange(len(numbers)) % 4 == 0
        return {value: (numbers == n).astype(np.float32) for n, value in enumerate(CLASSES)}

    return looks


@pytest.fixture(scope="module")
def look(anatomy, spine):
    return look_at(anatomy, spine, errs=True)


def grids(source: Grid) -> dict[str, Grid]:
    """The space of `source` sampled in other ways."""
    middle = source.world((np.array(source.shape[::-1]) - 1) / 2)
    size = source.extent_mm + 6
    return {
        "flipped": centered_grid((2.5, 2.5, 3.0), size, LPS, middle),
        "thick slices": centered_grid((2.0, 2.0, 5.0), size, -LPS, middle),
        "oblique": centered_grid((2.5, 2.5, 2.5), size + 40, OBLIQUE, middle),
        "sagittal": centered_grid((2.5, 2.5, 4.0), size[[1, 2, 0]], SAGITTAL, middle),
    }


@pytest.mark.parametrize("name", ("flipped", "thick slices", "oblique", "sagittal"))
def test_levels_lie_where_they_are_in_space(anatomy, spine, look, name):
    grid = grids(spine.grid)[name]
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, grid, spine.inside), grid.affine)
    before = labels.array.copy()
    column = name_vertebrae(labels, spine, look)
    assert list(column.levels.values) == [v for v in LEVEL_ORDER if v in set(column.levels.values)]
    # What is bone, canal or background isn't changed by naming it.
    for value in (0, SACRUM, CANAL):
        assert np.array_equal(labels.array == value, before == value)
    truth = verse_labels(anatomy)
    at_centers = np.argwhere(labels.array > 0)
    indices = np.rint((grid.world(at_centers[:, ::-1]) - spine.grid.affine[:3, 3]) / SPACING_MM).astype(int)[:, ::-1]
    inside = ((indices >= 0) & (indices < spine.grid.shape)).all(1)
    true = truth[tuple(indices[inside].T)]
    found = labels.array[tuple(at_centers[inside].T)]
    # Voxels at a surface may lie in the next voxel of the other grid; a vertebra at the border may be left over.
    for value in column.levels.values[1:-1]:
        assert np.mean(true[found == value] == value) > 0.8
        assert not (np.isin(true[found == value], [v for v in ORDER if v != value]).mean() > 0.03)


def test_discs_are_named_after_the_vertebra_above(anatomy, spine, look):
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    unnamed = labels.array == DISC_LEVEL_UNKNOWN
    column = name_vertebrae(labels, spine, look)
    truth = verse_labels(anatomy)
    assert not (labels.array == DISC_LEVEL_UNKNOWN).any()
    inner = np.isin(truth, [DISC_OFFSET + value for value in column.levels.values[:-1]]) & unnamed
    assert inner.sum() > 100 and np.mean(labels.array[inner] == truth[inner]) > 0.97


def test_report_is_plain_and_complete(spine, look):
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    report = name_vertebrae(labels, spine, look).report()
    assert set(report) == {"certain", "confidence", "reason", "vertebrae"}
    first = report["vertebrae"][0]
    assert set(first) == {"value", "name", "probability", "center_ras_mm", "partial"}
    heights = [entry["center_ras_mm"][2] for entry in report["vertebrae"]]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize(("first", "above"), [(1, 1), (2, 1), (20, 19), (28, 19), (25, 24)])
def test_disc_above_the_first_vertebra_has_a_value_of_its_own(first, above):
    """A disc at the upper border belongs to a vertebra out of view; above C1 there is none."""
    assert level_above(first) == above


def test_specks_are_no_vertebrae(spine, look):
    """Nothing is named, so that 1 doesn't come to mean C1."""
    speck = {value: np.zeros_like(array) for value, array in spine.probabilities.items()}
    speck[VERTEBRA_LEVEL_UNKNOWN][40:42, 40:42, 40:42] = 255
    labels = Volume(labels_on_grid(speck, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    assert name_vertebrae(labels, replace(spine, probabilities=speck), look) is None
    assert set(np.unique(labels.array)) == {0, VERTEBRA_LEVEL_UNKNOWN}


@pytest.fixture(scope="module")
def trunk():
    """A spine of many vertebrae, and a network that knows them."""
    anatomy = generate(12, 4.0, region="whole")
    spine = spine_of(anatomy, error_mm=1.0)
    return spine, look_at(anatomy, spine, errs=False)


def named(spine, look):
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    return labels.array, name_vertebrae(labels, spine, look)


def test_what_looks_like_no_vertebra_is_dropped_at_the_ends_alone(trunk):
    """The third one is between vertebrae: it is one. The last two are the tip of a hip, say."""
    spine, look = trunk
    usual, column = named(spine, look)
    assert len(column.levels.values) > 8

    def unsure(centers):
        looks = look(centers)
        factor = np.ones(len(centers))
        factor[[2, -2, -1]] = 0.1
        return {value: share * factor for value, share in looks.items()}

    array, shorter = named(spine, unsure)
    assert shorter.levels.values == column.levels.values[:-2]
    for value in column.levels.values[:-2]:
        assert np.array_equal(array == value, usual == value)
    assert not np.isin(array, column.levels.values[-2:]).any()
    nothing, none = named(spine, lambda centers: {value: share * 0.1 for value, share in look(centers).items()})
    assert none is None and (nothing == VERTEBRA_LEVEL_UNKNOWN).any()


def blocks(*heights, gap=2):
    """Blocks of 20 x 20 mm and these heights, from top to bottom, as vertebrae with a gap between them."""
    tops = np.cumsum([0, *(height + gap for height in heights)])
    size = int(tops[-1]) + 10
    boxes = [(slice(size - 5 - top - height, size - 5 - top), slice(5, 25), slice(5, 25))
             for top, height in zip(tops.tolist(), heights)]  # fmt: skip
    return block_spine(*boxes, shape=(size, 30, 30))


def looking_like(values, none):
    """What is sure of the levels but for how much each vertebra looks like none."""
    return lambda centers: {
        value: np.where(np.array(values) == value, 1 - np.array(none), 0.0) for value in sorted(set(values))
    }


def test_metal_in_most_of_a_short_crop_leaves_its_vertebrae_apart():
    """They can be put right by hand then; how sure they look doesn't count."""
    array, column = named(blocks(25, 25, 25), looking_like([20, 21, 22], [0.1, 0.6, 0.6]))
    assert column.levels.values == (20, 21, 22) and set(np.unique(array)) == {0, 20, 21, 22}
    assert not column.levels.certain
    (remark,) = column.remarks
    assert remark.startswith("Levels are uncertain") and "metal" in remark and "head and feet" in remark
    _, usual = named(blocks(25, 25, 25), looking_like([20, 21, 22], [0.1, 0.1, 0.6]))
    assert not usual.levels.odd_looks


def test_what_mostly_looks_like_no_vertebra_stays_unnamed():
    """As the lower half of the sample looks with head and feet exchanged."""
    none = [0.26, 0.68, 0.78, 0.85, 0.77, 0.98, 0.99, 0.98, 0.98]
    array, column = named(blocks(*[25] * 9), looking_like(range(10, 19), none))
    assert column is None and set(np.unique(array)) == {0, VERTEBRA_LEVEL_UNKNOWN}


@pytest.mark.parametrize(
    ("none", "turned_none", "upside_down"),
    [(0.2, 0.0, True), (0.2, 0.3, False), (0.05, 0.0, False)],
    ids=["better turned", "worse turned", "good enough not to ask"],
)
def test_vertebrae_that_look_better_with_head_and_feet_exchanged(none, turned_none, upside_down):
    spine, values = blocks(25, 25, 25), [22, 23, 24]
    look, turned = (looking_like(values, [share] * 3) for share in (none, turned_none))
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    column = name_vertebrae(labels, spine, look, turned=turned)
    assert column.levels.upside_down == upside_down and column.levels.values == tuple(values)
    assert ("head and feet" in column.remarks[0]) == upside_down
    assert max(column.levels.probabilities) <= (A_GUESS if upside_down else 1)


def test_looks_count_for_more_than_distances():
    """A body found twice at the lower end makes distances fall downward."""
    spine = blocks(34, 34, 34, 30, 18, 14, 14)
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    look, turned = (looking_like([19, 20, 21, 22, 23, 24, 24], [share] * 7) for share in (0.0, 0.7))
    assert name_vertebrae(Volume(labels.array.copy(), labels.affine), spine, look).levels.upside_down
    assert not name_vertebrae(labels, spine, look, turned=turned).levels.upside_down


@pytest.mark.parametrize("none", [0.55, 0.65])
def test_a_hip_alone_is_never_certain(none):
    _, column = named(blocks(25), looking_like([2], [none]))
    assert not column.levels.certain and column.levels.odd_looks


def test_a_piece_of_sacrum_alone_is_named_as_that_and_no_disc_by_it():
    spine = blocks(25)
    disc = np.zeros_like(spine.probabilities[VERTEBRA_LEVEL_UNKNOWN])
    disc[-4:, 5:25, 5:25] = 255
    spine = replace(spine, probabilities=spine.probabilities | {DISC_LEVEL_UNKNOWN: disc})
    array, column = named(spine, looking_like([SACRUM], [0.0]))
    assert column is None and set(np.unique(array)) == {0, SACRUM, DISC_LEVEL_UNKNOWN}


def test_c1_alone_stays_unnamed():
    """Its value in a file that holds no other vertebra would be read as any of them."""
    array, column = named(blocks(20), looking_like([1], [0.0]))
    assert column is None and set(np.unique(array)) == {0, VERTEBRA_LEVEL_UNKNOWN}
    array, column = named(blocks(20, 20), looking_like([1, 2], [0.0, 0.0]))
    assert column.levels.values == (1, 2) and set(np.unique(array)) == {0, 1, 2}


def test_what_was_found_twice_is_one_vertebra():
    spine = blocks(28, 28, 28, 13, 13, 28, 28, 28)
    array, column = named(spine, looking_like([17, 18, 19, 20, 20, 21, 22, 23], [0.0] * 8))
    assert column.levels.values == (17, 18, 19, 20, 21, 22, 23)
    assert len(column.levels.probabilities) == len(column.centers) == len(column.at_border) == 7
    own = np.argwhere(array == 20)[:, ::-1].mean(0)
    assert np.allclose(column.centers[3], own, atol=1.0)
    assert [entry["value"] for entry in column.report()["vertebrae"]] == list(column.levels.values)
    assert not column.levels.twice


@pytest.mark.parametrize(
    ("at_border", "said"),
    [
        ((False, False, False), []),
        ((True, False, False), ["T11 is cut by the border of the scan."]),
        ((True, False, True), ["T11 and L1 are cut by the border of the scan."]),
        ((True, True, True), ["T11, T12 and L1 are cut by the border of the scan."]),
    ],
)
def test_what_the_border_cuts_is_said(at_border, said):
    levels = Levels((18, 19, 20), (0.99,) * 3, ("last ribs",))
    assert Column(np.zeros((3, 3)), np.array(at_border), levels).remarks == said
    unsure = Column(np.zeros((3, 3)), np.array(at_border), levels.at_most(0.5)).remarks
    assert unsure[1:] == said and "uncertain" in unsure[0]


def test_segments_of_the_sacrum_become_sacrum(trunk):
    spine, look = trunk

    def lowest_is_sacrum(centers):
        looks = look(centers)
        classes = [*looks, SACRUM]
        values = [*range(24 - len(centers) + 2, 25), SACRUM]
        return {value: np.array([float(value == other) for other in values]) for value in classes}

    usual, column = named(spine, look)
    array, shorter = named(spine, lowest_is_sacrum)
    assert len(shorter.levels.values) == len(column.levels.values) - 1 and shorter.levels.values[-1] == 24
    assert DISC_OFFSET + SACRUM not in array and DISC_OFFSET + 24 in array
    lowest = usual == column.levels.values[-1]
    assert (array[lowest] == SACRUM).all() and not (array == VERTEBRA_LEVEL_UNKNOWN).any()


@pytest.mark.parametrize(("lowest", "room", "gap"), [(23, 0, None), (23, 20, (23, SACRUM)), (24, 20, None)])
def test_l5_missed_above_the_sacrum_is_a_gap(lowest, room, gap):
    """Where its room is there; L5 itself has nothing below but L6, which only some people have."""
    upper = [(slice(k, k + 14), slice(5, 25), slice(5, 25)) for k in (96, 76, 56)]
    spine = block_spine(*upper, shape=(114, 30, 30))
    spine.probabilities[SACRUM] = np.zeros((114, 30, 30), np.uint8)
    spine.probabilities[SACRUM][30 - room : 52 - room, 5:25, 5:25] = 255
    values = np.arange(lowest - 2, lowest + 1)
    _, column = named(spine, lambda centers: {value: (values == value).astype(float) for value in CLASSES})
    assert column.levels.values == tuple(values) and column.levels.gap == gap
    assert bool(gap) == ("none was found between L4 and Sacrum" in column.levels.reason)


def test_what_lies_below_the_sacrum_is_no_vertebra(trunk):
    """A block as large as a small vertebra before the lower half of the sacrum, as of gut in an MR."""
    spine, look = trunk
    probabilities = {value: array.copy() for value, array in spine.probabilities.items()}
    offsets = spine.offsets.copy()
    low, _, _ = np.argwhere(probabilities[SACRUM] > 0).min(0)
    k, j, i = np.argwhere(probabilities[SACRUM][: low + 8] > 0).mean(0).astype(int)
    block = slice(k - 3, k + 3), slice(j + 8, j + 14), slice(i - 3, i + 3)
    assert not any(array[block].any() for array in probabilities.values())
    probabilities[VERTEBRA_LEVEL_UNKNOWN][block] = 255
    ways = np.array([k - 0.5, j + 10.5, i - 0.5])[:, None, None, None] - np.indices(spine.grid.shape)
    for axis in range(3):
        offsets[axis][block] = np.rint(ways[2 - axis][block] * 4.0 / OFFSET_STEP_MM)
    usual, column = named(spine, look)
    array, same = named(replace(spine, probabilities=probabilities, offsets=offsets), look)
    assert same.levels.values == column.levels.values and np.array_equal(array, usual)


def surely_called(*values):
    """A network that is sure of each of so many vertebrae, from top to bottom."""
    def look(centers):
        assert len(centers) == len(values)
        return {v: np.array([0.99 * (v == value) for value in values]) for v in (*range(1, 25), SACRUM)}
    return look


def test_a_crumb_on_the_sacrum_is_sacrum_where_no_network_names():
    """Three vertebrae, and a fourth of a quarter of their size above the sacrum, as in an MR."""
    upper = [(slice(k, k + 14), slice(5, 25), slice(5, 25)) for k in (66, 46, 26)]
    crumb = slice(16, 23), slice(8, 22), slice(8, 24)
    spine = block_spine(*upper, crumb, shape=(84, 30, 30))
    spine.probabilities[SACRUM] = np.zeros((84, 30, 30), np.uint8)
    spine.probabilities[SACRUM][:16, 5:25, 5:25] = 255
    array, column = named(spine, looks_by_spacing)
    assert column.levels.values == (22, 23, 24) and (array[crumb] == SACRUM).all()
    assert len(named(spine, surely_called(21, 22, 23, 24))[1].levels.values) == 4, "a network knows better"
    larger = block_spine(*upper, (slice(16, 23), slice(5, 25), slice(5, 25)), shape=(84, 30, 30))
    larger.probabilities[SACRUM] = spine.probabilities[SACRUM]
    assert len(named(larger, looks_by_spacing)[1].levels.values) == 4
    speck = block_spine(*upper, crumb, shape=(84, 30, 30))
    speck.probabilities[SACRUM] = np.zeros((84, 30, 30), np.uint8)
    speck.probabilities[SACRUM][10:16, 10:16, 10:16] = 255
    array, column = named(speck, looks_by_spacing)
    assert len(column.levels.values) == 4 and not (array[crumb] == SACRUM).any(), "a speck is no sacrum to be part of"


def test_arch_that_points_into_the_sacrum_is_sacrum():
    """A piece of any size, cut by the border, whose votes meet where the sacrum is: that of a steep L5, in an MR."""
    upper = [(slice(k, k + 14), slice(15, 35), slice(5, 25)) for k in (66, 46, 26)]
    arch = slice(2, 23), slice(0, 12), slice(5, 25)
    spine = block_spine(*upper, shape=(84, 40, 30))
    spine.probabilities[VERTEBRA_LEVEL_UNKNOWN][arch] = 255
    ways = np.array([12, 25, 14.5])[:, None, None, None] - np.indices((84, 40, 30))
    for axis in range(3):
        spine.offsets[axis][arch] = np.rint(ways[2 - axis][arch] / OFFSET_STEP_MM)
    spine.probabilities[SACRUM] = np.zeros((84, 40, 30), np.uint8)
    bare, column = named(spine, looks_by_spacing)
    assert len(column.levels.values) == 4, "without sacrum there it is a vertebra"
    spine.probabilities[SACRUM][:23, 13:38, 5:25] = 255
    array, column = named(spine, looks_by_spacing)
    assert column.levels.values == (22, 23, 24) and (array[arch][:, :8] == SACRUM).all()
    array, column = named(spine, surely_called(21, 22, 23, 24))
    assert len(column.levels.values) == 3 and (array[arch][:, :8] == SACRUM).all(), "whatever a network says"


def test_sacrum_above_the_last_gap_is_vertebra(trunk):
    """Specks of it at the upper end, as a network errs."""
    spine, look = trunk
    probabilities = {value: array.copy() for value, array in spine.probabilities.items()}
    vertebra = np.argwhere(probabilities[VERTEBRA_LEVEL_UNKNOWN] > 0)
    top = vertebra[vertebra[:, 0] > vertebra[:, 0].max() - 8][::2]
    at = tuple(top.T)
    usual, _ = named(spine, look)
    probabilities[VERTEBRA_LEVEL_UNKNOWN][at], probabilities[SACRUM][at] = 0, 255
    array, _ = named(replace(spine, probabilities=probabilities), look)
    assert np.mean(array[at] == usual[at]) > 0.9 and (array[at] != SACRUM).all()


def test_sacrum_beside_l5_stays_where_two_pieces_of_it_seemed_vertebrae():
    spine = blocks(25, 25, 25, 25, 25)
    sacrum = np.zeros_like(spine.probabilities[VERTEBRA_LEVEL_UNKNOWN])
    beside = slice(62, 70), slice(5, 25), slice(25, 28)  # the lower half of L5, which lies at 61 to 86
    sacrum[beside] = 255
    spine = replace(spine, probabilities=spine.probabilities | {SACRUM: sacrum})
    array, column = named(spine, looking_like([22, 23, 24, SACRUM, SACRUM], [0.0] * 5))
    assert column.levels.values == (22, 23, 24) and (array[61:86, 5:25, 5:25] == 24).all()
    assert (array[beside] == SACRUM).all()


def test_place_along_a_leaning_column():
    centers = np.array([[0.0, 0, 100], [10, 0, 80], [20, 0, 60]])
    # Midway between the first two, measured along the column and not by height.
    aside = np.array([[5.0, 0, 90], [5 - 12, 0, 90 - 6], [30, 0, 40], [0, 0, 110]])
    assert centers_above(aside, centers).tolist() == [1, 1, 3, 0]
    assert centers_above(aside, centers[:1]).tolist() == [1, 1, 1, 0]
