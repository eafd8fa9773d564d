"""The library's log as the logger "expertile" of Python's logging."""

from __future__ import annotations

import atexit
import logging

from expertile import _core

logger = logging.getLogger("expertile")
_level = logging.CRITICAL


def _pass_on(level: str, message: str) -> None:
    logger.log(logging.DEBUG if level == "debug" else logging.INFO, "%s", message)


def refresh() -> None:
    """Asks the library for what the logger wants: INFO tells of files, programs and phases, DEBUG of every step.

    Called when a model is loaded or compiled and when a session is made, so that a level set before
    that is heard.
    """
    global _level
    wanted = logger.getEffectiveLevel()
    if wanted == _level:
        return
    _level = wanted
    _core.set_log(_pass_on if wanted <= logging.INFO else None, wanted <= logging.DEBUG)


def start() -> None:
    refresh()
    atexit.register(_core.set_log, None)
