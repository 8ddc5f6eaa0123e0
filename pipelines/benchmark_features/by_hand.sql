-- The features of conf/features/behaviour.yaml as one would write them by hand for a log of two months: every event
-- once, one window per entity, the views at the end. What conf forgets lies further back than this log begins.
--
-- Tables: events (with `instant`, microseconds since 1970), items, shoppers (with `signup`, the same), searches and
-- reviews (what their texts say, by `text`).
CREATE TEMP TABLE steps AS (
    SELECT *, CASE WHEN kind = 'view' THEN coalesce(nullif(split_part(path, '>', -1), ''), 'item') ELSE kind END AS step
    FROM events
);

CREATE TEMP TABLE log AS (
    SELECT
        e.event_id, e.instant, e.shopper_id, e.session_id, e.item_id, e.kind, e.channel, e.path, e.page_depth,
        e.list_price, e.price, e.propensity, e.step, i.category, i.unit_cost, i.min_price, i.max_price,
        (kind = 'view')::INT AS is_view,
        (kind = 'purchase')::INT AS is_purchase,
        (kind = 'search')::INT AS is_search,
        (kind = 'cart')::INT AS is_cart,
        (kind = 'review')::INT AS is_review,
        CASE WHEN kind = 'view' THEN round(coalesce(dwell_seconds, 0) * 1e6) ELSE 0 END AS dwell,
        CASE WHEN kind = 'purchase' THEN round(e.price * coalesce(quantity, 1) * 1e6) ELSE 0 END AS money,
        (kind = 'purchase' AND coalesce(e.price < e.list_price, false))::INT AS is_discounted,
        CASE WHEN kind = 'purchase' THEN instant END AS purchased_at,
        CASE WHEN kind = 'view' THEN instant END AS viewed_at,
        CASE WHEN kind = 'view' THEN power(2, (instant - (SELECT min(instant) FROM events)) / 604800e6) END AS grown,
        CASE WHEN kind = 'review' THEN round(rating * 1e6) END AS stars,
        r.sentiment, r.topic_1 AS said_1, r.topic_2 AS said_2, r.topic_3 AS said_3, r.topic_4 AS said_4,
        k.bargain, k.premium, k.words,
        k.topic_1 AS sought_1, k.topic_2 AS sought_2, k.topic_3 AS sought_3, k.topic_4 AS sought_4,
        lag(step) OVER visit AS previous_step,
        row_number() OVER visit AS place,
        (row_number() OVER visit = 1)::INT AS is_start,
        (kind = 'view' AND row_number() OVER sight = 1)::INT AS is_first_sight
    FROM steps AS e
    LEFT JOIN items AS i USING (item_id)
    LEFT JOIN searches AS k ON k.text = e.keywords
    LEFT JOIN reviews AS r ON r.text = e.text
    WINDOW
        visit AS (PARTITION BY e.shopper_id, e.session_id ORDER BY e.instant, e.event_id),
        sight AS (PARTITION BY e.shopper_id, e.session_id, e.item_id, e.kind ORDER BY e.instant, e.event_id)
);

CREATE TEMP TABLE counted AS (
    SELECT
        *,
        sum(is_view) OVER by_shopper AS shopper_views,
        sum(is_start) OVER by_shopper AS shopper_sessions,
        sum(is_purchase) OVER by_shopper AS purchases,
        sum(money) OVER by_shopper AS spend,
        max(purchased_at) OVER by_shopper AS last_purchase_at,
        sum(is_discounted) OVER by_shopper AS discounts,
        sum(stars) OVER by_shopper AS stars_given,
        count(stars) OVER by_shopper AS ratings_given,
        sum(grown) OVER by_shopper AS grown_views,
        sum(is_view) OVER shopper_week AS views_7d,
        sum(money) OVER shopper_month AS spend_30d,

        sum(is_view) OVER by_shopper_item AS item_views_by_shopper,
        sum(dwell) OVER by_shopper_item AS item_dwell_by_shopper,
        max(viewed_at) OVER by_shopper_item AS item_viewed_at,
        sum(is_purchase) OVER by_shopper_item AS bought_before,

        sum(is_view) OVER by_shopper_category AS category_views_by_shopper,
        sum(is_purchase) OVER by_shopper_category AS category_purchases_by_shopper,

        sum(is_view) OVER by_session AS session_views,
        sum(is_first_sight) OVER by_session AS session_items,
        sum(dwell) OVER by_session AS session_dwell,
        sum(is_search) OVER by_session AS session_searches,
        sum(is_cart) OVER by_session AS session_carts,
        min(instant) OVER by_session AS started_at,
        arg_max(step, place) OVER by_session AS last_step,
        arg_max(previous_step, place) OVER by_session AS step_before_last,
        sum((is_view = 1 AND previous_step = 'search')::INT) OVER by_session AS views_after_search,
        sum((is_view = 1 AND step = 'reviews')::INT) OVER by_session AS reviews_read,
        sum(bargain) OVER by_session AS search_bargain,
        sum(premium) OVER by_session AS search_premium,
        sum(words) OVER by_session AS search_words,
        sum(sought_1) OVER by_session AS sought_1_sum,
        sum(sought_2) OVER by_session AS sought_2_sum,
        sum(sought_3) OVER by_session AS sought_3_sum,
        sum(sought_4) OVER by_session AS sought_4_sum,
        count(words) OVER by_session AS sought,

        sum(is_view) OVER by_item AS item_views,
        sum(is_view) OVER item_day AS item_views_1d,
        sum(is_purchase) OVER by_item AS item_purchases,
        sum(stars) OVER by_item AS item_stars,
        count(stars) OVER by_item AS item_ratings,
        sum(is_review) OVER by_item AS item_reviews,
        sum(sentiment) OVER by_item AS item_sentiment,
        count(sentiment) OVER by_item AS item_texts,
        sum(said_1) OVER by_item AS said_1_sum,
        sum(said_2) OVER by_item AS said_2_sum,
        sum(said_3) OVER by_item AS said_3_sum,
        sum(said_4) OVER by_item AS said_4_sum
    FROM log
    WINDOW
        by_shopper AS (PARTITION BY shopper_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        shopper_week AS (PARTITION BY shopper_id ORDER BY instant RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING),
        shopper_month AS (
            PARTITION BY shopper_id ORDER BY instant RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING
        ),
        by_shopper_item AS (
            PARTITION BY shopper_id, item_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_shopper_category AS (
            PARTITION BY shopper_id, category ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_session AS (
            PARTITION BY shopper_id, session_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        by_item AS (PARTITION BY item_id ORDER BY instant RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        item_day AS (PARTITION BY item_id ORDER BY instant RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING)
);

CREATE TEMP TABLE sold AS (
    SELECT DISTINCT v.event_id
    FROM (SELECT * FROM log WHERE kind = 'purchase') AS p
    ASOF JOIN (SELECT * FROM log WHERE kind = 'view') AS v
        ON p.shopper_id = v.shopper_id AND p.session_id = v.session_id AND p.item_id = v.item_id
        AND p.instant > v.instant
);

SELECT
    c.event_id AS offer_id, c.shopper_id, c.item_id, c.instant, c.list_price, c.unit_cost, c.min_price, c.max_price,
    c.price, c.propensity, (sold.event_id IS NOT NULL)::BIGINT AS bought,

    CASE WHEN s.signup <= c.instant THEN (c.instant - s.signup) / 86400e6 END AS days_since_signup,
    coalesce(s.country, '') AS country,
    coalesce(s.language, '') AS language,
    coalesce(s.device, '') AS device,
    coalesce(s.tier, '') AS tier,
    coalesce(shopper_views, 0)::DOUBLE AS shopper_views,
    coalesce(shopper_sessions, 0)::DOUBLE AS shopper_sessions,
    coalesce(purchases, 0)::DOUBLE AS purchases,
    coalesce(spend, 0) / 1e6 AS spend,
    (c.instant - last_purchase_at) / 86400e6 AS days_since_purchase,
    CASE WHEN purchases > 0 THEN discounts::DOUBLE / purchases END AS discount_share,
    CASE WHEN ratings_given > 0 THEN stars_given / ratings_given / 1e6 END AS mean_rating_given,
    coalesce(views_7d, 0)::DOUBLE AS views_7d,
    coalesce(spend_30d, 0) / 1e6 AS spend_30d,
    coalesce(grown_views / power(2, (c.instant - (SELECT min(instant) FROM events)) / 604800e6), 0) AS recent_views,

    coalesce(item_views_by_shopper, 0)::DOUBLE AS item_views_by_shopper,
    coalesce(item_dwell_by_shopper, 0) / 1e6 AS item_dwell_by_shopper,
    (c.instant - item_viewed_at) / 86400e6 AS days_since_item_view,
    coalesce(bought_before, 0)::DOUBLE AS bought_before,
    coalesce(category_views_by_shopper, 0)::DOUBLE AS category_views_by_shopper,
    coalesce(category_purchases_by_shopper, 0)::DOUBLE AS category_purchases_by_shopper,

    coalesce(session_views, 0)::DOUBLE AS session_views,
    coalesce(session_items, 0)::DOUBLE AS session_items,
    coalesce(session_views - session_items, 0)::DOUBLE AS session_revisits,
    coalesce(session_dwell, 0) / 1e6 AS session_dwell,
    coalesce(session_searches, 0)::DOUBLE AS session_searches,
    coalesce(session_carts, 0)::DOUBLE AS session_carts,
    (c.instant - started_at) / 60e6 AS session_minutes,
    c.page_depth,
    c.channel,
    coalesce(c.path, '') AS path,
    coalesce(last_step, '') AS last_step,
    coalesce(step_before_last, '') AS step_before_last,
    coalesce(views_after_search, 0)::DOUBLE AS views_after_search,
    coalesce(reviews_read, 0)::DOUBLE AS reviews_read,
    coalesce(search_bargain, 0) AS search_bargain,
    coalesce(search_premium, 0) AS search_premium,
    coalesce(search_words, 0) AS search_words,
    CASE WHEN sought > 0 THEN sought_1_sum / sought END AS search_topic_1,
    CASE WHEN sought > 0 THEN sought_2_sum / sought END AS search_topic_2,
    CASE WHEN sought > 0 THEN sought_3_sum / sought END AS search_topic_3,
    CASE WHEN sought > 0 THEN sought_4_sum / sought END AS search_topic_4,

    c.unit_cost / c.list_price AS cost_share,
    coalesce(c.category, '') AS category,
    coalesce(item_views, 0)::DOUBLE AS item_views,
    coalesce(item_views_1d, 0)::DOUBLE AS item_views_1d,
    (coalesce(item_purchases, 0) + 1)::DOUBLE / (coalesce(item_views, 0) + 20) AS item_conversion,
    CASE WHEN item_ratings > 0 THEN item_stars / item_ratings / 1e6 END AS item_rating,
    coalesce(item_reviews, 0)::DOUBLE AS item_reviews,
    CASE WHEN item_texts > 0 THEN item_sentiment / item_texts END AS review_sentiment,
    CASE WHEN item_texts > 0 THEN said_1_sum / item_texts END AS review_topic_1,
    CASE WHEN item_texts > 0 THEN said_2_sum / item_texts END AS review_topic_2,
    CASE WHEN item_texts > 0 THEN said_3_sum / item_texts END AS review_topic_3,
    CASE WHEN item_texts > 0 THEN said_4_sum / item_texts END AS review_topic_4,

    (c.instant // 3600000000 % 24)::DOUBLE AS hour,
    ((c.instant // 86400000000 + 3) % 7)::DOUBLE AS weekday
FROM counted AS c
LEFT JOIN shoppers AS s USING (shopper_id)
LEFT JOIN sold ON sold.event_id = c.event_id
WHERE c.kind = 'view'
