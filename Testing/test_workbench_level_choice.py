"""What is chosen on the page's tab "Levels" stays chosen while the same segmentation is shown."""

from types import SimpleNamespace

import pytest

pytest.importorskip("trame_slicer")

from Testing.level_repairs import column  # noqa: E402
from Testing.scene_nodes import add_volume  # noqa: E402
from Testing.scene_results import SMALL, add_result  # noqa: E402
from Workbench.level_choice import LevelChoice  # noqa: E402
from Workbench.levels import LevelRepair  # noqa: E402
from Workbench.page_state import STATE  # noqa: E402

T11, T12, T13, L1, L2 = 18, 19, 28, 20, 21


class Page:
    """The tab without a browser around it."""

    def __init__(self):
        self.volume = add_volume(SMALL)
        views = SimpleNamespace(get_view=lambda _: None)
        self.scene = SimpleNamespace(
            app=SimpleNamespace(view_manager=views), undo_stack=SimpleNamespace(push=lambda _: self.choice.show())
        )
        self.state = SimpleNamespace(**STATE)
        self.state.running = False
        self.repair = LevelRepair(self.scene)
        self.choice = LevelChoice(self.repair, self.state)

    def open(self, *values) -> None:
        self.scene.segmentation_node = add_result(self.volume, column(*values))
        self.choice.show()

    def names(self) -> list[str]:
        return [item["title"] for item in self.state.level_names]


@pytest.fixture
def page(scene):
    return Page()


def test_a_column_without_t12_stays_one(page):
    page.open(T11, T12, L1)
    page.state.which, page.state.level, page.state.thoracic = T12, L1, 11
    page.choice.repair("rename")
    assert page.names() == ["T11", "L1", "L2"] and page.state.thoracic == 11
    page.choice.repair("up")
    assert page.names() == ["T10", "T11", "L1"] and page.state.remarks == []


def test_a_level_that_is_there_raises_the_numbers(page):
    page.open(T12, T13, L1)
    assert (page.state.thoracic, page.state.lumbar) == (13, 5)
    page.state.which, page.state.level, page.state.thoracic = T13, L1, 12
    page.choice.repair("rename")
    assert page.names() == ["T12", "L1", "L2"] and page.state.thoracic == 12
    page.repair.levels.undo()
    page.choice.show()
    assert page.names() == ["T12", "T13", "L1"] and page.state.thoracic == 13


@pytest.mark.parametrize("values", [(T12, L1), (L1, L2)])
def test_another_segmentation_has_its_own_numbers(page, values):
    page.open(T12, L1)
    page.state.thoracic, page.state.lumbar = 11, 4
    page.open(*values)
    assert (page.state.thoracic, page.state.lumbar) == (12, 5)


def test_a_swap_tells_of_disorder(page):
    page.open(T11, T12, L1)
    page.state.which, page.state.level = T12, L1
    page.choice.repair("swap")
    assert page.state.remarks == ["L1 lies above T12: the levels are out of order."]


def chosen_segment(page) -> str:
    return next(vertebra.segment_id for vertebra in page.repair.levels.vertebrae if vertebra.value == page.state.which)


@pytest.mark.parametrize("repair, level", [("swap", L1), ("swap", T11), ("rename", L1), ("up", T12), ("down", T12)])
def test_the_chosen_vertebra_stays_chosen_whatever_it_is_called(page, repair, level):
    page.open(T11, T12, L1)
    page.state.which, page.state.level = T12, level
    chosen = chosen_segment(page)
    page.choice.repair(repair)
    assert chosen_segment(page) == chosen and page.state.level == page.state.which
    page.repair.levels.undo()
    page.choice.show()
    assert chosen_segment(page) == chosen and page.state.which == T12
