"""Slicer's module Sample Data, as far as other modules list their samples in it; nothing is downloaded here."""

from __future__ import annotations

import slicer

# Some of those that Slicer lists itself: name -> file name.
BUILT_IN = {
    "MRHead": "MR-head.nrrd",
    "CTChest": "CT-chest.nrrd",
    "CTACardio": "CTA-cardio.nrrd",
    "CTAAbdomenPanoramix": "Panoramix-cropped.nrrd",
}


class SampleDataSource:
    """One sample; what describes a file is a list, also where there is one file."""

    def __init__(self, sampleName, uris, fileNames, nodeNames, checksums, thumbnailFileName=None):
        self.sampleName = sampleName
        self.uris, self.fileNames, self.nodeNames, self.checksums = [uris], [fileNames], [nodeNames], [checksums]
        self.thumbnailFileName = thumbnailFileName

    def __eq__(self, other):
        return vars(self) == vars(other)


class SampleDataLogic:
    """Making one lists Slicer's own samples."""

    def __init__(self):
        for name, file in BUILT_IN.items():
            address = f"https://data.invalid/{file}"
            self.registerCustomSampleDataSource(
                category="General", sampleName=name, uris=address, fileNames=file, nodeNames=name, checksums=None
            )

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **description):
        source = SampleDataSource(**description)
        sources = SampleDataLogic._sources().setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = SampleDataLogic._sources()
        return sources if category is None else sources.get(category, [])

    def sourceForSampleName(self, sampleName):
        everything = [source for sources in self._sources().values() for source in sources]
        return next((source for source in everything if source.sampleName == sampleName), None)

    @staticmethod
    def _sources():
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        return slicer.modules.sampleDataSources
