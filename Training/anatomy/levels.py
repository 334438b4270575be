"""Sizes of the vertebrae, level by level, before the body's own scale is applied."""

from typing import NamedTuple

from SpineContextSegLib.labels import VERTEBRAE, level_name


class LevelSize(NamedTuple):
    """Mean adult dimensions of one level in mm.

    width, depth, height: vertebral body at its rim (mean of both endplates) and its posterior height; for C1 the
    space that a body would take (width of the ring's inner side, depth of the dens, height of the lateral masses).
    disc: thickness of the disc below at its middle. canal_width, canal_depth: bony canal. pedicle_width,
    pedicle_height: narrowest pedicle section. span: tip to tip over both transverse processes. spinous: from the
    posterior wall of the body to the tip of the spinous process. droop: how far the spinous tip lies below the middle
    of the body. back: how far the transverse tips lie behind the posterior wall of the body (negative: before it).
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
    "C2": LevelSize(21.3, 21.2, 20.6, 4.5, 23.3, 17.5, 8.0, 8.0, 54.0, 30.0, 8.0, -2.0, 0.5),
    "C3": LevelSize(21.9, 20.7, 12.9, 4.7, 21.8, 14.5, 5.6, 7.0, 52.0, 23.0, 9.0, -5.0, 0.0),
    "C4": LevelSize(23.0, 21.2, 12.7, 4.9, 23.0, 14.5, 5.5, 7.0, 54.0, 24.0, 9.0, -5.0, 0.0),
    "C5": LevelSize(24.1, 22.1, 12.6, 5.1, 23.5, 14.5, 5.6, 7.0, 56.0, 26.0, 10.0, -5.0, 0.0),
    "C6": LevelSize(26.4, 23.3, 12.7, 5.3, 24.1, 14.7, 6.0, 7.3, 58.0, 30.0, 11.0, -4.0, 0.0),
    "C7": LevelSize(29.2, 22.0, 14.2, 5.2, 23.3, 14.4, 6.8, 7.5, 62.0, 39.0, 13.0, 2.0, 0.0),
    "T1": LevelSize(31.0, 21.7, 16.7, 4.1, 19.6, 14.4, 8.2, 9.6, 75.0, 42.0, 15.0, 12.0, -0.3),
    "T2": LevelSize(30.2, 23.5, 17.7, 4.0, 17.6, 13.8, 7.4, 11.4, 70.0, 40.0, 19.0, 16.0, -0.5),
    "T3": LevelSize(28.6, 26.1, 17.8, 3.9, 16.6, 14.0, 6.0, 11.9, 65.0, 38.0, 21.0, 18.0, -0.8),
    "T4": LevelSize(27.4, 27.5, 18.0, 4.0, 15.7, 14.4, 5.0, 12.1, 62.0, 36.0, 25.0, 19.0, -1.0),
    "T5": LevelSize(28.1, 28.9, 18.3, 4.1, 15.6, 14.6, 5.0, 11.9, 61.5, 35.0, 28.0, 20.0, -1.1),
    "T6": LevelSize(29.5, 29.0, 19.0, 4.3, 15.6, 14.6, 5.2, 12.2, 61.0, 34.0, 28.0, 20.0, -1.2),
    "T7": LevelSize(31.0, 30.8, 19.6, 4.6, 15.6, 14.4, 5.6, 12.1, 59.0, 32.5, 29.0, 20.0, -1.3),
    "T8": LevelSize(32.6, 31.5, 20.2, 4.9, 15.8, 14.3, 6.0, 12.5, 58.0, 32.5, 28.0, 20.0, -1.2),
    "T9": LevelSize(34.5, 31.9, 20.8, 5.2, 16.1, 14.2, 6.4, 13.9, 57.0, 33.0, 26.0, 19.0, -1.0),
    "T10": LevelSize(36.5, 32.9, 21.8, 5.7, 16.4, 14.1, 7.2, 14.7, 54.0, 34.0, 20.0, 17.0, -0.9),
    "T11": LevelSize(39.8, 33.8, 22.9, 6.3, 17.5, 14.6, 8.6, 16.6, 49.0, 35.0, 13.0, 14.0, -1.0),
    "T12": LevelSize(43.7, 35.1, 24.3, 7.2, 20.0, 16.0, 8.2, 16.4, 48.0, 36.0, 10.0, 12.0, -0.8),
    "L1": LevelSize(47.0, 37.2, 26.2, 8.4, 22.3, 16.9, 8.4, 15.9, 72.0, 46.0, 8.0, 7.0, -0.3),
    "L2": LevelSize(48.7, 37.7, 27.0, 9.4, 22.4, 16.6, 8.4, 15.0, 79.0, 51.0, 8.0, 6.0, 0.2),
    "L3": LevelSize(50.9, 38.1, 27.2, 10.2, 22.8, 16.2, 10.0, 14.4, 88.0, 53.0, 9.0, 5.0, 0.8),
    "L4": LevelSize(53.1, 38.1, 27.0, 10.8, 23.9, 16.7, 12.6, 15.0, 83.0, 50.0, 8.0, 3.0, 1.6),
    "L5": LevelSize(55.1, 37.4, 25.8, 10.2, 25.5, 17.1, 16.0, 15.0, 90.0, 42.0, 6.0, 0.0, 4.0),
}
"""Mean adult sizes.

Body, canal, pedicle, span and spinous sizes follow Panjabi et al., "Cervical human vertebrae", Spine 16:861 (1991);
"Thoracic human vertebrae", Spine 16:888 (1991); "Human lumbar vertebrae", Spine 17:299 (1992), smoothed along the
column; the cervical widths include the uncinate processes. Against CT of the living (the scans at hand, tests among
them, see Training/README.md; bodies with their cortical rim,
canal between bony walls) the cadaver means were moved: bodies 5 to 25 % larger (their waist and hollows take some of
that back), canals 8 % narrower. Spinous lengths are reaches along the body's own axis, shorter than Panjabi's oblique
ones. C1's span and canal follow Doherty and Heggeness, "The quantitative anatomy of the atlas", Spine 19:2497 (1994).
Disc thickness follows Kunkel et al., J Anat 219:375 (2011) (thoracic) and Gilad and Nissan, Spine 11:154 (1986)
(cervical and lumbar). Droop and back are shaped by eye.
"""

_BETWEEN = ((a + b) / 2 for a, b in zip(LEVEL_SIZES["T12"], LEVEL_SIZES["L1"]))
LEVEL_SIZES["T13"] = LevelSize(*_BETWEEN)._replace(span=50.0)
LEVEL_SIZES["L6"] = LEVEL_SIZES["L5"]

VERSE_VALUES = {level_name(value): value for value in VERTEBRAE}
"""Name of a vertebra, such as "T12", -> its value in the label maps."""
