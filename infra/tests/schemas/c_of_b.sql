WITH x AS (SELECT * FROM `${dataset}.b_of_unique`) SELECT * FROM x -- reads `${dataset}.z` only here
