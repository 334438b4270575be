"""What the page brings along beside trame's own files."""

from pathlib import Path

serve = {"workbench": str(Path(__file__).parent)}
scripts = ["workbench/workbench.js"]
styles = ["workbench/workbench.css"]
