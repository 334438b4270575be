"""Events of Vue that trame's widgets don't know by themselves; they ignore without a word what they don't know."""

# For `__events`: a click on a button that the row around it doesn't get.
CLICK_ALONE = ("click_stop", "click.stop")
