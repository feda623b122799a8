"""How many lines of one model are kept in flight: found by feedback, without knowing its engines. Pure.

The window doubles as long as that brings more tokens a second. An engine with S slots gains nothing from more than S
requests, so the climb ends between S and 2 S: each slot has a successor waiting when it becomes free. From then on a
quarter more is tried now and then, for engines come and go. Push-back (429, 503, a lost engine) halves it. While others
call the same model, `sharing` says how many; when they have gone, it is again what it was.
"""

from dormouse_router.batch.sharing import Sharing

FIRST = 16
MOST = 512
GAIN = 1.08
"""What a doubled window must bring to be kept: less is the noise of lines of different lengths."""
TRIAL_GAIN = 1.1
"""The same of a quarter more."""
TRIAL_ROUNDS = 8
"""Answers for each line in flight that a trial is judged by: they may come in bursts."""
DOUBTS = 2
"""Measurements without gain that end the climb: one alone may have met a busy machine."""
FIRST_TRIAL, LAST_TRIAL = 4.0, 60.0
"""Seconds between two looks whether more is better, once the climb is over: doubled by each that brings nothing."""
MEND_EVERY = 2.0
"""The same after push-back, and after others have gone."""
LEAST_ROUND = 0.25
"""Seconds of a measurement at least: shorter ones measure the clock."""
QUIET = 10.0
"""Seconds without a word of others after which they are gone."""


class Window:
    """Of one model at one worker. `size` is what may be in flight now; times are monotonic seconds."""

    __slots__ = (
        "_alone",
        "_answered",
        "_began",
        "_climbing",
        "_doubts",
        "_heard",
        "_landed",
        "_lines",
        "_mending",
        "_rate",
        "_sharing",
        "_shrunk",
        "_skip",
        "_tokens",
        "_trial",
        "_tried",
        "_wait",
        "most",
        "size",
    )

    def __init__(self, first: int = FIRST, most: int = MOST) -> None:
        self.most = most
        self._climbing, self._mending = True, False
        self._doubts = 0
        self._wait = FIRST_TRIAL
        self._rate = 0.0
        """Tokens a second in the last whole measurement."""
        self._trial: int | None = None
        """The size to go back to when the one that is tried brings nothing."""
        self._tried = 0.0
        self._shrunk = float("-inf")
        self._heard = float("-inf")
        self._sharing = Sharing()
        self._alone: int | None = None
        """While others call: the size without them, where the climb is over."""
        self._answered = 0
        self._landed = True
        """What was in flight before the size last changed is so no more."""
        self._began: float | None = None
        self._skip = self._tokens = self._lines = 0
        self.size = min(first, most)
        self._measure(self.size)

    def answered(self, now: float, tokens: int) -> None:
        """A line has its answer, of so many tokens."""
        self._answered += 1
        if self._began is None:
            self._skip -= 1
            if self._skip <= 0:
                self._began = now
                if not self._landed:
                    self._landed = True
                    self._sharing.changed(now)
            return
        self._tokens += max(1, tokens)
        self._lines += 1
        seconds = now - self._began
        rounds = 1 if self._climbing or self._mending else TRIAL_ROUNDS
        if self._lines >= self.size * rounds and seconds >= LEAST_ROUND:
            self._judge(now, self._tokens / seconds)

    def pushed_back(self, now: float, sent: float) -> None:
        """A line that was sent then met 429, 503, a time-out or a lost engine. What was sent before the window last
        shrank says nothing new."""
        if sent >= self._shrunk:
            self._shrink(now, self.size // 2)

    def others(self, now: float, seconds_per_token: float) -> None:
        """Interactive calls of the model take so long per token now."""
        came = now - self._heard >= QUIET
        self._heard = now
        if came:
            self._alone = None if self._climbing else self._alone or self.size
            self._trial = None
            untouched = self._answered <= 1  # what is told came with the first answer
            self._share(now, self._sharing.came(now, seconds_per_token, self.size, untouched))
        elif self._landed:
            size = self._sharing.heard(now, seconds_per_token, self.size)
            if size is not None and size != self.size:
                self._share(now, min(size, self._alone or self.most))

    # ------------------------------------------------------------------ inside

    def _set(self, size: int) -> None:
        under_way, self.size = self.size, max(1, min(self.most, size))
        self._landed = False
        self._measure(under_way)

    def _measure(self, skip: int) -> None:
        """Begin a measurement, after so many answers to lines that were sent before."""
        self._skip = skip
        self._began = None
        self._tokens = self._lines = 0

    def _share(self, now: float, size: int) -> None:
        if size < self.size:
            self._shrunk = now
        self._set(size)

    def _shrink(self, now: float, size: int) -> None:
        self._shrunk = self._tried = now
        self._climbing, self._mending, self._trial = False, True, None
        self._set(size)

    def _judge(self, now: float, rate: float) -> None:
        """A measurement is whole."""
        before, self._rate = self._rate, rate
        if now - self._heard < QUIET:
            self._rate, self._doubts = 0.0, 0  # of another time, when the climb goes on
            self._measure(0)
        elif self._alone is not None:
            self._tried = now
            size, self._alone = self._alone, None
            self._set(size)
        elif self._climbing:
            self._climb(now, rate, before)
        elif self._trial is not None:
            kept, self._trial = self._trial, None
            better = rate >= before * TRIAL_GAIN
            self._mending = self._mending and better
            self._wait = FIRST_TRIAL if better else min(LAST_TRIAL, self._wait * 2)
            self._set(self.size if better else kept)
        elif now - self._tried >= (MEND_EVERY if self._mending else self._wait):
            self._tried, self._trial = now, self.size
            self._set(self.size + max(1, self.size // 4))
        else:
            self._measure(0)

    def _climb(self, now: float, rate: float, before: float) -> None:
        if rate >= before * GAIN and self.size < self.most:
            self._doubts = 0
            self._set(self.size * 2)
            return
        self._doubts += 1
        self._rate = max(rate, before)
        if self._doubts >= DOUBTS or self.size >= self.most:
            self._climbing, self._tried = False, now
        self._measure(0)
