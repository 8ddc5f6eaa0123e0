"""The words that turn keywords and reviews into numbers, in English and Chinese.

How they are looked for in a text: `listed` in pipelines/behaviour/texts.py.
"""

BARGAIN = frozenset(
    ["cheap", "deal", "discount", "coupon", "sale", "offer", "budget", "便宜", "优惠", "打折", "特价", "折扣", "券"]
)
PREMIUM = frozenset(
    [
        "premium",
        "luxury",
        "best",
        "quality",
        "original",
        "designer",
        "高端",
        "奢侈",
        "正品",
        "品质",
        "豪华",
        "高级",
        "高档",
    ]
)
POSITIVE = frozenset(
    ["good", "great", "excellent", "love", "perfect", "sturdy", "recommend", "好", "喜欢", "满意", "推荐", "完美"]
)
NEGATIVE = frozenset(
    ["bad", "poor", "broken", "late", "disappointing", "flimsy", "refund", "差", "失望", "退货", "坏", "慢"]
)
