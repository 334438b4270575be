"""Nothing from outside gets in: other pages, other computers, forged names, and files that are no scans."""

import asyncio
import gzip
import http.client
import os
import struct
import threading

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import chromium, require_browser

pytest.importorskip("trame_slicer")
web = pytest.importorskip("aiohttp.web")

from Workbench.guard import FORBIDDEN, guard, new_token  # noqa: E402
from Workbench.uploads import Uploads  # noqa: E402

LIMIT = 1_000_000
SMALL = Volume(np.zeros((6, 8, 10), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))


class Server:
    """A real server on loopback with the guard, one page and the uploads."""

    def __init__(self, folder):
        self.folder = folder
        self.kept = []
        uploads = Uploads(folder, LIMIT)

        async def upload(request):
            try:
                self.kept.append(await uploads.receive(request))
            except InputRefused as refusal:
                return web.Response(status=400, text=str(refusal))
            return web.Response(text="kept")

        async def page(request):
            return web.Response(text="page")

        async def run():
            app = web.Application(middlewares=[guard("secret")])
            app.router.add_get("/index.html", page)
            app.router.add_post("/upload", upload)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ended = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            started.set()
            await self._ended.wait()
            await runner.cleanup()

        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(run()))
        self._thread.start()
        started.wait()

    @property
    def cookie(self):
        """Of whoever has opened the printed address."""
        return f"workbench-127-0-0-1-{self.port}=secret"

    def end(self):
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def ask(self, method="GET", path="/index.html", body=None, **headers):
        """Status, text and the cookie that was set."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True)
            usual = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body or b"")), "Cookie": self.cookie}
            headers = {**usual, **headers}
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.getheader("Set-Cookie")
        finally:
            connection.close()

    def send(self, *files):
        """Status and text; `files` are (name, content)."""
        border = "part-of-form"
        body = b"".join(
            f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
            + content + b"\r\n" for name, content in files
        ) + f"--{border}--\r\n".encode()  # fmt: skip
        return self.ask("POST", "/upload", body, Content_Type=f"multipart/form-data; boundary={border}")[:2]


@pytest.fixture
def server(tmp_path):
    (tmp_path / "data").mkdir()
    server = Server(tmp_path / "data")
    yield server
    server.end()


def content(ending, tmp_path, volume=SMALL):
    path = tmp_path / f"made{ending}"
    write_volume(volume, path)
    return path.read_bytes()


def left(folder):
    """Everything below a folder but for empty `uploads`."""
    return [path for path in folder.rglob("*") if path.name != "uploads"]


def test_tokens_are_long_and_random():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 43


def test_own_page_passes_and_others_do_not(server):
    own = f"127.0.0.1:{server.port}"
    assert server.ask()[:2] == (200, "page")
    assert server.ask(Origin=f"http://{own}")[0] == 200
    # A page of the internet, in a tab beside, and one whose name was made to mean this computer.
    for headers in ({"Origin": "https://example.org"}, {"Origin": "null"}, {"Host": "example.org"},
                    {"Host": f"example.org:{server.port}"}, {"Host": "127.0.0.1.example.org"}):  # fmt: skip
        assert server.ask(**headers)[:2] == (403, FORBIDDEN), headers


def test_only_the_token_opens(server):
    """On loopback, too, where other accounts of this computer are."""
    for path in ("/index.html", "/index.html?token=", "/index.html?token=Secret", "/upload", "/nowhere"):
        assert server.ask(path=path, Cookie="")[:2] == (403, FORBIDDEN), path
    for wrong in (server.cookie + "s", "workbench=secret"):
        assert server.ask(Cookie=wrong)[0] == 403
    status, _, cookie = server.ask(path="/?token=secret", Cookie="")
    assert status == 302 and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert cookie.split(";")[0] == server.cookie


def test_the_printed_address_opens_as_a_link_on_another_site(server, tmp_path):
    """As in a terminal in the browser; there it stays open when it is loaded again."""
    require_browser()
    from selenium.webdriver.support.ui import WebDriverWait

    driver = chromium(tmp_path)

    def text():
        return driver.find_element("tag name", "body").text

    try:
        driver.get(f"data:text/html,<a id=link href='http://127.0.0.1:{server.port}/?token=secret'>link</a>")
        driver.find_element("id", "link").click()
        WebDriverWait(driver, 60).until(lambda _: text() != "link")
        assert (driver.current_url, text()) == (f"http://127.0.0.1:{server.port}/index.html", "page")
        driver.refresh()
        assert text() == "page"
    finally:
        driver.quit()


def test_browsers_keep_the_tokens_of_two_workbenches_apart(server, tmp_path):
    """They send the cookies of one to the other, as the port doesn't count."""
    other = Server(tmp_path)
    try:
        assert other.cookie.split("=")[0] != server.cookie.split("=")[0]
        assert other.ask(Cookie=f"{server.cookie}; {other.cookie}")[0] == 200
    finally:
        other.end()


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_scans_are_kept_in_a_private_folder(server, tmp_path, ending):
    assert server.send((f"chest{ending}", content(ending, tmp_path))) == (200, "kept")
    [path] = server.kept
    assert path.name == f"chest{ending}" and path.parent.parent == server.folder / "uploads"
    assert path.read_bytes() == content(ending, tmp_path)
    for folder in (path.parent, path.parent.parent):
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "name",
    ["../../../escaped.nrrd", "..\\..\\escaped.nrrd", "/etc/escaped.nrrd", "a/../../escaped.nrrd", "..", ".nrrd",
     "C:\\escaped.nrrd", "%2e%2e%2fescaped.nrrd", "con.nrrd", "x" * 5000 + ".nrrd"],
)  # fmt: skip
def test_names_lead_nowhere_else(server, tmp_path, name):
    status, _ = server.send((name, content(".nrrd", tmp_path)))
    outside = [path for path in tmp_path.rglob("*escaped*") if not path.is_relative_to(server.folder / "uploads")]
    assert outside == []
    if status == 200:
        [path] = server.kept
        assert path.resolve().parent.parent == (server.folder / "uploads").resolve()
    else:
        assert left(server.folder) == []


def sentence_about(server, *files):
    """The refusal, one sentence, after which nothing is left."""
    status, text = server.send(*files)
    assert status == 400, text
    assert left(server.folder) == [] and server.kept == []
    assert text.endswith(".") and "\n" not in text and "Error" not in text
    return text


def test_what_is_too_large_is_refused(server):
    assert "larger than 1 MB" in sentence_about(server, ("large.nii", bytes(2 * LIMIT)))
    halves = [(f"{number}.dcm", bytes(LIMIT * 2 // 3)) for number in range(2)]
    assert "larger" in sentence_about(server, *halves)


def test_a_length_that_lies_is_found_out(server):
    """Chunked, so that no length was stated: what arrives is counted."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
    parts = iter([head, *[bytes(100_000)] * 30, b"\r\n--b--\r\n"])
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Cookie": server.cookie}
        connection.request("POST", "/upload", parts, headers, encode_chunked=True)
        assert "larger" in connection.getresponse().read().decode()
    except OSError:
        pass  # the server hung up in the middle
    finally:
        connection.close()
    assert left(server.folder) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [("letter.txt", b"no scan"), ("program.exe", b"MZ" + bytes(500)), ("archive.zip", b"PK\3\4" + bytes(500)),
     ("packed.nii.gz", b"no gzip"), ("cut.nii.gz", gzip.compress(os.urandom(5000))[:100])],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_scan_is_refused(server, name, data):
    sentence_about(server, (name, data))


def test_nothing_is_refused_in_words(server):
    assert sentence_about(server) == "Nothing was sent: choose a scan."
    assert server.ask("POST", "/upload", b"{}", Content_Type="application/json")[0] == 400


def test_several_images_are_refused(server, tmp_path):
    image = content(".nrrd", tmp_path)
    assert "one" in sentence_about(server, ("a.nrrd", image), ("b.nrrd", image))


def test_detached_headers_are_refused(server, tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(1000))
    mha = f"ObjectType = Image\nNDims = 3\nDimSize = 5 5 5\nElementDataFile = {tmp_path / 'secret.raw'}\n".encode()
    assert "names another file" in sentence_about(server, ("a.mha", mha))
    for name in ("b.mhd", "c.nhdr"):
        sentence_about(server, (name, mha))


def test_a_huge_header_with_a_tiny_file_is_refused(server, tmp_path):
    nifti = bytearray(content(".nii", tmp_path))
    struct.pack_into("<8h", nifti, 40, 3, 32000, 32000, 32000, 1, 1, 1, 1)
    nrrd = content(".nrrd", tmp_path).replace(b"sizes: 10 8 6", b"sizes: 90000 90000 90000")
    mha = content(".mha", tmp_path).replace(b"DimSize = 10 8 6", b"DimSize = 90000 90000 90000")
    for name, data in (("a.nii", bytes(nifti)), ("b.nii.gz", gzip.compress(nifti)), ("c.nrrd", nrrd), ("d.mha", mha)):
        assert "billion voxels" in sentence_about(server, (name, data)), name
