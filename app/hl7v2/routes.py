"""HL7 v2 over HTTP: the route that receives a message or a batch and answers with the acknowledgement."""

from typing import Annotated, Any

from fastapi import Depends, Request, Response

from app.errors import Conflict, InvalidDocument, NotFound, UnsupportedMediaType
from app.hl7v2 import submit
from app.http.authentication import Client
from app.http.dependencies import Now, State, StudyId, Writing
from app.http.idempotency import KeyedRoute
from app.http.openapi import answers, reads, reference, refuses
from app.http.problems import MEDIA_TYPE, Problem, count_refused
from app.http.receipts import ReceiptWanted
from app.http.routing import Operations

router = Operations(tags=["patients"], route_class=KeyedRoute)

HL7V2 = "application/hl7-v2"
ER7 = "x-application/hl7-v2+er7"
"""The media types of HL7 over HTTP and of the FHIR tooling; both are the same text."""

_ACCEPTED = {"Accept-Post": f"{HL7V2}, {ER7}", "Accept": f"{HL7V2}, {ER7}"}
_MESSAGE = (
    "MSH|^~\\&|LAB|ELAB-3|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1\r"
    "PID|1||10006579^^^WARD7||||19530401|F\r"
    "OBR|1||77^ELAB-3|CHEM^Chemistry^L|||20050316094800+0900\r"
    "OBX|1|NM|2157-6^Creatine kinase^LN||1101|U/L|30-163|H|||F\r"
    "OBX|2|NM|2345-7^Glucose^LN||5.2|mmol/L|3.9-5.5|N|||F\r"
    "NTE|1|L|Slightly haemolytic.\r"
)
_STORED = (
    "MSH|^~\\&|MYO|TRIAL|LAB|ELAB-3|20050317080000+0900||ACK^R01^ACK|QHWEKOPBDO3ARKQWQWAQ|P|2.5.1\r"
    "MSA|AA|4711|kept 3, not ours 2\r"
    "ERR||PID^1^3|0^Message accepted^HL70357|I|new_patient|||The patient was not in the study before.\r"
)
_REFUSED = (
    "MSH|^~\\&|MYO|TRIAL|LAB|ELAB-3|20050317080000+0900||ACK^R01^ACK|4BGCSCXCQPKMVQL3NTNA|P|2.5.1\r"
    "MSA|AR|4711\r"
    "ERR||MSH^1^11|202^Unsupported processing id^HL70357|E|unknown_value|||"
    "The value is not one of those documented for this field. Accepted: P, T, D.\r"
)


def _text(example: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "examples": [example]}


async def _body(request: Request) -> bytes:
    """The bytes of the body. A `charset` of the media type is ignored: MSH-18 of each message decides,
    because it stays with the message in every queue and file.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            "Send the body without a content coding.", headers=_ACCEPTED | {"Accept-Encoding": "identity"}
        )
    if _media_type(request) not in {HL7V2, ER7}:
        raise UnsupportedMediaType(f"Content-Type must be {HL7V2} or {ER7}.", headers=_ACCEPTED)
    return await request.body()


def _media_type(request: Request) -> str:
    given = request.headers.getlist("content-type")
    return given[0].partition(";")[0].strip().lower() if len(given) == 1 else ""


def _acknowledged(description: str, example: str) -> dict[str, Any]:
    documented = answers(description, _text(example), media_type=HL7V2)
    documented["content"][ER7] = {"schema": _text(example)}
    return documented


_FAULTY = _acknowledged(
    "The acknowledgement AE, or AR if the message was not read; also for a batch with such a message. A problem "
    "document if the request itself is faulty.",
    _REFUSED,
)
_FAULTY["content"][MEDIA_TYPE] = {"schema": reference(Problem)}


@router.post(
    "/v1/studies/{study}/hl7v2",
    operation_id="postHl7v2",
    summary="Store HL7 v2 messages",
    response_class=Response,
    openapi_extra=reads(
        {HL7V2: _text(_MESSAGE), ER7: _text(_MESSAGE)},
        "One message of type ORU^R01, ADT^A40 or ADT^A37, several of them, or a batch file.",
    ),
    responses={
        **refuses(NotFound, Conflict, reading=True),
        200: _acknowledged("The acknowledgement AA: read, and nothing is to be sent again.", _STORED),
        204: answers("The same; the sender wants no acknowledgement (MSH-15, MSH-16).", None),
        422: _FAULTY,
    },
)
def post_hl7v2(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    now: Now,
    client: Client,
    body: Annotated[bytes, Depends(_body)],
    receipt: ReceiptWanted = None,
) -> Response:
    """Read and store messages as the MLLP listener does, and answer with the acknowledgement. A message may be sent
    again. MSA-3 counts what was kept, set aside and not stored here. ERR names segment and field of each fault (E), of
    what was set aside (W) and of what is to be noted (I), and never repeats what was sent.
    """
    reply = submit.store_message(
        store, study, body, secret=state.settings.secret, now=now, client=client, full=receipt == "full", propose=True
    )
    if reply.code == "AA":
        return Response(reply.ack, 200 if reply.ack else 204, media_type=_media_type(request) if reply.ack else None)
    count_refused(request.scope, [InvalidDocument(faults=reply.faults)])
    return Response(reply.ack, 422, media_type=_media_type(request))
