"""What the workbench keeps: the worklist, every version of the corrections, the finished set as a dataset."""
