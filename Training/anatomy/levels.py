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
    "C1": LevelSize(26.0, 11.0, 13.0, 1.5, 28.0, 20.0, 8.0, 7.0, 76.0, 30.0, 1.0, 0.0, 0.0),
    "C2": LevelSize(19.0, 15.6, 20.0, 4.5, 24.5, 19.0, 8.0, 8.0, 54.0, 34.0, 7.0, -2.0, 0.5),
    "C3": LevelSize(19.5, 15.3, 12.5, 4.7, 23.0, 15.8, 5.6, 7.0, 52.0, 30.0, 7.0, -5.0, 0.0),
    "C4": LevelSize(20.5, 15.6, 12.3, 4.9, 24.2, 15.8, 5.5, 7.0, 54.0, 30.5, 8.0, -5.0, 0.0),
    "C5": LevelSize(21.5, 16.2, 12.2, 5.1, 24.7, 15.8, 5.6, 7.0, 56.0, 32.0, 9.0, -5.0, 0.0),
    "C6": LevelSize(23.5, 17.2, 12.3, 5.3, 25.4, 16.0, 6.0, 7.3, 58.0, 38.0, 9.0, -4.0, 0.0),
    "C7": LevelSize(26.0, 17.6, 13.8, 5.2, 24.5, 15.6, 6.8, 7.5, 68.0, 48.0, 10.0, 2.0, 0.0),
    "T1": LevelSize(28.5, 18.8, 15.5, 4.6, 21.8, 16.0, 8.2, 9.6, 75.0, 51.0, 14.0, 12.0, -0.3),
    "T2": LevelSize(28.0, 20.4, 16.8, 4.2, 19.5, 15.3, 7.4, 11.4, 70.0, 51.0, 20.0, 16.0, -0.5),
    "T3": LevelSize(27.0, 22.6, 17.2, 4.0, 18.4, 15.5, 6.0, 11.9, 65.0, 50.0, 25.0, 18.0, -0.8),
    "T4": LevelSize(26.5, 23.8, 17.6, 4.0, 17.4, 16.0, 5.0, 12.1, 62.0, 50.5, 30.0, 19.0, -1.0),
    "T5": LevelSize(27.0, 25.0, 17.9, 4.1, 17.3, 16.2, 5.0, 11.9, 61.5, 51.5, 34.0, 20.0, -1.1),
    "T6": LevelSize(28.2, 26.4, 18.6, 4.3, 17.3, 16.2, 5.2, 12.2, 61.0, 52.5, 36.0, 20.0, -1.2),
    "T7": LevelSize(29.6, 27.9, 19.2, 4.6, 17.3, 16.0, 5.6, 12.1, 60.5, 53.0, 36.0, 20.0, -1.3),
    "T8": LevelSize(31.0, 28.6, 19.8, 4.9, 17.6, 15.9, 6.0, 12.5, 60.0, 52.5, 34.0, 20.0, -1.2),
    "T9": LevelSize(32.6, 30.1, 20.4, 5.2, 17.9, 15.8, 6.4, 13.9, 59.3, 51.0, 29.0, 19.0, -1.0),
    "T10": LevelSize(34.4, 31.0, 21.4, 5.7, 18.2, 15.7, 7.2, 14.7, 57.0, 49.5, 24.0, 17.0, -0.9),
    "T11": LevelSize(37.4, 31.8, 22.5, 6.3, 19.4, 16.2, 8.6, 16.6, 50.0, 49.5, 18.0, 14.0, -1.0),
    "T12": LevelSize(40.8, 33.1, 23.8, 7.2, 22.2, 17.8, 8.2, 16.4, 46.0, 50.5, 13.0, 12.0, -0.8),
    "L1": LevelSize(42.6, 34.4, 25.2, 8.4, 23.7, 18.4, 8.4, 15.9, 72.0, 61.0, 10.0, 7.0, -0.3),
    "L2": LevelSize(44.2, 34.9, 26.0, 9.4, 23.8, 18.0, 8.4, 15.0, 79.0, 64.0, 10.0, 6.0, 0.2),
    "L3": LevelSize(46.2, 35.2, 26.2, 10.2, 24.3, 17.6, 10.0, 14.4, 88.0, 65.0, 10.0, 5.0, 0.8),
    "L4": LevelSize(48.2, 35.2, 26.0, 10.8, 25.4, 18.2, 12.6, 15.0, 83.0, 61.0, 9.0, 3.0, 1.6),
    "L5": LevelSize(50.0, 34.6, 24.8, 10.2, 27.1, 18.6, 16.0, 15.0, 90.0, 52.0, 8.0, 0.0, 4.0),
}
"""Mean adult sizes.

Body, canal, pedicle, span and spinous sizes follow Panjabi et al., "Cervical human vertebrae", Spine 16:861 (1991);
"Thoracic human vertebrae", Spine 16:888 (1991); "Human lumbar vertebrae", Spine 17:299 (1992), smoothed along the
column; the cervical widths include the uncinate processes. C1 spans and canal follow Doherty and Heggeness, "The
quantitative anatomy of the atlas", Spine 19:2497 (1994). Disc thickness follows Kunkel et al., J Anat 219:375 (2011)
(thoracic) and Gilad and Nissan, Spine 11:154 (1986) (cervical and lumbar). Droop and back are shaped by eye.
"""

LEVEL_SIZES["T13"] = LevelSize(*((a + b) / 2 for a, b in zip(LEVEL_SIZES["T12"], LEVEL_SIZES["L1"])))._replace(span=50.0)
LEVEL_SIZES["L6"] = LEVEL_SIZES["L5"]

VERSE_VALUES = {name: i for i, name in enumerate(
    [f"C{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 13)] + [f"L{i}" for i in range(1, 7)], start=1)}
VERSE_VALUES |= {"sacrum": 26, "coccyx": 27, "T13": 28}
"""Level values of the VerSe data sets (Sekuboyina et al., Med Image Anal 73:102166, 2021)."""
