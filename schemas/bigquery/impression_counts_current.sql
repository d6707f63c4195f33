-- The current truth of each window: of every part the latest pane, summed over
-- the parts. Of a bundle that failed after it had written, and was run again with
-- more, there are two of the same pane: the larger holds, as windows only grow.
-- HLL_COUNT.EXTRACT(sketch) is how many users there were, and HLL_COUNT.MERGE(sketch)
-- how many in several windows or combinations.
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
  SUM(clicks) AS clicks,
  HLL_COUNT.MERGE_PARTIAL(sketch) AS sketch
FROM (
  SELECT *
  FROM `${dataset}.impression_counts`
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY
        window_start, advertiser_id, campaign_id, creative_id, placement_id,
        site_id, country, device_type, event_type, part
      ORDER BY pane DESC, gross DESC, invalid DESC
    ) = 1
)
GROUP BY
  window_start, window_end, advertiser_id, campaign_id, creative_id, placement_id,
  site_id, country, device_type, event_type
