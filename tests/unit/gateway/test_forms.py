"""What a form says, where it is refused, and that an engine gets the same form."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.batches.lines import BATCH_ENDPOINTS
from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.engine_order import with_order
from gateway.errors import Invalid
from gateway.forms import Form, is_form, without_boundary
from gateway.input_errors import NotForm
from gateway.jobs import Parser
from gateway.reported import note_answer
from gateway.spoken import TranscriptScanner
from scheduling.core.prediction import Estimates
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import MODEL, Cast
from tests.fakes.voice_engine import heard

TYPE = {b"content-type": b"multipart/form-data; boundary=xyz"}
CALLER = Caller(7, "research", "ci")
SOUND = "/v1/audio/transcriptions"


def form(*parts, boundary=b"xyz"):
    """Each part a name and a value, and a file name if it is a file."""
    body = b""
    for name, value, *filename in parts:
        said = b'; filename="%b"' % filename[0] if filename else b""
        head = b'--%b\r\nContent-Disposition: form-data; name="%b"%b' % (boundary, name, said)
        body += b"%b\r\n\r\n%b\r\n" % (head, value)
    return body + b"--%b--\r\n" % boundary


FILE = (b"file", b"\x00\xff" * 8000, b"a.wav")
NAMED = (b"model", MODEL.encode())
GOOD = form(NAMED, FILE)


def parse(body, path=SOUND, headers=TYPE):
    parser = Parser(b"salt", Estimates(), queue_timeout_s=600)
    return parser.parse_form(ENDPOINTS[path], headers, body, CALLER, Cast.of("research").policy())


def test_a_form_is_estimated_by_its_fields_as_text_and_its_files_as_sound():
    less, more = parse(GOOD), parse(form(NAMED, (b"prompt", b"x" * 400), FILE))
    assert less.prompt_tokens == 1 + len(MODEL) // 4 + 16_000 // 1600
    assert more.prompt_tokens == less.prompt_tokens + 100
    assert less.completion_tokens > 0


def test_the_longest_answer_is_bounded_by_the_field_that_says_it():
    assert parse(form(NAMED, (b"max_completion_tokens", b"9"), FILE)).completion_tokens == 9


@pytest.mark.parametrize("said", [b"true", b"True", b"1", b"false", b"0", None])
def test_a_form_streams_when_its_field_says_so(said):
    parts = [] if said is None else [(b"stream", said)]
    assert parse(form(NAMED, *parts, FILE)).stream is (said in (b"true", b"True", b"1"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(FILE), "model"),
        (form((b"model", b""), FILE), "model"),
        (form((b"model", b"\xff"), FILE), "model"),
        (form((b"model", b"a"), (b"model", b"b"), FILE), "model"),
        (form((b"model", b"a", b"model.txt"), FILE), "model"),
        (form(NAMED), "file"),
        (form(NAMED, (b"file", b"no file")), "file"),
        (form(NAMED, (b"stream", b"perhaps"), FILE), "stream"),
        (form(NAMED, (b"max_completion_tokens", b"many"), FILE), "max_completion_tokens"),
        (form(NAMED, (b"max_completion_tokens", b"9" * 20), FILE), "max_completion_tokens"),
        (form(NAMED, (b"user", b"u" * 600), FILE), "user"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(body, param):
    with pytest.raises(Invalid) as refused:
        parse(body)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        GOOD[:-8],
        GOOD.replace(b"--xyz", b"--other"),
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.replace(b"form-data; ", b"attachment; "),
        GOOD + b"\r\n--xyz\r\n",
        GOOD.replace(b"\r\n\r\n", b"\r\n--xyz: 1\r\n\r\n", 1),
        form(*[(b"field", b"")] * 300),
    ],
)
def test_what_is_no_form_is_refused_as_one(body):
    with pytest.raises(NotForm) as refused:
        parse(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_multipart")


@pytest.mark.parametrize(
    "kind",
    [None, b"application/json", b"multipart/form-data", b'multipart/form-data; boundary="a\xe4"',
     b"multipart/form-data; boundary=" + b"x" * 71, b"multipart/mixed; boundary=xyz"],
)  # fmt: skip
def test_a_type_without_a_usable_boundary_is_refused_with_the_mend(kind):
    with pytest.raises(NotForm, match="boundary in the Content-Type header"):
        parse(GOOD, headers={} if kind is None else {b"content-type": kind})


NAMES = st.sampled_from((b"prompt", b"language", b"include[]", b"temperature", b"seed"))
CONTENT = st.binary(max_size=60) | st.sampled_from((b"\r\n--", b"\r\n--xy", b"--xyz", b"\r\n\r\n", b"\r\n"))
PARTS = st.lists(st.tuples(NAMES, CONTENT) | st.tuples(NAMES, CONTENT, st.just(b"f")), max_size=6)


@given(parts=PARTS, at=st.integers(0, 6), boundary=st.sampled_from((b"xyz", b"----WebKit'7 z", b"a:b")))
def test_only_what_is_said_otherwise_changes_in_a_form(parts, at, boundary):
    headers = {b"content-type": b'multipart/form-data; boundary="%b"' % boundary}
    ours = [(b"model", b"alias"), (b"priority", b"-1")]
    body = form(*parts[:at], *ours, *parts[at:], boundary=boundary)
    assume(not any(b"\r\n--" + boundary in b"\r\n" + content for _, content, *_ in parts))
    read = Form.read(headers, body)
    assert read.with_members(dict(read.members)) is body

    changed = {name: raw for name, raw in read.members.items() if name != "priority"}
    sent = read.with_members({**changed, "model": msgspec.Raw(b'"m\\u00fc"')})

    assert sent == form(*parts[:at], (b"model", "mü".encode()), *parts[at:], boundary=boundary)
    again = Form.read(dict([read.type_header]), sent)
    assert again.names == tuple(name for name in read.names if name != "priority")
    plain = heard(SOUND, dict([read.type_header]), sent)
    assert dict(plain.fields)["model"] == "mü".encode()


def test_the_same_form_says_the_same_under_another_boundary():
    other = {b"content-type": b"multipart/form-data; boundary=abc"}
    assert without_boundary(other, GOOD.replace(b"xyz", b"abc")) == without_boundary(TYPE, GOOD)


def test_a_form_says_more_than_its_parts_without_the_letters_of_its_boundary():
    short = {b"content-type": b"multipart/form-data; boundary=e"}
    one, other = (form(NAMED, (b"prompt", text), FILE, boundary=b"e") for text in (b"here", b"hr"))
    assert without_boundary(short, one) != without_boundary(short, other)


def test_an_engine_is_told_no_order_within_a_form():
    vllm = Endpoint("b", "http://b", "vllm")
    assert with_order((GOOD,), 7, vllm) == (GOOD,)
    assert with_order((b'{"a":1}',), 7, vllm) != (b'{"a":1}',)


@pytest.mark.parametrize(
    ("kind", "said"), [(b"Multipart/Form-Data; boundary=a", True), (b"text/plain", False)]
)
def test_a_form_is_known_by_its_type(kind, said):
    assert is_form({b"content-type": kind}) is said


def test_no_batch_holds_forms():
    assert not any(ENDPOINTS[path].form for path in BATCH_ENDPOINTS)


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(b"3.2", 32), (b"0", 1), (b"-1", 0), (b'"9"', 0), (b"1e99", 0)]
)
def test_sound_of_which_only_the_length_is_reported_is_ten_tokens_a_second(seconds, tokens):
    usage = Usage(0, 0, 0, True)
    note_answer(
        b'{"text":"x","usage":{"type":"duration","seconds":%b}}' % seconds, usage, measures_tokens=True
    )
    assert (usage.prompt_tokens, usage.estimated) == (tokens, True)


@given(cuts=st.lists(st.integers(0, 230)), space=st.sampled_from((b"", b" ")))
def test_a_transcription_that_ends_in_openais_way_is_whole_however_it_is_cut(cuts, space):
    delta = b'data: {"type":"transcript.text.delta","delta":"a \\"type\\":\\"transcript.text.done\\""}\n\n'
    stream = delta * 2 + b'data: {"type":%b"transcript.text.done","text":"a"}\n\n' % space
    scanner = TranscriptScanner(Usage(0, 0, 0, True), lambda: None, strip_usage=False, event_bytes=10_000)
    edges = sorted({0, len(delta * 2), len(stream), *(cut for cut in cuts if cut < len(stream))})
    passed = b""
    for start, end in pairwise(edges):
        assert not scanner.complete
        passed += scanner.feed(stream[start:end])
    assert scanner.complete
    assert passed == stream


@given(
    at=st.integers(0, len(GOOD)),
    cut=st.integers(0, 8),
    put=st.binary(max_size=8)
    | st.sampled_from((b"\r\n", b"\r\n--xyz", b"--", b'"', b"\\", b"%22", b"\n", b": ")),
)
def test_a_damaged_form_is_read_or_refused(at, cut, put):
    with suppress(Invalid):
        read = Form.read(TYPE, (GOOD[:at] + put + GOOD[at + cut :]).replace(FILE[1], b"sound"))
        assert Form.read(TYPE, read.with_members({**read.members, "model": msgspec.Raw(b'"b"')})).names
