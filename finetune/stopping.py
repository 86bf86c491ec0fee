"""What signals ask of a run: to save and go on, to stop once its step is done and saved, or to stop at once.

Owns the handlers, and what this process was asked until now: signals belong to a process, so there is one `SIGNALS`. Acting on them
between two steps is `callbacks`; passing them on to further processes is `launch` and `seed_jobs`.

    SIGTERM, SIGUSR1    stop: what Slurm and Kubernetes send before they take the machine away
    SIGINT              stop: Ctrl-C
    SIGUSR2             save and go on

While steps are trained a signal waits for the end of the step; a second one, or one at another time, stops at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

from finetune.errors import PreemptedError, StoppedError, StopRun, TerminatedError


class Request(IntEnum):
    """What was asked, the more urgent the greater."""

    NOTHING = 0
    SAVE = 1
    STOP = 2
    INTERRUPT = 3


MEANINGS = {
    signal.SIGUSR2: Request.SAVE,
    signal.SIGTERM: Request.STOP,
    signal.SIGUSR1: Request.STOP,
    signal.SIGINT: Request.INTERRUPT,
}
# prctl(2): the signal that a process gets when its parent has gone.
PR_SET_PDEATHSIG = 1


class Signals:
    """What this process was asked.

    Attributes:
        request: the most urgent that is still to be answered.
        name: the signal that asked it.
        pass_on: whom further processes are told of it by, instead of this one stopping.
    """

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.request, self.name = Request.NOTHING, ""
        self.waits_for_step = False
        self.pass_on: Callable[[], None] | None = None

    def note(self, asked: Request, name: str) -> None:
        """Keep the more urgent of what was asked before and what is asked now."""
        if asked > self.request:
            self.request, self.name = asked, name

    def take(self) -> Request:
        """Return what is asked; to save is asked once, to stop for good."""
        request = self.request
        if request is Request.SAVE:
            self.request = Request.NOTHING
        return request

    def receive(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal, or stop where nothing is there to wait for.

        Raises:
            StopRun: it stops at once.
        """
        asked = MEANINGS[signal.Signals(number)]
        if asked is Request.SAVE and not self.waits_for_step:
            return
        is_repeated = self.request >= Request.STOP
        self.note(asked, name_of(number))
        if asked is Request.SAVE:
            return
        if is_repeated:
            raise StopRun(_at_once(number))
        if self.pass_on is not None:
            self.pass_on()
        elif self.waits_for_step:
            _say_what_comes()
        else:
            raise StopRun(self.describe("while no step was trained; what is saved is kept"))

    def describe(self, when: str, *, can_go_on: bool = True) -> StoppedError:
        """Return the error of a run that was stopped as asked."""
        how = "the same command with --resume=auto goes on" if can_go_on else "a run with cut weights can't be resumed"
        message = f"stopped by {self.name} {when}; {how}"
        if self.request is Request.INTERRUPT:
            return StoppedError(message)
        return PreemptedError(message) if can_go_on else TerminatedError(message)


SIGNALS = Signals()


@contextmanager
def heed_signals() -> Generator[None]:
    """Have signals mean what they mean to a run while the block lasts; in another thread than the main one, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, SIGNALS.receive) for number in MEANINGS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        # What was asked of this run is not asked of the next one, which may be in another thread.
        SIGNALS.request, SIGNALS.name = Request.NOTHING, ""


@contextmanager
def wait_for_step() -> Generator[None]:
    """Have signals wait for the end of a step while the block lasts, which has to look for them.

    Raises:
        StopRun: one came after the last look.
    """
    SIGNALS.waits_for_step = True
    try:
        yield
    finally:
        SIGNALS.waits_for_step = False
    if SIGNALS.request >= Request.STOP:
        raise StopRun(SIGNALS.describe("after the last step; what is saved is kept"))


@contextmanager
def pass_signals_on(tell_others: Callable[[], None]) -> Generator[None]:
    """Have further processes stop instead of this one, which waits for them, while the block lasts."""
    SIGNALS.pass_on = tell_others
    try:
        yield
    finally:
        SIGNALS.pass_on = None


def end_with_launcher() -> None:
    """Have a process that a launcher started told to stop when the launcher is gone, be it killed; Linux alone can."""
    # RANK is torch's and ours; accelerate, when it starts one process, only leaves settings of its own.
    is_launched = any(name in os.environ for name in ("RANK", "ACCELERATE_MIXED_PRECISION"))
    if is_launched and sys.platform == "linux":
        # Here alone, since most commands are no process of a launcher.
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def name_of(number: int) -> str:
    """Return what users call a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _at_once(number: int) -> StoppedError:
    kind = StoppedError if number == signal.SIGINT else TerminatedError
    return kind(f"stopped at once by a second {name_of(number)}; --resume goes on from the last checkpoint")


def _say_what_comes() -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        # Not print: this runs in the middle of anything, of another print too.
        os.write(sys.stderr.fileno(), b"\nstopping when this step is done and saved; once more stops at once\n")
