-- The list price of events that have none: the price at which the item was shown most often in the preceding `days`
-- days (of equals the higher), told day by day and without the event's own day; an item without such a day is listed at
-- the event's own price. View: kept, the clean events.
CREATE TEMP TABLE shown AS (
    SELECT item_id, CAST(time AT TIME ZONE 'UTC' AS DATE) AS day, price, count(*) AS times
    FROM kept WHERE kind = 'view' GROUP BY ALL
);
CREATE TEMP TABLE item_days AS (
    SELECT DISTINCT item_id, CAST(time AT TIME ZONE 'UTC' AS DATE) AS day FROM kept WHERE item_id IS NOT NULL
);
CREATE TEMP TABLE day_prices AS (
    SELECT d.item_id, d.day, s.price
    FROM item_days AS d
    JOIN shown AS s ON s.item_id = d.item_id AND s.day BETWEEN d.day - getvariable('days') AND d.day - 1
    GROUP BY d.item_id, d.day, s.price
    QUALIFY row_number() OVER (PARTITION BY d.item_id, d.day ORDER BY sum(s.times) DESC, s.price DESC) = 1
);
CREATE TEMP VIEW listed AS (
    SELECT k.* REPLACE (coalesce(p.price, k.price) AS list_price)
    FROM kept AS k
    LEFT JOIN day_prices AS p ON p.item_id = k.item_id AND p.day = CAST(k.time AT TIME ZONE 'UTC' AS DATE)
);
