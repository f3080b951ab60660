"""HTTP/1.1 framed as nearly every engine frames it, read by hand; all else is left to llhttp."""

from __future__ import annotations

import re

from gateway.reply_head import PLAIN_JSON, ReplyHead

HEAD_BYTES = 64 * 1024  # of an engine's head; llhttp itself has no bound
CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
STATUS_LINE = b"HTTP/1.1 200 OK"
LAST_CHUNK = b"0\r\n\r\n"
LAST_PARTS = [b"0", b""]
LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)")
LINES_KEPT = 1024  # lines of heads: most of an engine's come again with each answer
LINE_BYTES = 256  # a longer one is not kept
HEADS_KEPT = 256  # whole heads: those of streams are the same for a second, and some for ever
LENGTH_DIGITS = 12
SIZE_DIGITS = 8  # of a chunk
SIZE = re.compile(rb"[1-9a-f][0-9a-f]{0,7}")
SHORT = 4096  # bytes of a chunk with its framing, below which its first line is known ahead


def _first_lines() -> list[bytes]:
    """The first line of a chunk by the bytes that it has in all; b"" where no chunk can have so many."""
    lines = [b""] * SHORT
    for size in range(1, SHORT):
        line = b"%x\r\n" % size
        if (whole := len(line) + size + len(CRLF)) < SHORT:
            lines[whole] = line
    return lines


FIRST_LINES = _first_lines()
SIZES = {b"%x" % size: size for size in range(1, SHORT)}
_lines: dict[bytes, tuple[bytes, bytes]] = {}  # headers by their lines
_heads: dict[bytes, PlainHead] = {}


class PlainHead:
    """The head of a 200 answer in which nothing is unusual. ``length`` is None when chunks follow."""

    __slots__ = ("head", "headers", "json_size", "length", "size")

    def __init__(self, headers: dict[bytes, bytes], length: int | None, size: int) -> None:
        self.headers = headers  # by lower-case name; none comes twice
        self.head = ReplyHead(headers)
        self.length = length
        self.size = size  # of the head itself
        # Of all of an answer that is plain JSON; 0: it is none.
        self.json_size = size + length if length and self.head.content_type == PLAIN_JSON else 0


def plain_head(data: bytes) -> PlainHead | None:
    """The head with which ``data`` begins; None when llhttp is to say what it is."""
    text, is_whole, _ = data.partition(HEAD_END)
    if (known := _heads.get(text)) is not None and is_whole:
        return known
    if not is_whole or len(text) > HEAD_BYTES or (head := _read(text)) is None:
        return None
    if len(text) <= LINE_BYTES * 4:
        if len(_heads) >= HEADS_KEPT:
            _heads.clear()
        _heads[text] = head
    return head


def _read(text: bytes) -> PlainHead | None:
    status, *lines = text.split(CRLF)
    headers = {}
    known = _lines.get
    for line in lines:
        header = known(line) or _header(line)
        if header is None:
            return None
        headers[header[0]] = header[1]
    if status != STATUS_LINE or len(headers) != len(lines) or not _stays_open(headers):
        return None
    length, coding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    size = len(text) + len(HEAD_END)
    if length is None:
        return PlainHead(headers, None, size) if coding == b"chunked" else None
    is_plain = coding is None and length.isdigit() and len(length) <= LENGTH_DIGITS
    return PlainHead(headers, int(length), size) if is_plain else None


def _stays_open(headers: dict[bytes, bytes]) -> bool:
    """The connection may carry another exchange of HTTP."""
    if b"upgrade" in headers or b"proxy-connection" in headers:
        return False
    return headers.get(b"connection", b"keep-alive") == b"keep-alive"


def _header(line: bytes) -> tuple[bytes, bytes] | None:
    found = LINE.fullmatch(line)
    if found is None:
        return None
    header = (found[1].lower(), found[2])
    if len(line) <= LINE_BYTES:
        if len(_lines) >= LINES_KEPT:
            _lines.clear()
        _lines[line] = header
    return header


def at_once(data: bytes) -> tuple[list[bytes], int, int] | None:
    """What ``whole_chunks`` says of one short chunk, or of several with no CRLF in them, if all are whole."""
    if len(data) < SHORT:
        line = FIRST_LINES[len(data)]
        if line and data[: len(line)] == line and data[-len(CRLF) :] == CRLF:
            return [data[len(line) : -len(CRLF)]], len(data), 0
    parts = data.split(CRLF)  # sizes and chunks in turn
    if parts.pop():
        return None
    end = len(data)
    if parts[-2:] == LAST_PARTS:
        del parts[-2:]
        end -= len(LAST_CHUNK)
    pieces = parts[1::2]
    return (pieces, end, 0) if list(map(SIZES.get, parts[::2])) == list(map(len, pieces)) else None


def whole_chunks(data: bytes) -> tuple[list[bytes], int, int]:
    """The chunks with which ``data`` begins, where they end, and how much the one after them lacks.

    They end before the first that is not whole, that is the last (and has no
    bytes), or that is framed otherwise than nearly all are. What it lacks is 0
    when that is not known.
    """
    pieces: list[bytes] = []
    at = 0
    while True:
        line_end = data.find(CRLF, at, at + SIZE_DIGITS + len(CRLF))
        text = data[at:line_end] if line_end > 0 else b""
        size = SIZES.get(text) or (int(text, 16) if SIZE.fullmatch(text) else 0)
        if not size:
            return pieces, at, 0
        begin = line_end + len(CRLF)
        end = begin + size
        if end + len(CRLF) > len(data):
            return pieces, at, end + len(CRLF) - len(data)
        if not data.startswith(CRLF, end):
            return pieces, at, 0
        pieces.append(data[begin:end])
        at = end + len(CRLF)
