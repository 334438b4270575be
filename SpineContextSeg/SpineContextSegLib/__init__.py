"""SpineContextSeg's engine: from a CT to labels of the spine on the scan's own grid. Research use only."""

__version__ = "0.15.0"
