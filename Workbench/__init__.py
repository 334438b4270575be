"""The annotation workbench: segment, correct by hand and export in the browser, on Slicer's core. Research use only."""
