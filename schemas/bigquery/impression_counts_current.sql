-- The current truth of each window: of every part the latest pane, summed over
-- the parts.
SELECT
  window_start,
  window_end,
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
  SUM(clicks) AS clicks
FROM (
  SELECT *
  FROM `${dataset}.impression_counts`
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY
        window_start, advertiser_id, campaign_id, creative_id, placement_id,
        site_id, country, device_type, event_type, part
      ORDER BY pane DESC
    ) = 1
)
GROUP BY
  window_start, window_end, advertiser_id, campaign_id, creative_id, placement_id,
  site_id, country, device_type, event_type
