"""Small nodes and `.ui` files for the tests of the stand-ins."""

import numpy as np
import slicer


def add_volume(scene, name="CT"):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(volume, np.zeros((3, 4, 5), np.int16))
    return volume


def add_segmentation(scene):
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    segmentation.CreateDefaultDisplayNodes()
    for name in ("Vertebrae", "Sacrum"):
        segmentation.GetSegmentation().AddEmptySegment(name.lower(), name)
    return segmentation


def load_ui(tmp_path, body, connections=""):
    path = tmp_path / "panel.ui"
    path.write_text(
        f'<ui version="4.0"><class>Panel</class><widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" '
        f'name="rows">{body}</layout></widget><connections>{connections}</connections></ui>',
        encoding="utf-8",
    )
    return slicer.util.loadUI(str(path))


def item(cls, name, properties=""):
    return f'<item><widget class="{cls}" name="{name}">{properties}</widget></item>'


def named(parameter):
    return f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
