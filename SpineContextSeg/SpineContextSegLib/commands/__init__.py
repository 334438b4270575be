"""The commands of `spinecontextseg`, one module each: its arguments (`add_parser`) and its work (`run`).

These modules import nothing heavy at the top, so that `--help` answers at once.
"""
