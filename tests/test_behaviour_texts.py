"""What searches and reviews say, as numbers: listed words and hashed ones, in English and Chinese."""

from __future__ import annotations

import pytest

from pipelines import words
from pipelines.behaviour.texts import TOPICS, read_review, read_search, searches, sentiment, tokens
from pipelines.market.reviews import SENTENCES


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (1, "a good lamp"),
        (2, "love it, perfect"),
        (1, "good, good, and good again"),
        (-1, "arrived late"),
        (0, "chocolate on a plate, template of a badge"),
        (-1, "isn't good"),
        (-1, "not a good lamp"),
        (0, "not bad"),
        (1, "质量很好"),
        (0, "质量好，但是慢"),
        (-1, "不太满意"),
        (-1, "真的不推荐"),
        (0, "没有什么特别"),
        (0, ""),
    ],
)
def test_sentiment_is_praise_minus_blame(expected: int, text: str) -> None:
    """Each listed word once; no word within another; what is negated is not praise."""
    assert expected == sentiment(text)


def test_sentences_of_the_simulated_shop_are_rated_as_they_are_meant() -> None:
    """On average a review of five stars praises, one of one star blames, in both languages."""
    for language in range(SENTENCES.shape[1]):
        means = [sum(map(sentiment, SENTENCES[rating, language])) / SENTENCES.shape[2] for rating in range(5)]
        assert means[0] < -0.9 < 0 < 0.9 < means[4]


@pytest.mark.parametrize(
    ("bargain", "premium", "text"),
    [
        (1, 0, "cheap tea"),
        (1, 0, "sales"),
        (0, 0, "wholesale ideal"),
        (1, 0, "便宜的茶"),
        (1, 0, "cheap茶"),
        (0, 1, "高级 绿茶"),
        (1, 1, "best discount"),
        (0, 0, "绿茶"),
    ],
)
def test_a_search_for_cheap_or_fine_is_told(bargain: int, premium: int, text: str) -> None:
    """English words whole, Chinese ones without spaces around them."""
    found = read_search(text)
    assert (bargain, premium) == (found["bargain"], found["premium"])


def test_every_listed_word_is_found() -> None:
    """Alone, each is what its list says."""
    assert {1.0} == {read_search(word)["bargain"] for word in words.BARGAIN}
    assert {1.0} == {read_search(word)["premium"] for word in words.PREMIUM}
    assert {1} == {sentiment(word) for word in words.POSITIVE}
    assert {-1} == {sentiment(word) for word in words.NEGATIVE}


def test_hashed_words_are_bounded_and_the_same_in_every_run() -> None:
    """Each token adds one, up or down, to one of the buckets; the table of the batch engines says the same."""
    text = "cheap 绿茶叶 lamp"
    found = [read_search(text)[f"topic_{k}"] for k in range(1, TOPICS + 1)]
    assert [1.0, 0.0, 0.0, 1.0] == found
    assert ["cheap", "绿茶", "茶叶", "lamp"] == tokens(text)
    assert found == searches([text]).filter(like="topic_").iloc[0].tolist()


def test_what_was_not_said_has_no_numbers() -> None:
    """Missing is not empty."""
    assert {} == read_search(None) == read_review(None)
    assert 0.0 == read_review("")["sentiment"]
