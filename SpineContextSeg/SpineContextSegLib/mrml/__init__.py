"""Where the engine meets Slicer's scene: the only folder that touches MRML. No Qt here."""
