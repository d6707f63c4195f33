-- Writes the last two whole ISO weeks (UTC) of impression_counts_weekly anew from the
-- counts per minute. What it writes depends on those counts only, so running it again
-- changes nothing, and a run that failed is made up for by the next. The counts of
-- both weeks have to be there still: impression_counts is kept for 21 days at least.
-- schedule: every monday 03:00
MERGE `${dataset}.impression_counts_weekly` AS w
USING (
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
  WHERE
    window_start >= TIMESTAMP(DATE_SUB(DATE_TRUNC(CURRENT_DATE(), ISOWEEK), INTERVAL 14 DAY))
    AND window_start < TIMESTAMP(DATE_TRUNC(CURRENT_DATE(), ISOWEEK))
  GROUP BY
    week, advertiser_id, campaign_id, creative_id, placement_id,
    site_id, country, device_type, event_type
) AS s
-- No row is matched: the weeks are replaced as a whole, in one transaction. So NULL
-- in a dimension needs no care, and what is no longer counted goes.
ON FALSE
WHEN NOT MATCHED BY SOURCE
  AND w.week >= DATE_SUB(DATE_TRUNC(CURRENT_DATE(), ISOWEEK), INTERVAL 14 DAY)
  AND w.week < DATE_TRUNC(CURRENT_DATE(), ISOWEEK)
  THEN DELETE
WHEN NOT MATCHED BY TARGET THEN
  INSERT (
    week, advertiser_id, campaign_id, creative_id, placement_id, site_id, country, device_type, event_type,
    gross, invalid, net, clicks, reach, sketch
  )
  VALUES (
    s.week, s.advertiser_id, s.campaign_id, s.creative_id, s.placement_id, s.site_id, s.country, s.device_type, s.event_type,
    s.gross, s.invalid, s.net, s.clicks, s.reach, s.sketch
  )
