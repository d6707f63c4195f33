-- Pacing: how much each campaign delivered per day (UTC), and where today will end
-- if it goes on as in the last hour. From the counts, event_type impression. A
-- campaign has a row for each day from its first delivery to the seventh day after
-- its last, so that one that stopped shows zeros.
-- delivered: valid impressions of the day so far. gross: invalid ones included.
-- cumulative: delivered up to the end of the day, since the first day that is kept.
-- last_hour: valid impressions of the last 60 whole minutes; NULL for days that are
-- over. projected: impressions at the end of the day: delivered, and for today
-- last_hour for each hour that is left. Low by what the job is behind.
SELECT
  advertiser_id,
  campaign_id,
  day,
  delivered,
  gross,
  SUM(delivered) OVER (PARTITION BY advertiser_id, campaign_id ORDER BY day) AS cumulative,
  IF(day < CURRENT_DATE(), NULL, last_hour) AS last_hour,
  IF(
    day < CURRENT_DATE(),
    delivered,
    delivered + CAST(
      last_hour * TIMESTAMP_DIFF(TIMESTAMP(DATE_ADD(day, INTERVAL 1 DAY)), CURRENT_TIMESTAMP(), SECOND) / 3600
      AS INT64)
  ) AS projected
FROM (
  SELECT
    advertiser_id,
    campaign_id,
    day,
    SUM(delivered) AS delivered,
    SUM(gross) AS gross,
    -- The hour may have begun yesterday.
    SUM(SUM(last_hour)) OVER (PARTITION BY advertiser_id, campaign_id) AS last_hour
  FROM (
    SELECT
      advertiser_id,
      campaign_id,
      DATE(window_start) AS day,
      net AS delivered,
      gross,
      IF(
        window_start >= TIMESTAMP_SUB(TIMESTAMP_TRUNC(CURRENT_TIMESTAMP(), MINUTE), INTERVAL 60 MINUTE)
          AND window_start < TIMESTAMP_TRUNC(CURRENT_TIMESTAMP(), MINUTE),
        net,
        0
      ) AS last_hour
    FROM `${dataset}.impression_counts_current`
    WHERE event_type = 'impression'
    UNION ALL
    SELECT advertiser_id, campaign_id, day, 0, 0, 0
    FROM (
      SELECT
        advertiser_id,
        campaign_id,
        DATE(MIN(window_start)) AS first_day,
        DATE(MAX(window_start)) AS last_day
      FROM `${dataset}.impression_counts_current`
      WHERE event_type = 'impression'
      GROUP BY advertiser_id, campaign_id
    ),
      UNNEST(GENERATE_DATE_ARRAY(first_day, LEAST(DATE_ADD(last_day, INTERVAL 7 DAY), CURRENT_DATE()))) AS day
  )
  GROUP BY advertiser_id, campaign_id, day
)
