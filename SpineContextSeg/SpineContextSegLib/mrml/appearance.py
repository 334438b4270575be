"""How a segment is shown, which Slicer forgets with the segment: visible or not, and how opaque."""

from __future__ import annotations

_PROPERTIES = (
    "Visibility", "Visibility2DFill", "Visibility2DOutline", "Visibility3D", "Opacity2DFill", "Opacity2DOutline",
    "Opacity3D", "Pickable",
)  # fmt: skip


def appearance_of(segmentation_node, segment_id: str) -> dict[str, object]:
    """How the segment is shown now, for `show_as`; empty where nothing shows the segmentation."""
    display = segmentation_node.GetDisplayNode()
    return {name: getattr(display, f"GetSegment{name}")(segment_id) for name in _PROPERTIES} if display else {}


def show_as(segmentation_node, segment_id: str, appearance: dict[str, object]) -> None:
    """Shows a segment as `appearance_of` found it or another."""
    display = segmentation_node.GetDisplayNode()
    for name, value in appearance.items() if display else ():
        getattr(display, f"SetSegment{name}")(segment_id, value)
