-- Each row
-- once.
SELECT * FROM `${dataset}.rows`
QUALIFY ROW_NUMBER() OVER (PARTITION BY k) = 1
