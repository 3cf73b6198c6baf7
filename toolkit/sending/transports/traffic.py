"""Many SMTP connections at once, in a thread of their own, driven from the thread that owns the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import re
import threading
import time
from collections.abc import Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from toolkit.errors import TransportError
from toolkit.sending.domains import in_ascii
from toolkit.sending.protocol import PAUSE, Outgoing, Receipt, Start
from toolkit.sending.states import State
from toolkit.sending.transports.wire import BrokenError, Reply, Session

__all__ = ["Server", "deliver_over"]

_ADDRESS = re.compile(r"[^\s<>@\x00-\x1f\x7f]+@[^\s<>@\x00-\x1f\x7f]+")
_TRIES = 3
_HEARTBEAT = 2.0  # seconds
_SMALL = 65_536  # bytes of a mail that are handed over at once with the dot that ends it
_GATHERING = 0.002  # seconds that a commit waits for further connections to ask for leave
_PATIENCE = 4  # an answer to the dot may take so many times longer than others


class Server(Protocol):
    """Where the connections go."""

    host: str
    port: int
    connections: int
    timeout: float

    async def connect(self) -> Session:
        """A session, ready for mails; TransportError where asking again would not help, else BrokenError."""
        ...


def deliver_over(
    server: Server, first: Outgoing, mails: Iterator[Outgoing | None], start: Start
) -> Iterator[Receipt | None]:
    """One receipt per mail started; see `protocol.Transport.deliver`."""
    with _Traffic(server) as traffic:
        yield from _drive(traffic, first, mails, start)


def _drive(
    traffic: _Traffic, first: Outgoing, mails: Iterator[Outgoing | None], start: Start
) -> Iterator[Receipt | None]:
    """Feed the connections, ask for leave, pass receipts on; in the caller's thread, which owns the ledger."""
    more, resting = True, False

    def drawn() -> list[Outgoing]:
        nonlocal more, resting
        resting, mine = False, list[Outgoing]()
        while more and not resting and traffic.fault is None and len(mine) < traffic.room:
            try:
                mail = next(mails)
            except StopIteration:
                more = False
            else:
                resting = mail is None
                mine += [] if mail is None else [mail]
        return mine

    traffic.hand([first])
    traffic.hand(drawn())
    while not traffic.is_idle or (resting and traffic.fault is None):
        asked, receipts = traffic.events(PAUSE if resting else _HEARTBEAT)
        # Receipts first: a connection that asks for leave has had the answer to the mail before.
        yield from receipts
        # Once the way is closed, what has not begun does not begin any more.
        closed = traffic.fault is not None
        granted = set(start([mail.decision_id for mail in asked])) if asked and not closed else set[str]()
        if not asked and not receipts and not resting:
            yield None
        # What was leased by the very commit goes with the leave, so that each of them travels with the dot before.
        traffic.hand(drawn(), asked, granted)
    if traffic.fault is not None:
        raise traffic.fault


class _Job:
    """One mail on its way through the connections: as it is said to the server, or why it cannot be said."""

    __slots__ = ("mail", "recipient", "sender", "tries", "wrong")

    def __init__(self, mail: Outgoing) -> None:
        self.mail = mail
        self.sender, self.recipient = _envelope(mail.bounces or mail.sender), _envelope(mail.recipient)
        self.wrong = _unfit(mail)
        self.tries = 0

    @property
    def envelope(self) -> tuple[str, str]:
        return self.sender, self.recipient

    @property
    def is_ascii(self) -> bool:
        return self.sender.isascii() and self.recipient.isascii()


class _Traffic:
    """The connections, in a thread of their own; talks with the caller's thread through queues."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.fault: TransportError | None = None
        self._out: queue.SimpleQueue[tuple[str, Outgoing, Receipt | None]] = queue.SimpleQueue()
        self._under_way = 0
        self._leave: dict[str, asyncio.Future[bool]] = {}
        self._loop = asyncio.new_event_loop()
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._open = 0
        self._door = asyncio.Lock()
        self._was_open = False
        self._ending = asyncio.Event()

    def __enter__(self) -> _Traffic:
        self._thread.start()
        self._call(self._begin()).result()
        return self

    def __exit__(self, *reason: object) -> None:
        ending: Future[None] | None = None
        try:
            ending = self._call(self._end(gently=reason[0] is None))
            with contextlib.suppress(TimeoutError):  # what does not end in time is left to its daemon
                ending.result(10.0)
        except BaseException:  # Ctrl-C: nobody waits for goodbyes
            if ending is not None:
                ending.cancel()
            with contextlib.suppress(TimeoutError):
                self._call(self._end(gently=False)).result(1.0)
            raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10.0)
            if not self._thread.is_alive():
                self._loop.close()

    # --- in the caller's thread ---------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        return 2 * self.server.connections - self._under_way

    def is_closed(self) -> bool:
        return self.fault is not None

    @property
    def is_idle(self) -> bool:
        return self._under_way == 0

    def hand(self, mails: Sequence[Outgoing], asked: Sequence[Outgoing] = (), granted: Collection[str] = ()) -> None:
        """Mails for the connections, and leave for those of the mails that asked for it and may go."""
        self._under_way += len(mails)
        if mails or asked:  # all at once: to wake the other thread costs more than to hand over a mail
            names = [mail.decision_id for mail in asked]
            self._loop.call_soon_threadsafe(self._take, [_Job(mail) for mail in mails], names, granted)

    def events(self, wait: float) -> tuple[list[Outgoing], list[Receipt]]:
        """Mails that ask for leave, and receipts; all there are, after waiting for one.

        Leave is given in a commit, which takes longer than the other connections may need to come to the same point; so
        they are waited for a moment, as long as some are missing.
        """
        asked, receipts = list[Outgoing](), list[Receipt]()
        until = 0.0
        with contextlib.suppress(queue.Empty):
            self._sort(self._out.get(timeout=wait), asked, receipts)
            while True:
                while not self._out.empty():
                    self._sort(self._out.get_nowait(), asked, receipts)
                now = time.perf_counter()
                until = until or now + _GATHERING
                if not asked or len(asked) >= min(self._open, self._under_way) or now >= until:
                    break
                time.sleep(_GATHERING / 4)
        return asked, receipts

    def _sort(
        self, event: tuple[str, Outgoing, Receipt | None], asked: list[Outgoing], receipts: list[Receipt]
    ) -> None:
        kind, mail, receipt = event
        if kind == "ask":
            asked.append(mail)
            return
        self._under_way -= 1
        if receipt is not None:
            receipts.append(receipt)

    def _call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- in the thread of the connections -----------------------------------------------------------------------------

    async def _begin(self) -> None:
        self._tasks = [self._loop.create_task(self._connection()) for _ in range(self.server.connections)]

    async def _end(self, *, gently: bool) -> None:
        self._ending.set()
        for _ in self._tasks:
            self._jobs.put_nowait(None)
        if gently:
            await asyncio.wait(self._tasks, timeout=5.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(5):  # what was closed is let go of in the loop's next rounds
            await asyncio.sleep(0)

    def _take(self, jobs: Sequence[_Job], asked: Sequence[str], granted: Collection[str]) -> None:
        for job in jobs:
            self._jobs.put_nowait(job)
        for decision_id in asked:
            waiting = self._leave.pop(decision_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(decision_id in granted)

    async def _ask(self, mail: Outgoing) -> bool:
        waiting: asyncio.Future[bool] = self._loop.create_future()
        self._leave[mail.decision_id] = waiting
        self._out.put(("ask", mail, None))
        return await waiting

    def _done(self, job: _Job, receipt: Receipt | None) -> None:
        self._out.put(("done", job.mail, receipt))

    async def _connection(self) -> None:
        """One connection's life: mails until there are no more, on as many sessions as it takes."""
        session = await self._session()
        if session is None and not self.is_closed():
            return  # the server takes no further connection; the others go on
        try:
            while (job := await self._jobs.get()) is not None:
                if job.wrong:
                    self._done(job, Receipt(job.mail.decision_id, State.FAILED, reason=job.wrong))
                    continue
                session = session or await self._session()
                if session is not None and not self.is_closed():
                    session = await self._hand_over(session, job)
                elif self.is_closed():
                    self._done(job, None)  # never begun: its lease is given back
                else:
                    self._jobs.put_nowait(job)
                    return
            if session is not None:
                await session.quit()
        finally:
            if session is not None:
                session.wire.close()

    async def _session(self) -> Session | None:
        """A new session; None where there is no way in, or none beside those there are."""
        if self._was_open:
            return await self._knock()
        async with self._door:  # one at a time until one was let in: a wrong password is tried once
            return await self._knock()

    async def _knock(self) -> Session | None:
        said, alone = "", True
        for attempt in range(_TRIES):
            if attempt and not self._ending.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), 0.25 * 2**attempt)
            if self.is_closed() or (attempt and self._ending.is_set()):
                return None
            try:
                session = await self.server.connect()
            except TransportError as fault:
                self.fault = self.fault or fault
                return None
            except BrokenError as fault:
                said = str(fault)
                alone = alone and not self._open
            else:
                self._open += 1
                self._was_open = True
                return session
        if alone:
            self.fault = TransportError(f"smtp {self.server.host}:{self.server.port}: cannot be reached: {said}")
        return None

    async def _hand_over(self, session: Session, job: _Job) -> Session | None:
        """Hand mails over, one after the other, for as long as there are more; the session, if it is still of use."""
        announced = False
        while True:
            mail = job.mail
            granted = ended = False
            following: _Job | None = None
            try:
                if not job.is_ascii and not session.utf8:
                    self._done(job, Receipt(mail.decision_id, State.FAILED, reason="the server takes no such address"))
                    return session
                if session.most is not None and len(mail.message) > session.most:
                    said = f"larger than the server takes ({session.most:,} bytes)"
                    self._done(job, Receipt(mail.decision_id, State.FAILED, code=552, reason=said))
                    return session
                replies: Sequence[Reply]
                if session.pipelining:
                    if not announced:
                        session.announce(*job.envelope)
                    replies = await session.answers()
                else:
                    replies = await session.step_by_step(*job.envelope)
                refused = await self._refused(session, job, replies)
                if refused is not None:
                    session.has_served = True
                    self._done(job, refused if refused.state is not State.PLANNED else None)
                    return session
                granted = await self._ask(mail)
                if not granted:
                    self._done(job, None)
                    self._drop(session)
                    return None
                small = len(mail.message) <= _SMALL
                if not small:
                    await session.body(mail.message)
                following = self._following(session)
                # Raises where the connection is known to be gone, and then nothing of this was written.
                session.end(mail.message if small else None, following.envelope if following else None)
                ended = True
                reply = await session.wire.reply(self.server.timeout * _PATIENCE)
            except BrokenError as fault:
                self._drop(session)
                self._broken(job, fault, granted=granted, ended=ended, is_first=not session.has_served)
                if following is not None:
                    self._jobs.put_nowait(following)
                return None
            except asyncio.CancelledError:
                self._drop(session)
                raise
            session.has_served = True
            self._done(job, _receipt(mail, reply))
            if following is None:
                return session
            job, announced = following, True

    def _following(self, session: Session) -> _Job | None:
        """The next mail, where it can be announced together with the end of this one."""
        if not session.pipelining or self._jobs.empty() or self.fault is not None:
            return None
        following = self._jobs.get_nowait()
        if (
            following is None
            or following.wrong
            or not following.is_ascii
            or (session.most is not None and len(following.mail.message) > session.most)
        ):
            self._jobs.put_nowait(following)
            return None
        return following

    async def _refused(self, session: Session, job: _Job, replies: Sequence[Reply]) -> Receipt | None:
        """What came of a mail the server would not have; None when it waits for the body."""
        bad = next((reply for reply in replies[:2] if reply.code >= 400), None)
        data = replies[2] if len(replies) > 2 else None
        if data is not None and data.code == 354 and bad is not None:
            if replies[0].code >= 400:
                raise BrokenError(f"the server asks for a mail it refused: {bad}")
            session.end()  # a message to nobody, which is how a client that did not wait takes its DATA back
            await session.wire.reply()
        elif data is not None and data.code == 354:
            return None
        elif session.pipelining or bad is not None or data is not None:
            await session.reset()
        bad = bad or data or replies[-1]
        mail = job.mail
        if replies[0].code >= 500:
            self.fault = self.fault or TransportError(
                f"smtp {self.server.host}: does not take mail from {mail.bounces or mail.sender}: {replies[0]}"
            )
            return Receipt(mail.decision_id, State.PLANNED)
        if bad.code >= 500:
            return Receipt(mail.decision_id, State.FAILED, code=bad.code, reason=bad.text)
        return Receipt(mail.decision_id, State.DEFERRED, code=bad.code, reason=bad.text)

    def _broken(self, job: _Job, fault: BrokenError, *, granted: bool, ended: bool, is_first: bool) -> None:
        if ended:
            said = f"no answer after the last dot: {fault}"
            self._done(job, Receipt(job.mail.decision_id, State.UNKNOWN, reason=said))
        elif granted:
            self._done(job, _postponed(job.mail, f"before the last dot: {fault}"))
        else:
            self._again(job, fault, is_first=is_first)

    def _again(self, job: _Job, fault: BrokenError, *, is_first: bool) -> None:
        # A server that has had its number of mails on a connection says nothing against the next one.
        job.tries += is_first
        if job.tries < _TRIES:
            self._jobs.put_nowait(job)
        else:
            self._done(job, _postponed(job.mail, str(fault)))

    def _drop(self, session: Session) -> None:
        session.wire.close()
        self._open -= 1


def _receipt(mail: Outgoing, reply: Reply) -> Receipt:
    if reply.code < 400:
        return Receipt(mail.decision_id, State.ACCEPTED, receipt=str(reply), code=reply.code)
    state = State.FAILED if reply.code >= 500 else State.DEFERRED
    return Receipt(mail.decision_id, state, code=reply.code, reason=reply.text)


def _postponed(mail: Outgoing, why: str) -> Receipt:
    return Receipt(mail.decision_id, State.DEFERRED, reason=why)


def _unfit(mail: Outgoing) -> str | None:
    """Why a mail cannot go over SMTP as it is: it would say more than its envelope."""
    if not (_ADDRESS.fullmatch(mail.recipient) and _ADDRESS.fullmatch(mail.bounces or mail.sender)):
        return "not an address"
    ends = mail.message.count(b"\r\n")
    if mail.message.count(b"\r") != ends or mail.message.count(b"\n") != ends or b"\0" in mail.message:
        return "line ends that a server could read as the end of the mail"
    return None


def _envelope(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{in_ascii(domain)}"
