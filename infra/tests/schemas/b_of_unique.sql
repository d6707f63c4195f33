-- From a view.
SELECT * FROM ${dataset}.impressions_unique JOIN `${dataset}.rows` USING (k)
