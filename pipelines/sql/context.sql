-- The context of every view of an event log, as it stood just before the view: one row per view.
--
-- Tables: events (with `instant`, microseconds since 1970), items, shoppers (with `signup`, the same).
-- Every frame ends one microsecond before the event, so what happens at the same time is not "before". Money and
-- seconds are summed as whole millionths: their sum does not depend on the order of rows and threads.
CREATE TEMP TABLE log AS (
    SELECT
        e.* EXCLUDE (dwell_seconds, keywords, rating, text, quantity, currency),
        i.category, i.unit_cost, i.min_price, i.max_price,
        (kind = 'view')::INT AS is_view,
        (kind = 'purchase')::INT AS is_purchase,
        (kind = 'search')::INT AS is_search,
        (kind = 'cart')::INT AS is_cart,
        (kind = 'review')::INT AS is_review,
        CASE WHEN kind = 'view' THEN round(coalesce(dwell_seconds, 0) * 1e6)::BIGINT ELSE 0 END AS dwell,
        CASE WHEN kind = 'purchase' THEN round(e.price * coalesce(quantity, 1) * 1e6)::BIGINT ELSE 0 END AS money,
        (kind = 'purchase' AND coalesce(e.price < e.list_price, false))::INT AS is_discounted,
        CASE WHEN kind = 'purchase' THEN instant END AS purchased_at,
        CASE WHEN kind = 'review' THEN round(rating * 1e6)::BIGINT END AS stars,
        CASE WHEN kind = 'review' AND text IS NOT NULL THEN
            len(list_filter(getvariable('positive'), lambda word: contains(text, word)))
            - len(list_filter(getvariable('negative'), lambda word: contains(text, word))) END AS sentiment,
        CASE WHEN kind = 'search' AND keywords IS NOT NULL THEN
            (len(list_filter(getvariable('bargain'), lambda word: contains(keywords, word))) > 0)::INT
            ELSE 0 END AS is_bargain,
        CASE WHEN kind = 'search' AND keywords IS NOT NULL THEN
            (len(list_filter(getvariable('premium'), lambda word: contains(keywords, word))) > 0)::INT
            ELSE 0 END AS is_premium,
        CASE WHEN kind = 'search' AND keywords IS NOT NULL THEN len(string_split(keywords, ' ')) ELSE 0 END AS words,
        (row_number() OVER visit = 1)::INT AS is_start,
        first_value(instant) OVER visit AS started_at
    FROM events AS e LEFT JOIN items AS i USING (item_id)
    WINDOW visit AS (PARTITION BY e.shopper_id, e.session_id ORDER BY e.instant, e.event_id)
);

CREATE TEMP TABLE counted AS (
    SELECT
        *,
        sum(is_view) OVER by_shopper AS shopper_views,
        coalesce(sum(is_start) OVER by_shopper, 0) - (started_at < instant)::INT AS shopper_sessions,
        sum(is_purchase) OVER by_shopper AS purchases,
        sum(money) OVER by_shopper AS spend,
        max(purchased_at) OVER by_shopper AS last_purchase_at,
        sum(is_discounted) OVER by_shopper AS discounts,
        sum(stars) OVER by_shopper AS stars_given,
        count(stars) OVER by_shopper AS ratings_given,

        sum(is_view) OVER by_shopper_item AS item_views_by_shopper,
        sum(dwell) OVER by_shopper_item AS item_dwell_by_shopper,
        sum(is_purchase) OVER by_shopper_item AS bought_before,

        sum(is_view) OVER by_shopper_category AS category_views_by_shopper,
        sum(is_purchase) OVER by_shopper_category AS category_purchases_by_shopper,

        sum(is_view) OVER by_session AS session_views,
        sum(dwell) OVER by_session AS session_dwell,
        sum(is_search) OVER by_session AS session_searches,
        sum(is_cart) OVER by_session AS session_carts,
        sum(is_bargain) OVER by_session AS search_bargain,
        sum(is_premium) OVER by_session AS search_premium,
        sum(words) OVER by_session AS search_words,

        sum(is_view) OVER by_item AS item_views,
        sum(is_purchase) OVER by_item AS item_purchases,
        sum(stars) OVER by_item AS item_stars,
        count(stars) OVER by_item AS item_ratings,
        sum(is_review) OVER by_item AS item_reviews,
        sum(sentiment) OVER by_item AS item_sentiment,
        count(sentiment) OVER by_item AS item_texts
    FROM log
    WINDOW
        by_shopper AS (PARTITION BY shopper_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        by_shopper_item AS (
            PARTITION BY shopper_id, item_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_shopper_category AS (
            PARTITION BY shopper_id, category ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_session AS (
            PARTITION BY shopper_id, session_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_item AS (PARTITION BY item_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
);

-- The view that a purchase followed: the last one of this item in this session before it.
CREATE TEMP TABLE sold AS (
    SELECT DISTINCT v.event_id
    FROM (SELECT * FROM log WHERE kind = 'purchase') AS p
    ASOF JOIN (SELECT * FROM log WHERE kind = 'view') AS v
        ON p.shopper_id = v.shopper_id AND p.session_id = v.session_id AND p.item_id = v.item_id
        AND p.instant > v.instant
);

SELECT
    c.event_id AS offer_id,
    c.shopper_id,
    c.item_id,
    c.instant,
    c.list_price,
    c.unit_cost,
    c.min_price,
    c.max_price,
    c.price,
    c.propensity,
    (sold.event_id IS NOT NULL)::BIGINT AS bought,

    coalesce(s.country, '') AS country,
    coalesce(s.language, '') AS language,
    coalesce(s.device, '') AS device,
    coalesce(s.tier, '') AS tier,
    CASE WHEN s.signup <= c.instant THEN (c.instant - s.signup) / 86400e6 END AS days_since_signup,

    coalesce(shopper_views, 0)::DOUBLE AS shopper_views,
    shopper_sessions::DOUBLE AS shopper_sessions,
    coalesce(purchases, 0)::DOUBLE AS purchases,
    coalesce(spend, 0)::DOUBLE / 1e6 AS spend,
    (c.instant - last_purchase_at) / 86400e6 AS days_since_purchase,
    CASE WHEN purchases > 0 THEN discounts::DOUBLE / purchases END AS discount_share,
    CASE WHEN ratings_given > 0 THEN stars_given::DOUBLE / ratings_given / 1e6 END AS mean_rating_given,

    coalesce(item_views_by_shopper, 0)::DOUBLE AS item_views_by_shopper,
    coalesce(item_dwell_by_shopper, 0)::DOUBLE / 1e6 AS item_dwell_by_shopper,
    coalesce(bought_before, 0)::DOUBLE AS bought_before,
    coalesce(category_views_by_shopper, 0)::DOUBLE AS category_views_by_shopper,
    coalesce(category_purchases_by_shopper, 0)::DOUBLE AS category_purchases_by_shopper,

    coalesce(session_views, 0)::DOUBLE AS session_views,
    coalesce(session_dwell, 0)::DOUBLE / 1e6 AS session_dwell,
    coalesce(session_searches, 0)::DOUBLE AS session_searches,
    coalesce(session_carts, 0)::DOUBLE AS session_carts,
    (c.instant - started_at) / 60e6 AS session_minutes,
    c.page_depth,
    c.channel,
    coalesce(c.path, '') AS path,
    coalesce(search_bargain, 0)::DOUBLE AS search_bargain,
    coalesce(search_premium, 0)::DOUBLE AS search_premium,
    coalesce(search_words, 0)::DOUBLE AS search_words,

    coalesce(c.category, '') AS category,
    c.unit_cost / c.list_price AS cost_share,
    coalesce(item_views, 0)::DOUBLE AS item_views,
    -- Smoothed by twenty views with one purchase, so that a new item starts at 5 %.
    (coalesce(item_purchases, 0) + 1)::DOUBLE / (coalesce(item_views, 0) + 20) AS item_conversion,
    CASE WHEN item_ratings > 0 THEN item_stars::DOUBLE / item_ratings / 1e6 END AS item_rating,
    coalesce(item_reviews, 0)::DOUBLE AS item_reviews,
    CASE WHEN item_texts > 0 THEN item_sentiment::DOUBLE / item_texts END AS review_sentiment,

    (c.instant // 3600000000 % 24)::DOUBLE AS hour,
    ((c.instant // 86400000000 + 3) % 7)::DOUBLE AS weekday  -- 1970 began on a Thursday; Monday is 0
FROM counted AS c
LEFT JOIN shoppers AS s USING (shopper_id)
LEFT JOIN sold ON sold.event_id = c.event_id
WHERE c.kind = 'view'
ORDER BY c.instant, c.event_id;
