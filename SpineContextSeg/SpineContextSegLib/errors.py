"""The ways a run ends early without being a fault of the program."""


class InputRefused(ValueError):
    """The input can't be segmented; the message is one sentence that says what is wrong and what to do."""


class UnlikelyValues(InputRefused):
    """The values don't look like those that the model was made for; `force=True` lets them pass, as for a cone-beam
    CT."""


class Cancelled(Exception):
    """The user asked to stop; nothing was written, unless the message says what was."""


class Incomplete(Exception):
    """Of many pieces of work some could not be done, all others are; the message is one sentence that says so."""
