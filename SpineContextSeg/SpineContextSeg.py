import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.model import load_model
from SpineContextSegLib.mrml import belonging, regions, sequences, volumes
from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.mrml.segmentations import load_terminology
from SpineContextSegLib.panel import dialogs, editor, runtimes, sample_data
from SpineContextSegLib.panel.export_row import ExportRow
from SpineContextSegLib.panel.levels_section import DOUBLE_CLICK_SECONDS, LevelsSection
from SpineContextSegLib.panel.parameters import SpineContextSegParameterNode, chosen_formats, chosen_values, run_options
from SpineContextSegLib.panel.run_pool import RunPool
from SpineContextSegLib.panel.run_view import RunView
from SpineContextSegLib.panel.runs import RunEnd, RunOptions
from SpineContextSegLib.panel.runtime_row import RuntimeRow
from SpineContextSegLib.shipped import DEFAULT_MODEL, SAMPLE_CT, SAMPLE_FOLDER, SAMPLE_LABELS

RESOURCES = Path(__file__).parent / "Resources"


class SpineContextSeg(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "SpineContextSeg"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SubjectHierarchy", "Terminologies"]
        self.parent.contributors = ["SpineContextSeg contributors"]
        self.parent.helpText = _("""
Segments the spine in CT and MR on an ordinary computer: choose a volume, click Segment, edit the result in Segment
Editor.
<p><b>Research use only. Not for diagnosis or treatment.</b></p>
""")
        self.parent.acknowledgementText = _("""
The network's architecture is that of SpineContextResUNet (arXiv 2605.20760); its weights are our own.
""")
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerTerminology)


def registerSampleData():
    """Add CTs that show a spine to Slicer's Sample Data module."""
    sample_data.register(RESOURCES / "Icons")


def registerTerminology():
    """Make the codes of single vertebrae and discs known to Slicer; a second call changes nothing."""
    load_terminology(RESOURCES / "SegmentationCategoryTypeModifier-SpineContextSeg.term.json")


class SpineContextSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: connects the parameter node, the user interface and the runs."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._volume = None
        self._volumeTag = None
        # ID of a volume -> ID of the segmentation that was chosen when the volume was chosen last.
        self._chosenSegmentations = {}
        self._run = None
        self._runVolume = None
        self._startedAt = 0.0

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SpineContextSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = SpineContextSegLogic()
        self._view = RunView(self.ui, segment_anyway=lambda: self._start(force=True))
        self._runtimeRow = RuntimeRow(
            self.ui, notice=self._view.notice, say=self._view.say, changed=self.onModelChanged
        )
        self._exportRow = ExportRow(
            self.ui, self._view.notice, self._view.say, lambda: chosen_formats(self._parameterNode)
        )
        self._levelsSection = LevelsSection(self.ui, self._view.notice, self._view.say)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        # After the selectors, whose scene was set above.
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.editButton.connect("clicked(bool)", self.onEditButton)
        self.ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self.onRegionAdded)

        # Where the module was added to a running application, startup is over.
        registerSampleData()

        # Make sure parameter node is initialized (needed for module reload)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded, also where setup has failed."""
        if self.logic:
            self.logic.runs.cancel(wait=True)
        if self._parameterNode:
            self.setParameterNode(None)
        self.removeObservers()

    def onReload(self) -> None:
        """Reload the library, too, where nearly all of the module is."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "SpineContextSegLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def onSceneStartClose(self, caller, event) -> None:
        self.setParameterNode(None)
        self._view.clear()

    def onSceneEndClose(self, caller, event) -> None:
        # Only now are the nodes out of the scene.
        self._levelsSection.forget()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller, event) -> None:
        """Once all is read, the selectors list the nodes anew and lose their choice: that is nobody's wish."""
        self._blockSelectors(True)

    def onSceneEndImport(self, caller, event) -> None:
        """The parameters that were read name nodes that were read after them."""
        self._blockSelectors(False)
        if self._parameterNode:
            self._parameterNode.Modified()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeRemoved(self, caller, event) -> None:
        if self._parameterNode and self._parameterNode.parameterNode.GetScene() is None:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Ensure that the parameter node exists and is observed."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            self._parameterNode.inputVolume = belonging.suggested_volume()

    def setParameterNode(self, parameterNode: SpineContextSegParameterNode | None) -> None:
        """Set, observe and show a parameter node."""
        if parameterNode is not self._parameterNode:
            self._connectParameterNode(parameterNode)
        self._observeVolume(parameterNode.inputVolume if parameterNode else None)
        if parameterNode:
            self._runtimeRow.refresh(parameterNode.model)
        self._update()

    def _connectParameterNode(self, parameterNode: SpineContextSegParameterNode | None) -> None:
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if parameterNode:
            # In the .ui file, the dynamic property SlicerParameterName connects a widget with a parameter.
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)

    def onParametersModified(self, caller, event) -> None:
        parameters = self._parameterNode
        if not slicer.mrmlScene.IsImporting():
            belonging.adopt(parameters.outputSegmentation, parameters.inputVolume)
        if parameters.inputVolume != self._volume:
            if self._volume and belonging.volume_of(parameters.outputSegmentation) == self._volume:
                self._chosenSegmentations[self._volume.GetID()] = parameters.outputSegmentation.GetID()
            self._observeVolume(parameters.inputVolume)
            if not self._run:
                self._view.clear()
            # A result must not replace that of another volume just because that one was shown before.
            isOther = belonging.volume_of(parameters.outputSegmentation) != self._volume
            if isOther and not slicer.mrmlScene.IsImporting():
                chosenId = self._chosenSegmentations.get(self._volume.GetID()) if self._volume else None
                parameters.outputSegmentation = belonging.segmentation_of(self._volume, chosenId)
        if parameters.model != self._runtimeRow.model:
            self._runtimeRow.refresh(parameters.model)
        self._update()

    def onModelChanged(self) -> None:
        if self._parameterNode:
            self._parameterNode.model = self._runtimeRow.model
            self._update()

    def onRegionAdded(self, regionNode) -> None:
        """A new region begins as large as the volume, to be made smaller."""
        if self._volume:
            regions.fit_to_volume(regionNode, self._volume)

    def onSegmentButton(self) -> None:
        if not self._run:
            self._startedAt = time.monotonic()
            self._start()
        # The second click of a double click doesn't mean Cancel.
        elif time.monotonic() - self._startedAt > DOUBLE_CLICK_SECONDS:
            self._run.cancel()

    def onEditButton(self) -> None:
        segmentationNode = self._parameterNode.outputSegmentation
        editor.open_editor(segmentationNode, belonging.volume_of(segmentationNode))

    def onRunEnd(self, end: RunEnd) -> None:
        self._run = None
        of = ""
        if self._runVolume != self._volume:
            # "Segment anyway" would act on the volume that is chosen now.
            end, of = replace(end, forcible=False), self._runVolume.GetName()
        self._runVolume = None
        self._view.end(end, of)
        if end.kind == "done":
            parameters = self.logic.getParameterNode()
            if parameters.inputVolume == belonging.volume_of(end.segmentation_node):
                parameters.outputSegmentation = end.segmentation_node
            if parameters.show3D:
                sequences.make_surfaces(end.segmentation_node)
        self._update()
        slicer.util.showStatusMessage(f"'{of}': {end.message}" if of else end.message, 5000)

    def _start(self, force: bool = False) -> None:
        """Start a run with what is chosen in the panel, unless something speaks against it, which the panel says."""
        if self._run or not self._parameterNode or self._reasonNotToSegment():
            self._update()
            return
        parameters = self._parameterNode
        isSequence = sequences.frames_of(self._volume) is not None
        options = run_options(parameters, force=force, is_sequence=isSequence)
        segmentationNode = parameters.outputSegmentation
        if options.would_lose_edits(segmentationNode):
            answer = dialogs.ask_about_edits(segmentationNode.GetName())
            if answer == "cancel":
                return
            options = replace(options, overwrite_edits=answer == "replace")
        self._view.begin()
        self._runVolume = self._volume
        run = self.logic.runs.start(
            self._volume, options, segmentationNode,
            on_status=self._view.say, on_progress=self._view.progress, on_end=self.onRunEnd,
        )  # fmt: skip
        self._run = run if run.is_running else None

    def _blockSelectors(self, blocked: bool) -> None:
        for selector in (self.ui.inputVolumeSelector, self.ui.outputSegmentationSelector, self.ui.regionSelector):
            selector.blockSignals(blocked)

    def _observeVolume(self, volumeNode) -> None:
        """Follow what may make the input volume fit or unfit."""
        # Not with VTKObservationMixin, which keeps what it has ever observed.
        if self._volume:
            self._volume.RemoveObserver(self._volumeTag)
        self._volume = volumeNode
        if volumeNode:
            self._volumeTag = volumeNode.AddObserver(vtk.vtkCommand.AnyEvent, self._updateView)

    def _reasonNotToSegment(self) -> str | None:
        """One sentence on what has to be done before a run can start, None where nothing has."""
        if not chosen_values(self._parameterNode):
            return _("No structure is chosen: check at least one under Advanced.")
        return volumes.refusal(self._volume) or self._runtimeRow.missing

    def _updateView(self, caller=None, event=None) -> None:
        """Offer a run, or say why there can be none."""
        if not self._run:
            self._view.show_idle(self._reasonNotToSegment() if self._parameterNode else None)
        self.ui.allFramesCheckBox.visible = sequences.frames_of(self._volume) is not None

    def _update(self) -> None:
        """Show what can be done now."""
        self._updateView()
        segmentationNode = self._parameterNode.outputSegmentation if self._parameterNode else None
        self._levelsSection.show(segmentationNode)
        if self.ui.segmentsTable.segmentationNode() != segmentationNode:
            self.ui.segmentsTable.setSegmentationNode(segmentationNode)
        self.ui.show3DButton.setSegmentationNode(segmentationNode)
        self._exportRow.show(segmentationNode)
        self.ui.resultCollapsibleButton.visible = segmentationNode is not None


class SpineContextSegLogic(ScriptedLoadableModuleLogic):
    """Segmentation from Python: `slicer.util.getModuleLogic("SpineContextSeg").segment(volumeNode)`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._parameterNode = None
        self.runs = RunPool(Path(slicer.app.temporaryPath))
        # Where the module was added to a running application, startup is over.
        registerTerminology()

    def getParameterNode(self):
        # One for each node, and kept: up to Slicer 5.10 those that are connected with widgets leave observers behind.
        node = super().getParameterNode()
        if not self._parameterNode or self._parameterNode.parameterNode != node:
            self._parameterNode = SpineContextSegParameterNode(node)
        return self._parameterNode

    def segment(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        *,
        structures: str = "spine",
        only: set[int] | None = None,
        region: vtkMRMLMarkupsROINode | None = None,
        allFrames: bool = False,
        force: bool = False,
        overwriteEdits: bool = False,
        model: str = DEFAULT_MODEL,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        onProgress=lambda done, total, secondsLeft: None,
        onEnd=lambda end: None,
        blocking: bool = True,
    ):
        """
        Segment the spine in a CT, or in an MR with a model for MR. Another process computes; the application stays
        responsive, also while this waits.
        :param volumeNode: the scan; it is not changed
        :param segmentationNode: where the result goes, None makes a new segmentation. If it holds edits that would be
            lost then the result goes to a new one all the same, unless overwriteEdits is True.
        :param structures: "spine" for vertebrae and sacrum, "all" also for spinal canal and discs
        :param only: label values to write, see SpineContextSegLib.labels: VERTEBRAE, {SACRUM}, and with
            structures="all" also DISCS, {CANAL}; all other segments stay as they are
        :param region: box that limits the run; voxels outside stay as they are
        :param allFrames: if True then all frames of the sequence that the volume belongs to are segmented
        :param force: segment although the values don't look like what the model was made for (cone-beam CT)
        :param model: name of a model, or its folder
        :param runtime: "auto", "openvino" or "torch"
        :param device: "auto", "cpu", "cuda" or "mps"
        :param threads: CPU threads to use, None for all
        :param onProgress: called with windows done, windows in total, and seconds left or None
        :param onEnd: called with the RunEnd (see SpineContextSegLib.panel.runs), however the run ended
        :param blocking: if False then return at once
        :return: the segmentation node; if not blocking, the run, which has a method cancel()
        :raises InputRefused: (a ValueError) the volume or an argument can't be used
        :raises Cancelled: the run was stopped, as by closing the scene
        :raises RuntimeError: nothing was found, or something failed
        If not blocking, onEnd gets what is wrong with the volume or the run; only a bad argument raises.
        """
        options = RunOptions(
            model=str(model), runtime=runtime, device=device, threads=threads, structures=structures, force=force,
            only=None if only is None else frozenset(only), region=region, all_frames=allFrames,
            overwrite_edits=overwriteEdits,
        )  # fmt: skip

        run = self.runs.wait_for if blocking else self.runs.start
        return run(volumeNode, options, segmentationNode, on_progress=onProgress, on_end=onEnd)


class SpineContextSegTest(ScriptedLoadableModuleTest):
    """Real inference on the shipped phantom, compared with its truth."""

    def setUp(self):
        slicer.mrmlScene.Clear(False)

    def runTest(self):
        self.setUp()
        self.test_SegmentPhantom()

    def test_SegmentPhantom(self):
        missing = runtimes.missing(load_model(DEFAULT_MODEL).card)
        if missing:
            # No fault of the module: Slicer, as it comes, has nothing that runs networks.
            self.delayDisplay(missing)
            return
        self.delayDisplay("Segmenting the phantom, this takes about half a minute")
        volumeNode = self.loadSample(SAMPLE_CT, "vtkMRMLScalarVolumeNode")
        segmentationNode = SpineContextSegLogic().segment(volumeNode)

        self.assertEqual(belonging.volume_of(segmentationNode), volumeNode)
        found = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, bool)
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        volumeNode.GetIJKToRASMatrix(matrices[0])
        for segmentId in our_values(segmentationNode).values():
            found |= slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) != 0
            segmentationNode.GetBinaryLabelmapInternalRepresentation(segmentId).GetImageToWorldMatrix(matrices[1])
            np.testing.assert_allclose(*map(slicer.util.arrayFromVTKMatrix, matrices), atol=1e-4)
        truthNode = self.loadSample(SAMPLE_LABELS, "vtkMRMLLabelMapVolumeNode")
        truth = np.isin(slicer.util.arrayFromVolume(truthNode), list(BINARY_SPINE))
        dice = 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))
        self.assertGreater(dice, 0.85)
        self.delayDisplay(f"Test passed, Dice {dice:.3f}")

    def loadSample(self, fileName: str, className: str):
        storageNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storageNode.SetFileName(str(SAMPLE_FOLDER / fileName))
        node = slicer.mrmlScene.AddNewNodeByClass(className, fileName.split(".")[0])
        self.assertTrue(storageNode.ReadData(node))
        return node
