"""What shoppers of the simulated shop write about what they bought: sentences by rating and language."""

from __future__ import annotations

import numpy as np

# Rating 1 to 5; English, then Chinese. The words of pipelines/words.py occur in them as the rating suggests, and
# now and then against it, as they do in life.
_BY_RATING = (
    (
        (
            "broken after a day, asking for a refund",
            "poor and flimsy",
            "very disappointing",
            "bad, arrived late",
        ),
        ("一天就坏了，要求退货", "很差，非常失望", "太失望了", "发货慢，东西差"),
    ),
    (
        ("a bit flimsy", "poor finish, otherwise usable", "arrived late", "not what I hoped for"),
        ("有点差", "到货慢", "做工差，勉强能用", "和想的不一样"),
    ),
    (
        ("does its job", "average, good enough", "arrived late but works", "nothing special"),
        ("一般般", "还好", "到货慢但是能用", "没什么特别"),
    ),
    (
        ("good value", "sturdy, as described", "great, though delivery was late", "nice"),
        ("挺好的", "比较满意", "东西好，就是到货慢", "不错"),
    ),
    (
        ("excellent, love it", "perfect, I recommend it", "great and sturdy", "exactly right"),
        ("非常喜欢，推荐", "完美", "很满意，质量好", "正合适"),
    ),
)
SENTENCES = np.array(_BY_RATING, dtype=object)  # (rating, language, variant)
