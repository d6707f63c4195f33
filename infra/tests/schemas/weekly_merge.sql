-- Rows per week.
-- schedule: every monday 03:00
MERGE `${dataset}.weekly` t USING (SELECT DATE_TRUNC(DATE(at), WEEK) AS week, COUNT(*) AS n FROM `${dataset}.c_of_b` WHERE at < @run_time GROUP BY 1) s
ON t.week = s.week WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT ROW
