"""How long an engine may be silent, and how long its answer may take."""

from __future__ import annotations

from gateway.calls import RelayOptions
from gateway.failures import BackendFailure, FirstByteTimeout, Stalled, TooLong
from gateway.waiting import Awaited
from scheduling.core.usage import Usage


class TimedReply(Awaited):
    """An answer that the watch looks in on, once its connection is known."""

    __slots__ = (
        "_began", "_counted", "_options", "_peeking", "_quiet_since", "_seen_s", "_unread", "_usage", "heard",
    )  # fmt: skip

    _began: bool  # a byte of the body came
    _counted: int  # tokens when the watch last looked
    _options: RelayOptions
    _peeking: bool  # it is us who want more than lies unread
    _quiet_since: float
    _seen_s: float  # when the watch first looked; 0: it has not
    _unread: int
    _usage: Usage
    heard: bool  # bytes came since the watch last looked, beside what passed

    def check(self, now: float) -> None:
        """Give up an engine that is silent for too long, or that never comes to an end.

        While bytes lie unread the client is the slow one, and the engine is
        not blamed for its silence.
        """
        options = self._options
        if not self._seen_s:
            self._seen_s = self._quiet_since = now
        elif options.answer_s and now - self._seen_s >= options.answer_s:
            self.give_up(TooLong())
            return
        if self._began:
            counted = self._usage.completion_tokens
            if self.heard or counted != self._counted or (self._unread and not self._peeking):
                self.heard = False
                self._counted = counted
                self._quiet_since = now
                return
        patience_s = options.stall_s if self._began else options.first_byte_s
        if now - self._quiet_since >= patience_s:
            self.give_up(Stalled() if self._began else FirstByteTimeout())

    def give_up(self, failure: BackendFailure) -> None:
        """Wait for no more."""
        raise NotImplementedError
