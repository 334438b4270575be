"""What a page shows before anything was done; the names that the page's parts use."""

from __future__ import annotations

from .editing import SMOOTHINGS, Tool

# Questions about the scan that is open, and what they are about; another scan is another matter.
NOTHING_ASKED = {
    "recovery": None, "ask_replace": False, "versions_shown": False, "history_shown": False, "renaming": "",
    "rejecting": None,
}  # fmt: skip
STATE = {
    "trame__title": "SpineContextSeg workbench",
    "scan_name": "", "entry": None, "is_dicom": False, "opening": False, "sending": False,
    "status": "", "notice": "", "warnings": [], "warnings_shown": False, "remarks": [], "under_mouse": "",
    "models": [], "model": "", "structures_all": False,
    "running": False, "progress": None, "can_force": False, "replace_forced": False,
    "segments": [], "active_segment": "", "unsaved": False, "can_undo": False, "can_redo": False,
    "tool": Tool.NONE.value, "brush_mm": 8, "sphere": False, "limited": False,
    "limits": [0, 1], "limits_bounds": [0, 1], "limits_unit": "", "keep_inside": False,
    "smoothing": SMOOTHINGS[0], "smoothing_mm": 4, "island_voxels": 100,
    "show_3d": True, "opacity": 0.5, "new_name": "", "new_color": "#ffffff",
    "levels_refusal": "", "level_names": [], "which": None, "level": None, "thoracic": 12, "lumbar": 5,
    "all_levels": [], "versions": [], "history": [],
    "entries": [], "cohort": "", "cohort_share": {}, "cohort_counts": {},
    "notes": "", "reason": "",
    "all_running": False, "all_text": "", "all_share": 0,
    "filter": "", "exporting": False, "tab": "segments", "show_shortcuts": False, **NOTHING_ASKED,
}  # fmt: skip
