"""What can go wrong: one class for each reaction a caller can have.

HwkitError
  Unavailable      not here, and why; a value as much as an exception: discovery yields it
    NoDriver         software is missing, and `why` says what to install
    NoDevice         nothing answers to that address
    NotPermitted     it is there and this user may not use it
  DeviceFault      was here, failed in the run: the run is void, the record kept
    DeviceLost  DeviceTimeout  ProtocolError
  WrongHash        a device gave a wrong answer, or left a right one out
  Unmeasurable     the window cannot bear a number
  RecordError      a record or store that is too new, corrupt or not ours
  PlanError        what was asked makes no sense
"""


class HwkitError(Exception):
    """Anything hwkit raises on purpose; its text is one line for the user."""

    exit_code = 4


class Unavailable(HwkitError):
    """A device, meter or driver that is not here, and the reason."""

    exit_code = 3

    def __init__(self, address: str, why: str) -> None:
        """Name the address that was looked for and say, in one line, why it is not here."""
        super().__init__(f"{address}: {why}")
        self.address = address
        self.why = why


class NoDriver(Unavailable):
    """The software that talks to it is missing."""


class NoDevice(Unavailable):
    """No such device."""


class NotPermitted(Unavailable):
    """It is there, and this user may not use it."""


class DeviceFault(HwkitError):
    """A device that was here failed during the run."""


class DeviceLost(DeviceFault):
    """The device is gone."""


class DeviceTimeout(DeviceFault):
    """The device did not answer before its deadline."""


class ProtocolError(DeviceFault):
    """The device answered with something that is not its protocol."""

    def __init__(self, message: str, received: bytes) -> None:
        """Keep the bytes that came."""
        super().__init__(message)
        self.received = received


class WrongHash(HwkitError):
    """A device gave a wrong answer, or left a right one out. Never swallowed."""

    exit_code = 1

    def __init__(self, message: str, header: bytes, nonce: int, came: str, expected: str) -> None:
        """Carry the 80-byte header, the nonce, what came and what should have come."""
        super().__init__(f"{message}: nonce {nonce:#010x}, got {came}, expected {expected}")
        self.header = header
        self.nonce = nonce
        self.came = came
        self.expected = expected


class Unmeasurable(HwkitError):
    """The window cannot bear a number: no hashes in it, or a clock that stood still."""


class RecordError(HwkitError):
    """A record, or a store of records, that cannot be used."""

    exit_code = 2


class PlanError(HwkitError, ValueError):
    """What was asked makes no sense."""

    exit_code = 2
