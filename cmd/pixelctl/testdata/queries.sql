SELECT minute, part = 'recovered' AS recovered, MAX(pane) AS pane, SUM(impressions - duplicates) AS impressions, SUM(rejected_invalid_json) AS rejected_invalid_json, SUM(rejected_too_large) AS rejected_too_large, SUM(rejected_not_a_request) AS rejected_not_a_request, SUM(rejected_invalid_url) AS rejected_invalid_url, SUM(rejected_invalid_field) AS rejected_invalid_field, SUM(rejected_no_timestamp) AS rejected_no_timestamp, SUM(rejected_no_insert_id) AS rejected_no_insert_id
FROM (SELECT * FROM ledger WHERE minute >= @from AND minute < @to QUALIFY ROW_NUMBER() OVER (PARTITION BY minute, part ORDER BY pane DESC, `read` DESC) = 1)
GROUP BY minute, recovered;
SELECT 'impression_counts' AS name, TIMESTAMP_TRUNC(window_start, MINUTE) AS minute_of, COUNT(*) AS n FROM impression_counts WHERE window_start >= @from AND window_start < @to GROUP BY minute_of
UNION ALL
SELECT 'impressions' AS name, TIMESTAMP_TRUNC(event_time, MINUTE) AS minute_of, COUNT(*) AS n FROM impressions WHERE event_time >= @from AND event_time < @to GROUP BY minute_of
UNION ALL
SELECT 'ledger' AS name, TIMESTAMP_TRUNC(minute, MINUTE) AS minute_of, COUNT(*) AS n FROM ledger WHERE minute >= @from AND minute < @to GROUP BY minute_of
UNION ALL
SELECT 'rejected_entries' AS name, TIMESTAMP_TRUNC(receive_time, MINUTE) AS minute_of, COUNT(*) AS n FROM rejected_entries WHERE receive_time >= @from AND receive_time < @to GROUP BY minute_of;
SELECT event_time, insert_id, receive_time, invalid_reasons, event_type, advertiser_id, campaign_id, creative_id, placement_id, site_id, user_id, page_url, country, browser, os, device_type FROM impressions WHERE event_time >= @from AND event_time < @to;
SELECT window_start, part, pane, gross, invalid, clicks, sketch, advertiser_id, campaign_id, creative_id, placement_id, site_id, country, device_type, event_type FROM impression_counts WHERE window_start >= @from AND window_start < @to;
