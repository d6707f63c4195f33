-- Counts per day (UTC); reach is how many users, approximately (HLL++).
SELECT
  DATE(window_start) AS day,
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
  day, advertiser_id, campaign_id, creative_id, placement_id,
  site_id, country, device_type, event_type
