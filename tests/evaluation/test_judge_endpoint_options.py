"""What the judge behind an endpoint needs no server for: reading scores, waits, what is kept, its options."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from specs_lab.core.chat import wait_s
from specs_lab.core.options import InvalidOption
from specs_lab.evaluation.judges.endpoint import EndpointJudge, Once, read_score


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("7", 0.7),
        (" 0\n", 0.0),
        ("10", 1.0),
        ("**7.5**", 0.75),
        ("7/10", 0.7),
        ("10 / 10.", 1.0),
        ("Score: 7", 0.7),
        ("I compared them.\n\n**Score:** 7. They agree", 0.7),
        ('```json\n{"score": 7}\n```', 0.7),
        ("The score would be 7.", 0.7),
        ("Score: 7\nFinal score: 7", 0.7),
        ("<think> score: 10? </think> 4", 0.4),
        ("<think> score: 10", None),
        ("Score: 3, or a score of 8", None),
        ("score out of 10: 7", None),
        ("Score (0-10): 7", None),
        ("score: 0-10", None),
        ("score 7 to 8", None),
        ("The score is not 10", None),
        ("I give 5", None),
        ("5 6", None),
        ("11", None),
        ("100", None),
        ("1000", None),
        ("-3", None),
        ("score: -3", None),
        ("7/100", None),
        ("7/5", None),
        ("80%", None),
        ("8%", None),
        ("7,5", None),
        ("\u0667", None),
        ("nan", None),
        ("", None),
        ("score", None),
    ],
)
def test_scores_by_hand(reply, value):
    assert read_score(reply) == value


@pytest.mark.parametrize("reply", ["1" + "`" * 1_000_000 + "x", "score " * 200_000, "score 1 " + " " * 1_000_000 + "x"])
def test_long_replies_are_read_in_linear_time(reply):
    """A quadratic reader would take hours."""
    assert read_score(reply) == (0.1 if reply.startswith("score 1") else None)


def test_waits_by_hand():
    assert [wait_s(attempt, None) for attempt in (0, 1, 2, 3)] == [0.5, 1, 2, 4]
    assert wait_s(100, None) == 60
    assert [wait_s(1, text) for text in ("0", "7", "60", "61", "999999999")] == [0, 7, 60, 60, 60]
    assert [wait_s(1, text) for text in ("", "x", "-1", "nan", "1e9", "Mon, 01 Jan 9999999999999 00:00:00 GMT")] == [
        1
    ] * 6
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 0 < wait_s(1, soon) <= 50
    assert wait_s(1, "Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert wait_s(1, "Wed, 21 Oct 2115 07:28:00 -0000") == 60


def test_the_oldest_values_are_dropped():
    once, made = Once(2), Counter()

    def value(key):
        def make():
            made[key] += 1
            return float(key)

        return once.get(key, make)

    assert [value(key) for key in "1223321"] == [1, 2, 2, 3, 3, 2, 1]
    assert made == {"1": 2, "2": 1, "3": 1}


@pytest.mark.parametrize("mistake", ["sk-abc-123", "sk_abc_123"])
def test_a_key_given_as_the_name_of_a_variable_is_not_shown(mistake):
    with pytest.raises(InvalidOption) as error:
        EndpointJudge(model="m", api_key_env=mistake)
    assert mistake not in str(error.value)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://user:hidden@host/v1", "credentials"),
        ("https://hidden@host/v1", "credentials"),
        ("file:///etc/hidden", "http"),
        ("ftp://host/hidden", "http"),
        ("host:8000/hidden", "http"),
        ("http:///hidden", "http"),
        ("http://host/hid den", "http"),
        ("http://host/hidden\r\nX: y", "http"),
        ("http://h\u00f6st/hidden", "http"),
        ("http://host:hidden/v1", "URL"),
        ("http://[::1/hidden", "URL"),
        ("http://host..hidden/", "URL"),
        ("http://host/v1?key=hidden", "base"),
        ("http://host/v1#hidden", "base"),
        ("http://host/hidden/chat/completions/", "base"),
    ],
)
def test_urls_that_are_no_base_are_refused_unseen(url, what):
    with pytest.raises(InvalidOption) as error:
        EndpointJudge(url=url, model="m")
    assert {fault.where for fault in error.value.faults} == {"url"}
    assert what in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/v1", "https://api.example.com/v1/", "http://[::1]:80", "HTTP://H"]
)
def test_base_urls_are_accepted(url):
    assert EndpointJudge(url=url, model="m").make() is not None


def test_all_faults_are_reported_together():
    wrong = {
        "url": "x",
        "model": " ",
        "api_key_env": "-",
        "prompt": "{answer}",
        "max_concurrent": 0,
        "timeout_s": float("inf"),
        "retries": -1,
        "max_response_bytes": 0,
        "max_tokens": 0,
        "threshold": -0.1,
    }
    with pytest.raises(InvalidOption) as error:
        EndpointJudge(**wrong)
    assert [fault.where for fault in error.value.faults] == list(wrong)
