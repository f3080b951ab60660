"""One slice of a batch: a few lines are asked at a time, and each answer is kept before more are sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial

from django.db import transaction
from django.utils import timezone

from gateway.batches import credential, lines
from gateway.batches.asker import Asker, Cut
from gateway.batches.claims import Claim
from gateway.batches.files import read_lines
from gateway.batches.lines import Line, Tokens
from gateway.batches.models import Batch, BatchResult, StoredFile
from gateway.batches.verdicts import UNKNOWN_TOKEN, Answer, Wait, rest_s
from gateway.models import ApiToken

LOOK_EVERY_S = 1.0  # at the row: was it cancelled, is it still ours
NAP_S = 0.2
SHORT_PAUSE_S = 5.0  # a longer one is spent without a worker
CANCEL_GRACE_S = 5.0  # what is being answered may end
UNKNOWN_WAIT_S = 1.0  # a gateway reads the newest rules once a second, when it can
STOP_GRACE_S = 2.0  # the same when the worker stops; `serve` waits not much longer


@dataclass(frozen=True, slots=True)
class Pace:
    """How many lines at once, for how long, and which part of the minute's allowances they may use."""

    in_flight: int
    slice_s: float
    share_percent: int


class Asking:
    """Asks the lines of ``source`` by ``asker`` until they end, or the slice does.

    Afterwards ``ended`` says that no line is left, ``refused`` that the API
    token is not good any more, ``mark`` where the next slice begins, and
    ``pause_s`` and ``reason`` for how long and why nobody should ask. Lines
    without a result are asked again by the next slice: at most those in
    flight when a worker is killed.
    """

    def __init__(
        self, claim: Claim, source: Iterable[Line], asker: Asker, pace: Pace, stopping: Callable[[], bool]
    ) -> None:
        self.refused = False
        self.reason = ""
        self._claim = claim
        self._source = iter(source)
        self._asker = asker
        self._pace = pace
        self._stopping = stopping
        self._asked: dict[Future[Answer | Wait], Line] = {}
        self._again: list[Line] = []
        self._unfinished: dict[int, Line] = {}  # in the order of the file
        self._last: Line | None = None
        self._exhausted = False
        now_s = time.monotonic()
        self._over_s = now_s + pace.slice_s  # nothing is sent from then on
        self._cut_s: float | None = None  # and what is asked is cut from then on
        self._pause_until_s = self._looked_s = self._signed_s = 0.0
        self._digest, self._word = bytes(claim.batch.api_token.digest), ""

    @property
    def pause_s(self) -> float:
        """How much longer nobody should ask."""
        return max(0.0, self._pause_until_s - time.monotonic())

    @property
    def ended(self) -> bool:
        """Whether every line has its result."""
        return self._exhausted and not self._unfinished

    @property
    def mark(self) -> dict[str, int]:
        """How far the file is done without a gap, as fields of the batch."""
        if first := next(iter(self._unfinished.values()), None):
            return {"done_lines": first.number - 1, "done_bytes": first.start}
        return {"done_lines": self._last.number, "done_bytes": self._last.end} if self._last else {}

    def run(self) -> None:
        """Ask. Raises ClaimLost when another worker has taken over."""
        try:
            with ThreadPoolExecutor(self._pace.in_flight, "batch-line") as pool:
                try:
                    while self._step(pool):
                        pass
                finally:
                    self._asker.cut()  # in vain after an end in peace; else nobody may wait for the threads
        finally:
            self._asker.close()

    def _step(self, pool: ThreadPoolExecutor) -> bool:
        self._fill(pool)
        if self._asked:
            done, _ = wait(self._asked, NAP_S, FIRST_COMPLETED)
            self._settle(done)
        elif self.ended or time.monotonic() >= self._over_s or self.pause_s > SHORT_PAUSE_S:
            return False
        else:
            time.sleep(min(self.pause_s, NAP_S))
        self._look()
        return True

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while len(self._asked) < self._pace.in_flight and self._may_send() and (line := self._next()):
            batch = self._claim.batch
            headers = partial(self._headers, name_of(batch, line.number))
            future = pool.submit(self._asker.ask, batch.endpoint, headers, line.body)
            self._asked[future] = line

    def _may_send(self) -> bool:
        now_s = time.monotonic()
        return now_s < self._over_s and now_s >= self._pause_until_s and not self._stopping()

    def _next(self) -> Line | None:
        if self._again:
            return self._again.pop()
        line = next(self._source, None)
        if line is None:
            self._exhausted = True
        else:
            self._unfinished[line.number] = self._last = line
        return line

    def _headers(self, name: str) -> dict[str, str]:
        """Called in the threads that ask, so nothing of it may look into the database."""
        now_s = time.time()
        if now_s - self._signed_s > credential.LIFE_S / 2:
            self._word = credential.issue(self._digest, now_s)
            self._signed_s = now_s
        return {
            "authorization": f"Bearer {self._word}",
            "content-type": "application/json",
            "x-request-id": name,
        }

    def _settle(self, done: Iterable[Future[Answer | Wait]]) -> None:
        answers: list[tuple[Line, Answer]] = []
        for future in done:
            line = self._asked.pop(future)
            try:
                said = future.result()
            except Cut:
                continue
            if isinstance(said, Wait):
                self._wait_out(line, said.seconds, said.reason)
            elif said.status == UNKNOWN_TOKEN and in_force(self._claim.batch.api_token):
                self._wait_out(line, UNKNOWN_WAIT_S, "the gateway does not know the API token")
            elif said.status == UNKNOWN_TOKEN:
                self.refused = True
                self._end_by(CANCEL_GRACE_S)
            else:
                answers.append((line, said))
                self._wait_out(
                    None, rest_s(said.headers, self._pace.share_percent), "the tenant's other requests"
                )
        if answers:
            self._keep(answers)

    def _wait_out(self, line: Line | None, seconds: float, reason: str) -> None:
        if line is not None:
            self._again.append(line)
        if (until_s := time.monotonic() + seconds) > self._pause_until_s:
            self._pause_until_s, self.reason = until_s, reason

    def _keep(self, answers: list[tuple[Line, Answer]]) -> None:
        batch, used = self._claim.batch, Tokens()
        rows = []
        for line, answer in answers:
            name = name_of(batch, line.number)
            text = lines.answered(name, line.custom_id, answer.request_id, answer.status, answer.body)
            rows.append(BatchResult(batch=batch, line=line.number, ok=answer.ok, text=text))
            used.add(lines.usage_of(answer.body) if answer.ok else Tokens())
        good = sum(row.ok for row in rows)
        counts = {f"{name}_tokens": number for name, number in asdict(used).items()}
        with transaction.atomic():  # the row first: who has lost the claim writes nothing
            self._watch(self._claim.renew(completed=good, failed=len(rows) - good, **counts))
            BatchResult.objects.bulk_create(rows)
        for line, _ in answers:
            del self._unfinished[line.number]

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._watch(self._claim.renew())
        if self._stopping():
            self._end_by(STOP_GRACE_S)
        if self._cut_s is not None and now_s >= self._cut_s:
            self._asker.cut()

    def _watch(self, batch: Batch) -> None:
        if batch.status != Batch.Status.IN_PROGRESS or timezone.now() >= batch.expires_at:
            self._end_by(CANCEL_GRACE_S)

    def _end_by(self, grace_s: float) -> None:
        """Send nothing more; what is being answered may take so long."""
        now_s = time.monotonic()
        self._over_s = min(self._over_s, now_s)
        if self._cut_s is None:
            self._cut_s = now_s + grace_s


def name_of(batch: Batch, number: int) -> str:
    """What one line is called, in its output and to the gateway: it fits into a request id."""
    return f"{batch.public_id}-{number}"


def in_force(token: ApiToken) -> bool:
    """Whether an API token is good by the database, whatever a gateway says that may not know it yet."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > timezone.now())


def unasked(batch: Batch, file: StoredFile) -> Iterator[Line]:
    """The lines of its file that have no result yet, from where the batch stands.

    Their length was checked once; by a bound that is lower now the gateway refuses the line, and no more.
    """
    done = set(batch.results.filter(line__gt=batch.done_lines).values_list("line", flat=True))
    start = batch.done_bytes
    texts = read_lines(file, file.bytes, start)
    for number, (text, end) in enumerate(texts, batch.done_lines + 1):
        if number not in done and (bare := lines.bare(text, number)).strip():
            asked = lines.read(bare, batch.endpoint)
            yield Line(number, start, end, asked.custom_id, asked.body)
        start = end
