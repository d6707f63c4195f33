-- For people: has parameters.
SELECT * FROM `${dataset}.rows` WHERE at BETWEEN @from AND @to
