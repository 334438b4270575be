"""What can fill a voxel of the generated body, apart from bone."""

from enum import IntEnum


class Tissue(IntEnum):
    """Tissue ids of the ``tissue`` array (uint8).

    Bone is not a tissue here: it lies over the tissue with a coverage of its own, so that a voxel on the surface of
    a bone mixes bone with what is beside it. The CT number of each tissue is drawn per scan, because it depends on
    the phase of the contrast agent; tissues are told apart exactly where that phase tells them apart.
    """

    AIR = 0  # outside the body
    FAT = 1
    MUSCLE = 2
    SKIN = 3
    CONNECTIVE = 4  # fascia, ligament, pleura, diaphragm, wall of airways: soft, hardly enhancing
    LUNG = 5
    LUNG_VESSEL = 6
    GAS = 7  # inside the body: airways, stomach, bowel, sinuses
    ARTERY = 8
    VEIN = 9
    PULMONARY_ARTERY = 10
    HEART_LEFT = 11
    HEART_RIGHT = 12
    MYOCARDIUM = 13
    LIVER = 14
    SPLEEN = 15
    KIDNEY = 16
    RENAL_PELVIS = 17
    PANCREAS = 18  # also adrenals, thymus, salivary glands
    GALLBLADDER = 19
    STOMACH = 20
    BOWEL = 21  # wall and collapsed loops
    BOWEL_CONTENT = 22
    STOOL = 23
    BLADDER = 24
    THYROID = 25
    ESOPHAGUS = 26
    BRAIN = 27
    EYE = 28
    CSF = 29
    CORD = 30
    NERVE_ROOT = 31
    DISC = 32
    CARTILAGE = 33
    COSTAL_CARTILAGE = 34
    CALCIFICATION = 35  # plaques of arteries, calcified costal cartilage, lymph nodes
    TABLE_SHELL = 36
    TABLE_FOAM = 37
    CLOTH = 38
    PLASTIC = 39  # tubes, lines, masks
    WIRE = 40  # ECG leads, catheter tips
    FLUID = 41  # pleural effusion, ascites
    CONSOLIDATION = 42  # dense lung: atelectasis beside the spine, pneumonia
    DURA = 43  # of the spinal canal: dark in every MR, and part of the sac
