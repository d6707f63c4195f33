SELECT advertiser_id, COUNT(*) AS n FROM (SELECT * FROM `${dataset}.rows`) GROUP BY 1
