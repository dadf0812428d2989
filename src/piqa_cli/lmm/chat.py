"""A server that speaks the OpenAI chat protocol: requests asked concurrently, and what can go wrong told apart.

What concerns one request (a reply that makes no sense, a time-out, a server that stays busy) is given back as a
`ReplyError` in its place; what concerns all of them (no server, no such model, no log-probabilities) is raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from piqa_cli.errors import ModelError, PiqaError, ReplyError, UsageError
from piqa_cli.lmm.addresses import is_loopback, is_openai, shown_url

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

T = TypeVar("T")

TOP = 20
"""How many alternatives of a token are asked for: the most that the protocol allows."""

_KEPT = 512  # replies kept for a batch that is run again pair by pair
_NO_KEY = "none"  # the client insists on one
_SHOWN = 300  # characters of a server's own message
_BROKEN = {"ReadError", "WriteError", "CloseError", "RemoteProtocolError"}  # by name: the client's transport may change


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the client is: seconds a request may take, tries after the first, requests at a time."""

    seconds: float = 120.0
    retries: int = 4
    at_once: int = 8


PATIENT = Limits()


@dataclass(frozen=True, slots=True)
class Request:
    """One user message. `content`: its parts as the protocol has them; `scored`: with log-probabilities."""

    content: tuple[Mapping[str, Any], ...]
    max_tokens: int
    scored: bool = False

    def key(self) -> bytes:
        """A hash of all that decides the reply."""
        whole = json.dumps([self.content, self.max_tokens, self.scored])
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """Its text, whether it was cut off at `max_tokens`, and, if scored, {token: log-probability} at each position."""

    text: str
    cut: bool
    tokens: tuple[Mapping[str, float], ...] = ()


class ChatServer:
    """Asks one model of one server.

    Args:
        name: the model's name on the server.
        url: where it listens; see `addresses.server_url`.
        limits: time-outs, retries, requests at a time.

    Raises:
        UsageError: the `openai` package is not installed.
        ModelError: OpenAI's own server, and no key.
    """

    def __init__(self, name: str, url: str, limits: Limits = PATIENT) -> None:
        try:
            import openai  # noqa: F401 - is it there? said before any picture is read
        except ImportError as error:
            raise UsageError(
                "a served model needs the openai package", hint="pip install 'piqa-cli[served]'"
            ) from error
        self.name, self.url, self.limits = name, url, limits
        self._key = os.environ.get("OPENAI_API_KEY") or _NO_KEY
        if self._key == _NO_KEY and is_openai(url):
            raise ModelError(
                f"{shown_url(url)} needs a key",
                code="E_SERVER",
                expected="the variable OPENAI_API_KEY",
                hint="set it, or name another server with --base-url",
            )
        self._kept: OrderedDict[bytes, Reply | ReplyError] = OrderedDict()

    def ask(self, requests: Sequence[Request]) -> list[Reply | ReplyError]:
        """A reply, or what is wrong with it, per request, in order; at most `limits.at_once` are under way at a time.

        Where one of them fails, the caller's batch will be divided and its pairs come again: what was answered in
        this call is then given once more instead of being asked (and paid for) twice.

        Raises:
            ModelError: no reply can be had from this server or this model.
        """
        keys = [request.key() for request in requests]
        known = {key: self._kept.pop(key) for key in dict.fromkeys(keys) if key in self._kept}
        asked = [(key, request) for key, request in zip(keys, requests, strict=True) if key not in known]
        answers = dict(zip(dict(asked), _run(self._ask_all(list(dict(asked).values()))), strict=True))
        if any(isinstance(answer, ReplyError) for answer in answers.values()):
            self._kept |= answers
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        both = known | answers
        return [both[key] for key in keys]

    async def _ask_all(self, requests: Sequence[Request]) -> list[Reply | ReplyError]:
        if not requests:
            return []
        gate = asyncio.Semaphore(self.limits.at_once)
        async with self._client() as client:
            return await asyncio.gather(*(self._ask_one(client, gate, request) for request in requests))

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # A redirect would carry the pictures to a server that nobody named, and a proxy those meant for this machine
        # off it.
        direct = DefaultAsyncHttpxClient(trust_env=not is_loopback(self.url), follow_redirects=False)
        return AsyncOpenAI(
            api_key=self._key,
            base_url=self.url,
            timeout=self.limits.seconds,
            max_retries=self.limits.retries,  # of 408, 409, 429, 5xx, with backoff or as Retry-After says
            http_client=direct,
        )

    async def _ask_one(self, client: AsyncOpenAI, gate: asyncio.Semaphore, request: Request) -> Reply | ReplyError:
        import openai

        scored: dict[str, Any] = {"logprobs": True, "top_logprobs": TOP} if request.scored else {}
        message: Any = {"role": "user", "content": list(request.content)}
        try:
            async with gate:
                completion = await client.chat.completions.create(
                    model=self.name, messages=[message], temperature=0, max_tokens=request.max_tokens, **scored
                )
            return self._read(completion, request)
        except openai.APIError as error:
            told = self._tell(error)
        except json.JSONDecodeError as error:
            told = self._senseless(f"not JSON: {error}")
        except ReplyError as error:
            return error
        if isinstance(told, ReplyError):
            return told
        raise told

    def _read(self, completion: Any, request: Request) -> Reply:
        """The parts of a completion that are used. The client does not check what it parsed, so this does.

        Raises:
            ReplyError: they are not there.
            ModelError: log-probabilities were asked for and are not given.
        """
        choices: Any = getattr(completion, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._senseless("without a message" if choices is not None else "no chat completion")
        text = getattr(message, "content", None) or ""
        refusal = getattr(message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            raise ReplyError("the model refuses to answer", found=_short(refusal or "content_filter"))
        cut = choice.finish_reason == "length"
        if not request.scored:
            return Reply(text, cut)
        content = getattr(getattr(choice, "logprobs", None), "content", None)
        if content is None or any(not getattr(token, "top_logprobs", None) for token in content):
            raise self._no_logprobs("a reply without them")
        try:
            tokens = tuple({str(top.token): float(top.logprob) for top in token.top_logprobs} for token in content)
        except (AttributeError, TypeError, ValueError) as error:
            raise self._senseless(f"log-probabilities that cannot be read: {error}") from error
        if not all(logprob <= 0.01 for top in tokens for logprob in top.values()):  # rounding apart; NaN is caught too
            raise self._senseless("log-probabilities that are none")
        return Reply(text, cut, tokens)

    def _tell(self, error: APIError) -> PiqaError:
        """What the client raised, after its own retries, in our words."""
        import openai

        where = shown_url(self.url)
        if isinstance(error, openai.APIStatusError):
            return self._tell_status(error.status_code, error.code, _short(error.message))
        if not isinstance(error, openai.APIConnectionError):
            return self._senseless(error.message)
        cause = error.__cause__ or error
        if type(cause).__name__ in _BROKEN:
            return self._senseless(f"the connection broke: {cause}")
        if isinstance(error, openai.APITimeoutError) and type(cause).__name__ != "ConnectTimeout":
            limit = f"one within {self.limits.seconds:g} s"
            return ReplyError(f"no reply from {where}", code="E_TIMEOUT", expected=limit, found="none")
        hint = "is the server running there?"
        return ModelError(f"cannot reach {where}", code="E_SERVER", found=_short(str(cause)), hint=hint)

    def _tell_status(self, status: int, code: str | None, said: str) -> PiqaError:
        where, found = shown_url(self.url), f"status {status}: {said}"
        if status in {401, 403}:
            return ModelError(f"{where} does not let us in", code="E_SERVER", found=said, hint="set OPENAI_API_KEY")
        if status == 404:
            hint = "`curl BASE_URL/models` lists the names; the base URL usually ends in /v1"
            return ModelError(f"{where} has no model '{self.name}'", code="E_SERVER", found=said, hint=hint)
        if status in {400, 422} and "logprob" in said.lower():
            return self._no_logprobs(said)
        if status < 400 or code == "insufficient_quota":
            return ModelError(f"{where} does not answer", code="E_SERVER", found=found)
        if status == 429 or status >= 500:
            return ReplyError(f"{where} failed {self.limits.retries + 1} times", code="E_SERVER", found=found)
        return self._senseless(found)

    def _senseless(self, found: str) -> ReplyError:
        where = shown_url(self.url)
        return ReplyError(f"{where} gave no usable reply", expected="a chat completion", found=_short(found))

    def _no_logprobs(self, found: str) -> ModelError:
        return ModelError(
            f"{shown_url(self.url)} gives no log-probabilities for '{self.name}'",
            code="E_SERVER_LOGPROBS",
            expected=f"a server that supports logprobs with top_logprobs={TOP}",
            found=found,
            hint="scores are read off them, never guessed from the text; vLLM and SGLang give them",
        )


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end, also from within a running event loop (a notebook's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
