-- What views read in place of the table impressions where the rows of groups of
-- advertisers lie in tables of their own (--table_suffix_by): all of these tables.
-- By name, because one that has had no rows since an upgrade may lack new columns.
SELECT * FROM `${dataset}.impressions`
FULL OUTER UNION ALL BY NAME
SELECT * FROM `${dataset}.impressions_for_*`
