DELETE FROM `${dataset}.rows` WHERE TRUE
