"""Single vertebrae from offsets: generated columns with the errors of a network, touching neighbors, cut ends."""

from dataclasses import replace

import numpy as np
import pytest
from columns import block_spine, spine_of, true_levels, unpadded
from geometry import rotation

from SpineContextSegLib.instances import numbers_at, single_vertebrae
from SpineContextSegLib.labels import C1, C2, LEVEL_ORDER, VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.refine import OFFSET_STEP_MM
from SpineContextSegLib.volume import Grid
from Training.anatomy.generate import generate

SPACING_MM = 3.0
LEAST_ML = 1.5
REGIONS = {"neck": 4, "chest": 5, "abdomen": 6, "trunk": 7}


@pytest.fixture(scope="module", params=REGIONS, ids=list(REGIONS))
def anatomy(request):
    return generate(REGIONS[request.param], SPACING_MM, region=request.param)


def test_every_vertebra_is_found_once_and_whole(anatomy):
    spine, truth = spine_of(anatomy), true_levels(anatomy)
    vertebrae = single_vertebrae(spine)
    present = [v for v in LEVEL_ORDER if (truth == v).sum() * SPACING_MM**3 / 1000 >= LEAST_ML]
    mask = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN] > 0
    found = []
    for number in range(1, len(vertebrae.centers) + 1):
        own = (vertebrae.numbers == number) & mask
        level = np.bincount(truth[own]).argmax()
        found.append(level)
        if level in present:
            least = 0.85 if vertebrae.at_border[number - 1] else 0.97
            assert 2 * (own & (truth == level)).sum() > least * (own.sum() + (truth == level).sum())
    # From top to bottom; slivers at the border may be there or not.
    assert [v for v in found if v in present] == present
    assert len(set(found)) == len(found)


def test_centers_are_the_middles_of_the_bodies(anatomy):
    vertebrae = single_vertebrae(spine_of(anatomy, error_mm=0))
    for vertebra in anatomy.plan.vertebrae:
        inside = np.all((vertebra.center > anatomy.plan.view_lo + 12) & (vertebra.center < anatomy.plan.view_hi - 12))
        if inside and vertebra.name not in ("C1", "C2"):  # a ring, and a dens on top
            assert np.linalg.norm(vertebrae.centers - vertebra.center, axis=1).min() < 4.0


def test_what_the_border_cuts_is_marked(anatomy):
    vertebrae, truth = single_vertebrae(spine_of(anatomy)), true_levels(anatomy)
    for number, marked in enumerate(vertebrae.at_border, start=1):
        own = vertebrae.numbers == number
        level = np.bincount(truth[own])[1:].argmax() + 1
        faces = [np.moveaxis(truth == level, axis, 0)[end].sum() for axis in range(3) for end in (0, -1)]
        # A voxel or two at the border are not worth a mark.
        assert marked == (max(faces) > 0.01 * (truth == level).sum())


UPPER, LOWER = (slice(20, 35), slice(5, 25), slice(5, 25)), (slice(5, 20), slice(5, 25), slice(5, 25))


def test_neighbors_that_touch_over_a_whole_face_are_two():
    spine = block_spine(UPPER, LOWER)
    vertebrae = single_vertebrae(spine)
    assert len(vertebrae.centers) == 2 and not vertebrae.at_border.any()
    assert (vertebrae.numbers[UPPER] == 1).all() and (vertebrae.numbers[LOWER] == 2).all()
    assert np.allclose(vertebrae.centers, [[14.5, 14.5, 27], [14.5, 14.5, 12]], atol=1.0)


def test_a_process_beside_the_neighbor_belongs_to_its_own():
    """It hangs down behind the vertebra below and touches only that one, as where the lamina is too thin to be seen."""
    upper, lower = (slice(20, 35), slice(45, 75), slice(5, 25)), (slice(5, 20), slice(5, 75), slice(5, 25))
    spine = block_spine(upper, lower, shape=(40, 80, 30))
    process = slice(8, 18), slice(0, 5), slice(8, 18)
    spine.probabilities[VERTEBRA_LEVEL_UNKNOWN][process] = 255
    middle = np.array([27, 59.5, 14.5])
    ways = (middle[:, None, None, None] - np.indices((40, 80, 30)))[::-1]
    spine.offsets[(slice(None), *process)] = np.rint(ways / OFFSET_STEP_MM)[(slice(None), *process)]
    assert (single_vertebrae(spine).numbers[process] == 1).all()


def test_an_arch_that_votes_too_low_stays_with_its_body():
    """As in a bent chest, where the tilt of a vertebra is underrated and its arch votes half a vertebra off."""
    arches = [(slice(k + 3, k + 12), slice(0, 30), slice(8, 22)) for k in (20, 5)]
    bodies = [(slice(k, k + 15), slice(30, 60), slice(5, 25)) for k in (20, 5)]
    spine = block_spine(*bodies, shape=(40, 65, 30))
    for arch, height in zip(arches, (27 - 9, 12)):
        spine.probabilities[VERTEBRA_LEVEL_UNKNOWN][arch] = 255
        ways = (np.array([height, 44.5, 14.5])[:, None, None, None] - np.indices((40, 65, 30)))[::-1]
        spine.offsets[(slice(None), *arch)] = np.rint(ways / OFFSET_STEP_MM)[(slice(None), *arch)]
    numbers = single_vertebrae(spine).numbers
    assert (numbers[arches[0]] == 1).mean() > 0.99 and (numbers[arches[1]] == 2).mean() > 0.99


def test_a_crumb_goes_to_what_it_touches():
    spine = block_spine(UPPER, LOWER)
    crumb = slice(8, 12), slice(8, 12), slice(5, 9)
    spine.offsets[(2, *crumb)] = 25
    assert (single_vertebrae(spine).numbers[LOWER] == 2).all()


def test_votes_beside_the_column_make_no_vertebra():
    """A rib head that points sideways."""
    spine = block_spine(UPPER, LOWER)
    spine.probabilities[VERTEBRA_LEVEL_UNKNOWN][12:16, 5:25, 25:30] = 255
    spine.offsets[0, 12:16, 5:25, 25:30] = 30
    assert len(single_vertebrae(spine).centers) == 2


def test_an_arch_that_votes_into_a_disc_is_no_vertebra():
    """Between two bodies, 10 mm apart, votes of a piece of bone behind them meet."""
    bodies = (slice(30, 50), slice(15, 35), slice(5, 25)), (slice(0, 20), slice(15, 35), slice(5, 25))
    spine = block_spine(*bodies, shape=(50, 40, 30))
    arch = slice(21, 29), slice(5, 14), slice(3, 27)
    spine.probabilities[VERTEBRA_LEVEL_UNKNOWN][arch] = 255
    ways = np.array([24.5, 24.5, 14.5])[:, None, None, None] - np.indices(spine.grid.shape)
    for axis in range(3):
        spine.offsets[axis][arch] = np.rint(ways[2 - axis][arch] / OFFSET_STEP_MM)
    vertebrae = single_vertebrae(spine)
    assert len(vertebrae.centers) == 2
    assert set(np.unique(vertebrae.numbers[arch])) <= {1, 2}
    # Where a body is missing, as by a lesion, its vertebra is as large as its neighbors, or nearly.
    lesion = block_spine(*bodies, shape=(50, 40, 30))
    lesion.probabilities[VERTEBRA_LEVEL_UNKNOWN][33:47, 18:32, 8:22] = 0
    assert len(single_vertebrae(lesion).centers) == 2


def test_between_two_bodies_a_tiny_one_is_none():
    """However much bone is in its middle; at the end of the column a scan may leave as little of one."""
    bodies = [(slice(first, first + 24), slice(5, 45), slice(5, 45)) for first in (46, 4)]
    tiny = slice(32, 42), slice(15, 28), slice(15, 28)
    assert len(single_vertebrae(block_spine(*bodies, tiny, shape=(75, 50, 50))).centers) == 2
    above = tuple(slice(part.start + offset, part.stop + offset) for part, offset in zip(tiny, (46, 0, 0)))
    assert len(single_vertebrae(block_spine(*bodies, above, shape=(90, 50, 50))).centers) == 3


def test_a_body_whose_votes_fall_into_two_is_one():
    """As in thick slices: its upper half points above its middle, its lower half below it, 12 mm apart."""
    bodies = [(slice(first, first + 24), slice(5, 35), slice(5, 35)) for first in (106, 72, 38, 4)]
    spine = block_spine(*bodies, shape=(134, 40, 40))
    middle = np.zeros(spine.grid.shape)
    middle[50:62], middle[38:50] = 6, -6
    spine.offsets[2] += np.rint(middle / OFFSET_STEP_MM).astype(np.int8)
    vertebrae = single_vertebrae(spine)
    assert len(vertebrae.centers) == 4
    assert (vertebrae.numbers[bodies[2]] == 3).mean() > 0.99


@pytest.mark.parametrize(
    ("present", "width"),
    [
        ((0, 1, 2, 5, 6, 9, 10, 11), 30),
        ((0, 1, 3.03, 4, 6, 7), 30),
        ((0, 3, 4, 7), 30),  # most ways are those of misses
        ((0, 1, 4, 5, 8, 9), 60),  # the one below is as large as two
    ],
)
def test_two_whole_ones_between_missed_ones_stay_two(present, width):
    """However near they lie beside the ways on to their next."""
    tops = [370 - round(30 * place) for place in present]
    widths = [width if n == len(tops) - 2 else 30 for n in range(len(tops))]
    boxes = [(slice(top - 24, top), slice(5, 35), slice(5, 5 + wide)) for top, wide in zip(tops, widths)]
    vertebrae = single_vertebrae(block_spine(*boxes, shape=(375, 40, 70)))
    assert np.allclose(vertebrae.centers[:, 2], [top - 12.5 for top in tops], atol=1)


@pytest.fixture(scope="module")
def taken_dens():
    """A neck whose dens points to the middle of C1, as networks do, and the voxels of that dens."""
    neck = generate(REGIONS["neck"], SPACING_MM, region="neck")
    spine, truth = spine_of(neck), true_levels(neck)
    middle = np.argwhere(truth == C1).mean(0)
    ways = (middle[:, None, None, None] - np.indices(truth.shape))[::-1] * SPACING_MM
    dens = (truth == C2) & (np.hypot(*ways[:2]) < 8) & (np.abs(ways[2]) < 10)
    offsets = spine.offsets.copy()
    offsets[:, dens] = np.rint(ways / OFFSET_STEP_MM)[:, dens]
    return replace(spine, offsets=offsets), dens


def named(*pairs):
    """A look that gives the first vertebrae (C1, C2) shares, and all others none."""
    return lambda centers: {
        value: np.pad([pair[n] for pair in pairs], (0, len(centers) - len(pairs))) for n, value in enumerate((C1, C2))
    }


@pytest.mark.parametrize("look", [named((0.9, 0.1), (0, 1)), named((0.1, 0.8), (0.1, 0.9))], ids=["C1", "like C2"])
def test_what_lies_in_the_ring_of_c1_is_the_dens_of_c2(taken_dens, look):
    spine, dens = taken_dens
    assert dens.sum() > 10
    assert (single_vertebrae(spine, look).numbers[dens] == 2).mean() > 0.95


@pytest.mark.parametrize("look", [None, named((0, 0.9), (0, 0)), named()], ids=["none", "C2 on top", "no neck"])
def test_without_a_c1_in_view_votes_decide(taken_dens, look):
    spine, dens = taken_dens
    assert (single_vertebrae(spine, look).numbers[dens] == 1).mean() > 0.9


def test_numbers_reach_a_little_around_and_end_between_neighbors():
    vertebrae = single_vertebrae(block_spine(UPPER, LOWER))
    points = np.array([[14.5, 14.5, 19.6], [14.5, 14.5, 19.4], [14.5, 25.6, 27], [14.5, 200.0, 12], [14.5, -50.0, 30]])
    assert numbers_at(vertebrae, points).tolist() == [1, 2, 1, 2, 1]


def test_nothing_is_nothing():
    nothing = block_spine()
    vertebrae = single_vertebrae(nothing)
    assert vertebrae.centers.shape == (0, 3) and not vertebrae.numbers.any() and len(vertebrae.at_border) == 0
    assert numbers_at(vertebrae, np.zeros((4, 3))).tolist() == [0] * 4
    speck = block_spine((slice(10, 14),) * 3)
    assert len(single_vertebrae(speck).centers) == 0


def test_part_of_a_scan_that_ends_inside_it_cuts_nothing():
    spine = block_spine((slice(0, 15), slice(5, 25), slice(5, 25)))
    assert single_vertebrae(spine).at_border.tolist() == [True]
    further_down = Grid((60, 30, 30), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -20], [0, 0, 0, 1.0]]))
    assert single_vertebrae(replace(spine, scan=unpadded(further_down))).at_border.tolist() == [False]


@pytest.mark.parametrize("share", [0.4, 0.06])
def test_a_turned_scan_cuts_where_it_ends_itself(share):
    """Far below the upper face of the upright grid around it; of what it cuts, a sliver is enough."""
    boxes = [(slice(first, first + 18), slice(20, 45), slice(20, 45)) for first in (2, 30, 58)]
    spine = block_spine(*boxes, shape=(100, 66, 66))
    affine = np.eye(4)
    affine[:3, :3] = rotation(15, 0)
    affine[:3, 3] = -affine[:3, :3] @ [10, 60, 60]
    places = spine.grid.world(np.indices(spine.grid.shape)[::-1].transpose(1, 2, 3, 0))
    up = (places @ affine[:3, 2]) + 60
    planes = int(np.quantile(up[boxes[2]], share))
    mask = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN] * (up < planes - 0.5)
    cut = replace(spine, probabilities={VERTEBRA_LEVEL_UNKNOWN: mask}, scan=unpadded(Grid((planes, 140, 90), affine)))
    assert single_vertebrae(cut).at_border.tolist() == [True, False, False]
    inside = single_vertebrae(replace(cut, scan=unpadded(Grid((planes + 40, 140, 90), affine)))).at_border.tolist()
    assert inside == ([False] * 3 if share > 0.1 else [False] * 2), "a sliver inside a scan is a crumb"


def test_a_column_with_a_long_gap_in_it():
    """Metal or a bad part of a scan: nothing votes for 200 mm, and the column goes on aside."""
    upper, lower = (slice(270, 300), slice(5, 25), slice(5, 25)), (slice(5, 35), slice(25, 45), slice(5, 25))
    vertebrae = single_vertebrae(block_spine(upper, lower, shape=(310, 50, 30)))
    assert len(vertebrae.centers) == 2 and np.isfinite(vertebrae.centers).all()
    assert vertebrae.numbers[upper].min() == 1 and vertebrae.numbers[lower].min() == 2


def test_more_vertebrae_than_anybody_has_are_told_apart():
    """As where a network calls anything bone, and each of it a vertebra of its own."""
    starts = range(5, 5 + 70 * 12, 12)
    boxes = [(slice(start, start + 10), slice(2, 16), slice(2, 16)) for start in starts]
    vertebrae = single_vertebrae(block_spine(*boxes, shape=(starts.stop, 18, 18)))
    assert len(vertebrae.centers) == 70
    assert [int(vertebrae.numbers[box].min()) for box in boxes] == list(range(70, 0, -1))
