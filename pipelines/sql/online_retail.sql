-- One offer per customer, product and week: the customer ordered anything that week, bought the product in an earlier
-- week, and the product has a price that week. Everything in the context is of earlier weeks.
--
-- Tables: events (purchases, with `instant`, microseconds since 1970), items, shoppers. A week has seven days, counted
-- from midnight before the first line (the variable `start`). Money and logarithms are summed as whole millionths:
-- their sum does not depend on the order of rows and threads.
CREATE TEMP TABLE lines AS (
    SELECT
        shopper_id, session_id, item_id, price, quantity,
        (instant - getvariable('start')) // 604800000000 AS week,
        round(price * quantity * 1e6)::BIGINT AS money,
        round(ln(quantity) * 1e6)::BIGINT AS log_pieces
    FROM events
    WHERE kind = 'purchase' AND shopper_id <> getvariable('guest')
);

-- Prices: how often each was paid for few pieces in a week.
CREATE TEMP TABLE paid AS (
    SELECT item_id, week, price, count(*) AS times
    FROM lines WHERE quantity <= getvariable('pieces') GROUP BY item_id, week, price
);
CREATE TEMP TABLE shown AS (
    SELECT item_id, week, price FROM paid
    QUALIFY row_number() OVER (PARTITION BY item_id, week ORDER BY times DESC, price DESC) = 1
);
CREATE TEMP TABLE item_weeks AS (SELECT DISTINCT item_id, week FROM lines);
CREATE TEMP TABLE listed AS (
    SELECT w.item_id, w.week, p.price AS list_price
    FROM item_weeks AS w
    JOIN paid AS p ON p.item_id = w.item_id AND p.week BETWEEN w.week - getvariable('weeks') AND w.week - 1
    GROUP BY w.item_id, w.week, p.price
    QUALIFY row_number() OVER (PARTITION BY w.item_id, w.week ORDER BY sum(p.times) DESC, p.price DESC) = 1
);

-- Customers: what each did up to, and without, a week with an order.
CREATE TEMP TABLE shopper_week AS (
    SELECT
        shopper_id, week,
        count(DISTINCT session_id) AS orders,
        sum(money) AS money,
        count(*) AS lines,
        sum(coalesce(price < list_price, false)::INT) AS discounts
    FROM lines LEFT JOIN listed USING (item_id, week)
    GROUP BY shopper_id, week
);
CREATE TEMP TABLE shopper_before AS (
    SELECT
        shopper_id, week,
        sum(orders) OVER before AS orders,
        sum(money) OVER before AS money,
        sum(lines) OVER before AS lines,
        sum(discounts) OVER before AS discounts,
        max(week) OVER before AS last_week,
        min(week) OVER before AS first_week
    FROM shopper_week
    WINDOW before AS (
        PARTITION BY shopper_id ORDER BY week ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
);

-- Customers and products: what was bought up to, and with, a week.
CREATE TEMP TABLE pair_week AS (
    SELECT shopper_id, item_id, week, count(DISTINCT session_id) AS orders, sum(quantity)::BIGINT AS pieces
    FROM lines GROUP BY shopper_id, item_id, week
);
CREATE TEMP TABLE pair_so_far AS (
    SELECT
        shopper_id, item_id, week,
        sum(orders) OVER so_far AS orders,
        sum(pieces) OVER so_far AS pieces
    FROM pair_week
    WINDOW so_far AS (PARTITION BY shopper_id, item_id ORDER BY week)
);
CREATE TEMP TABLE pairs AS (
    SELECT shopper_id, item_id, min(week) AS first_week FROM pair_week GROUP BY shopper_id, item_id
);

-- Products: what was sold up to, and without, a week.
CREATE TEMP TABLE item_week AS (
    SELECT item_id, week, count(*) AS lines, sum(log_pieces) AS log_pieces FROM lines GROUP BY item_id, week
);
CREATE TEMP TABLE item_before AS (
    SELECT
        item_id, week,
        sum(lines) OVER before AS lines,
        sum(log_pieces) OVER before AS log_pieces,
        min(week) OVER before AS first_week,
        sum(lines) OVER (
            PARTITION BY item_id ORDER BY week RANGE BETWEEN getvariable('weeks') PRECEDING AND 1 PRECEDING
        ) AS recent_lines
    FROM item_week
    WINDOW before AS (PARTITION BY item_id ORDER BY week ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
);

CREATE TEMP TABLE considered AS (
    SELECT s.*, p.item_id, w.price
    FROM shopper_before AS s
    JOIN pairs AS p ON p.shopper_id = s.shopper_id AND p.first_week < s.week
    JOIN shown AS w ON w.item_id = p.item_id AND w.week = s.week
);

SELECT
    c.shopper_id || '-' || c.item_id || '-' || c.week AS offer_id,
    c.shopper_id,
    c.item_id,
    getvariable('start') + c.week * 604800000000 AS instant,
    l.list_price,
    NULL::DOUBLE AS unit_cost,
    NULL::DOUBLE AS min_price,
    NULL::DOUBLE AS max_price,
    c.price,
    NULL::DOUBLE AS propensity,
    (b.week IS NOT NULL)::BIGINT AS bought,

    c.orders::DOUBLE AS orders,
    c.money::DOUBLE / 1e6 AS spend,
    (c.week - c.last_week)::DOUBLE AS weeks_since_order,
    c.orders::DOUBLE / (c.week - c.first_week) AS orders_per_week,
    c.money::DOUBLE / 1e6 / c.orders AS mean_basket,
    c.discounts::DOUBLE / c.lines AS discount_share,
    coalesce(s.country, '') AS country,
    h.orders::DOUBLE AS times_bought,
    h.pieces::DOUBLE AS pieces_bought,
    (c.week - h.week)::DOUBLE AS weeks_since_bought,
    (c.week - i.first_week)::DOUBLE AS weeks_since_first_sale,
    i.lines::DOUBLE AS item_lines,
    coalesce(i.recent_lines, 0)::DOUBLE AS recent_lines,
    exp(i.log_pieces::DOUBLE / i.lines / 1e6) AS typical_pieces,
    coalesce(t.category, '') AS series
FROM considered AS c
ASOF JOIN pair_so_far AS h ON h.shopper_id = c.shopper_id AND h.item_id = c.item_id AND h.week < c.week
LEFT JOIN pair_week AS b ON b.shopper_id = c.shopper_id AND b.item_id = c.item_id AND b.week = c.week
LEFT JOIN listed AS l ON l.item_id = c.item_id AND l.week = c.week
LEFT JOIN item_before AS i ON i.item_id = c.item_id AND i.week = c.week
LEFT JOIN shoppers AS s ON s.shopper_id = c.shopper_id
LEFT JOIN items AS t ON t.item_id = c.item_id
ORDER BY instant, offer_id;
