"""CTs that show a spine, in Slicer's Sample Data module: the shipped one, and those that Slicer brings itself."""

from __future__ import annotations

from pathlib import Path

from ..shipped import SAMPLE_CT, SAMPLE_FOLDER

CATEGORY = "SpineContextSeg"
PHANTOM = "SpineContextSegPhantom"
PHANTOM_FILE = SAMPLE_FOLDER / SAMPLE_CT
# Slicer keeps a copy under the same name; another checksum tells it that the phantom of a new version is another one.
PHANTOM_SHA256 = "940e83a81e40e8e6206faf01f4349b44f138de112076ad2d907c5b0c51113532"
# Chest, chest with contrast agent, abdomen with lumbar spine and sacrum.
SLICERS_OWN = ("CTChest", "CTACardio", "CTAAbdomenPanoramix")


def register(icons: Path) -> None:
    """Lists the samples under their own heading, where there is such a module; a second call changes nothing.

    Args:
        icons: folder of the pictures to show.
    """
    try:
        from SampleData import SampleDataLogic
    except ImportError:
        return  # an application that is made of parts of Slicer

    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=PHANTOM,
        thumbnailFileName=str(icons / f"{PHANTOM}.png"),
        uris=PHANTOM_FILE.as_uri(),
        fileNames=f"{PHANTOM}.nii.gz",
        nodeNames=PHANTOM,
        checksums=f"SHA256:{PHANTOM_SHA256}",
    )
    # The very objects that Slicer has: their addresses stay Slicer's business, and so does the copy on disk.
    logic, listed = SampleDataLogic(), SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)
    for name in SLICERS_OWN:
        source = logic.sourceForSampleName(name)
        if source and source not in listed:
            listed.append(source)
