"""Names and ids of containers and volumes. [lean]"""

from __future__ import annotations

import os

from pycontain.errors import UsageError

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
NAME_MAX = 200

# Words for containers that nobody named: two lists of 64 give 4096 pairs, a number follows when one is taken.
_QUALITY_WORDS = (
    "able amber apt bold brave brisk calm clear clever cool crisp deft eager early easy fair fast fine firm fond free"
    " fresh gentle glad golden good grand green happy hardy honest humble jolly just keen kind late light lively lucid"
    " lucky mellow merry mild modest neat nimble noble patient plain polite proud quick quiet ready sharp silent"
    " simple sleek smart sober solid steady sunny swift"
)
_BIRD_WORDS = (
    "auk avocet bittern brambling bunting bustard buzzard chough coot cormorant crake crane crossbill curlew dipper"
    " diver dotterel dove dunlin dunnock eagle egret eider falcon fieldfare finch firecrest flycatcher fulmar gadwall"
    " gannet godwit goldcrest grebe gull harrier heron hobby hoopoe ibis jackdaw jay kestrel kingfisher kite knot"
    " lapwing lark linnet magpie martin merlin nightjar nuthatch oriole osprey ouzel owl petrel pintail pipit plover"
    " puffin quail rail raven"
)
_QUALITIES = tuple(_QUALITY_WORDS.split())
_BIRDS = tuple(_BIRD_WORDS.split())


def _is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_MAX and text[0] in _FIRST and all(char in _REST for char in text)


def is_volume_name(text: str) -> bool:
    """Tell whether ``text`` may name a volume: docker's rule, two characters at least."""
    return len(text) > 1 and _is_name(text)


def check_container_name(option: str, text: str) -> str:
    """Return ``text`` as a container's name.

    Raises:
        UsageError: a character that docker's rule ``[a-zA-Z0-9][a-zA-Z0-9_.-]+`` does not have, too short or too long.
    """
    if not is_volume_name(text):
        hint = f"letters, digits, '_', '.' and '-', a letter or digit first, 2 to {NAME_MAX} characters"
        raise UsageError(f"{option}: {text!r} is not a name", hint=hint)
    return text


def new_id() -> str:
    """Return 64 random hexadecimal digits whose first twelve are not all decimal, so that no id looks like a number."""
    while True:
        value = os.urandom(32).hex()
        if not value[:12].isdigit():
            return value


def random_name(attempt: int = 0) -> str:
    """Return a name such as ``quiet_heron``; a number follows from the third attempt on, when names are taken."""
    number = int.from_bytes(os.urandom(4), "little")
    name = f"{_QUALITIES[number % len(_QUALITIES)]}_{_BIRDS[(number >> 16) % len(_BIRDS)]}"
    return name if attempt < 2 else f"{name}{number >> 24 | (attempt << 8)}"
