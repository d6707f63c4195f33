-- Each impression once. The table may hold a row more than once, because log
-- export, Pub/Sub and the Storage Write API deliver at least once; all copies of
-- an entry carry the same insert_id and event_time.
SELECT *
FROM `${dataset}.impressions`
QUALIFY ROW_NUMBER() OVER (PARTITION BY insert_id, event_time ORDER BY receive_time) = 1
