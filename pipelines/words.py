"""The words that turn keywords and reviews into numbers, in English and Chinese.

A text holds a word if the word occurs in it after Unicode NFKC and lower-casing (`clean` does both).
"""

BARGAIN = frozenset(
    ["cheap", "deal", "discount", "coupon", "sale", "offer", "budget", "便宜", "优惠", "打折", "特价", "折扣", "券"]
)
PREMIUM = frozenset(
    ["premium", "luxury", "best", "quality", "original", "designer", "高端", "奢侈", "正品", "品质", "豪华"]
)
POSITIVE = frozenset(
    ["good", "great", "excellent", "love", "perfect", "sturdy", "recommend", "好", "喜欢", "满意", "推荐", "完美"]
)
NEGATIVE = frozenset(
    ["bad", "poor", "broken", "late", "disappointing", "flimsy", "refund", "差", "失望", "退货", "坏", "慢"]
)
