"""Sizes of the vertebrae, level by level, before the body's own scale is applied."""

from typing import NamedTuple


class LevelSize(NamedTuple):
    """Mean adult dimensions of one level in mm.

    width, depth, height: vertebral body at its rim (mean of both endplates) and its posterior height; for C1 the
    space that a body would take (width of the ring's inner side, depth of the dens, height of the lateral masses).
    disc: thickness of the disc below at its middle. canal_width, canal_depth: bony canal. pedicle_width,
    pedicle_height: narrowest pedicle section. span: tip to tip over both transverse processes. spinous: from the
    posterior wall of the body to the tip of the spinous process. droop: how far the spinous tip lies below the middle
    of the body. back: how far the transverse tips lie behind the posterior wall of the body (negative: in front of it).
    lordosis: anterior minus posterior height of the body.
    """

    width: float
    depth: float
    height: float
    disc: float
    canal_width: float
    canal_depth: float
    pedicle_width: float
    pedicle_height: float
    span: float
    spinous: float
    droop: float
    back: float
    lordosis: float


LEVEL_SIZES = {
    #              width depth height disc  cW    cD   pW    pH    span  spin  droop back  lord
    "C1": LevelSize(26.0, 11.0, 13.0, 1.5, 28.0, 20.0, 8.0, 7.0, 76.0, 27.0, 1.0, 0.0, 0.0),
    "C2": LevelSize(19.0, 18.2, 20.6, 4.5, 23.3, 17.5, 8.0, 8.0, 54.0, 30.0, 8.0, -2.0, 0.5),
    "C3": LevelSize(19.5, 17.8, 12.9, 4.7, 21.8, 14.5, 5.6, 7.0, 52.0, 23.0, 9.0, -5.0, 0.0),
    "C4": LevelSize(20.5, 18.2, 12.7, 4.9, 23.0, 14.5, 5.5, 7.0, 54.0, 24.0, 9.0, -5.0, 0.0),
    "C5": LevelSize(21.5, 18.9, 12.6, 5.1, 23.5, 14.5, 5.6, 7.0, 56.0, 26.0, 10.0, -5.0, 0.0),
    "C6": LevelSize(23.5, 20.0, 12.7, 5.3, 24.1, 14.7, 6.0, 7.3, 58.0, 30.0, 11.0, -4.0, 0.0),
    "C7": LevelSize(26.0, 20.6, 14.2, 5.2, 23.3, 14.4, 6.8, 7.5, 62.0, 39.0, 13.0, 2.0, 0.0),
    "T1": LevelSize(28.6, 20.1, 15.8, 4.6, 19.6, 14.4, 8.2, 9.6, 75.0, 42.0, 15.0, 12.0, -0.3),
    "T2": LevelSize(28.2, 21.8, 17.1, 4.2, 17.6, 13.8, 7.4, 11.4, 70.0, 40.0, 19.0, 16.0, -0.5),
    "T3": LevelSize(27.3, 24.2, 17.5, 4.0, 16.6, 14.0, 6.0, 11.9, 65.0, 38.0, 21.0, 18.0, -0.8),
    "T4": LevelSize(26.9, 25.5, 18.0, 4.0, 15.7, 14.4, 5.0, 12.1, 62.0, 36.0, 25.0, 19.0, -1.0),
    "T5": LevelSize(27.5, 26.8, 18.3, 4.1, 15.6, 14.6, 5.0, 11.9, 61.5, 35.0, 28.0, 20.0, -1.1),
    "T6": LevelSize(28.9, 28.2, 19.0, 4.3, 15.6, 14.6, 5.2, 12.2, 61.0, 34.0, 28.0, 20.0, -1.2),
    "T7": LevelSize(30.4, 29.9, 19.6, 4.6, 15.6, 14.4, 5.6, 12.1, 59.0, 32.5, 29.0, 20.0, -1.3),
    "T8": LevelSize(32.0, 30.6, 20.2, 4.9, 15.8, 14.3, 6.0, 12.5, 58.0, 32.5, 28.0, 20.0, -1.2),
    "T9": LevelSize(33.8, 31.0, 20.8, 5.2, 16.1, 14.2, 6.4, 13.9, 57.0, 33.0, 26.0, 19.0, -1.0),
    "T10": LevelSize(35.8, 31.9, 21.8, 5.7, 16.4, 14.1, 7.2, 14.7, 54.0, 34.0, 20.0, 17.0, -0.9),
    "T11": LevelSize(39.0, 32.8, 22.9, 6.3, 17.5, 14.6, 8.6, 16.6, 49.0, 35.0, 13.0, 14.0, -1.0),
    "T12": LevelSize(42.8, 34.1, 24.3, 7.2, 20.0, 16.0, 8.2, 16.4, 48.0, 36.0, 10.0, 12.0, -0.8),
    "L1": LevelSize(45.6, 36.1, 26.2, 8.4, 22.3, 16.9, 8.4, 15.9, 72.0, 46.0, 8.0, 7.0, -0.3),
    "L2": LevelSize(47.3, 36.6, 27.0, 9.4, 22.4, 16.6, 8.4, 15.0, 79.0, 51.0, 8.0, 6.0, 0.2),
    "L3": LevelSize(49.4, 37.0, 27.2, 10.2, 22.8, 16.2, 10.0, 14.4, 88.0, 53.0, 9.0, 5.0, 0.8),
    "L4": LevelSize(51.6, 37.0, 27.0, 10.8, 23.9, 16.7, 12.6, 15.0, 83.0, 50.0, 8.0, 3.0, 1.6),
    "L5": LevelSize(53.5, 36.3, 25.8, 10.2, 25.5, 17.1, 16.0, 15.0, 90.0, 42.0, 6.0, 0.0, 4.0),
}
"""Mean adult sizes.

Body, canal, pedicle, span and spinous sizes follow Panjabi et al., "Cervical human vertebrae", Spine 16:861 (1991);
"Thoracic human vertebrae", Spine 16:888 (1991); "Human lumbar vertebrae", Spine 17:299 (1992), smoothed along the
column; the cervical widths include the uncinate processes. Against CT of the living (bodies with their cortical rim,
canal between bony walls) the cadaver means were moved by up to 10 %: bodies larger, canals narrower. Spinous lengths
are horizontal reaches in the frame of the body, shorter than Panjabi's oblique ones. C1 spans and canal follow Doherty and Heggeness, "The
quantitative anatomy of the atlas", Spine 19:2497 (1994). Disc thickness follows Kunkel et al., J Anat 219:375 (2011)
(thoracic) and Gilad and Nissan, Spine 11:154 (1986) (cervical and lumbar). Droop and back are shaped by eye.
"""

LEVEL_SIZES["T13"] = LevelSize(*((a + b) / 2 for a, b in zip(LEVEL_SIZES["T12"], LEVEL_SIZES["L1"])))._replace(span=50.0)
LEVEL_SIZES["L6"] = LEVEL_SIZES["L5"]

VERSE_VALUES = {name: i for i, name in enumerate(
    [f"C{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 13)] + [f"L{i}" for i in range(1, 7)], start=1)}
VERSE_VALUES |= {"sacrum": 26, "coccyx": 27, "T13": 28}
"""Level values of the VerSe data sets (Sekuboyina et al., Med Image Anal 73:102166, 2021)."""
