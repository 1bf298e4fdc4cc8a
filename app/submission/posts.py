"""Posts of one timeline each: those of one study that arrive at the same time are stored together.

Each has its own revision, its own row of the audit and its own refusal. They share the look-ups, the statements that
write, and the commit.
"""

from collections import Counter
from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from app.errors import InvalidDocument, ServiceError
from app.store import intake, ledger, studies
from app.store.engine import Transaction
from app.store.intake import Arrival
from app.store.revision_builder import RevisionBuilder
from app.store.worklist import Worklist
from app.submission.intake import count_arrived
from app.submission.loop import Submitter
from app.submission.native_patients import NativePatients
from app.submission.treatment import noted_by_protocol
from app.timeline.facts import History


@dataclass(frozen=True, slots=True)
class PostedTimeline:
    """A timeline that names its patient by a plain identifier, and who sends it."""

    submitter: Submitter
    patients: NativePatients
    history: History
    context: Context = field(default_factory=copy_context)


def store_posts(transaction: Transaction, posts: Sequence[PostedTimeline]) -> list[ledger.Outcome | ServiceError]:
    """Store each post, all of one study and one format, as one revision. A refused post changes nothing."""
    first = posts[0].submitter
    builder = first.builder(transaction)
    builder.load_patients(post.history.patient for post in posts)
    worklist = Worklist(builder, first.format, first.sender)
    worklist.load(post.history.patient for post in posts)
    counts = Counter[Arrival]()
    known = all(post.history.patient in builder.people for post in posts)
    declared = None if known else studies.feeds_of(transaction, first.study)
    outcomes: list[ledger.Outcome | ServiceError] = []
    for post in posts:
        post.patients.declared = declared
        outcomes.append(post.context.run(_append, builder, worklist, post, counts))
    builder.write()
    worklist.write()
    intake.add(transaction, first.study, counts, builder.received_at)
    return outcomes


def _append(
    builder: RevisionBuilder, worklist: Worklist, post: PostedTimeline, counts: Counter[Arrival]
) -> ledger.Outcome | ServiceError:
    submitter = post.submitter
    builder.received_at = submitter.received_at
    try:
        post.patients.check(builder, [post.history])
    except InvalidDocument as refused:
        return refused
    history = noted_by_protocol(builder.connection, submitter.study, post.history)
    outcome = ledger.append(builder, worklist, history, format=submitter.format, client=submitter.client)
    builder.end_submission()
    if isinstance(outcome, ServiceError):
        return outcome
    receipted = post.patients.noted(history, submitter.receipted(history, outcome))
    count_arrived(counts, history, receipted.receipt, submitter.format, submitter.sender)
    return receipted
