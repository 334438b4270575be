"""The two ways a run ends early without being a fault of the program."""


class InputRefused(ValueError):
    """The input can't be segmented; the message is one sentence that says what is wrong and what to do."""


class Cancelled(Exception):
    """The user asked to stop; nothing was written."""
