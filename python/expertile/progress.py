"""Progress of long work: tqdm's bars where tqdm is installed, else a line on standard error."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Callable, Optional, Type, Union

Callback = Callable[[int, int], Any]
Wanted = Union[None, bool, Callback]


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Progress:
    """A context whose callback is (done, total); `wanted` True or False, a callback, or None: where somebody looks."""

    def __init__(self, title: str, wanted: Wanted = None) -> None:
        self._title = title
        self._bar: Any = None
        self._tqdm: Any = None
        self.callback: Optional[Callback] = None
        if callable(wanted):
            self.callback = wanted
        elif wanted or (wanted is None and (_in_notebook() or sys.stderr.isatty())):
            self.callback = self._show
            try:
                from tqdm.auto import tqdm
            except ImportError:
                pass
            else:
                self._tqdm = tqdm

    def _show(self, done: int, total: int) -> None:
        if self._tqdm is None:
            end = "\n" if done == total else ""
            print(f"\r{self._title} {done}/{total}", end=end, file=sys.stderr, flush=True)
            return
        if self._bar is None or self._bar.total != total:
            self._close()
            self._bar = self._tqdm(total=total, desc=self._title, leave=False)
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Optional[Callback]:
        return self.callback

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._close()
