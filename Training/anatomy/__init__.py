"""Generated human anatomy: a seed becomes a labelled body on a voxel grid, in RAS millimetres."""
