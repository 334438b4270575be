"""Training of the segmentation networks: generated anatomy, simulated scanner, training and evaluation."""
