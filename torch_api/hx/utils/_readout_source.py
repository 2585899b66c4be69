"""What recordings show."""

from .._recorded import Recorded


class ReadoutSource:
    """What a recording shows."""

    VOLTAGE = Recorded("membrane")
    ADAPTATION = Recorded("adaptation")
