"""A scan that is sent in is listed and stays, and holds its voxels itself: no header makes the server read another
file."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import multi_frame
from Testing.store_use import DEADLINE_S

pytest.importorskip("trame_slicer")

from aiohttp import FormData, web  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402

from Workbench.routes import Routes  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402
from Workbench.uploads import Uploads, check_header  # noqa: E402

NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 5 5\nencoding: raw\nendian: little\n"
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 5 5 5\nElementType = MET_SHORT\n"
LOCAL = "ElementDataFile = LOCAL\n"
# So that the file is as large as its header promises.
PADDING = bytes(2000)
SMALL = Volume(np.zeros((6, 8, 10), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))

# A form with one file, in front of it and behind it.
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nrrd"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.raw"
    path.write_bytes(b"\7\0" * 125)
    return path


def refusal(path, content):
    path.write_bytes(content)
    with pytest.raises(InputRefused) as refused:
        check_header(path)
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{NRRD}data file: SECRET\n\n", f"{NRRD}datafile: ../secret.raw\n\n", f"{NRRD}Data File: LIST\nSECRET\n\n",
        f"{NRRD}data file: SECRET\n\n".replace("\n", "\r\n"), f"{NRRD}# a\rdata file: SECRET\n\n",
        NRRD + "# a\n" * 20_000 + "data file: SECRET\n\n",
    ],
    ids=["name", "one word", "list", "CRLF", "CR", "after comments"],
)  # fmt: skip
def test_nrrd_headers_that_name_another_file_are_refused(tmp_path, secret, text):
    content = text.replace("SECRET", str(secret)).encode() + PADDING
    assert "names another file" in refusal(tmp_path / "a.nrrd", content)


@pytest.mark.parametrize(
    "text",
    [
        f"{MHA}ElementDataFile = SECRET\n", f"{MHA}ElementDataFile = LIST\nSECRET\n",
        f"{MHA}\nElementDataFile = SECRET\n", f"{MHA}\r\nElementDataFile = SECRET\r\n",
        f"{MHA}ElementDataFile : SECRET\n", f"{MHA}ElementDataFile\nComment = SECRET\n",
        f"{MHA}{LOCAL.lower()}ElementDataFile = SECRET\n", f"{MHA}Comment\n{LOCAL}ElementDataFile = SECRET\n",
        f"{MHA}Offset = 1 1\n{LOCAL}ElementDataFile = SECRET\n",
        MHA + "Comment = a\n" * 20_000 + "ElementDataFile = SECRET\n",
    ],
    ids=["name", "list", "blank line", "CRLF", "colon", "next line", "small letters", "passed over", "short", "long"],
)  # fmt: skip
def test_mha_headers_that_name_another_file_are_refused(tmp_path, secret, text):
    content = text.replace("SECRET", str(secret)).encode() + PADDING
    assert "names another file" in refusal(tmp_path / "a.mha", content)


@pytest.mark.parametrize(
    ("ending", "start"), [(".nrrd", NRRD + "# a\n" * 300_000), (".mha", MHA + "A = b\n" * 200_000)]
)
def test_headers_without_an_end_are_refused(tmp_path, ending, start):
    end = {".nrrd": "\n", ".mha": LOCAL}[ending]
    assert "damaged" in refusal(tmp_path / f"a{ending}", (start + end).encode() + PADDING)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_another_format_behind_a_header_is_refused(tmp_path, ending):
    """ITK finds HDF5 behind 512 bytes of anything, before it looks for what the name says."""
    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkInt16), str(tmp_path / "a.hdf5"))
    write_volume(SMALL, tmp_path / f"proper{ending}")
    start = (tmp_path / f"proper{ending}").read_bytes()[:512].ljust(512, b"\0")
    assert "not what its name says" in refusal(tmp_path / f"a{ending}", start + (tmp_path / "a.hdf5").read_bytes())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_whole_scans_pass(tmp_path, ending):
    write_volume(SMALL, tmp_path / f"a{ending}")
    check_header(tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    ("ending", "text"), [(".mha", MHA + LOCAL), (".nrrd", f"{NRRD}# data file: none\nnote:=a\n\n")]
)
def test_lines_of_windows_pass(tmp_path, ending, text):
    path = tmp_path / f"a{ending}"
    path.write_bytes(text.replace("\n", "\r\n").encode() + PADDING)
    check_header(path)


def listed(data, *files, opened=None):
    """The worklist's entries after files were sent in one form; `opened` gets what was read of the one to be opened."""
    opened = [] if opened is None else opened

    async def on_upload(number, read):
        assert number
        opened.append(read)

    async def send():
        app, clicks = web.Application(), []
        routes = Routes(
            Uploads(data, 10_000_000), None, Worklist.open(data, "tester"), SimpleNamespace(start=clicks.append),
            "token", on_upload, None,
        )  # fmt: skip
        routes.bind(SimpleNamespace(app=app))
        form = FormData()
        for path in files:
            form.add_field("file", path.read_bytes(), filename=path.name)
        async with TestClient(TestServer(app)) as client:
            await client.get("/?token=token", allow_redirects=False)
            answer = await client.post("/upload", data=form)
            assert (answer.status, await answer.text()) == (200, "")
        [opening] = clicks
        await opening

    data.mkdir(exist_ok=True)
    asyncio.run(send())
    return Worklist.open(data, "tester").entries()


def test_a_scan_stays_in_a_data_folder_of_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume(SMALL, tmp_path / "a.nrrd")
    [entry] = listed(Path("data"), tmp_path / "a.nrrd")
    assert entry.scan.is_file() and entry.scan.is_relative_to(tmp_path / "data" / "uploads")


def test_a_scan_that_is_listed_already_is_not_kept_twice(tmp_path):
    write_volume(SMALL, tmp_path / "a.nrrd")
    for _ in range(2):
        [entry] = listed(tmp_path / "data", tmp_path / "a.nrrd")
    assert [entry.scan.parent] == list((tmp_path / "data" / "uploads").iterdir()) and entry.scan.is_file()


def test_a_scan_of_one_dicom_file_stays(tmp_path):
    multi_frame(SMALL, tmp_path / "a.dcm")
    [entry] = listed(tmp_path / "data", tmp_path / "a.dcm", opened=(opened := []))
    assert entry.scan.is_file() and opened[0][0].array.shape == SMALL.array.shape


def test_the_first_of_several_scans_is_not_shown_with_the_voxels_of_another(tmp_path):
    longer = Volume(np.concatenate([SMALL.array, SMALL.array]), SMALL.affine)
    multi_frame(SMALL, tmp_path / "a.dcm")
    multi_frame(longer, tmp_path / "b.dcm")
    first, second = listed(tmp_path / "data", tmp_path / "a.dcm", tmp_path / "b.dcm", opened=(opened := []))
    assert first.scan.is_file() and second.scan.is_file() and opened == [None]


def test_a_scan_is_hidden_until_it_is_whole(tmp_path):
    """Who looks for scans meanwhile lists nothing, and a killed process leaves nothing that would be listed."""
    write_volume(SMALL, tmp_path / "a.nrrd")
    content, seen = (tmp_path / "a.nrrd").read_bytes(), []
    uploads, folder = Uploads(tmp_path, 10_000_000), tmp_path / "uploads"

    async def send():
        async def receive(request):
            return web.Response(text=str(await uploads.receive(request)))

        async def in_two():
            yield HEAD + content[:-10]
            end = time.monotonic() + DEADLINE_S
            while not (parts := list(folder.glob("*/a.nrrd"))):
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
            seen.extend(parts)
            with pytest.raises(InputRefused, match="holds no scan"):
                Worklist.open(tmp_path, "tester").add([folder])
            yield content[-10:] + TAIL

        app = web.Application()
        app.router.add_post("/upload", receive)
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        async with TestClient(TestServer(app)) as client:
            return await (await client.post("/upload", data=in_two(), headers=headers)).text()

    scan = Path(asyncio.run(send()))
    assert seen and not seen[0].exists()
    assert scan.read_bytes() == content and [scan] == [path for path in folder.rglob("*") if path.is_file()]
    [entry] = Worklist.open(tmp_path, "tester").add([folder])
    assert entry.scan == scan


def test_what_a_killed_process_left_goes_a_day_after(tmp_path):
    for name, at in ((".old.partial", 0), (".young.partial", None), ("scan-old", 0)):
        folder = tmp_path / "uploads" / name
        folder.mkdir(parents=True)
        if at is not None:
            os.utime(folder, (at, at))
    Uploads(tmp_path, 1)
    assert sorted(path.name for path in (tmp_path / "uploads").iterdir()) == [".young.partial", "scan-old"]
