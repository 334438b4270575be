"""SpineContextSeg's engine: from a CT to labels of the spine on the scan's own grid. Research use only."""

import sys

__version__ = "0.17.0"

# Before anything of this package is compiled, which older ones refuse with words of their own.
if sys.version_info < (3, 10):
    raise ImportError("SpineContextSeg needs Slicer 5.10 or later (Python 3.10 or later outside Slicer).")
