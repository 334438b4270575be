"""Frames of a volume sequence, and segmentations that follow them, on the real sequence browser."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import LPS, OBLIQUE, centered_grid

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.edits import is_edited  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.mrml.segmentations import write_result  # noqa: E402
from SpineContextSegLib.mrml.sequences import edited_frames, frames_of, select_frame, write_frames  # noqa: E402
from SpineContextSegLib.mrml.volumes import volume_from_node  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume, draw, mask_of, paint  # noqa: E402

GRID = centered_grid((2.0, 2.0, 3.0), (40.0, 36.0, 45.0), OBLIQUE @ LPS)
REPORT = {"levels_known": False, "model": "tiny 0"}
SPINE, SACRUM, CANAL = "SpineContextSeg_1", "SpineContextSeg_26", "SpineContextSeg_61"


def add_frames(count=4, grids=None, name="CT", index_values=("0", "0.5", "1", "1.5")):
    """The proxy volume of a new browser; frame n is n hundred everywhere."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name}-Sequence")
    sequence.SetIndexName("phase")
    sequence.SetIndexUnit("ms")
    sequence.SetIndexTypeFromString("numeric" if index_values[0].isdigit() else "text")
    for number in range(count):
        grid = (grids or [GRID] * count)[number]
        volume = add_volume(grid, name, np.full(grid.shape, 100 * number, np.int16))
        sequence.SetDataNodeAtValue(volume, index_values[number])
        slicer.mrmlScene.RemoveNode(volume)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequence)


def labels_of(number, values=(1, 26), grid=GRID) -> Volume:
    """A block per value, at another place in each frame."""
    array = np.zeros(grid.shape, np.uint8)
    for rank, value in enumerate(values):
        array[2 + number : 5 + number, 3 + 4 * rank : 6 + 4 * rank, 4:9] = value
    return Volume(array, grid.affine)


def results(count=4, **options):
    return [(number, labels_of(number, **options), REPORT) for number in range(count)]


def test_frames_of_a_volume(scene):
    volume = add_frames()
    frames = frames_of(volume)
    assert frames.count == 4 and frames.current == 0
    assert [slicer.util.arrayFromVolume(frames.volume(n)).max() for n in range(4)] == [0, 100, 200, 300]
    assert volume_from_node(frames.volume(2)).grid.same_as(GRID)
    assert frames.current == 0 and slicer.util.arrayFromVolume(volume).max() == 0
    select_frame(frames, 3)
    assert frames.current == 3 and slicer.util.arrayFromVolume(volume).max() == 300


def test_volumes_that_have_no_frames(scene):
    assert frames_of(None) is None
    assert frames_of(add_volume(GRID)) is None
    assert frames_of(add_frames(count=1)) is None


def test_two_browsers(scene):
    first, second = add_frames(count=4, name="first"), add_frames(count=2, name="second")
    assert (frames_of(first).count, frames_of(second).count) == (4, 2)
    select_frame(frames_of(second), 1)
    assert slicer.util.arrayFromVolume(first).max() == 0 and slicer.util.arrayFromVolume(second).max() == 100
    node = write_frames(second, results(2))
    assert frames_of(first).browser.GetSequenceNode(node) is None
    select_frame(frames_of(first), 2)
    np.testing.assert_array_equal(mask_of(node, SPINE, second), labels_of(1).array == 1)
    with pytest.raises(InputRefused, match="another sequence"):
        write_frames(first, results(4), segmentation_node=node)


def test_volume_with_fewer_frames_than_its_browser(scene):
    """The browser steps through another sequence, of which the volume has every second item."""
    volume = add_frames(count=2)
    frames = frames_of(volume)
    master = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "positions")
    master.SetIndexName("phase")
    master.SetIndexUnit("ms")
    transform = add_transform(np.eye(4))
    for number in range(4):
        master.SetDataNodeAtValue(transform, str(0.25 * number))
    browser = frames.browser
    browser.SetAndObserveMasterSequenceNodeID(master.GetID())
    browser.AddSynchronizedSequenceNode(frames.sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    frames = frames_of(browser.GetProxyNode(frames.sequence))
    assert frames.count == 2 and frames.browser.GetNumberOfItems() == 4
    select_frame(frames, 1)
    assert frames.current == 1 and browser.GetSelectedItemNumber() == 2
    node = write_frames(frames.volume_node, results(2))
    for item, number in enumerate((0, 0, 1, 1)):
        browser.SetSelectedItemNumber(item)
        assert frames.current == number
        np.testing.assert_array_equal(mask_of(node, SPINE, frames.volume_node), labels_of(number).array == 1)


@pytest.mark.parametrize("index_values", [("0", "0.5", "1", "1.5"), ("expiration", "50 %", "10 %", "inspiration")])
def test_playing_changes_volume_and_segmentation(scene, index_values):
    volume = add_frames(index_values=index_values)
    frames = frames_of(volume)
    select_frame(frames, 1)
    node = write_frames(volume, reversed(results()))
    assert frames.current == 1
    np.testing.assert_array_equal(mask_of(node, SACRUM, volume), labels_of(1).array == 26)
    browser = frames.browser
    for number in (0, 1, 2, 3):
        browser.SelectFirstItem() if number == 0 else browser.SelectNextItem()
        assert slicer.util.arrayFromVolume(volume).max() == 100 * number
        for value, segment_id in {1: SPINE, 26: SACRUM}.items():
            np.testing.assert_array_equal(mask_of(node, segment_id, volume), labels_of(number).array == value)
        assert not is_edited(node)
        assert node.GetName() == "CT-Sequence spine"
    assert browser.GetProxyNode(browser.GetSequenceNode(node)) is node
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [node]
    assert edited_frames(node) == []


def test_views_are_told_once_they_listen_again(scene):
    """While the scene is in a batch, views of slices pass over what they are told."""
    volume, told = add_frames(), []
    node = write_frames(volume, results())
    node.AddObserver("ModifiedEvent", lambda *_: told.append(bool(scene.IsBatchProcessing())))
    write_frames(volume, results(values=(1, 61)), segmentation_node=node)
    assert told and not told[-1]


def test_node_is_that_of_a_single_run(scene):
    """Reference volume, parent transform, place in the hierarchy: as `write_result` leaves them."""
    volume = add_frames()
    transform = add_transform(np.diag([-1.0, 1.0, 1.0, 1.0]))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    node = write_frames(volume, results())
    for number in range(4):
        select_frame(frames_of(volume), number)
        assert node.GetParentTransformNode() is transform
        assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
        assert node.GetDisplayNode() is not None
        segmentation = node.GetSegmentation()
        assert segmentation.GetNumberOfLayers() == 1
        assert segmentation.GetConversionParameter("Reference image geometry")
        assert segmentation.GetSegment(SPINE).GetName() == "Vertebrae"


def test_frames_on_grids_of_their_own(scene):
    stretched = Grid(GRID.shape, GRID.affine @ np.diag([1, 1, 1.1, 1]))
    grids = [GRID, centered_grid((2.0, 2.0, 2.5), (40.0, 36.0, 50.0), LPS), stretched]
    volume = add_frames(3, grids)
    frames = frames_of(volume)
    select_frame(frames, 2)
    node = write_frames(volume, [(n, labels_of(n, grid=grid), REPORT) for n, grid in enumerate(grids)])
    for number, grid in enumerate(grids):
        select_frame(frames, number)
        assert volume_from_node(volume).grid.same_as(grid)
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(number, grid=grid).array == 1)


def test_every_frame_lists_the_same_segments(scene):
    volume = add_frames(3)
    found = [(0, labels_of(0, values=()), REPORT), (1, labels_of(1, values=(61,)), REPORT), (2, labels_of(2), REPORT)]
    node = write_frames(volume, found)
    for number, values in enumerate(((), (61,), (1, 26))):
        select_frame(frames_of(volume), number)
        assert our_values(node) == {1: SPINE, 26: SACRUM, 61: CANAL}
        assert list(node.GetSegmentation().GetSegmentIDs()) == [SPINE, SACRUM, CANAL]
        for value, segment_id in our_values(node).items():
            assert mask_of(node, segment_id, volume).any() == (value in values)
        assert not is_edited(node)


def test_hand_edits_stay_with_their_frame(scene):
    volume = add_frames()
    frames = frames_of(volume)
    node = write_frames(volume, results())
    kept = frames.browser.GetSequenceNode(node).GetNthDataNode(0)
    assert node.GetSegmentation() is kept.GetSegmentation()
    select_frame(frames, 2)
    stroke = np.zeros(GRID.shape, bool)
    stroke[0:3, 10:14, 12:16] = True
    paint(node, SPINE, stroke, volume)
    expected = (labels_of(2).array == 1) | stroke
    np.testing.assert_array_equal(mask_of(node, SPINE, volume), expected)
    for number in (0, 3):
        select_frame(frames, number)
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(number).array == 1)
    select_frame(frames, 2)
    np.testing.assert_array_equal(mask_of(node, SPINE, volume), expected)
    assert edited_frames(node) == [2]
    select_frame(frames, 1)
    node.GetSegmentation().RemoveSegment(SACRUM)
    assert edited_frames(node) == [1, 2]


def test_written_again_replaces(scene):
    volume = add_frames()
    frames = frames_of(volume)
    node = write_frames(volume, results())
    select_frame(frames, 2)
    draw(node, "lesion", np.ones(GRID.shape, bool), volume)
    node.SetAttribute("Reader", "A")
    moved = [(number, labels_of((number + 1) % 4, values=(1,)), REPORT) for number in range(4)]
    nodes = scene.GetNumberOfNodes()
    assert write_frames(volume, moved, segmentation_node=node) is node
    assert scene.GetNumberOfNodes() == nodes
    assert frames.current == 2 and edited_frames(node) == []
    for number in range(4):
        select_frame(frames, number)
        assert set(our_values(node)) == {1}
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of((number + 1) % 4).array == 1)
        assert (node.GetSegmentation().GetSegment("lesion") is not None) == (number == 2)
        assert (node.GetAttribute("Reader") == "A") == (number == 2)


def test_only_some_segments_again(scene):
    volume = add_frames()
    node = write_frames(volume, results())
    select_frame(frames_of(volume), 0)
    again = [(number, labels_of(3 - number, values=(1, 26) if number else ()), REPORT) for number in range(4)]
    write_frames(volume, again, segmentation_node=node, only={26})
    for number in range(4):
        select_frame(frames_of(volume), number)
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(number).array == 1)
        sacrum = labels_of(3 - number if number else 0).array == 26
        np.testing.assert_array_equal(mask_of(node, SACRUM, volume), sacrum)


def test_frame_in_which_nothing_was_found_stays_as_it_was(scene):
    volume = add_frames()
    node = write_frames(volume, results())
    again = [(number, labels_of(3 - number, values=(1, 26) if number else ()), REPORT) for number in range(4)]
    write_frames(volume, again, segmentation_node=node)
    assert edited_frames(node) == []
    for number in range(4):
        select_frame(frames_of(volume), number)
        expected = labels_of(3 - number if number else 0).array
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), expected == 1)


def test_segmentation_of_one_frame_becomes_one_of_all(scene):
    volume = add_frames()
    select_frame(frames_of(volume), 1)
    node = write_result(volume, labels_of(1), REPORT)
    lesion = np.zeros(GRID.shape, bool)
    lesion[0:2, 0:4, 0:4] = True
    draw(node, "lesion", lesion, volume)
    assert write_frames(volume, results(), segmentation_node=node) is node
    np.testing.assert_array_equal(mask_of(node, "lesion", volume), lesion)
    select_frame(frames_of(volume), 3)
    assert node.GetSegmentation().GetSegment("lesion") is None
    np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(3).array == 1)


def content(scene):
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return [(node.GetID(), node.GetName()) for node in nodes]


@pytest.mark.parametrize("exists", [False, True], ids=["new", "again"])
def test_all_or_nothing(scene, exists):
    volume = add_frames()
    node = write_frames(volume, results()) if exists else None
    select_frame(frames_of(volume), 2)
    before = content(scene)

    def interrupted():
        yield from results()[:3]
        raise OSError("the result of the last frame is gone")

    wrong_grid = Volume(labels_of(3).array, np.eye(4))
    for given, error in [
        (interrupted(), OSError),
        (results()[:3], ValueError),
        (results() + results()[:1], ValueError),
        ([(n + 1, labels, report) for n, labels, report in results()], ValueError),
        ([*results()[:3], (3, wrong_grid, REPORT)], ValueError),
        ([*results()[:3], (3, labels_of(3, values=(77,)), REPORT)], KeyError),
        (results(values=()), ValueError),
    ]:
        with pytest.raises(error):
            write_frames(volume, given, segmentation_node=node)
    assert content(scene) == before
    assert frames_of(volume).current == 2
    if exists:
        assert edited_frames(node) == []
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(2).array == 1)


def test_sequence_that_is_gone(scene):
    volume = add_frames()
    scene.RemoveNode(frames_of(volume).browser)
    assert frames_of(volume) is None
    with pytest.raises(InputRefused, match="not part of a sequence"):
        write_frames(volume, results())


@pytest.mark.parametrize("removed", ["segmentation", "volume", "sequence", "browser"])
def test_removing_one_part_leaves_the_rest_usable(scene, removed):
    volume = add_frames()
    node = write_frames(volume, results())
    browser, sequence = frames_of(volume).browser, frames_of(volume).browser.GetSequenceNode(node)
    parts = {"segmentation": node, "volume": volume, "sequence": sequence, "browser": browser}
    scene.RemoveNode(parts[removed])
    if removed != "browser":
        browser.SetSelectedItemNumber(3)
    if removed == "volume":
        # The browser makes another node to show the volume.
        volume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(3).array == 1)
    if removed == "browser":
        assert edited_frames(node) == []
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), labels_of(0).array == 1)
        return
    again = write_frames(volume, results(), segmentation_node=None if removed == "segmentation" else node)
    select_frame(frames_of(volume), 1)
    np.testing.assert_array_equal(mask_of(again, SPINE, volume), labels_of(1).array == 1)


def test_scene_saved_and_loaded(scene, tmp_path):
    volume = add_frames()
    node = write_frames(volume, results())
    select_frame(frames_of(volume), 2)
    stroke = np.zeros(GRID.shape, bool)
    stroke[0:3, 10:14, 12:16] = True
    paint(node, SPINE, stroke, volume)
    select_frame(frames_of(volume), 1)
    path = tmp_path / "\u00dcbung.mrb"
    assert scene.WriteToMRB(str(path), None)
    scene.Clear(False)
    assert scene.ReadFromMRB(str(path), True)

    volume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    node = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    frames = frames_of(volume)
    assert frames.count == 4 and frames.current == 1
    assert edited_frames(node) == [2]
    for number in (3, 0, 1, 2):
        select_frame(frames, number)
        assert slicer.util.arrayFromVolume(volume).max() == 100 * number
        expected = (labels_of(number).array == 1) | (stroke if number == 2 else False)
        np.testing.assert_array_equal(mask_of(node, SPINE, volume), expected)
    write_frames(volume, results(), segmentation_node=node)
    assert edited_frames(node) == []
