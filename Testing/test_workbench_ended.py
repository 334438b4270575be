"""The workbench is ended while it saves: it ends at once, and the work is kept."""

import signal
import time

import numpy as np
import pytest

from Testing.store_use import *  # noqa: F403
from Testing.store_use import needs_posix, start, write_scan
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")

END_WHILE_IT_SAVES = """
import os, sys, time
from pathlib import Path
import numpy as np
from Testing.workbench_use import paint
from Workbench.__main__ import serve
from Workbench.workbench import Workbench
data, number, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv[1:] = []
bench = Workbench(Path(data), by="tester", token="secret", upload_bytes=1, model="none", threads=1)

async def work():
    await bench.open_entry(1)
    np.save(Path(data) / "painted.npy", paint(bench, 3))
    versions = bench.saving._versions
    save = versions.save
    def slow(*arguments, **options):
        versions.save = save
        # Twice, as whoever is impatient does.
        for _ in range(2):
            os.kill(os.getpid(), number)
            time.sleep(1)
        return save(*arguments, **options)
    versions.save = slow
    print("saving", flush=True)
    await bench.saving.save(kind)

bench.server.controller.on_server_ready.add(lambda **_: bench.clicks.start(work()))
serve(bench, "127.0.0.1", 0, "secret")
"""


@needs_posix
@pytest.mark.parametrize("number, kind", [(signal.SIGTERM, "autosave"), (signal.SIGINT, "correction")])
def test_a_save_comes_to_its_end(number, kind, data):
    scan = write_scan(data / "a.nii.gz", 1)
    Worklist.open(data, "tester").add([scan])
    process = start(END_WHILE_IT_SAVES, data, int(number), kind)
    while "saving" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    asked = time.monotonic()
    try:
        process.wait(30)
    finally:
        process.kill()
        process.communicate()
    assert time.monotonic() - asked < 15
    # Once, so that nothing is offered that was saved.
    [version] = Versions(scan, data).list()
    assert version.kind == kind and not list(data.rglob(".*.held"))
    np.testing.assert_array_equal(Versions(scan, data).load(version).array != 0, np.load(data / "painted.npy"))
