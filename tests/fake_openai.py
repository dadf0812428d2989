"""A server on this machine that speaks the chat-completions protocol, as far as piqa uses it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

MODEL = "tiny-vlm"


@dataclass(frozen=True)
class Response:
    """What the server sends: a JSON value, or raw bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0  # it takes to answer


Answer = Callable[[dict[str, Any]], Response]
"""From a request's JSON to the reply."""


def tokens(*positions: Mapping[str, float], **rest: Any) -> Response:
    """A completion of one token per position, each the most probable of `{token: probability}`."""
    content: list[dict[str, Any]] = []
    for probabilities in positions:
        ranked = sorted(probabilities.items(), key=lambda item: -item[1])
        top = [{"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in ranked]
        content.append(top[0] | {"top_logprobs": top})
    text = "".join(str(position["token"]) for position in content)
    return completion(text, logprobs={"content": content, "refusal": None}, **rest)


def completion(text: str | None, *, logprobs: Any = None, finish: str = "stop", **rest: Any) -> Response:
    """A completion of this text."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": logprobs}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": MODEL}
    return Response(head | {"choices": [choice]}, **rest)


def error(status: int, message: str, *, code: str | None = None, **rest: Any) -> Response:
    """An error in the protocol's form."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return Response(body, status=status, **rest)


def in_turn(*replies: Response) -> Answer:
    """Each request gets the next reply, the last one again and again."""
    left, lock = list(replies), threading.Lock()

    def answer(request: dict[str, Any]) -> Response:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return answer


def texts(request: dict[str, Any]) -> str:
    """All text of a request, its parts joined by line breaks."""
    return "\n".join(part["text"] for part in _parts(request) if part["type"] == "text")


def images(request: dict[str, Any]) -> list[str]:
    """The data URLs of a request, in their order."""
    return [part["image_url"]["url"] for part in _parts(request) if part["type"] == "image_url"]


def _parts(request: dict[str, Any]) -> Sequence[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for message in request["messages"]:
        content = message["content"]
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts


class FakeOpenAI:
    """Serves on an ephemeral port of 127.0.0.1 while its `with` block runs.

    Args:
        answer: gives the reply to each request.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        """What `--base-url` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def reply(self, request: dict[str, Any], headers: dict[str, str]) -> Response:
        """The reply to one request, after the time it takes."""
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply = self.answer(request)
            time.sleep(reply.seconds)
        finally:
            with self._lock:
                self._now -= 1
        return reply

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(fake: FakeOpenAI) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                return self._send(error(404, f"no such path: {self.path}"))
            return self._send(fake.reply(request, {name.lower(): value for name, value in self.headers.items()}))

        def _send(self, reply: Response) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client gave up waiting, as some tests want it to

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    return Handler
