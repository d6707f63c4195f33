-- Invalid traffic by reason, per day (UTC), advertiser, campaign and event type.
-- entries: events with that reason. An event with several counts under each, so
-- entries of several reasons must not be added: that sum is invalid.
-- only_reason: those of entries that have no other reason, which would be valid
-- without it. gross: all events; invalid: those with any reason; net: the rest.
-- share: entries / gross, 0 to 1.
SELECT
  day,
  advertiser_id,
  campaign_id,
  event_type,
  reason,
  SUM(n) AS entries,
  SUM(IF(reasons = reason, n, 0)) AS only_reason,
  gross,
  invalid,
  gross - invalid AS net,
  SUM(n) / gross AS share
FROM (
  SELECT
    day,
    advertiser_id,
    campaign_id,
    event_type,
    reasons,
    n,
    SUM(n) OVER (PARTITION BY day, advertiser_id, campaign_id, event_type) AS gross,
    SUM(IF(reasons = '', 0, n)) OVER (PARTITION BY day, advertiser_id, campaign_id, event_type) AS invalid
  FROM (
    -- An array cannot be grouped by; a reason has no comma.
    SELECT
      DATE(event_time) AS day,
      advertiser_id,
      campaign_id,
      event_type,
      ARRAY_TO_STRING(invalid_reasons, ',') AS reasons,
      COUNT(*) AS n
    FROM `${dataset}.impressions_unique`
    GROUP BY day, advertiser_id, campaign_id, event_type, reasons
  )
),
  UNNEST(SPLIT(reasons, ',')) AS reason
WHERE reasons != ''
GROUP BY day, advertiser_id, campaign_id, event_type, reason, gross, invalid
