-- Reach and frequency: how many users saw a campaign once, twice, and so on, over
-- all days that are kept. Valid impressions of users that are known (user_id).
-- frequency: impressions of a user; 20 stands for 20 and more.
-- users: users with that frequency. impressions: what they saw, all told.
-- users_at_least: users with that frequency or a higher one (effective reach).
-- reach: users of the campaign. share: users / reach, 0 to 1.
-- average_frequency: impressions per user of the campaign.
SELECT
  advertiser_id,
  campaign_id,
  frequency,
  users,
  impressions,
  SUM(users) OVER (PARTITION BY advertiser_id, campaign_id ORDER BY frequency DESC) AS users_at_least,
  SUM(users) OVER (PARTITION BY advertiser_id, campaign_id) AS reach,
  users / SUM(users) OVER (PARTITION BY advertiser_id, campaign_id) AS share,
  SUM(impressions) OVER (PARTITION BY advertiser_id, campaign_id)
    / SUM(users) OVER (PARTITION BY advertiser_id, campaign_id) AS average_frequency
FROM (
  SELECT advertiser_id, campaign_id, LEAST(n, 20) AS frequency, COUNT(*) AS users, SUM(n) AS impressions
  FROM (
    SELECT advertiser_id, campaign_id, user_id, COUNT(*) AS n
    FROM `${dataset}.impressions_unique`
    WHERE event_type = 'impression' AND user_id IS NOT NULL AND ARRAY_LENGTH(invalid_reasons) = 0
    GROUP BY advertiser_id, campaign_id, user_id
  )
  GROUP BY advertiser_id, campaign_id, frequency
)
