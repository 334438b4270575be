"""What ships with the program: the model that is meant where none is named, and a CT with its truth to try it on.

Without numpy, so that the command line can still say how many threads that takes.
"""

from __future__ import annotations

import importlib.resources

DEFAULT_MODEL = "spinecontext-ct"
SAMPLE_CT, SAMPLE_LABELS = "phantom_ct.nii.gz", "phantom_labels.nii.gz"
SAMPLE_FOLDER = importlib.resources.files(__package__) / "sample"
