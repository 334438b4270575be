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
from SpineContextSegLib.mrml import belonging, sequences, volumes
from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.panel import dialogs, editor, sample_data
from SpineContextSegLib.panel.export_row import ExportRow
from SpineContextSegLib.panel.parameters import (
    SpineContextSegParameterNode,
    chosen_formats,
    chosen_values,
    run_options,
)
from SpineContextSegLib.panel.run_view import RunView
from SpineContextSegLib.panel.runs import DEFAULT_MODEL, RunEnd, RunOptions, SegmentationRun
from SpineContextSegLib.panel.runtime_row import RuntimeRow
from SpineContextSegLib.panel.waiting import node_or_error, wait_for

#
# SpineContextSeg
#


class SpineContextSeg(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "SpineContextSeg"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SubjectHierarchy", "Terminologies"]
        self.parent.contributors = ["SpineContextSeg contributors"]
        self.parent.helpText = _("""
Segments the spine in CT on an ordinary computer: choose a volume, click Segment, edit the result in Segment Editor.
<p><b>Research use only. Not for diagnosis or treatment.</b></p>
""")
        self.parent.acknowledgementText = _("""
The network's architecture is that of SpineContextResUNet (arXiv 2605.20760); its weights are our own.
""")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Add CTs that show a spine to Slicer's Sample Data module."""
    sample_data.register(Path(__file__).parent / "Resources" / "Icons")


#
# SpineContextSegWidget
#


class SpineContextSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: connects the parameter node, the user interface and the runs."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._volume = None
        self._run = None

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SpineContextSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = SpineContextSegLogic()
        self._view = RunView(self.ui, segment_anyway=lambda: self._start(force=True))
        self._runtimeRow = RuntimeRow(self.ui, notice=self._view.notice, changed=self.onModelChanged)
        self._exportRow = ExportRow(
            self.ui, self._view.notice, self._view.say, lambda: chosen_formats(self._parameterNode)
        )

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.editButton.connect("clicked(bool)", self.onEditButton)
        self.ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self.onRegionAdded)

        # Make sure parameter node is initialized (needed for module reload)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self.logic.cancelRuns(wait=True)
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens a different module; a run goes on."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event) -> None:
        self.setParameterNode(None)
        self._view.clear()

    def onSceneEndClose(self, caller, event) -> None:
        """Also after a scene was read: its parameters name nodes that came after them."""
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
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        self._observeVolume(parameterNode.inputVolume if parameterNode else None)
        if parameterNode:
            # In the .ui file, the dynamic property SlicerParameterName connects a widget with a parameter.
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self._runtimeRow.refresh(parameterNode.model)
            self._update()

    def onParametersModified(self, caller, event) -> None:
        parameters = self._parameterNode
        if parameters.inputVolume != self._volume:
            self._observeVolume(parameters.inputVolume)
            if not self._run:
                self._view.clear()
            # A result must not replace that of another volume just because that one was shown before.
            isOther = belonging.volume_of(parameters.outputSegmentation) != self._volume
            if isOther and not slicer.mrmlScene.IsImporting():
                parameters.outputSegmentation = belonging.segmentation_of(self._volume)
        if parameters.model != self._runtimeRow.model:
            self._runtimeRow.refresh(parameters.model)
        self._update()

    def onModelChanged(self) -> None:
        self._parameterNode.model = self._runtimeRow.model
        self._update()

    def onRegionAdded(self, regionNode) -> None:
        """A new region begins as large as the volume, to be made smaller."""
        if self._volume:
            bounds = [0.0] * 6
            self._volume.GetRASBounds(bounds)
            low, high = np.array(bounds[::2]), np.array(bounds[1::2])
            regionNode.SetCenterWorld(*(low + high) / 2)
            regionNode.SetSizeWorld(*(high - low))

    def onSegmentButton(self) -> None:
        if self._run:
            self._run.cancel()
        else:
            self._start()

    def onEditButton(self) -> None:
        segmentationNode = self._parameterNode.outputSegmentation
        editor.open_editor(segmentationNode, belonging.volume_of(segmentationNode))

    def onRunEnd(self, end: RunEnd) -> None:
        volumeNode, self._run = self._run.volume_node, None
        self._view.end(end)
        if end.kind == "done":
            parameters = self.logic.getParameterNode()
            if parameters.inputVolume == volumeNode:
                parameters.outputSegmentation = end.segmentation_node
            if parameters.show3D:
                end.segmentation_node.CreateClosedSurfaceRepresentation()
        self._update()
        slicer.util.showStatusMessage(end.message, 5000)

    def _start(self, force: bool = False) -> None:
        """Start a run with what is chosen in the panel."""
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
        self._run = self.logic.createRun(
            self._volume, options, segmentationNode,
            onStatus=self._view.say, onProgress=self._view.progress, onEnd=self.onRunEnd,
        )  # fmt: skip
        self._run.start()

    def _observeVolume(self, volumeNode) -> None:
        """Follow what may make the input volume fit or unfit."""
        if self._volume:
            self.removeObserver(self._volume, vtk.vtkCommand.AnyEvent, self._update)
        self._volume = volumeNode
        if volumeNode:
            self.addObserver(volumeNode, vtk.vtkCommand.AnyEvent, self._update)

    def _reasonNotToSegment(self) -> str | None:
        """One sentence on what has to be done before a run can start, None where nothing has."""
        if not chosen_values(self._parameterNode):
            return _("No structure is chosen: check at least one under Advanced.")
        return volumes.refusal(self._volume) or self._runtimeRow.missing

    def _update(self, caller=None, event=None) -> None:
        """Show what can be done now."""
        if not self._run:
            self._view.show_idle(self._reasonNotToSegment() if self._parameterNode else None)
        if not self._parameterNode:
            return
        segmentationNode = self._parameterNode.outputSegmentation
        self.ui.segmentsTable.setSegmentationNode(segmentationNode)
        self.ui.show3DButton.setSegmentationNode(segmentationNode)
        self._exportRow.show(segmentationNode)
        self.ui.resultCollapsibleButton.visible = segmentationNode is not None
        self.ui.allFramesCheckBox.visible = sequences.frames_of(self._volume) is not None


#
# SpineContextSegLogic
#


class SpineContextSegLogic(ScriptedLoadableModuleLogic):
    """Segmentation from Python: `slicer.util.getModuleLogic("SpineContextSeg").segment(volumeNode)`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._runs = []

    def getParameterNode(self):
        return SpineContextSegParameterNode(super().getParameterNode())

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
        Segment the spine in a CT. Another process computes; the application stays responsive, also while this waits.
        :param volumeNode: the CT; it is not changed
        :param segmentationNode: where the result goes, None makes a new segmentation. If it holds edits that would be
            lost then the result goes to a new one all the same, unless overwriteEdits is True.
        :param structures: "spine" for vertebrae and sacrum, "all" also for spinal canal and discs
        :param only: label values to write (see SpineContextSegLib.labels); all other segments stay as they are
        :param region: box that limits the run; voxels outside stay as they are
        :param allFrames: if True then all frames of the sequence that the volume belongs to are segmented
        :param force: segment although the values don't look like Hounsfield units (cone-beam CT)
        :param model: name of a model, or its folder
        :param runtime: "auto", "openvino" or "torch"
        :param device: "auto", "cpu", "cuda" or "mps"
        :param threads: CPU threads to use, None for all
        :param onProgress: called with windows done, windows in total, and seconds left or None
        :param onEnd: called with the RunEnd (see SpineContextSegLib.panel.runs), also if it isn't good
        :param blocking: if False then return at once
        :return: the segmentation node; if not blocking, the run, which has a method cancel()
        :raises InputRefused: (a ValueError) the volume or an argument can't be used
        :raises Cancelled: the run was stopped, as by closing the scene
        :raises RuntimeError: nothing was found, or something failed
        If not blocking, onEnd gets what is wrong with the volume or the run; only a bad argument raises.
        """
        options = RunOptions(
            model=model, runtime=runtime, device=device, threads=threads, structures=structures, force=force,
            only=None if only is None else frozenset(only), region=region, all_frames=allFrames,
            overwrite_edits=overwriteEdits,
        )  # fmt: skip

        def create(ended):
            return self.createRun(
                volumeNode, options, segmentationNode,
                onStatus=lambda text: None, onProgress=onProgress, onEnd=ended,
            )  # fmt: skip

        if not blocking:
            run = create(onEnd)
            run.start()
            return run
        end = wait_for(create)
        onEnd(end)
        return node_or_error(end)

    def createRun(self, volumeNode, options, segmentationNode=None, *, onStatus, onProgress, onEnd):
        """Prepare a run without starting it; the panel and segment() share this."""

        def ended(end: RunEnd) -> None:
            self._runs.remove(run)
            if end.segmentation_node:
                editor.forget_undo(end.segmentation_node)
            onEnd(end)

        run = SegmentationRun(
            volumeNode, options, segmentation_node=segmentationNode, temporary_root=Path(slicer.app.temporaryPath),
            on_status=onStatus, on_progress=onProgress, on_end=ended,
        )  # fmt: skip
        self._runs.append(run)
        return run

    def cancelRuns(self, wait: bool = False) -> None:
        """End every run that was started here."""
        for run in list(self._runs):
            run.cancel(wait=wait)


#
# SpineContextSegTest
#


class SpineContextSegTest(ScriptedLoadableModuleTest):
    """Real inference on the shipped phantom, compared with its truth."""

    def setUp(self):
        slicer.mrmlScene.Clear(False)

    def runTest(self, **kwargs):
        self.setUp()
        self.test_SegmentPhantom()

    def test_SegmentPhantom(self):
        self.delayDisplay("Segmenting the phantom, this takes about half a minute")
        volumeNode = self.loadSample("phantom_ct.nii.gz", "vtkMRMLScalarVolumeNode")
        segmentationNode = SpineContextSegLogic().segment(volumeNode)

        self.assertEqual(belonging.volume_of(segmentationNode), volumeNode)
        found = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, bool)
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        volumeNode.GetIJKToRASMatrix(matrices[0])
        for segmentId in our_values(segmentationNode).values():
            found |= slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) != 0
            segmentationNode.GetBinaryLabelmapInternalRepresentation(segmentId).GetImageToWorldMatrix(matrices[1])
            np.testing.assert_allclose(*map(slicer.util.arrayFromVTKMatrix, matrices), atol=1e-4)
        truthNode = self.loadSample("phantom_labels.nii.gz", "vtkMRMLLabelMapVolumeNode")
        truth = np.isin(slicer.util.arrayFromVolume(truthNode), list(BINARY_SPINE))
        dice = 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))
        self.assertGreater(dice, 0.85)
        self.delayDisplay(f"Test passed, Dice {dice:.3f}")

    def loadSample(self, fileName: str, className: str):
        storageNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storageNode.SetFileName(str(Path(__file__).parent / "SpineContextSegLib" / "sample" / fileName))
        node = slicer.mrmlScene.AddNewNodeByClass(className, fileName.split(".")[0])
        self.assertTrue(storageNode.ReadData(node))
        return node
