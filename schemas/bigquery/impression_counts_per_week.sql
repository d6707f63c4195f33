-- Counts per ISO week (UTC), named by its Monday; reach is how many users,
-- approximately (HLL++).
SELECT
  DATE_TRUNC(DATE(window_start), ISOWEEK) AS week,
  advertiser_id,
  campaign_id,
  creative_id,
  placement_id,
  site_id,
  country,
  device_type,
  event_type,
  SUM(gross) AS gross,
  SUM(invalid) AS invalid,
  SUM(net) AS net,
  SUM(clicks) AS clicks,
  HLL_COUNT.MERGE(sketch) AS reach,
  HLL_COUNT.MERGE_PARTIAL(sketch) AS sketch
FROM `${dataset}.impression_counts_current`
GROUP BY
  week, advertiser_id, campaign_id, creative_id, placement_id,
  site_id, country, device_type, event_type
