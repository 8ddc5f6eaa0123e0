"""What searches and reviews say, as numbers: listed words, and topics by feature hashing. English and Chinese.

Feature hashing (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"): every token adds +1 or
-1, by its hash, to one of `TOPICS` buckets; no vocabulary to fit, keep or download. Tokens are runs of letters and
digits; of Chinese, which writes no spaces, overlapping pairs of characters. Texts are as `clean` leaves them: Unicode
NFKC, lower case.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from pipelines import words

if TYPE_CHECKING:
    import pandas as pd

TOPICS = 4
_NOT = r"(?:(?<![a-z])(?:not|no|never)|n't) (?:[a-z]+ )?|[不没](?:太|是|很|是很|怎么|那么)?"
_TOKEN = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+")
_CACHED = 65_536  # distinct texts whose numbers are kept for live use
_NOTHING: Mapping[str, float] = {}


def tokens(text: str) -> list[str]:
    """Return the words of a text, Chinese as pairs of characters.

    >>> tokens("cheap 绿茶叶 x2")
    ['cheap', '绿茶', '茶叶', 'x2']
    """
    found: list[str] = []
    for run in _TOKEN.findall(text):
        pairs = [run[k : k + 2] for k in range(len(run) - 1)]
        found += pairs if pairs and "\u3400" <= run[0] <= "\u9fff" else [run]
    return found


def topics(text: str) -> dict[str, float]:
    """Return the signed counts of a text's tokens in each bucket, topic_1 … topic_`TOPICS`."""
    counts = dict.fromkeys((f"topic_{k}" for k in range(1, TOPICS + 1)), 0.0)
    for token in tokens(text):
        code = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=4).digest(), "little")
        counts[f"topic_{code // 2 % TOPICS + 1}"] += 1.0 if code % 2 else -1.0
    return counts


def listed(known: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of listed words: English ones whole, but for an ending; Chinese ones anywhere; and `no`.

    >>> [match["word"] or match["sign"] for match in listed(["late", "sale", "好"]).finditer("chocolate sales 很好")]
    ['sale', '好']
    """
    english, chinese = (
        "|".join(sorted(w for w in known if w.isascii() == ascii_)) or "(?!)" for ascii_ in (True, False)
    )
    whole = rf"(?<![a-z0-9])(?P<word>{english})(?:s|es|d|ed|ing)?(?![a-z0-9])"
    return re.compile(rf"(?P<no>{_NOT})?(?:{whole}|(?P<sign>{chinese}))")


_BARGAIN, _PREMIUM = listed(words.BARGAIN), listed(words.PREMIUM)
_PRAISE, _BLAME = listed(words.POSITIVE), listed(words.NEGATIVE)


def sentiment(text: str) -> int:
    """Return how many different words praise minus how many blame; praise that is negated blames, such blame is none.

    >>> [sentiment(text) for text in ("love it, a great lamp", "not very good", "not bad", "质量好 但是慢", "不好")]
    [2, -1, 0, 0, -1]
    """
    praise = {(match["word"] or match["sign"], bool(match["no"])) for match in _PRAISE.finditer(text)}
    blame = {match["word"] or match["sign"] for match in _BLAME.finditer(text) if not match["no"]}
    return sum(-1 if negated else 1 for _, negated in praise) - len(blame)


@functools.lru_cache(maxsize=_CACHED)
def read_search(keywords: str | None) -> Mapping[str, float]:
    """Return the numbers of what was searched for: words, bargain, premium, topics; nothing without keywords."""
    if keywords is None:
        return _NOTHING
    return {
        "words": float(len(keywords.split(" "))),
        "bargain": float(_BARGAIN.search(keywords) is not None),
        "premium": float(_PREMIUM.search(keywords) is not None),
        **topics(keywords),
    }


@functools.lru_cache(maxsize=_CACHED)
def read_review(text: str | None) -> Mapping[str, float]:
    """Return the numbers of what a review says: sentiment, topics."""
    if text is None:
        return _NOTHING
    return {"sentiment": float(sentiment(text)), **topics(text)}


def searches(distinct: Iterable[str]) -> pd.DataFrame:
    """Return one row per distinct search: `text` and its numbers, as the batch engines join it."""
    return _table(distinct, read_search.__wrapped__, ("words", "bargain", "premium"))


def reviews(distinct: Iterable[str]) -> pd.DataFrame:
    """Return one row per distinct review: `text` and its numbers."""
    return _table(distinct, read_review.__wrapped__, ("sentiment",))


def _table(distinct: Iterable[str], read: Callable[[str], Mapping[str, float]], named: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd  # here, because live use must not load pandas

    texts = list(distinct)
    columns = [*named, *(f"topic_{k}" for k in range(1, TOPICS + 1))]
    numbers = pd.DataFrame([read(text) for text in texts], columns=columns, dtype="float64")
    numbers.insert(0, "text", pd.Series(texts, dtype="str"))
    return numbers
