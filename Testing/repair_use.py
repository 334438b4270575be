"""What tests of repairs share: the usual column, and the sentence of a refusal."""

import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.repair import level_sequence

USUAL = level_sequence()


def refusal(act) -> str:
    """The one sentence with which `act` is refused."""
    with pytest.raises(InputRefused) as refused:
        act()
    sentence = str(refused.value)
    assert sentence.endswith(".") and ". " not in sentence and not sentence[0].islower()
    return sentence
