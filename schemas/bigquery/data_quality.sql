-- Data quality per day (UTC) and advertiser: what is wrong, and how often.
-- problem and name say what was counted in entries, and total out of how many:
-- lint: entries with that lint (docs/semantics.md), of all distinct entries.
-- missing: entries without a value for that column, of all distinct entries.
-- duplicate: rows of impressions (name) that are another copy of one, of all rows;
-- none are there with exactly-once delivery.
-- rejected: rejected entries of that reason, of all that were rejected, by the day
-- of receipt; advertiser_id is NULL, for it could not be read.
-- share: entries / total, 0 to 1. What does not occur has no row.
WITH
  distinct_entries AS (
    SELECT
      DATE(event_time) AS day,
      advertiser_id,
      ARRAY_TO_STRING(lint, ',') AS lints, -- an array cannot be grouped by
      COUNT(*) AS n,
      COUNTIF(campaign_id IS NULL) AS no_campaign,
      COUNTIF(creative_id IS NULL) AS no_creative,
      COUNTIF(placement_id IS NULL) AS no_placement,
      COUNTIF(site_id IS NULL) AS no_site,
      COUNTIF(user_id IS NULL) AS no_user,
      COUNTIF(page_url IS NULL) AS no_page,
      COUNTIF(cache_buster IS NULL) AS no_cache_buster
    FROM `${dataset}.impressions_unique`
    GROUP BY day, advertiser_id, lints
  ),
  problems AS (
    SELECT day, advertiser_id, 'lint' AS problem, name, SUM(n) AS entries, total
    FROM (
      SELECT day, advertiser_id, lints, n, SUM(n) OVER (PARTITION BY day, advertiser_id) AS total
      FROM distinct_entries
    ),
      UNNEST(SPLIT(lints, ',')) AS name
    WHERE lints != ''
    GROUP BY day, advertiser_id, name, total
    UNION ALL
    SELECT day, advertiser_id, 'missing' AS problem, missing.name, SUM(missing.n) AS entries, SUM(d.n) AS total
    FROM
      distinct_entries AS d,
      UNNEST([
        STRUCT('advertiser_id' AS name, IF(advertiser_id IS NULL, d.n, 0) AS n),
        STRUCT('campaign_id' AS name, no_campaign AS n),
        STRUCT('creative_id' AS name, no_creative AS n),
        STRUCT('placement_id' AS name, no_placement AS n),
        STRUCT('site_id' AS name, no_site AS n),
        STRUCT('user_id' AS name, no_user AS n),
        STRUCT('page_url' AS name, no_page AS n),
        STRUCT('cache_buster' AS name, no_cache_buster AS n)
      ]) AS missing
    GROUP BY day, advertiser_id, missing.name
    UNION ALL
    SELECT day, advertiser_id, 'duplicate' AS problem, 'impressions' AS name, SUM(copies - 1) AS entries, SUM(copies) AS total
    FROM (
      -- The copies are in the table only.
      SELECT DATE(event_time) AS day, ANY_VALUE(advertiser_id) AS advertiser_id, COUNT(*) AS copies
      FROM `${dataset}.impressions`
      GROUP BY insert_id, event_time
    )
    GROUP BY day, advertiser_id
    UNION ALL
    SELECT
      day,
      CAST(NULL AS STRING) AS advertiser_id,
      'rejected' AS problem,
      reason AS name,
      n AS entries,
      SUM(n) OVER (PARTITION BY day) AS total
    FROM (
      SELECT DATE(receive_time) AS day, reason, COUNT(*) AS n
      FROM `${dataset}.rejected_entries`
      GROUP BY day, reason
    )
  )
SELECT day, advertiser_id, problem, name, entries, total, entries / total AS share
FROM problems
WHERE entries > 0
