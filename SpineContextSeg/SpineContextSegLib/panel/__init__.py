"""What the module's panel works with: processes, runs, runtimes, sample data. Nothing here touches voxels."""
