-- The books of each minute: of every part the latest pane, summed over the parts.
-- read = impressions + rejected + ignored, and the distinct impressions are
-- impressions - duplicates.
SELECT
  minute,
  SUM(`read`) AS `read`,
  SUM(impressions) AS impressions,
  SUM(rejected) AS rejected,
  SUM(ignored) AS ignored,
  SUM(duplicates) AS duplicates,
  SUM(too_late) AS too_late,
  SUM(unmatched) AS unmatched,
  SUM(rejected_invalid_json) AS rejected_invalid_json,
  SUM(rejected_too_large) AS rejected_too_large,
  SUM(rejected_not_a_request) AS rejected_not_a_request,
  SUM(rejected_invalid_url) AS rejected_invalid_url,
  SUM(rejected_invalid_field) AS rejected_invalid_field,
  SUM(rejected_no_timestamp) AS rejected_no_timestamp,
  SUM(rejected_no_insert_id) AS rejected_no_insert_id,
  SUM(ignored_cdn_internal) AS ignored_cdn_internal,
  SUM(ignored_not_a_pixel) AS ignored_not_a_pixel,
  SUM(ignored_method) AS ignored_method,
  SUM(ignored_error_status) AS ignored_error_status,
  SUM(recovered) AS recovered,
  STRING_AGG(DISTINCT version, ', ') AS version,
  STRING_AGG(DISTINCT user_agent_rules, ', ') AS user_agent_rules
FROM (
  SELECT *
  FROM `${dataset}.ledger`
  QUALIFY ROW_NUMBER() OVER (PARTITION BY minute, part ORDER BY pane DESC, `read` DESC) = 1
)
GROUP BY minute
