-- Top pages: where the ads of a campaign were seen, the 100 pages with most valid
-- impressions per day (UTC), advertiser and campaign.
-- page: page_url without query and fragment; NULL where the page is not known.
-- gross: impressions; invalid: those with an invalid-traffic reason; net: the rest.
-- clicks: valid clicks. users: users with valid impressions, approximately.
-- share: net / all net impressions of the campaign on the day, 0 to 1.
-- position: 1 is the page with the most.
SELECT *
FROM (
  SELECT
    *,
    SAFE_DIVIDE(net, SUM(net) OVER (PARTITION BY day, advertiser_id, campaign_id)) AS share,
    ROW_NUMBER() OVER (PARTITION BY day, advertiser_id, campaign_id ORDER BY net DESC, gross DESC, page) AS position
  FROM (
    SELECT
      day,
      advertiser_id,
      campaign_id,
      page_host,
      page,
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
        page_host,
        REGEXP_EXTRACT(page_url, r'^[^?#]*') AS page,
        event_type,
        ARRAY_LENGTH(invalid_reasons) = 0 AS valid,
        user_id
      FROM `${dataset}.impressions_unique`
      WHERE event_type IN ('impression', 'click')
    )
    GROUP BY day, advertiser_id, campaign_id, page_host, page
  )
)
WHERE position <= 100
