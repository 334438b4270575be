"""Generated human anatomy: a seed becomes a labeled body on a voxel grid, in RAS millimeters."""
