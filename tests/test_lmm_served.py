"""A served model: what it is asked, how its replies become scores, and what each way of failing is called."""

from __future__ import annotations

import base64
import io
import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import pytest
from PIL import Image

from conftest import Pictures, save_pair
from fake_openai import MODEL, Answer, FakeOpenAI, Response, completion, error, images, in_turn, texts, tokens
from piqa_cli.assessor import Assessor
from piqa_cli.errors import ModelError, ReplyError, UsageError
from piqa_cli.images import load_pair
from piqa_cli.lmm import chat
from piqa_cli.lmm.addresses import OPENAI, server_url
from piqa_cli.lmm.chat import TOP, ChatServer, Limits, Reply, Request
from piqa_cli.lmm.prompts import QUESTIONS
from piqa_cli.lmm.served import ServedAssessor, open_served, read_level
from piqa_cli.lmm.settings import LmmSettings
from piqa_cli.lmm.views import MAX_PIXELS
from piqa_cli.models import open_assessor
from piqa_cli.pipeline import assess_pairs
from piqa_cli.schema import SCALES, Assessment, Dimension, Failure, Pair, Scores

QUICK = Limits(seconds=5, retries=2, at_once=4)
SOON = {"retry-after-ms": "5"}
TEXT = "The edited part fits the scene well, and the disc was repainted as the instruction asked for."


def sane(request: dict[str, Any]) -> Response:
    """Good in every dimension, done, and a sentence to go with it."""
    if not request.get("logprobs"):
        return completion(TEXT)
    asked = texts(request)
    if "Yes, Partly or No" in asked:
        return tokens({"Yes": 0.9, "Partly": 0.08, "No": 0.02})
    return tokens({"Good": 0.6, " good": 0.2, "Fair": 0.1, "Excellent": 0.05})


@pytest.fixture(scope="module")
def compact() -> Assessor:
    return open_assessor("compact", device="cpu")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def served(url: str, compact: Assessor, limits: Limits = QUICK, **rest: Any) -> ServedAssessor:
    return open_served(LmmSettings(model=f"openai:{MODEL}", base_url=url, **rest), compact, limits)


def pair_of(files: Pictures, prompt: str | None = "Repaint the disc", name: str = "a") -> Pair:
    return Pair(id=name, source=str(files.source), edited=str(files.edited), mask=str(files.mask), prompt=prompt)


@dataclass
class Judged:
    """What the three stages said of one pair, and what the server was asked."""

    scores: Scores
    explanation: str | None
    warnings: tuple[str, ...]
    requests: list[dict[str, Any]]


def judged(answer: Answer, compact: Assessor, pair: Pair) -> Judged:
    with FakeOpenAI(answer) as server:
        judge, loaded = served(server.base_url, compact), load_pair(pair)
        groundings = judge.ground([loaded])
        (judgement,) = judge.score([loaded], groundings)
        (told,) = judge.explain([loaded], groundings, [judgement])
    return Judged(judgement.scores, told.text, told.warnings, server.requests)


def top(**probabilities: float) -> Reply:
    return Reply("", cut=False, tokens=({token: math.log(p) for token, p in probabilities.items()},))


# --- what is asked ----------------------------------------------------------------------------------


def test_each_dimension_is_one_request_for_a_word_with_log_probabilities(files: Pictures, compact: Assessor) -> None:
    asked = judged(sane, compact, pair_of(files))
    scored = [request for request in asked.requests if request.get("logprobs")]
    assert sorted(texts(request).splitlines()[-1] for request in scored) == sorted(q.text for q in QUESTIONS.values())
    for request in scored:
        assert (request["model"], request["temperature"], request["top_logprobs"]) == (MODEL, 0, TOP)
        assert request["max_tokens"] <= 8
        assert "Repaint the disc" in texts(request)


def test_source_edited_and_the_enlarged_region_go_as_bounded_pictures_and_no_file_name_goes(
    compact: Assessor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("secretname")
    small = save_pair(folder)
    large = {role: folder / f"large_{role}.png" for role in ("source", "edited", "mask")}
    for role, path in large.items():
        with Image.open(getattr(small, role)) as picture:
            picture.resize((1600, 1280)).save(path)
    asked = judged(sane, compact, pair_of(Pictures(**large)))
    for request in asked.requests:
        sent = [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in images(request)]
        sizes = [Image.open(io.BytesIO(data)).size for data in sent]
        assert len(sizes) == 3
        assert sizes[0] == sizes[1]
        assert all(width * height <= MAX_PIXELS for width, height in sizes)
        assert "secretname" not in str(request)


def test_requests_of_a_batch_run_together_up_to_the_limit(compact: Assessor, files: Pictures) -> None:
    with FakeOpenAI(lambda request: replace(sane(request), seconds=0.05)) as server:
        judge = served(server.base_url, compact)
        outcomes = list(assess_pairs([pair_of(files, n, n) for n in "abc"], judge, batch_size=3, explain=False))
    assert all(isinstance(outcome, Assessment) for outcome in outcomes)
    assert len(server.requests) == 15
    assert 2 <= server.most_at_once <= QUICK.at_once


def test_without_a_prompt_completion_is_not_asked_and_the_overall_says_what_it_assumes(
    compact: Assessor, files: Pictures
) -> None:
    record = judged(sane, compact, pair_of(files, prompt=None))
    assert len([request for request in record.requests if request.get("logprobs")]) == 4
    assert record.scores.prompt_completion.code == "N_NO_PROMPT"
    assert record.scores.overall.code == "N_COMPLETION_ASSUMED"


def test_nothing_is_sent_of_identical_pictures(compact: Assessor, files: Pictures) -> None:
    pair = Pair(id="a", source=str(files.source), edited=str(files.source), prompt="Repaint the disc")
    record = judged(sane, compact, pair)
    assert not record.requests
    assert record.scores.prompt_completion.value == 1


# --- from replies to scores -------------------------------------------------------------------------


def test_the_score_is_the_expectation_over_the_levels_and_the_rest_is_reported(
    files: Pictures, compact: Assessor
) -> None:
    record = judged(sane, compact, pair_of(files))
    harmony = record.scores.harmony
    assert harmony.value == pytest.approx((4 * 0.8 + 3 * 0.1 + 5 * 0.05) / 0.95)
    assert harmony.distribution == pytest.approx((0, 0, 0.1 / 0.95, 0.8 / 0.95, 0.05 / 0.95))
    assert harmony.reliability is not None
    assert harmony.reliability.off_scale == pytest.approx(0.05)
    assert record.scores.prompt_completion.value == pytest.approx(2 * 0.08 + 1 * 0.02 + 3 * 0.9)
    assert (record.explanation, record.warnings) == (TEXT, ())


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (top(Good=0.5, good=0.25, GOOD=0.25), 4.0),
        (top(Excel=0.5, Excellent=0.5), 5.0),  # the first piece of a word in several tokens
        (top(Poor=0.5, P=0.5), 2.0),  # a single letter is no answer
        (top(Bad=1.0), 1.0),
        (top(Fair=0.2, Terrible=0.8), 3.0),
    ],
)
def test_spellings_are_pooled_and_other_words_are_left_out(reply: Reply, value: float) -> None:
    scored = read_level(Dimension.HARMONY, reply)
    assert scored is not None
    assert scored.value == pytest.approx(value)


def test_an_opening_that_two_words_share_counts_for_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = replace(QUESTIONS[Dimension.HARMONY], words=("bad", "poorly", "poorish", "good", "excellent"))
    monkeypatch.setitem(QUESTIONS, Dimension.HARMONY, shared)
    scored = read_level(Dimension.HARMONY, top(poor=0.9, good=0.1))
    assert scored is not None
    assert scored.value == pytest.approx(4.0)
    assert scored.off_scale == pytest.approx(0.9)


def test_the_word_may_come_after_a_line_break_or_a_quotation_mark() -> None:
    first, second = {"\n": math.log(0.9), "Bad": math.log(0.1)}, {"Good": math.log(0.8)}
    scored = read_level(Dimension.HARMONY, Reply("\nGood", cut=False, tokens=(first, second)))
    assert scored is not None
    assert scored.value == pytest.approx(4.0)


def test_scores_stay_on_the_scale_whatever_the_probabilities() -> None:
    for dimension, question in QUESTIONS.items():
        for word in question.words:
            scored = read_level(dimension, top(**{word: 1.0}))
            assert scored is not None
            assert SCALES[dimension].low <= scored.value <= SCALES[dimension].high


def test_a_reply_without_any_level_is_a_null_score_and_never_the_compact_ones(
    files: Pictures, compact: Assessor
) -> None:
    def thinking(request: dict[str, Any]) -> Response:
        return tokens({"<think>": 0.99, "Okay": 0.01}) if request.get("logprobs") else sane(request)

    record = judged(thinking, compact, pair_of(files))
    for dimension in Dimension:
        score = record.scores.of(dimension)
        assert (score.value, score.code) == (None, "E_REPLY")


def test_the_same_pair_alone_and_in_a_batch_asks_and_scores_the_same(files: Pictures, compact: Assessor) -> None:
    pairs = [pair_of(files, prompt=prompt) for prompt in ("Repaint the disc", "Remove the disc")]
    alone = [judged(sane, compact, pair) for pair in pairs]
    with FakeOpenAI(sane) as server:
        judge, loaded = served(server.base_url, compact), [load_pair(pair) for pair in pairs]
        together = judge.score(loaded, judge.ground(loaded))
    assert [one.scores for one in together] == [one.scores for one in alone]
    asked = [str(r) for one in alone for r in one.requests if r.get("logprobs")]
    assert sorted(asked) == sorted(map(str, server.requests))


# --- explanations -----------------------------------------------------------------------------------


def test_an_explanation_that_contradicts_the_scores_is_asked_for_once_more_and_then_replaced(
    files: Pictures, compact: Assessor
) -> None:
    def grim(request: dict[str, Any]) -> Response:
        bad = "The harmony is bad and the overall quality is bad, because the edited part is badly done."
        return sane(request) if request.get("logprobs") else completion(bad)

    record = judged(grim, compact, pair_of(files))
    written = [request for request in record.requests if not request.get("logprobs")]
    assert len(written) == 2
    assert "refused" in texts(written[1])
    assert record.explanation
    assert "bad" not in record.explanation
    assert len(record.warnings) == 1


def test_a_server_that_gives_no_explanation_does_not_cost_the_scores(files: Pictures, compact: Assessor) -> None:
    def silent(request: dict[str, Any]) -> Response:
        return sane(request) if request.get("logprobs") else error(500, "tired", headers=SOON)

    record = judged(silent, compact, pair_of(files))
    assert record.scores.overall.value == pytest.approx(3.947, abs=1e-3)
    assert record.explanation
    assert "tired" in record.warnings[0]


# --- what goes wrong --------------------------------------------------------------------------------


def ask(url: str, limits: Limits = QUICK, count: int = 1) -> list[Any]:
    requests = [Request(({"type": "text", "text": f"{n}"},), 4, scored=True) for n in range(count)]
    return ChatServer("m", url, limits).ask(requests)


GOOD = tokens({"Good": 0.9})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _: completion("Good"), "E_SERVER_LOGPROBS"),
        (lambda _: error(400, "logprobs is not supported by this model"), "E_SERVER_LOGPROBS"),
        (lambda _: error(404, "The model `m` does not exist", code="model_not_found"), "E_SERVER"),
        (lambda _: error(401, "Incorrect API key provided"), "E_SERVER"),
        (lambda _: error(429, "You exceeded your quota", code="insufficient_quota", headers=SOON), "E_SERVER"),
        (lambda _: Response(b"", status=307, headers={"Location": "http://192.0.2.1/v1"}), "E_SERVER"),
    ],
    ids=["no logprobs", "logprobs refused", "no such model", "no key", "no quota", "redirected"],
)
def test_what_concerns_every_pair_is_a_model_error(answer: Any, code: str) -> None:
    with FakeOpenAI(answer) as server, pytest.raises(ModelError) as raised:
        ask(server.base_url)
    assert raised.value.code == code


def test_a_refused_connection_names_the_server() -> None:
    with FakeOpenAI(sane) as server:
        url = server.base_url
    with pytest.raises(ModelError, match="cannot reach http") as raised:
        ask(url, Limits(retries=0))
    assert raised.value.code == "E_SERVER"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _: Response(b'{"choices": ['), "E_REPLY"),
        (lambda _: Response(b"<html>busy</html>", headers={"Content-Type": "text/html"}), "E_REPLY"),
        (lambda _: Response({"choices": []}), "E_REPLY"),
        (lambda _: Response([1, 2]), "E_REPLY"),
        (lambda _: error(400, "the picture is too large"), "E_REPLY"),
        (lambda _: tokens({"Good": math.e}), "E_REPLY"),
        (lambda _: error(503, "overloaded", headers=SOON), "E_SERVER"),
        (lambda _: replace(GOOD, seconds=0.6), "E_TIMEOUT"),
    ],
    ids=["cut off", "html", "no choices", "a list", "refused", "log-probability of 1", "busy", "late"],
)
def test_what_concerns_one_request_is_its_own_failure(answer: Any, code: str) -> None:
    with FakeOpenAI(answer) as server:
        (reply,) = ask(server.base_url, Limits(seconds=0.3, retries=1))
    assert isinstance(reply, ReplyError)
    assert reply.code == code


@pytest.mark.parametrize(
    ("status", "headers"), [(429, {"Retry-After": "1"}), (503, {"retry-after-ms": "5"}), (500, {"retry-after-ms": "5"})]
)
def test_a_busy_server_is_asked_again_as_it_says(status: int, headers: dict[str, str]) -> None:
    with FakeOpenAI(in_turn(error(status, "busy", headers=headers), GOOD)) as server:
        (reply,) = ask(server.base_url)
    assert isinstance(reply, Reply)
    assert len(server.requests) == 2


def test_retries_are_bounded() -> None:
    with FakeOpenAI(lambda _: error(503, "busy", headers=SOON)) as server:
        ask(server.base_url)
    assert len(server.requests) == 1 + QUICK.retries


def test_one_bad_pair_of_a_batch_fails_alone_and_nothing_is_asked_twice(compact: Assessor, files: Pictures) -> None:
    def picky(request: dict[str, Any]) -> Response:
        poisoned = "poison" in texts(request) and "fit the scene around it" in texts(request)
        return Response(b"{") if poisoned else sane(request)

    with FakeOpenAI(picky) as server:
        judge = served(server.base_url, compact)
        pairs = [pair_of(files, prompt=p, name=p) for p in ("one", "poison", "two")]
        first, second, third = assess_pairs(pairs, judge, batch_size=3, explain=False)
    assert isinstance(second, Failure)
    assert second.error.code == "E_REPLY"
    assert isinstance(first, Assessment)
    assert isinstance(third, Assessment)
    assert len(server.requests) == 15


# --- who is contacted -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [None, "https://models.example.com/v1", "http://192.168.0.7:8000/v1"])
def test_offline_refuses_a_server_that_is_not_on_this_machine(url: str | None, compact: Assessor) -> None:
    with pytest.raises(UsageError, match="offline"):
        open_served(LmmSettings(model="openai:m", base_url=url, offline=True), compact)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"])
def test_offline_allows_this_machine(url: str, compact: Assessor) -> None:
    judge = open_served(LmmSettings(model="openai:m", base_url=url, offline=True), compact)
    assert judge.server.url == url


def test_a_redirect_takes_the_pictures_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "is_loopback", lambda url: False)  # as for any server on the network
    with FakeOpenAI(sane) as elsewhere:
        there = {"Location": f"{elsewhere.base_url}/chat/completions"}
        with FakeOpenAI(lambda _: Response(b"", status=307, headers=there)) as server, pytest.raises(ModelError):
            ask(server.base_url)
    assert elsewhere.requests == []


def test_an_address_that_was_given_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:2/v1")
    assert server_url("http://127.0.0.1:1/v1/", offline=False) == "http://127.0.0.1:1/v1"
    with pytest.raises(UsageError):
        server_url("", offline=False)
    assert server_url(None, offline=False) == "http://127.0.0.1:2/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert server_url(None, offline=False) == OPENAI


def test_a_proxy_is_not_used_for_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    with FakeOpenAI(lambda _: GOOD) as server:
        assert isinstance(ask(server.base_url)[0], Reply)


def test_the_key_comes_from_the_environment_and_a_local_server_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOpenAI(lambda _: GOOD) as server:
        ask(server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        ask(server.base_url)
    assert [headers["authorization"] for headers in server.headers] == ["Bearer none", "Bearer secret"]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="key"):
        ask("https://api.openai.com/v1")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "openai:"}, "no name"),
        ({"model": "openai:m", "base_url": "127.0.0.1:8000"}, "base URL"),
        ({"model": "openai:m", "base_url": "http://127.0.0.1/v1", "grounding": "model"}, "where something is"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], said: str, compact: Assessor) -> None:
    with pytest.raises(UsageError, match=said):
        open_served(LmmSettings(**settings), compact)


def test_a_password_in_the_address_stays_out_of_records_and_messages(compact: Assessor) -> None:
    judge = open_served(LmmSettings(model="openai:m", base_url="http://me:pass@127.0.0.1:9/v1?k=v"), compact)
    assert judge.info.version.startswith("served by http://127.0.0.1:9/v1 ")


def test_without_the_openai_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, compact: Assessor) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UsageError) as raised:
        open_served(LmmSettings(model="openai:m", base_url="http://127.0.0.1:9/v1"), compact)
    assert "served" in (raised.value.hint or "")
