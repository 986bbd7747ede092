"""Signals as users write them, and the keys that leave a terminal. [lean]"""

from __future__ import annotations

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.kernel.constants import SIGNALS
from pycontain.runtime.signals import signal_number


def parse_signal(option: str, text: str) -> int:
    """Return the number of ``TERM``, ``sigterm``, ``15`` or ``SIGRTMIN+3``.

    Raises:
        UsageError: no such signal; 0 is none.
    """
    number = signal_number(text)
    if number > 0:
        return number
    name = text.upper()
    guess = closest(name if name.startswith("SIG") else f"SIG{name}", SIGNALS)
    hint = f"did you mean {guess}?" if guess else "a name such as TERM or SIGUSR1, or a number from 1 to 64"
    raise UsageError(f"{option}: {text!r} is not a signal", hint=hint)


_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}
DEFAULT_DETACH_KEYS = b"\x10\x11"


def parse_detach_keys(option: str, text: str) -> bytes:
    r"""Return the bytes of ``ctrl-p,ctrl-q``: single characters or ``ctrl-`` with a letter or one of ``@[\\]^_``.

    "" turns detaching off.

    Raises:
        UsageError: anything else.
    """
    keys = bytearray()
    for word in text.split(",") if text else ():
        control = word[5:] if word.startswith("ctrl-") else ""
        if len(control) == 1 and "a" <= control <= "z":
            keys.append(ord(control) - 96)
        elif control in _CONTROLS and control:
            keys.append(_CONTROLS[control])
        elif len(word) == 1 and word.isascii() and word.isprintable():
            keys.append(ord(word))
        else:
            hint = "characters or ctrl-X joined by commas, for example ctrl-p,ctrl-q"
            raise UsageError(f"{option}: {word!r} is not a key", hint=hint)
    return bytes(keys)
