"""Answers questions about a study at one revision: with 304, with an answer that is kept in memory, or with a new one.

New answers are computed by workers. If the client goes away, they are given up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, TypeVar, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.access.callers import Caller
from app.access.study_answers import Compute, StudyQuestion, answer_of_study, newest_of_study
from app.access.work import AnswerOrigin, Work
from app.errors import Erased
from app.http.authentication import network_of
from app.http.file_in_parts import FileInParts
from app.http.openapi import JSON
from app.http.repeated import REPEATABLE, Repeatable
from app.http.responses import etag_from, matches, tagged
from app.http.state import AppState
from app.store.audit import answered_from
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import study_at

Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks a question, and when they have gone. `client` is the name of the caller, else the address; `scope` is
    that of the request.
    """

    state: AppState
    client: str
    receive: Receive
    scope: Scope = field(default_factory=dict)

    async def computed(self, tag: str, work: Work, *studies: str) -> bytes:
        """What the work gives, which reads these studies. If the client goes away first, `ClientDisconnect` is raised
        and the work is given up.
        """
        return await self.while_here(self.state.computing.answer(self.client, studies, tag, work))

    async def newest(self, question: str, seen: AnswerOrigin, work: Work, study: str) -> tuple[AnswerOrigin, bytes]:
        """The same for a question about the study as it stands, from the state that the client has `seen` or a later
        one, which is given too.
        """
        return await self.while_here(self.state.computing.newest(self.client, study, question, seen, work))

    async def file_in_parts(self, work: Work, media_type: str, *studies: str) -> Response:
        """The answer that sends what the work gives, part by part. Raises what is raised before the first part."""
        compute = partial(self.state.computing.parts, self.client, studies, work)
        return await self.while_here(FileInParts(compute, self.state.settings, media_type).begin())

    async def while_here(self, answering: Coroutine[Any, Any, Answered]) -> Answered:
        """The result, unless the client goes away first: then it is given up, and `ClientDisconnect` is raised."""
        answer = asyncio.ensure_future(answering)
        leaving = asyncio.ensure_future(self._has_gone())
        try:
            await asyncio.wait([answer, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                await leaving
                raise ClientDisconnect
            return await answer
        finally:
            answer.cancel()
            leaving.cancel()

    async def _has_gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def _asker(request: Request) -> Asker:
    caller: Caller = request.state.caller
    state, client = cast(AppState, request.state.app_state), caller.name or network_of(request.scope)
    return Asker(state, client, request.receive, request.scope)


Asking = Annotated[Asker, Depends(_asker)]
"""For an operation whose answer is computed by workers."""


async def answer_question(
    asker: Asker, question: StudyQuestion, compute: Compute, if_none_match: str | None, media_type: str = JSON
) -> Response:
    """The answer: 304 if the client has it, else the kept answer, else a new answer, which is then kept."""
    return await despite_erasure(partial(_answer, asker, question, compute, if_none_match, media_type))


async def despite_erasure(answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer; it is asked for once more if a person was erased after the latest revision had been found."""
    try:
        return await answer()
    except Erased:
        return await answer()


async def _answer(
    asker: Asker, question: StudyQuestion, compute: Compute, if_none_match: str | None, media_type: str
) -> Response:
    answers = asker.state.answers
    erasures = answers.erasures(question.study)
    at, seen = await run_sync(_version, asker.state.database, question)
    tag = _tag(question, seen)
    body = b"" if matches(if_none_match, tag) else answers.get(tag)
    if body is not None:
        asker.scope[REPEATABLE] = Repeatable(question.study, erasures)
        return tagged(body, tag, if_none_match, media_type)
    if question.at.latest and not question.options.patients:
        origin, body = await asker.newest(
            _name(question), seen, partial(newest_of_study, question, compute), question.study
        )
        tag = _tag(question, origin)
        answered_from(question.study, origin.revision)
    else:
        work = partial(answer_of_study, replace(question, at=at), compute)
        body = await asker.computed(tag, work, question.study)
    answers.keep(question.study, tag, body, erasures)
    return tagged(body, tag, None, media_type)


def _version(database: Database, question: StudyQuestion) -> tuple[AsOf, AnswerOrigin]:
    """The revision that the question is about, by its number, and the origin of the answer. Raises `NotFound` if it
    lists one patient and the study has none of that name.
    """
    with study_at(database, question.study, question.at) as snapshot:
        if question.options.patients and question.options.patient is not None:
            snapshot.require_patient(question.options.patient)
        return AsOf(snapshot.revision), AnswerOrigin(*snapshot.tag(question.protocol or snapshot.protocol))


def _tag(question: StudyQuestion, origin: AnswerOrigin) -> str:
    """The ETag of the answer."""
    return etag_from(question.name, *origin, question.options.model_dump(mode="json"))


def _name(question: StudyQuestion) -> str:
    """The name of the question, whatever the state of its study."""
    protocol = question.protocol and question.protocol.digest
    return etag_from(question.name, question.study, protocol, question.options.model_dump(mode="json"))
