"""Nothing is sent and nothing is fetched; and torch stays out where it isn't needed."""

import json
import subprocess
import sys

import pytest

from Testing.no_network import BLOCK


def run(code, *arguments):
    """What a new process prints as JSON in its last line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_the_block_works():
    code = BLOCK + """
import socket
for attempt in (socket.socket, lambda: socket.getaddrinfo("localhost", 80)):
    try:
        attempt()
    except PermissionError:
        pass
print(json.dumps(tried))
"""
    assert run(code) == ["socket.__new__", "socket.getaddrinfo"]


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_whole_segmentation_opens_no_socket(runtime, sample_scan, tiny_model, tmp_path):
    code = BLOCK + """
from SpineContextSegLib.cli import main
code = main(["segment", *sys.argv[1:], "--preview", "p.png", "--report", "r.json", "--device", "cpu"])
print(json.dumps([code, tried, "torch" in sys.modules]))
"""
    options = ["-o", tmp_path / "spine.seg.nrrd", "--model", tiny_model, "--runtime", runtime, "--threads", "1"]
    code = code.replace('"p.png"', repr(str(tmp_path / "p.png"))).replace('"r.json"', repr(str(tmp_path / "r.json")))
    assert run(code, sample_scan.path, *options) == [0, [], runtime == "torch"]


def test_only_the_network_and_its_runtime_import_torch():
    code = """
import importlib, json, pkgutil, sys
import SpineContextSegLib
names = [module.name for module in pkgutil.walk_packages(SpineContextSegLib.__path__, "SpineContextSegLib.")]
# mrml and panel exist inside Slicer only; test_architecture reads what they import.
engine = [name for name in names if name.split(".")[1] not in ("mrml", "panel")]
light = [name for name in engine if not name.endswith((".network", ".torch_runtime", ".on_device"))]
for name in light:
    importlib.import_module(name)
print(json.dumps([len(light) > 20, "torch" in sys.modules]))
"""
    assert run(code) == [True, False]
