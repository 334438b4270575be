"""The part of "Advanced" that chooses a model, shows what could run it, and installs what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputRefused
from ..model import list_models, load_model
from . import runtimes
from .kits import InstallFailed
from .notice import Notice


class RuntimeRow:
    """Holds the chosen model's name and knows why it can't run."""

    def __init__(self, ui, *, notice: Notice, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """
        Args:
            ui: has `advancedCollapsibleButton`, `modelComboBox`, `installedRuntimesLabel` and the three buttons that
                install.
            notice: tells when an installation failed.
            say: for what goes on and what went well.
            changed: called when another model was chosen or something was installed.
        """
        self._ui, self._notice, self._say, self._changed = ui, notice, say, changed
        self._missing: str | None = None
        self.refresh("")
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model)
        ui.installOpenVINOButton.connect("clicked(bool)", lambda: self._install(runtimes.install_openvino))
        ui.installTorchButton.connect("clicked(bool)", lambda: self._install(runtimes.install_torch))
        ui.installFromFolderButton.connect("clicked(bool)", self._install_from_folder)

    @property
    def model(self) -> str:
        return self._ui.modelComboBox.currentText

    @property
    def missing(self) -> str | None:
        """One sentence on why the model can't run here, None where it can."""
        return self._missing

    def refresh(self, model: str) -> None:
        """Looks again at what is there; `model` is chosen, also where it is unknown here (a scene from elsewhere)."""
        names = list(list_models())
        if model and model not in names:
            names.append(model)
        combo = self._ui.modelComboBox
        was_blocked = combo.blockSignals(True)
        combo.clear()
        combo.addItems(names)
        combo.setCurrentIndex(max(0, names.index(model) if model else 0))
        combo.blockSignals(was_blocked)
        self._look()

    def _look(self) -> None:
        usable: dict[str, str] = {}
        lacks_openvino = False
        try:
            card = load_model(self.model).card
        except InputRefused as refusal:
            self._missing = str(refusal)
        else:
            self._missing, usable = runtimes.missing(card), runtimes.usable(card)
            lacks_openvino = card.has_openvino and "openvino" not in usable
        self._ui.installedRuntimesLabel.text = ", ".join(usable.values()) or _("nothing that could run this model")
        self._ui.installOpenVINOButton.visible = lacks_openvino
        self._ui.installFromFolderButton.visible = lacks_openvino
        self._ui.installTorchButton.visible = "torch" not in usable
        if self._missing:
            # What has to be done is in there.
            self._ui.advancedCollapsibleButton.collapsed = False

    def _on_model(self) -> None:
        self._look()
        self._changed()

    def _install_from_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of wheels"))
        if folder:
            self._install(runtimes.install_openvino, Path(folder))

    def _install(self, install: Callable, *arguments: Path) -> None:
        try:
            with ExitStack() as stack:
                install(partial(self._ask, stack), *arguments)
        except runtimes.InstallDeclined:
            return
        except InstallFailed as failure:
            self._notice.show([str(failure)], heading=_("Not installed"), log=failure.log)
            self._say(_("Nothing was installed."))
        else:
            self._notice.clear()
            self._say(_("Installed."))
        self._look()
        self._changed()

    def _ask(self, stack: ExitStack, question: str) -> bool:
        """After a yes the panel is busy until the stack ends."""
        says_yes = slicer.util.confirmOkCancelDisplay(question, windowTitle="SpineContextSeg")
        if says_yes:
            stack.enter_context(self._busy())
        return says_yes

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Nothing else shows that pip runs, and clicks come through meanwhile."""
        buttons = [self._ui.installOpenVINOButton, self._ui.installTorchButton, self._ui.installFromFolderButton]
        for button in buttons:
            button.enabled = False
        self._say(_("Installing, this can take some minutes..."))
        try:
            with slicer.util.WaitCursor():
                yield
        finally:
            for button in buttons:
                button.enabled = True
