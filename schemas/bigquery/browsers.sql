-- Browsers, operating systems and devices per day (UTC), advertiser and campaign.
-- browser_major: the first number of browser_version. NULL: not known.
-- gross: impressions; invalid: those with an invalid-traffic reason; net: the rest.
-- clicks: valid clicks. click_rate: clicks / net; NULL where net is 0.
-- users: users with valid impressions, approximately.
-- share: net / all net impressions of the campaign on the day, 0 to 1.
SELECT
  *,
  SAFE_DIVIDE(clicks, net) AS click_rate,
  SAFE_DIVIDE(net, SUM(net) OVER (PARTITION BY day, advertiser_id, campaign_id)) AS share
FROM (
  SELECT
    day,
    advertiser_id,
    campaign_id,
    device_type,
    os,
    browser,
    browser_major,
    COUNTIF(event_type = 'impression') AS gross,
    COUNTIF(event_type = 'impression' AND NOT valid) AS invalid,
    COUNTIF(event_type = 'impression' AND valid) AS net,
    COUNTIF(event_type = 'click' AND valid) AS clicks,
    APPROX_COUNT_DISTINCT(IF(event_type = 'impression' AND valid, user_id, NULL)) AS users
  FROM (
    SELECT
      DATE(event_time) AS day,
      advertiser_id,
      campaign_id,
      device_type,
      os,
      browser,
      SPLIT(browser_version, '.')[SAFE_OFFSET(0)] AS browser_major,
      event_type,
      ARRAY_LENGTH(invalid_reasons) = 0 AS valid,
      user_id
    FROM `${dataset}.impressions_unique`
    WHERE event_type IN ('impression', 'click')
  )
  GROUP BY day, advertiser_id, campaign_id, device_type, os, browser, browser_major
)
