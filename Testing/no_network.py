"""Code that forbids a process every socket, for tests."""

# Python tells an audit hook of every socket before it is made, whichever module asks for it.
BLOCK = """
import json, sys
tried = []
def block(event, arguments):
    if event.startswith("socket."):
        tried.append(event)
        raise PermissionError(f"no network: {event}")
sys.addaudithook(block)
"""
