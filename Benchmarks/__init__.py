"""Speed and memory of the segmentation, file to file, against the plain way of doing the same."""
