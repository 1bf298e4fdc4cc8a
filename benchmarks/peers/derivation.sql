-- Baseline, 54 weekly visits, changes from baseline and normal spells of CK, as seed-2008 defines them.
WITH given AS (
    SELECT patient, min(day) AS day0 FROM infusions WHERE upper(product) = 'IVIG' GROUP BY patient
),
records AS (  -- the last result of a day
    SELECT patient, labs.day - day0 AS day, arg_max(value, instant) AS value, arg_max(upper_limit, instant) AS upper_limit
    FROM labs JOIN given USING (patient)
    GROUP BY patient, labs.day - day0
),
base AS (  -- the last one on or before day 0
    SELECT patient, arg_max(value, day) AS value, arg_max(value > upper_limit, day) AS abnormal
    FROM records WHERE day <= 0 GROUP BY patient
),
visits AS (  -- the nearest within three days, of two the later
    SELECT patient, (day + 3) // 7 AS week,
        arg_min(value, 2 * abs(day - 7 * ((day + 3) // 7)) - (day > 7 * ((day + 3) // 7))::INTEGER) AS value
    FROM records WHERE day BETWEEN 4 AND 381 GROUP BY ALL
),
changes AS (
    SELECT week, count(*) AS n, avg(visits.value - base.value) AS mean, avg(ln(visits.value) - ln(base.value)) AS mean_ln
    FROM visits JOIN base USING (patient) GROUP BY week
),
starts AS (
    SELECT patient, min(day) FILTER (WHERE value <= upper_limit) AS start, max(day) AS last
    FROM records WHERE day > 0 GROUP BY patient
),
spells AS (
    SELECT patient, start, min(last) AS last, min(day) AS relapse
    FROM starts JOIN base USING (patient)
    LEFT JOIN (SELECT patient, day FROM records WHERE day > 0 AND value > upper_limit) AS high
        ON high.patient = starts.patient AND high.day > start
    WHERE abnormal AND start IS NOT NULL
    GROUP BY starts.patient, start
)
SELECT
    (SELECT sum(n) FROM changes), (SELECT sum(n * mean) FROM changes), (SELECT sum(n * mean_ln) FROM changes),
    (SELECT count(*) FROM spells), (SELECT count(relapse) FROM spells),
    (SELECT sum(coalesce(relapse, last) - start) FROM spells)
